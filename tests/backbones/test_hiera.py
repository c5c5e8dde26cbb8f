from __future__ import annotations

import copy
import importlib.util
import sys

import pytest
import torch
from golden_weights import fill, mean_and_std, noise_image

from differseg.authors_names import sam2_name
from differseg.backbones.hiera import create_hiera_trunk
from differseg.backbones.hiera_static import WindowGrid
from differseg.errors import InputError, MissingComponentError
from differseg.models.deployment import lowered_for_export

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"
)

# Mean and standard deviation of the four stages, section 8 of the specification.
GOLDEN = {
    ("tiny", 448): (
        *(-0.006597, 1.006504, 0.267280, 0.233158),
        *(0.230648, 0.370235, 0.083204, 0.292195),
    ),
    ("tiny", 512): (
        *(-0.006087, 1.007184, 0.267272, 0.232892),
        *(0.230011, 0.366366, 0.084497, 0.289278),
    ),
    ("small", 512): (
        *(-0.006087, 1.007184, 0.267272, 0.232892),
        *(0.209649, 0.418157, 0.117061, 0.297278),
    ),
    ("base_plus", 512): (
        *(0.004231, 1.011773, 0.255875, 0.253610),
        *(0.181770, 0.477468, 0.065843, 0.299389),
    ),
    ("large", 512): (
        *(0.006152, 1.012792, 0.262758, 0.306784),
        *(0.187568, 0.702397, 0.048841, 0.344598),
    ),
}


@pytest.fixture(scope="module")
def tiny():
    """A tiny trunk with channel-frequency adapters and noise for weights, in float64."""
    trunk = create_hiera_trunk("tiny", "fft").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in trunk.state_dict().values():
            value.normal_(std=0.05, generator=generator)
    return trunk.double()


@pytest.mark.parametrize(
    ("size", "side"),
    [
        ("tiny", 448),
        ("tiny", 512),
        ("small", 512),
        ("base_plus", 512),
        pytest.param("large", 512, marks=pytest.mark.slow),
    ],
)
def test_golden_values_of_the_bare_trunk(size, side):
    trunk = create_hiera_trunk(size, None).eval()
    fill(trunk, sam2_name)
    with torch.no_grad():
        maps = trunk(noise_image(1, 3, (side, side)))
    got = [value for stage in maps for value in mean_and_std(stage)]
    # Six digits are printed (5e-7); float32 moves them by less than as much again.
    assert got == pytest.approx(GOLDEN[size, side], abs=1e-6)


@pytest.mark.parametrize("side_hw", [(96, 160), (224, 224)], ids=["padded", "fits"])
def test_lowered_trunk_computes_the_same(tiny, side_hw):
    image = noise_image(3, 3, side_hw).double().repeat(2, 1, 1, 1)
    image[1] *= -1
    lowered = lowered_for_export(tiny, side_hw)
    with torch.no_grad():
        for got, expected in zip(lowered(image), tiny(image), strict=True):
            assert got.shape == expected.shape
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def test_maps_have_strides_4_to_32(tiny):
    with torch.no_grad():
        maps = tiny(torch.zeros(2, 3, 64, 96, dtype=torch.float64))
    assert tiny.channels == (96, 192, 384, 768)
    shapes = [(2, 96, 16, 24), (2, 192, 8, 12), (2, 384, 4, 6), (2, 768, 2, 3)]
    assert [tuple(level.shape) for level in maps] == shapes


@pytest.mark.parametrize(
    ("size", "adapter", "frozen", "trained"),
    [
        ("tiny", None, 0, 26_849_472),
        ("small", None, 0, 33_947_328),
        ("base_plus", None, 0, 68_675_712),
        ("large", None, 0, 212_149_296),
        ("large", "linear", 212_149_296, 1_714_416),
        ("large", "fft", 212_149_296, 4_275_216),
    ],
)
def test_parameter_counts(size, adapter, frozen, trained):
    with torch.device("meta"):
        trunk = create_hiera_trunk(size, adapter)
    counts = {True: 0, False: 0}
    for parameter in trunk.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    assert counts == {False: frozen, True: trained}


@pytest.mark.parametrize("adapter", ["linear", "fft"])
def test_only_adapters_learn(adapter):
    trunk = create_hiera_trunk("tiny", adapter)
    sum(level.square().mean() for level in trunk(noise_image(1, 3, (64, 64)))).backward()
    learned = {key for key, value in trunk.named_parameters() if value.grad is not None}
    assert learned == {key for key, _ in trunk.named_parameters() if ".adapter." in key}
    assert all(torch.isfinite(value.grad).all() for value in map(trunk.get_parameter, learned))


def test_size_that_is_no_multiple_of_32_is_refused(tiny):
    with pytest.raises(InputError, match=r"480x500 px.*multiples of 32, such as 480x512"):
        tiny(torch.zeros(1, 3, 480, 500, dtype=torch.float64))


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="'huge' is unknown; choose tiny, small, base_plus, large"):
        create_hiera_trunk("huge", None)
    with pytest.raises(InputError, match="'lora' is unknown; choose linear, fft or None"):
        create_hiera_trunk("tiny", "lora")


def test_missing_timm_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'differseg\[timm\]'"):
        create_hiera_trunk("tiny", None)


def test_torchvision_of_another_build_is_explained(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "timm":
                raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingComponentError, match=r"nms does not exist.*one package index") as e:
        create_hiera_trunk("tiny", None)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("grid_hw", "window_hw"), [((4, 6), (2, 3)), ((5, 7), (4, 4)), ((3, 5), (0, 0))]
)
def test_windows_against_a_loop(grid_hw, window_hw):
    tokens = torch.arange(2 * grid_hw[0] * grid_hw[1] * 3.0).reshape(2, *grid_hw, 3) + 1
    grid = WindowGrid(grid_hw, window_hw)
    windows = grid.split(tokens)
    rows, columns = window_hw if any(window_hw) else grid_hw
    expected = []
    for image in tokens:
        for top in range(0, grid_hw[0], rows):
            for left in range(0, grid_hw[1], columns):
                window = torch.zeros(rows, columns, 3)
                part = image[top : top + rows, left : left + columns]
                window[: part.shape[0], : part.shape[1]] = part
                expected.append(window.reshape(-1, 3))
    assert torch.equal(windows, torch.stack(expected))
    assert torch.equal(grid.join(windows), tokens)


def test_lowering_leaves_the_trunk_as_it_was(tiny):
    before = copy.deepcopy(tiny.state_dict())
    lowered_for_export(tiny, (64, 64))
    after = tiny.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_exported_trunk_is_plain_arithmetic(tmp_path):
    onnx = pytest.importorskip("onnx")
    export_onnx = pytest.importorskip("differseg.export.exporter").export_onnx
    trunk = create_hiera_trunk("tiny", "fft").eval()
    fill(trunk, lambda key: sam2_name(key) or key)
    lowered = lowered_for_export(trunk, (224, 224))
    result = export_onnx(
        lowered,
        {"image": noise_image(1, 3, (224, 224))},
        tmp_path / "trunk.onnx",
        output_names=["s4", "s8", "s16", "s32"],
    )
    assert result.max_error <= 1e-5
    graph = onnx.load(tmp_path / "trunk.onnx").graph
    expected = {"Add", "Conv", "Div", "Erf", "LayerNormalization", "MatMul", "MaxPool", "Mul"}
    expected |= {"Reshape", "Sigmoid", "Softmax", "Split", "Sub", "Transpose"}
    assert {node.op_type for node in graph.node} <= expected
