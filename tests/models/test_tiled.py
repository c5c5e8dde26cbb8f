"""Tiles in PyTorch: against the whole image, and against the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from classes_network import CLASSES, ClassesNet, classes_module, spec_of
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.export.exporter import export_onnx
from differseg.manifest import OutputSpec
from differseg.models.inputs import input_specs
from differseg.models.tiled import tiled_forward
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling import plan_tiles

from tiny_network import FIXED, tiny_manifest  # isort: skip

pytestmark = pytest.mark.usefixtures("one_thread")


def network_of(reach_px: int) -> nn.Module:
    """A network that looks just so far, in two steps."""
    torch.manual_seed(0)
    near = reach_px // 2
    layers = [
        nn.Conv2d(inputs, outputs, 2 * reach + 1, padding=reach)
        for inputs, outputs, reach in ((3, 4, near), (4, 2, reach_px - near))
    ]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Sigmoid()).eval()


def images(batch: int = 1, size_hw: tuple[int, int] = (150, 210)) -> Tensor:
    return torch.rand((batch, 3, *size_hw), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_network_that_looks_no_farther_than_the_margin_gives_the_same_tiled() -> None:
    margin_px = plan_tiles((150, 210), (64, 64), 0.5).margin_px
    assert margin_px >= 8
    x = images(batch=2)
    errors = []
    for reach_px in (margin_px, margin_px + 4):
        network = network_of(reach_px)
        found = tiled_forward(network, x, (64, 64), 0.5)
        errors.append(float((found - network(x)).abs().max()))
    assert errors[0] < 1e-6
    assert errors[1] > 1e-5


@torch.inference_mode()
def test_constant_and_linear_functions_come_back() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 101), torch.linspace(-1, 1, 77), indexing="ij")
    image = torch.stack([torch.full_like(x, 0.7), x, 0.3 * x - y])[None]
    for tile_hw, overlap in (((32, 48), 0.25), ((64, 16), 5), ((33, 33), 0.5), ((500, 20), 0.0)):
        found = tiled_forward(nn.Identity(), image, tile_hw, overlap)
        assert (found - image).abs().max() < 1e-6


def test_outputs_of_another_size_are_stretched_and_gradients_flow() -> None:
    x = images(size_hw=(70, 90)).requires_grad_()
    found = tiled_forward(nn.AvgPool2d(4), 0 * x + 0.5, (32, 32))
    assert found.shape == (1, 3, 70, 90)
    assert (found - 0.5).abs().max() < 1e-6
    tiled_forward(nn.Identity(), x, (32, 32)).sum().backward()
    assert x.grad is not None
    assert (x.grad - 1).abs().max() < 1e-6


@torch.inference_mode()
def test_of_a_network_with_a_spec_probabilities_are_blended() -> None:
    network = ClassesNet(spec_of()).eval()
    rgb = torch.randn((1, 3, 96, 128), generator=torch.Generator().manual_seed(0))
    thermal = rgb[:, :1] * 2
    found = tiled_forward(network, {"thermal": thermal, "rgb": rgb}, (64, 64), 0.5)
    assert found.shape == (1, len(CLASSES), 96, 128)
    assert (found.sum(dim=1) - 1).abs().max() < 1e-6
    whole = torch.softmax(network(rgb, thermal)["logits"], dim=1)
    assert (found - whole).abs().max() < 1e-6


@torch.inference_mode()
def test_it_agrees_with_the_runtime_on_the_exported_file(tmp_path: Path) -> None:
    """Two classes of raw frames, through ONNX Runtime, in tiles of the file's size."""
    size_hw = (32, 48)
    module = classes_module(CLASSES[:2])
    example = module.raw_inputs_example(size_hw)
    manifest = tiny_manifest(
        size_hw,
        inputs=tuple(input_specs(module.spec, size_hw, FIXED)),
        outputs=(OutputSpec("probability", "probability", (1, 1, *size_hw)),),
        classes=CLASSES[:2],
    )
    path = tmp_path / "net.onnx"
    export_onnx(module, example, path, manifest=manifest)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (100, 150, 3), dtype=np.uint8)
    thermal = rng.integers(28800, 31200, (100, 150)).astype(np.uint16)
    unit = np.clip((thermal.astype(np.float32) - 29000) / 2000, 0, 1).astype(np.float32)
    raw = {"rgb": torch.from_numpy(rgb)[None], "thermal": torch.from_numpy(unit)[None, None]}
    for overlap in (0.25, 12):
        found = tiled_forward(module, raw, size_hw, overlap)[0, 0].numpy()
        with TiledSegmenter(path, "onnxruntime", 1, overlap=overlap, whole_view=False) as segmenter:
            expected = segmenter(rgb=rgb, thermal=thermal).probability
        assert found.std() > 0.1
        assert np.abs(found - expected).max() < 1e-5


def test_mistakes() -> None:
    network = ClassesNet(spec_of()).eval()
    rgb, thermal = images(), images()[:, :1]
    for inputs, said in (
        ({"rgb": rgb, "thermal": thermal[..., 1:]}, "one height and width"),
        ({"rgb": rgb}, "takes rgb and thermal, got rgb"),
        ({}, "takes rgb and thermal, got none"),
        ({"rgb": rgb[0], "thermal": thermal}, "4 axes"),
    ):
        with pytest.raises(InputError, match=said):
            tiled_forward(network, inputs, (64, 64))
    with pytest.raises(InputError, match=r"overlap 0\.8"):
        tiled_forward(network, {"rgb": rgb, "thermal": thermal}, (64, 64), 0.8)
    with pytest.raises(InputError, match="Flatten to give a tensor"):
        tiled_forward(nn.Flatten(), rgb, (64, 64))
