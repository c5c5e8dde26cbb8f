"""Fixtures of the runtime's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.install import Bed, fake_tensorrt
from tiny_network import (
    tiny_classes_manifest,
    tiny_classes_onnx,
    tiny_manifest,
    tiny_onnx,
    write_model,
)

# FFmpeg's part of OpenCV reads it once in a process. The runtime sets it, but here it may be a
# test's own reading or writing that comes first.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the tiny model, input 16x24 (height x width), threshold 0.5."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_onnx(), tiny_manifest())


@pytest.fixture(scope="session")
def classes_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the tiny model with three classes, input 16x24 (height x width)."""
    path = tmp_path_factory.mktemp("classes") / "classes.onnx"
    return write_model(path, tiny_classes_onnx(), tiny_classes_manifest())


@pytest.fixture
def orin_bed() -> Iterator[Bed]:
    """JetPack 6 on a Jetson Orin, whose memory and streams must not have been misused."""
    with fake_tensorrt("10.3") as bed:
        yield bed
        assert not bed.machine.faults
