"""docs/your-own-network.md as a test: its code runs, its commands pass, its tables are complete."""

from __future__ import annotations

import ast
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import differseg.modules
from differseg.checkpoints import load_checkpoint, save_checkpoint
from differseg.cli import main
from differseg.models import registry

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "your-own-network.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w+) *(\S*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
BLOCKS = sorted((ROOT / "differseg" / "modules").glob("[!_]*.py"))
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the page from top to bottom in a folder of its own; returns its names."""
    namespace: dict[str, Any] = {"__name__": "page"}
    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, file, body in FENCES:
            if language == "bash":
                for line in body.splitlines():
                    program, *arguments = shlex.split(line)
                    assert program == "differseg"
                    assert main(arguments) == 0, line
            elif not file:
                exec(compile(body, "your-own-network.md", "exec"), namespace)
    return namespace | {"folder": folder}


def test_the_page_s_network_is_exported_compared_and_run(page: dict[str, Any]) -> None:
    assert page["result"].max_error <= 1e-6
    assert page["logits"].shape == (1, 1, 96, 128)
    with torch.no_grad():
        expected = page["network"].eval()(page["image"])
        assert torch.equal(page["lowered"](page["image"]), expected)
    assert torch.allclose(torch.from_numpy(page["logits"]), expected, atol=1e-6)
    assert page["parity"].passed
    assert len(list((page["folder"] / "seen" / "masks").glob("*.png"))) == 2


def test_the_page_s_system_is_built_by_name_and_from_its_checkpoint(
    page: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _, file, body in FENCES:
        if not file:
            continue
        name = file.removesuffix(".py").replace("/", ".")
        module = types.ModuleType(name)
        if name == "differseg.models.cracks":
            module.__dict__["Cracks"] = page["Cracks"]
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(body, file, "exec"), module.__dict__)
    system = sys.modules["differseg.models.configs.cracks"].__dict__["CRACKS"]
    (info,) = system.models
    monkeypatch.setattr(registry, "SYSTEMS", (*registry.SYSTEMS, system))
    monkeypatch.setitem(registry._MODELS, info.name, (system, info))
    model = registry.create_model("cracks-small")
    assert model.spec.size_hw == info.size_hw
    assert sum(p.numel() for p in model.parameters()) == info.params
    save_checkpoint(page["folder"] / "cracks.safetensors", model)
    again = load_checkpoint(page["folder"] / "cracks.safetensors")
    assert again.spec == model.spec


def test_every_block_is_in_the_tables_and_in_the_package_s_docstring() -> None:
    public = {
        f"{path.stem}.{node.name}"
        for path in BLOCKS
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    rows = re.findall(r"^\| `(\w+\.\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(rows) == sorted(public)
    named = set(re.findall(r"differseg\.modules\.(\w+)", differseg.modules.__doc__ or ""))
    assert named == {path.stem for path in BLOCKS}
