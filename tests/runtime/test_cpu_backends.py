"""What every backend on the processor keeps: one memory, one line after closing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_network import fill_evenly, tiny_even_probability

from differseg.errors import DifferSegError
from differseg.runtime.backends import open_backend


@pytest.fixture(params=["onnxruntime", "openvino"])
def name(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip(request.param)
    return request.param


def test_buffers_are_the_graphs_memory(tiny_model: Path, name: Any) -> None:
    backend = open_backend(tiny_model, name, threads=1)
    assert {key: (b.shape, b.dtype.name) for key, b in backend.inputs.items()} == {
        "rgb": ((1, 16, 24, 3), "uint8"),
        "thermal": ((1, 1, 16, 24), "float32"),
    }
    output = backend.outputs["probability"]
    for red, heat in ((255, 0.0), (0, 1.0), (255, 1.0)):
        fill_evenly(dict(backend.inputs), red, heat)
        backend.run()
        assert backend.outputs["probability"] is output
        assert np.allclose(output, tiny_even_probability(red, heat), atol=1e-6)


def test_closing_twice_is_fine_and_running_after_it_is_one_line(
    tiny_model: Path, name: Any
) -> None:
    backend = open_backend(tiny_model, name, threads=1)
    backend.close()
    backend.close()
    with pytest.raises(DifferSegError, match=f"{name}.*closed"):
        backend.run()
