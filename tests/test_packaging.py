"""The distribution: every folder with code is in the wheel under the name it is imported by."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = {"differseg": "differseg", "export": "differseg/export", "runtime": "differseg/runtime",
       "calibration": "differseg/calibration"}  # fmt: skip


def expected_modules():
    for folder, imported_as in TOP.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield f"{imported_as}/{path.relative_to(ROOT / folder).as_posix()}"


def expected_plugin_sources():
    kinds = {".cu", ".cuh", ".cpp", ".h", ".map", ".txt", ".md"}
    return {
        f"differseg/export/plugins/{path.name}"
        for path in (ROOT / "export" / "plugins").iterdir()
        if path.suffix in kinds
    }


def test_the_wheel_holds_every_module_and_imports_without_the_checkout(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("differseg-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in expected_modules() if name not in names]
    assert {"differseg/py.typed", "differseg/weights/differseg-edge.safetensors"} <= names
    pages = {f"differseg/runtime/{folder}/page.html" for folder in ("preview", "register")}
    assert pages <= names
    assert len(expected_plugin_sources()) > 30
    assert expected_plugin_sources() <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name.split("/")[0]]

    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        f"import sys; sys.path.insert(0, {str(site)!r}); "
        "import differseg.export.targets as e, differseg.runtime.pairing as r, differseg.cli as c; "
        "print(all(m.__file__.startswith(sys.path[0]) for m in (e, r, c)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "True"
