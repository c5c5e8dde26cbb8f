"""Fixtures of the runtime's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_network import (
    tiny_classes_manifest,
    tiny_classes_onnx,
    tiny_manifest,
    tiny_onnx,
    write_model,
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the tiny model, input 16x24 (height x width), threshold 0.5."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_onnx(), tiny_manifest())


@pytest.fixture(scope="session")
def classes_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the tiny model with three classes, input 16x24 (height x width)."""
    path = tmp_path_factory.mktemp("classes") / "classes.onnx"
    return write_model(path, tiny_classes_onnx(), tiny_classes_manifest())
