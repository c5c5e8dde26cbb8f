from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import InputError
from differseg.export import check, export_onnx, rtx
from differseg.losses import structure_loss
from differseg.models import create_model
from differseg.models.deployment import DeploymentModule, Normalize, lowered_for_export

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(64, 96), (96, 32)]
STANDARD = {
    *("Abs", "Add", "Cast", "Concat", "Conv", "DepthToSpace", "Div", "Erf", "Gemm", "MatMul"),
    *("MaxPool", "Mul", "ReduceMean", "Relu", "Resize", "Sigmoid", "Sub", "Transpose"),
    *("Unsqueeze", "LayerNormalization", "ReduceSum", "Reshape", "Softmax", "Split", "Sqrt"),
}
"""What both graphs consist of: no transform, nothing that only some engines have."""


def edge():
    torch.manual_seed(0)
    return create_model("fsanet-edge")


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_eval_gives_logits_of_the_input_size(size_hw):
    with torch.no_grad():
        outputs = edge().eval()(noise(2, 3, *size_hw))
    assert list(outputs) == ["logits"]
    assert outputs["logits"].shape == (2, 1, *size_hw)
    assert outputs["logits"].isfinite().all()


@pytest.mark.parametrize("name", ["fsanet", "fsanet-edge"])
def test_training_adds_three_side_outputs(name):
    with torch.device("meta"):
        model = create_model(name).train()
    outputs = model(torch.empty(2, 3, 64, 96, device="meta"))
    assert outputs["logits"].shape == (2, 1, 64, 96)
    assert [tuple(x.shape) for x in outputs["aux"]] == [(2, 1, 64, 96)] * 3


def test_training_reaches_every_parameter():
    model = edge().train()
    outputs = model(noise(2, 3, 64, 96))
    sum(x.square().mean() for x in (outputs["logits"], *outputs["aux"])).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_forward_all_gives_the_training_outputs_in_eval_mode():
    model, image = edge().eval(), noise(2, 3, 64, 96)
    with torch.no_grad():
        everything = model.forward_all(image)
        torch.testing.assert_close(everything[0], model(image)["logits"])
    assert [tuple(x.shape) for x in everything] == [(2, 1, 64, 96)] * 4


def test_the_mask_depends_on_the_high_pass_image():
    model, image = edge().eval(), noise(1, 3, 64, 96)
    with torch.no_grad():
        seen = model(image)["logits"]
        model.high_pass.register_forward_hook(lambda module, inputs, output: 0 * output)
        assert not torch.allclose(seen, model(image)["logits"])


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(1, 1, 64, 64)], "'rgb': expected (N, 3, H, W), got (1, 1, 64, 64)"),
        ([(1, 3, 65, 64)], "multiples of 32, got 65x64; resize"),
        ([(1, 3, 64, 64), (1, 1, 64, 64)], "expected 1 input(s), got 2"),
    ],
)
def test_wrong_inputs_are_refused_in_one_line(shapes, text):
    with pytest.raises(InputError) as caught:
        edge().eval()(*(torch.zeros(shape) for shape in shapes))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_raw_frames_are_refused():
    with pytest.raises(InputError, match=r"floating point, got torch\.uint8; raw frames go to"):
        edge().eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "config", "text"),
    [
        ("fsanet", {"backbone": "pvt_v2_b9"}, "backbone: expected one of 'edge', 'pvt_v2_b2'"),
        ("fsanet-edge", {"size_hw": (480, 650)}, "size_hw: expected 2 positive multiples of 32"),
        ("fsanet-egde", {}, "did you mean 'fsanet-edge'?"),
    ],
)
def test_mistakes_in_the_settings_are_named(name, config, text):
    with pytest.raises(InputError) as caught:
        create_model(name, **config)
    assert text in str(caught.value)


def export_and_build(model, size_hw, path, refusing=frozenset()):
    """Export with input and output of the camera, at one size; returns the operators."""
    module = DeploymentModule(model)
    example = module.raw_inputs_example(size_hw)
    result = export_onnx(lowered_for_export(module, size_hw), example, path)
    assert result.max_error is not None
    assert result.max_error < 1e-5
    report = check(path, "jetpack6", real=rtx.is_available())
    assert report.passed, report.reasons()
    assert {name for name, level in report.targets.items() if level == "no"} == refusing
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_edge_network_exports_and_builds_everywhere(tmp_path):
    operators = export_and_build(edge(), (96, 128), tmp_path / "f.onnx")
    assert set(operators) <= STANDARD
    assert operators["MatMul"] == 4  # the high-pass image


@pytest.mark.slow
def test_authors_network_exports_and_builds_everywhere(tmp_path):
    torch.manual_seed(0)
    operators = export_and_build(
        create_model("fsanet"),
        (256, 320),
        tmp_path / "f.onnx",
        refusing={"jetpack5", "trt8.5"},  # LayerNormalization came with TensorRT 8.6
    )
    assert set(operators) <= STANDARD


def test_one_file_serves_any_batch(tmp_path):
    import onnxruntime

    model, path = edge().eval(), tmp_path / "f.onnx"
    lowered = lowered_for_export(Logits(model), (64, 96))
    export_onnx(lowered, {"rgb": noise(2, 3, 64, 96)}, path, dynamic_batch=True)
    images = noise(3, 3, 64, 96)
    got = onnxruntime.InferenceSession(path).run(None, {"rgb": images.numpy()})[0]
    with torch.no_grad():
        expected = model(images)["logits"].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.ptp(expected))


class Logits(torch.nn.Module):
    """The network's output alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, rgb):
        return self.model(rgb)["logits"]


@pytest.mark.slow
def test_four_scenes_are_learnt_by_heart_and_the_result_exports(tmp_path):
    size_hw = (128, 160)
    data = SyntheticDataset(32, seed=3, size_hw=size_hw)
    samples = [data[index] for index in range(0, 32, 8)]
    model = edge().train()
    planes = np.stack([s["rgb"] for s in samples]).transpose(0, 3, 1, 2) / 255
    images = Normalize(model.spec)({"rgb": torch.from_numpy(planes).float()})["rgb"]
    masks = torch.from_numpy(np.stack([s["mask"] for s in samples]))[:, None].float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(200):
        outputs = model(images)
        # The authors' weights; a side output of 4x5 pixels cannot draw the masks, the output can.
        main, *side = (structure_loss(x, masks) for x in (outputs["logits"], *outputs["aux"]))
        losses.append(main.item())
        if losses[-1] < losses[0] / 10:
            break
        optimizer.zero_grad()
        (0.7 * main + 0.1 * sum(side)).backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 10, (len(losses), losses[0], losses[-1])
    export_and_build(model, size_hw, tmp_path / "f.onnx")
