"""A release of TensorRT as if it were installed, for child processes too.

The folder that :func:`install_release` makes holds a ``tensorrt.py``, which becomes the fake when
it is imported, or a ``trtexec``, and an ``nvidia-smi``.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from contract.fake_trtexec import write_trtexec

Way = Literal["python", "trtexec"]


def install_release(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    generation: str,
    way: Way = "python",
    *,
    gpu: tuple[str, str] | None = ("Orin", "8.7"),
    **bed: Any,
) -> Path:
    """Put a release into a folder, and the folder on both paths.

    Args:
        monkeypatch: Takes it back.
        folder: Where.
        generation: Release.
        way: What of it is there.
        gpu: Name and compute capability that ``nvidia-smi`` says; None leaves it out.
        bed: Arguments of :func:`contract.install.fake_tensorrt`.
    """
    folder.mkdir(exist_ok=True)
    root = Path(__file__).parents[1]
    if way == "python":
        (folder / "tensorrt.py").write_text(
            f"import sys\nsys.path.insert(0, {str(root)!r})\n"
            "from contract.install import fake_tensorrt\n"
            f"bed = fake_tensorrt({generation!r}, **{bed!r})\nbed.__enter__()\n",
            encoding="utf-8",
        )
    else:
        write_trtexec(folder, generation, **bed)
    if gpu is not None:
        program(folder / "nvidia-smi", f"print({', '.join(gpu)!r} + ', 540.4.0')")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def program(path: Path, code: str) -> Path:
    """Write an executable of Python code."""
    path.write_text(f"#!{sys.executable}\n{code}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
