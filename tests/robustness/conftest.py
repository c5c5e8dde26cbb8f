"""Pairs of a few pixels, and a network for them that is computed by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from robustness_runs import SIZE_HW, STEMS
from tiny_network import tiny_manifest, tiny_onnx, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return seven pairs on which the tiny network finds most of a warm, red thing."""
    root, random = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir()
    for number, stem in enumerate(STEMS):
        label = np.zeros(SIZE_HW, np.uint8)
        label[4:12, 3 + number : 13 + number] = 1
        rgb = random.integers(0, 120, (*SIZE_HW, 3), np.uint8)
        rgb[:, :, 0] = np.where(label, 170, 120)
        thermal = np.where(label, 30600, 29400) + random.integers(-300, 300, SIZE_HW)
        for name, image in (
            ("rgb", rgb),
            ("thermal", thermal.astype(np.uint16)),
            ("labels", label),
        ):
            picture = image[:, :, ::-1] if image.ndim == 3 else image
            cv2.imwrite(str(root / name / f"{stem}.png"), picture)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    return write_model(path, tiny_onnx(SIZE_HW), tiny_manifest(SIZE_HW))
