from __future__ import annotations

import importlib.util
from collections import Counter

import onnx
import pytest
import torch
from torch import nn

from differseg.errors import InputError
from differseg.export import check, export_onnx, rtx
from differseg.models import create_model
from differseg.models.deployment import lowered_for_export

pytestmark = pytest.mark.usefixtures("one_thread")

NEEDS_TIMM = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"
)
AUTHORS = [
    f"rgbt-fusion-{size}-{dataset}"
    for size in ("nano", "tiny", "base")
    for dataset in ("mfnet", "pst900")
]


def on_meta(name, **config):
    with torch.device("meta"):
        return create_model(name, **config)


def meta_inputs(size_hw, batch=1):
    return [torch.empty(batch, channels, *size_hw, device="meta") for channels in (3, 1)]


@NEEDS_TIMM
@pytest.mark.parametrize("name", AUTHORS)
def test_output_and_side_outputs_have_the_input_size(name):
    model = on_meta(name)
    spec = model.spec
    expected = (2, len(spec.classes), *spec.size_hw)
    inputs = meta_inputs(spec.size_hw, batch=2)
    evaluated = model.eval()(*inputs)
    assert {key: tuple(x.shape) for key, x in evaluated.items()} == {"logits": expected}
    trained = model.train()(*inputs)
    assert trained["logits"].shape == expected
    assert [tuple(x.shape) for x in trained["aux"]] == 5 * [expected]


@NEEDS_TIMM
@pytest.mark.parametrize(
    ("dataset", "grids"),
    [
        ("mfnet", [(120, 160), (60, 80), (30, 40), (15, 20)]),
        ("pst900", [(180, 320), (90, 160), (45, 80), (22, 40)]),
    ],
)
def test_grids_of_the_specification(dataset, grids):
    model = on_meta(f"rgbt-fusion-nano-{dataset}").eval()
    shapes = {}

    def watch(name):
        return lambda module, inputs, y: shapes.__setitem__(name, tuple(y.shape[1:]))

    for part in ("fusions", "decoder.laterals", "decoder.halvings", "decoder.bottom_up"):
        for index, module in enumerate(model.get_submodule(part)):
            module.register_forward_hook(watch((part, index)))
    for part in ("join.mix", "join.blend", "head"):
        model.decoder.get_submodule(part).register_forward_hook(watch(part))
    model(*meta_inputs(model.spec.size_hw))
    widths = (80, 160, 320, 640)
    for index, (width, grid) in enumerate(zip(widths, grids, strict=True)):
        assert shapes["fusions", index] == (width, *grid)
        assert shapes["decoder.laterals", index] == (80, *grid)
    for index, grid in enumerate(grids[1:]):
        assert shapes["decoder.bottom_up", index] == (80, *grid)
    # 45 rows halve to 23; the pyramid has 22.
    assert shapes["decoder.halvings", 2] == (80, 15 if dataset == "mfnet" else 23, grids[3][1])
    assert shapes["join.mix"] == (160, *grids[0])
    assert shapes["head"] == (9 if dataset == "mfnet" else 5, *grids[0])


@NEEDS_TIMM
@pytest.mark.parametrize("size_hw", [(32, 32), (33, 47), (100, 130)], ids=str)
def test_any_size_from_32_runs(size_hw):
    model = on_meta("rgbt-fusion-nano-mfnet").eval()
    assert model(*meta_inputs(size_hw))["logits"].shape == (1, 9, *size_hw)


@NEEDS_TIMM
@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(1, 3, 64, 64)], "expected 2 input(s), got 1; call the network as model(rgb, thermal)"),
        ([(1, 3, 64, 64), (1, 3, 64, 64)], "'thermal': expected (N, 1, H, W)"),
        ([(1, 3, 64, 64), (1, 1, 64, 96)], "'thermal': expected the batch and size of 'rgb'"),
        ([(1, 3, 31, 64), (1, 1, 31, 64)], "must be at least 32, got 31x64; resize"),
    ],
)
def test_wrong_inputs_are_refused_in_one_line(shapes, text):
    model = on_meta("rgbt-fusion-nano-mfnet").eval()
    with pytest.raises(InputError) as caught:
        model(*(torch.empty(shape, device="meta") for shape in shapes))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"backbone": "small"}, "backbone: expected one of 'edge', 'nano', 'tiny', 'base'"),
        ({"dataset": "mfn"}, "dataset: expected one of 'mfnet', 'pst900'; got 'mfn'"),
        (
            {"classes": "kitti"},
            "classes: expected one of 'binary', 'ade20k', 'cityscapes', 'fmb', 'mfnet'",
        ),
        ({"classes": ("car",)}, "2 to 255 different names; got ('car',)"),
        ({"decoder": "unet"}, "decoder: expected one of 'panet', 'fpn'; got 'unet'"),
        (
            {"decoder": "fpn", "deep_supervision": True},
            "deep_supervision: expected one of False; got True",
        ),
        ({"semantic_fusion": 2}, "semantic_fusion: expected one of True, False; got 2"),
        ({"size_hw": (480, 0)}, "size_hw: expected 2 positive multiples of 1"),
        ({"semantic": False}, "no setting 'semantic'; did you mean 'semantic_fusion'?"),
    ],
)
def test_mistakes_in_the_settings_are_named(config, text):
    with pytest.raises(InputError) as caught:
        create_model("rgbt_fusion", **config)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_sets_bring_their_classes_and_thermal_normalisation():
    mfnet = on_meta("rgbt-fusion-edge").spec
    pst900 = on_meta("rgbt-fusion-edge", dataset="pst900", size_hw=(704, 1280)).spec
    assert [c.name for c in mfnet.classes][:3] == ["unlabeled", "car", "person"]
    assert (len(mfnet.classes), len(pst900.classes)) == (9, 5)
    assert pst900.classes[4].color_rgb == (255, 255, 255)
    assert [(m.mean, m.std) for m in (mfnet.modalities[1], pst900.modalities[1])] == [
        ((0.3616,), (0.0765,)),
        ((0.2266,), (0.2804,)),
    ]


def test_classes_may_be_ones_own():
    named = create_model("rgbt-fusion-edge", dataset="pst900", classes=("floor", "rope", "man"))
    assert [c.name for c in named.spec.classes] == ["floor", "rope", "man"]
    assert named.spec.modalities[1].mean == (0.2266,)
    assert named.spec.size_hw == (704, 1280)
    again = create_model(named.spec.name, **named.spec.config)
    assert again.spec == named.spec
    binary = create_model("rgbt-fusion-edge", classes="binary").train()
    outputs = binary(torch.rand(2, 3, 64, 96), torch.rand(2, 1, 64, 96))
    assert {x.shape[1] for x in (outputs["logits"], *outputs["aux"])} == {1}


@NEEDS_TIMM
def test_without_semantic_fusion_there_are_four_frequency_fusions():
    model = on_meta("rgbt-fusion-nano-mfnet", semantic_fusion=False)
    assert len({type(fusion) for fusion in model.fusions}) == 1
    assert sum(p.numel() for p in model.parameters()) == 43_722_918


@NEEDS_TIMM
def test_top_down_decoder_has_one_side_output_and_the_published_size():
    model = on_meta("rgbt-fusion-nano-mfnet", decoder="fpn").train()
    assert len(model(*meta_inputs((64, 64), batch=2))["aux"]) == 1
    assert sum(p.numel() for p in model.parameters()) == 36_025_731


@NEEDS_TIMM
@pytest.mark.parametrize("decoder", ["panet", "fpn"])
def test_training_reaches_every_parameter(decoder):
    torch.manual_seed(0)
    model = create_model("rgbt-fusion-nano-mfnet", decoder=decoder).train()
    with torch.no_grad():  # GRN starts at zero, where fresh encoders ignore it
        for name, p in model.named_parameters():
            if ".grn." in name:
                p.normal_(std=0.1)
    outputs = model(torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64))
    sum(x.square().mean() for x in (outputs["logits"], *outputs["aux"])).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


class Logits(nn.Module):
    """The network with one tensor as its output."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, rgb, thermal):
        return self.network(rgb, thermal)["logits"]


def with_noise(model):
    """Batch statistics and response normalisation as after training: nothing is 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif ".grn." in name or name.endswith("running_mean"):
                value.normal_(0, 0.3, generator=generator)
    return model.eval()


def random_inputs(size_hw, batch=1):
    generator = torch.Generator().manual_seed(2)
    return {
        name: torch.randn(batch, channels, *size_hw, generator=generator)
        for name, channels in (("rgb", 3), ("thermal", 1))
    }


def export_lowered(name, size_hw, path):
    torch.manual_seed(0)
    model = with_noise(create_model(name))
    lowered = Logits(lowered_for_export(model, size_hw))
    inputs = random_inputs(size_hw)
    with torch.no_grad():
        expected, got = model(*inputs.values())["logits"], lowered(*inputs.values())
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-6 * float(expected.abs().max()))
    result = export_onnx(lowered, inputs, path, output_names=["logits"])
    assert result.max_error <= 2e-6 * float(expected.abs().max())
    graph = onnx.load(path).graph
    return Counter(node.op_type for node in graph.node)


def assert_nvidia_builds(path, unsupported=frozenset()):
    report = check(path, "rtx1", real=rtx.is_available())
    assert report.passed, report.reasons()
    assert {name for name, level in report.targets.items() if level == "no"} == set(unsupported)


def test_edge_network_exports_and_builds_everywhere(tmp_path):
    path = tmp_path / "edge.onnx"
    found = export_lowered("rgbt-fusion-edge", (96, 128), path)
    assert not {"Gather", "Shape", "Transpose", "LayerNormalization"} & set(found)
    assert_nvidia_builds(path)


@NEEDS_TIMM
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size_hw"),
    [("rgbt-fusion-nano-pst900", (64, 96)), ("rgbt-fusion-tiny-mfnet", (100, 130))],
)
def test_authors_networks_export_and_build(name, size_hw, tmp_path):
    path = tmp_path / "network.onnx"
    found = export_lowered(name, size_hw, path)
    assert not {"Gather", "Shape", "Reshape", "BatchNormalization"} & set(found)
    blocks = 2 * (14 if "nano" in name else 18)
    assert found["LayerNormalization"] == blocks + 2 * 4
    assert found["Transpose"] == 2 * found["LayerNormalization"]
    # LayerNormalization came with opset 17, which TensorRT 8.5 does not read.
    assert_nvidia_builds(path, {"jetpack5", "trt8.5"})


@NEEDS_TIMM
@pytest.mark.parametrize("name", ["rgbt-fusion-nano-mfnet", "rgbt-fusion-tiny-mfnet"])
def test_shorter_blocks_are_the_same_function(name):
    torch.manual_seed(0)
    trunk = with_noise(create_model(name)).double().thermal_encoder
    short = lowered_for_export(trunk, (64, 96))
    x = torch.randn(2, 1, 70, 96, dtype=torch.float64)
    with torch.no_grad():
        pairs = zip(trunk(x), short(x), strict=True)
        for expected, got in pairs:
            torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    assert "grn" in str(trunk)
    assert "grn" not in str(short)


def four_scenes(size_hw):
    """Blocks of classes, warm ones and coloured ones, with what each camera sees of them."""
    generator = torch.Generator().manual_seed(3)
    height, width = size_hw
    labels = torch.zeros(4, height, width, dtype=torch.long)
    for image in range(4):
        for _ in range(4):
            row = int(torch.randint(0, height - 24, (1,), generator=generator))
            column = int(torch.randint(0, width - 24, (1,), generator=generator))
            kind = int(torch.randint(1, 9, (1,), generator=generator))
            labels[image, row : row + 24, column : column + 24] = kind
    colors = torch.randn(9, 4, generator=generator)
    seen = colors[labels].permute(0, 3, 1, 2)  # (4, 4, H, W)
    seen = seen + 0.1 * torch.randn(seen.shape, generator=generator)
    return seen[:, :3], seen[:, 3:], labels


def test_four_scenes_are_learned_by_heart_and_the_result_exports(tmp_path):
    torch.manual_seed(0)
    model = create_model("rgbt-fusion-edge").train()
    rgb, thermal, labels = four_scenes((64, 96))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(50):
        outputs = model(rgb, thermal)
        main = nn.functional.cross_entropy(outputs["logits"], labels)
        side = sum(nn.functional.cross_entropy(x, labels) for x in outputs["aux"])
        optimizer.zero_grad()
        (main + 0.1 * side).backward()
        optimizer.step()
        losses.append(main.item())
    assert losses[-1] < losses[0] / 10, losses[::10]
    lowered = Logits(lowered_for_export(model, (64, 96)))
    inputs = {"rgb": rgb[:1], "thermal": thermal[:1]}
    result = export_onnx(lowered, inputs, tmp_path / "f.onnx", output_names=["logits"])
    with torch.no_grad():
        largest = float(lowered(*inputs.values()).abs().max())
    assert result.max_error <= 1e-5 * largest
