"""An engine in a comparison, by its contract: what runs it is a stand-in, no engine runs here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from small_network import IMAGES, edited, failed

from differseg.errors import InputError, MissingComponentError
from differseg.export import parity_engine, parity_runners
from differseg.export.divergence import divergence
from differseg.export.parity import parity

pytestmark = pytest.mark.usefixtures("one_thread")

SHOWN = ("first/Conv_output_0", "last/Conv_output_0", "probability")


class StandIn:
    """Gives what an engine that was built to show some tensors would give, by ONNX Runtime."""

    def __init__(self, path: Path, shown: tuple[str, ...]) -> None:
        model = onnx.load(str(path))
        del model.graph.output[:]
        for name in shown:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
        self._session = onnxruntime.InferenceSession(model.SerializeToString())
        self._shown = shown
        self.active = True

    def infer(self, feed_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
        found = self._session.run(list(self._shown), dict(feed_dict))
        return dict(zip(self._shown, found, strict=True))

    def deactivate(self) -> None:
        self.active = False


@pytest.fixture
def engine(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine whose second convolution has other weights than the file."""

    def wrong(tensors: dict[str, np.ndarray]) -> None:
        tensors["last.weight"] *= 1.5

    built_from = edited(model_file, tmp_path / "other.onnx", wrong)
    path = tmp_path / "small.engine"
    path.write_bytes(b"engine")
    monkeypatch.setattr(parity_runners, "check_engine_support", lambda form: None)
    monkeypatch.setattr(parity_runners, "open_session", lambda path: StandIn(built_from, SHOWN))
    return path


def test_engine_takes_what_the_other_side_says(
    model_file: Path, engine: Path, folder: Path
) -> None:
    result = parity(model_file, engine, folder)
    assert (result.b.kind, result.b.name, result.b.precision) == (
        "TensorRT",
        "small.engine",
        "as built",
    )
    assert result.b.threshold == result.a.threshold
    assert len(result.images) == IMAGES
    assert "max error" in failed(result)
    assert parity(engine, engine.with_name("other.onnx"), folder).passed


def test_tensors_that_an_engine_shows_are_compared(model_file: Path, engine: Path) -> None:
    pytest.importorskip("polygraphy")
    found = divergence(model_file, engine)
    assert [layer.node for layer in found.layers] == ["first/Conv", "last/Conv", "Sigmoid"]
    first = found.first
    assert first is not None
    assert first.node == "last/Conv"
    assert first.read_rms < 1e-6
    assert any("engine shows the tensors" in note for note in found.notes)


def test_two_engines_are_refused(engine: Path) -> None:
    with pytest.raises(InputError, match="two engines say nothing"):
        parity(engine, engine)


@pytest.mark.parametrize("absent", ["tensorrt", "polygraphy"])
def test_missing_package_is_named(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    (tmp_path / "m.engine").write_bytes(b"engine")
    monkeypatch.setattr(
        parity_engine.importlib.util, "find_spec", lambda name: None if name == absent else name
    )
    with pytest.raises(MissingComponentError, match=f"the Python package '{absent}'"):
        parity(model_file, tmp_path / "m.engine")
