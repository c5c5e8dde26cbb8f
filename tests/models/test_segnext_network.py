from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.export import export_onnx, rtx
from differseg.export.check import check
from differseg.export.targets import TARGETS
from differseg.models import create_model
from differseg.models.deployment import DeploymentModule, lowered_for_export

pytestmark = pytest.mark.usefixtures("one_thread")

FUSIONS = ("freqfusion", "dwt-ff", "dsconv-ff")
MFNET = ("unlabeled", "car", "person", "bike", "curve", "stop", "rail", "cone", "bump")
SIZE_HW = (64, 96)


def edge(fusion, **config):
    torch.manual_seed(0)
    return create_model(f"segnext-{fusion}-edge", size_hw=SIZE_HW, **config)


def image(batch=1, size_hw=SIZE_HW):
    return torch.randn(batch, 3, *size_hw, generator=torch.Generator().manual_seed(3))


class Logits(nn.Module):
    """The network's logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> Tensor:
        return self.network(rgb)["logits"]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    ("classes", "channels"), [("binary", 1), (MFNET, 9), ("ade20k", 150)], ids=lambda x: str(x)[:8]
)
def test_logits_of_the_input_size(fusion, classes, channels):
    model = edge(fusion, classes=classes).eval()
    assert len(model.spec.classes) == max(2, channels)
    with torch.no_grad():
        outputs = model(image(2))
    assert list(outputs) == ["logits"]
    assert outputs["logits"].shape == (2, channels, *SIZE_HW)
    assert outputs["logits"].isfinite().all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_reaches_every_parameter(fusion):
    model = edge(fusion).train()
    outputs = model(image(2))
    assert outputs["aux"] == []
    outputs["logits"].square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_image_gives_the_same_logits_every_time(fusion):
    model = edge(fusion).eval()
    with torch.no_grad():
        assert torch.equal(model(image())["logits"], model(image())["logits"])


def test_a_network_is_rebuilt_from_its_spec():
    model = edge("dwt-ff", classes=MFNET, attention=True)
    config = json.loads(json.dumps(model.spec.config))
    again = create_model(model.spec.name, **config)
    assert again.spec == model.spec
    assert again.state_dict().keys() == model.state_dict().keys()


def test_only_the_authors_network_attends_by_default():
    assert edge("dwt-ff").decode_head.freqfusions[0].attention is None
    authors = create_model("segnext-dwt-ff")
    assert all(step.attention is not None for step in authors.decode_head.freqfusions)
    assert create_model("segnext-dwt-ff", attention=False).spec.config["attention"] is False


def test_ade20k_has_150_classes_with_colours_of_their_own():
    classes = create_model("segnext-freqfusion").spec.classes
    assert [c.id for c in classes] == list(range(150))
    assert (classes[0].name, classes[12].name, classes[149].name) == ("wall", "person", "flag")
    assert len({c.color_rgb for c in classes}) == 150


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"fusion": "carafe"}, "fusion: expected one of 'freqfusion', 'dwt-ff', 'dsconv-ff'"),
        ({"attention": True}, "attention: expected one of None; got True"),
        ({"classes": "coco"}, "classes: expected one of 'binary', 'ade20k', 'city"),
        ({"classes": ("car", "car")}, "different names; got ('car', 'car')"),
        ({"classes": [f"c{i}" for i in range(256)]}, "2 to 255 different names"),
        ({"size_hw": (480, 650)}, "size_hw: expected 2 positive multiples of 32"),
        ({"direction": "both"}, "direction: expected one of 'sim', 'sim_concat'; got 'both'"),
    ],
)
def test_mistakes_are_named_in_one_line(config, text):
    with pytest.raises(InputError) as caught:
        create_model("segnext-freqfusion", **config)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([(1, 3, 64, 80)], "height and width must be multiples of 32, got 64x80"),
        ([(1, 4, 64, 96)], "'rgb': expected (N, 3, H, W), got (1, 4, 64, 96)"),
        ([(1, 3, 64, 96), (1, 1, 64, 96)], "expected 1 input(s), got 2"),
    ],
)
def test_wrong_inputs_are_refused(tensors, text):
    with pytest.raises(InputError) as caught:
        edge("freqfusion").eval()(*map(torch.zeros, tensors))
    assert text in str(caught.value)


@pytest.fixture(
    scope="module",
    params=[
        "freqfusion",
        "dwt-ff with attention",
        pytest.param("dwt-ff", marks=pytest.mark.slow),
        pytest.param("dsconv-ff", marks=pytest.mark.slow),
    ],
)
def exported(request, tmp_path_factory) -> tuple[nn.Module, Path]:
    """A network of nine classes and the portable file of the form for export."""
    fusion, _, attention = request.param.partition(" ")
    model = edge(fusion, classes=MFNET, **({"attention": True} if attention else {})).eval()
    with torch.no_grad():  # fresh layer scales hide most of the trunk
        for name, value in model.named_parameters():
            if "layer_scale" in name:
                value.fill_(0.5)
    path = tmp_path_factory.mktemp("segnext") / "segnext.onnx"
    lowered = Logits(lowered_for_export(model, SIZE_HW))
    export_onnx(lowered, {"rgb": image()}, path, output_names=["logits"])
    return model, path


def test_export_equals_the_network(exported):
    model, path = exported
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rgb = image(1) * 1.5
    (found,) = session.run(None, {"rgb": rgb.numpy()})
    with torch.no_grad():
        expected = model(rgb)["logits"].numpy()
    assert np.abs(found - expected).max() <= 1e-4 * np.ptp(expected)


def test_exported_graph_has_standard_operators_and_no_random_numbers(exported):
    _, path = exported
    graph = onnx.load(path).graph
    assert {node.domain for node in graph.node} == {""}
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"RandomUniform", "RandomUniformLike", "Loop", "If", "BatchNormalization"}


@pytest.mark.skipif(not rtx.is_available(), reason=f"NVIDIA's parser: {rtx.INSTALL_HINT}")
def test_nvidia_builds_the_exported_graph(exported):
    report = check(exported[1], "rtx1", real=True)
    assert report.rtx is not None
    assert report.rtx.passed, report.rtx.reason
    assert report.passed, report.reasons()
    refusing = {name for name, level in report.targets.items() if level == "no"}
    assert all(TARGETS[name].version < (8, 6) for name in refusing), "LayerNormalization alone"


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
def test_four_images_are_overfitted_and_exported(fusion, tmp_path):
    generator = torch.Generator().manual_seed(0)
    blobs = F.interpolate(torch.randn(4, 1, 4, 6, generator=generator), SIZE_HW, mode="bilinear")
    labels = (blobs > 0).float()
    images = 0.5 * torch.randn(4, 3, *SIZE_HW, generator=generator) + 2 * labels
    model = edge(fusion).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        loss = F.binary_cross_entropy_with_logits(model(images)["logits"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-10:]) < losses[0] / 10
    deployed = DeploymentModule(model)
    raw = deployed.raw_inputs_example(SIZE_HW)
    result = export_onnx(lowered_for_export(deployed, SIZE_HW), raw, tmp_path / "s.onnx")
    assert result.max_error <= 1e-4
