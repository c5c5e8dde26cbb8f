from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from differseg.errors import DifferSegError
from differseg.runtime.backends import open_backend


def test_buffers_are_the_graphs_memory(tiny_model: Path) -> None:
    backend = open_backend(tiny_model, "onnxruntime", threads=1)
    assert {name: (b.shape, b.dtype.name) for name, b in backend.inputs.items()} == {
        "rgb": ((1, 16, 24, 3), "uint8"),
        "thermal": ((1, 1, 16, 24), "float32"),
    }
    output = backend.outputs["probability"]
    for red, heat in ((255, 0.0), (0, 1.0), (255, 1.0)):
        backend.inputs["rgb"][:] = (red, 7, 0)
        backend.inputs["thermal"][:] = heat
        backend.run()
        assert backend.outputs["probability"] is output
        assert np.allclose(output, 0.6 * red / 255 + 0.25 * heat, atol=1e-6)


def test_its_settings_come_with_their_reason(tiny_model: Path) -> None:
    chosen = open_backend(tiny_model, "onnxruntime", threads=1)
    assert chosen.name == "onnxruntime CPU"
    assert chosen.reason.startswith("asked for; 1 threads, asked for; idle threads sleep")
    assert "one per usable core" in open_backend(tiny_model, "onnxruntime").reason


def test_closing_twice_is_fine_and_running_after_it_is_one_line(tiny_model: Path) -> None:
    backend = open_backend(tiny_model, "onnxruntime", threads=1)
    backend.close()
    backend.close()
    with pytest.raises(DifferSegError, match="closed"):
        backend.run()
