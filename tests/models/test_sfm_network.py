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
HOSTS = [
    "sfm-resnet50",
    "sfm-segnext",
    pytest.param("sfm-convnext", marks=NEEDS_TIMM),
    pytest.param("sfm-swin", marks=NEEDS_TIMM),
]

STEPS = 150


def on_meta(name, **config):
    with torch.device("meta"):
        return create_model(name, **config)


def with_noise(model):
    """Statistics as after training, and samplers that see something: nothing is 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("running_mean"):
                value.normal_(0, 0.3, generator=generator)
    return model.eval()


def image(size_hw, batch=1):
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(batch, 3, size_hw[0] // 8, size_hw[1] // 8, generator=generator)
    return nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")


@pytest.mark.parametrize("name", ["sfm-edge", *HOSTS])
def test_outputs_have_the_input_size(name):
    model = on_meta(name)
    channels = model.spec.logit_channels
    x = torch.empty(2, 3, 128, 192, device="meta")
    assert {k: tuple(y.shape) for k, y in model.eval()(x).items()} == {
        "logits": (2, channels, 128, 192)
    }
    trained = model.train()(x)
    assert trained["logits"].shape == (2, channels, 128, 192)
    sides = 0 if name == "sfm-edge" else 1
    assert [tuple(y.shape) for y in trained["aux"]] == sides * [(2, channels, 128, 192)]


@pytest.mark.parametrize("name", ["sfm-edge", *HOSTS])
def test_every_level_is_taken_before_its_own_warp(name):
    torch.manual_seed(0)
    model = with_noise(create_model(name))
    with torch.no_grad():
        levels, displacements = model.modulated(image((96, 128)))
        grids = [(96 // 2 ** (k + 2), 128 // 2 ** (k + 2)) for k in range(4)]
        assert [tuple(y.shape[1:]) for y in levels] == [
            (c, *grid) for c, grid in zip(model.trunk.channels, grids, strict=True)
        ]
        assert [tuple(d.shape[1:]) for d in displacements] == [(2, *grid) for grid in grids[:3]]
        warped, displacement, _ = model.samplers[1](levels[1])
        torch.testing.assert_close(displacement, displacements[1])
        torch.testing.assert_close(model.trunk.stage(2, warped), levels[2])


@pytest.mark.parametrize("name", ["sfm-edge", *HOSTS])
def test_staged_trunks_are_their_trunks(name):
    """Without samplers, the stages one after another are what the whole trunk computes."""
    torch.manual_seed(0)
    trunk = with_noise(create_model(name)).trunk
    x, levels = image((64, 96)), []
    with torch.no_grad():
        y = x
        for number in range(4):
            y = trunk.stage(number, y)
            levels.append(y)
        if name in ("sfm-convnext", "sfm-swin"):
            expected = levels_of_timm(name, trunk, x)
        else:
            expected = trunk(x)
    for got, level in zip(levels, expected, strict=True):
        torch.testing.assert_close(got, level)


def levels_of_timm(name, trunk, x):
    import timm

    options = {"pretrained": False, "num_classes": 0}
    if name == "sfm-swin":
        source = timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=(64, 96), always_partition=True, **options
        )
    else:
        source = timm.create_model("convnext_tiny", **options)
    missing, unexpected = source.eval().load_state_dict(trunk.state_dict(), strict=False)
    assert unexpected == []
    assert all(key.startswith(("norm.", "head.")) for key in missing)
    return source.forward_intermediates(x, intermediates_only=True)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 3, 100, 128), "multiples of 32, got 100x128"),
        ((1, 4, 96, 128), "expected (N, 3, H, W)"),
        ((1, 3, 64, 128), "expected H and W above radius=5"),
    ],
)
def test_wrong_inputs_are_refused_in_one_line(shape, text):
    model = on_meta("sfm-edge").eval()
    with pytest.raises(InputError) as caught:
        model(torch.empty(shape, device="meta"))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"backbone": "vgg"}, "backbone: expected one of 'edge', 'resnet50'"),
        ({"classes": "coco"}, "classes: expected one of 'binary', 'ade20k', 'cityscapes'"),
        ({"attention": "edge"}, "attention: expected one of 'high-pass', 'semantic'"),
        ({"size_hw": (480, 650)}, "size_hw: expected 2 positive multiples of 32"),
        ({"clases": "binary"}, "no setting 'clases'; did you mean 'classes'?"),
    ],
)
def test_mistakes_in_the_settings_are_named(config, text):
    with pytest.raises(InputError) as caught:
        create_model("sfm", **config)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_change_classes_and_attention():
    edge = on_meta("sfm-edge", classes="cityscapes", attention="semantic")
    assert [c.name for c in edge.spec.classes][:3] == ["road", "sidewalk", "building"]
    assert edge.spec.classes[18].color_rgb == (119, 11, 32)
    assert not any("high_pass" in key for key in edge.state_dict())
    assert len(on_meta("sfm-edge", classes=["floor", "wall", "door"]).spec.classes) == 3
    assert any("high_pass" in key for key in on_meta("sfm-edge").state_dict())


@pytest.mark.parametrize("name", ["sfm-edge", "sfm-segnext"])
def test_training_reaches_every_parameter(name):
    torch.manual_seed(0)
    model = create_model(name).train()
    outputs = model(image((128, 160), batch=2))
    sum(y.square().mean() for y in (outputs["logits"], *outputs["aux"])).backward()
    idle = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # The same everywhere in front of a softmax over all places or over a normalisation.
    assert {n for n in idle if not n.endswith("attention.predict.bias")} == set()


class Logits(nn.Module):
    """The network with one tensor as its output."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, rgb):
        return self.network(rgb)["logits"]


def export_lowered(name, size_hw, path):
    """Export the form for export, compare it with the network, count the nodes."""
    torch.manual_seed(0)
    model = with_noise(create_model(name))
    lowered = Logits(lowered_for_export(model, size_hw))
    x = image(size_hw)
    with torch.no_grad():
        expected, got = model(x)["logits"], lowered(x)
    limit = 1e-4 * float(expected.abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=limit)
    result = export_onnx(lowered, {"rgb": x}, path, output_names=["logits"])
    assert result.max_error <= limit
    report = check(path, "rtx1", real=rtx.is_available())
    assert report.passed, report.reasons()
    graph = onnx.load(path).graph
    return Counter(n.op_type for n in graph.node), {
        k for k, v in report.targets.items() if v == "no"
    }


def test_edge_network_exports_and_builds_everywhere(tmp_path):
    found, refusing = export_lowered("sfm-edge", (96, 128), tmp_path / "edge.onnx")
    assert refusing == set()
    # Each of three samplers reads its map; undoing it takes ten steps, the first of which starts
    # at rest and reads nothing, and then the map.
    assert found["GridSample"] == 3 * (1 + 9 + 1)
    assert not {"ScatterND", "Shape", "BatchNormalization", "If", "Loop"} & set(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
def test_hosts_export_and_build(name, tmp_path):
    found, refusing = export_lowered(name, (96, 160), tmp_path / "network.onnx")
    # LayerNormalization came with opset 17, which TensorRT 8.5 does not read.
    assert refusing == ({"jetpack5", "trt8.5"} if found["LayerNormalization"] else set())
    assert not {"ScatterND", "Shape", "If", "Loop"} & set(found)


@pytest.mark.slow
def test_edge_network_overfits_four_scenes_and_exports(tmp_path):
    torch.manual_seed(0)
    x = image((128, 160), batch=4)
    mask = (x[:, :1] > 0.3).float()
    model = create_model("sfm-edge").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    losses = []
    for _ in range(STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x)["logits"], mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
    displacement = model.modulated(x)[1][0]
    assert displacement[:, :, 1:-1, 1:-1].abs().mean() > 1e-3
    lowered = Logits(lowered_for_export(model.eval(), (128, 160)))
    result = export_onnx(lowered, {"rgb": x[:1]}, tmp_path / "f.onnx", output_names=["logits"])
    with torch.no_grad():
        assert result.max_error <= 1e-4 * float(model(x)["logits"].abs().max())
