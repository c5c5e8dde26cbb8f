"""Fixtures of the parity tests: the small network, its file and a folder of images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_network import IMAGES, SIZE_HW, export_small, small_module

from differseg.checkpoints import save_checkpoint
from differseg.models import create_model
from differseg.models.deployment import DeploymentModule


@pytest.fixture(scope="module")
def module() -> DeploymentModule:
    return small_module()


@pytest.fixture(scope="module")
def model_file(module: DeploymentModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_small(module, tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured blobs, 16-bit thermal and a label, larger than the network's input."""
    root = tmp_path_factory.mktemp("data")
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir()
    rng = np.random.default_rng(5)
    for number in range(IMAGES):
        noise = rng.normal(size=(96, 128, 4)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 5)
        smooth /= np.abs(smooth).max()
        rgb = (127.5 + 127.5 * smooth[:, :, :3]).astype(np.uint8)
        thermal = (30000 + 900 * smooth[:, :, 3]).astype(np.uint16)
        cv2.imwrite(str(root / "rgb" / f"f{number}.png"), rgb)
        cv2.imwrite(str(root / "thermal" / f"f{number}.png"), thermal)
        label = (smooth[:, :, 3] > 0).astype(np.uint8) * 255
        cv2.imwrite(str(root / "labels" / f"f{number}.png"), label)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that takes RGB alone."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "rgb.safetensors"
    network = create_model("differseg-rgb-edge", size_hw=SIZE_HW)
    save_checkpoint(path, network, extra={"trained_on": "nothing"})
    return path
