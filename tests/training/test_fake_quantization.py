"""Training with the rounding of an int8 file: the same tensors and codes, and the way back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from classes_network import CLASSES, ClassesNet, spec_of
from safetensors.torch import load_file
from short_runs import SIZE_HW, short_run
from torch import nn
from torch.nn import functional as F

from differseg import create_model
from differseg.backbones.mscan import FoldedBlock
from differseg.calibration.calibrated import Calibrated, family_of, graph_of
from differseg.calibration.dataset import CalibrationSet
from differseg.calibration.placement import place
from differseg.calibration.quantize import quantize
from differseg.calibration.scales import quantized_weight
from differseg.checkpoints import load_checkpoint
from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_dataset import write_sample
from differseg.errors import InputError
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.network_source import load_network
from differseg.export.targets import find_target
from differseg.export.to_onnx import export_model
from differseg.models.base import SegmentationModel
from differseg.models.deployment import Normalize, probability_of
from differseg.models.spec import ModelSpec
from differseg.models.system import shipped_weights
from differseg.options import run_main
from differseg.train import main, train
from differseg.training.fake_quantization import FakeQuantization, _rounded, round_weight
from differseg.training.qdq_file import KernelCall, QdqFile, SumCall, read_qdq_file

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = "differseg-edge"
WEIGHTS = shipped_weights(MODEL)
assert WEIGHTS is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("qat") / "data"
    for number in (*range(4), *range(100, 104)):
        scene = SyntheticScene(seed=8_200_000 + number, night=bool(number % 2))
        write_sample(root, f"{number:05d}D", scene.sample(0.5))
    return root


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 file of the shipped weights."""
    path = tmp_path_factory.mktemp("single") / "edge.onnx"
    export_model(path, checkpoint=WEIGHTS, size=SIZE_HW, limit=1, real=False)
    return path


@pytest.fixture(scope="module")
def int8(single: Path, folder: Path) -> Path:
    """An int8 file in float32, which ONNX Runtime computes as it is written."""
    return write_int8(single, folder, "onnxruntime")


def write_int8(single: Path, folder: Path, target: str, **options: object) -> Path:
    path = single.with_name(f"edge.{target}.onnx")
    quantize(
        single, folder, path, target=target, max_drop=1.0, method="min-max", real=False, **options
    )
    return path


def trained() -> SegmentationModel:
    model = create_model(MODEL, size_hw=SIZE_HW)
    load_checkpoint(WEIGHTS, model)
    return model.eval()


@pytest.mark.parametrize(
    ("target", "levels"), [("onnxruntime", 127), ("jetpack6", 127), ("jetpack5", 63)]
)
def test_a_reader_finds_what_was_placed(single, folder, target, levels):
    file = read_qdq_file(write_int8(single, folder, target, reduce_range=levels == 63))
    placement = place(graph_of(read_model(single)))
    calls = {c.node: c for found in file.kernels.values() for c in found if c.scale is not None}
    assert calls.keys() == placement.kernels.keys()
    assert all(calls[name].per_channel == (k.axis is not None) for name, k in
               placement.kernels.items())  # fmt: skip
    sums = {c.node for found in file.sums.values() for c in found if c.scales != (None, None)}
    assert sums == {node for e in placement.edges.values() for node, _ in e} - calls.keys()
    assert file.levels == levels


def test_all_that_the_file_rounds_is_rounded(int8):
    file = read_qdq_file(int8)
    network = FakeQuantization(trained(), file)
    assert network.skipped == ()
    assert network.kernels == sum(c.scale is not None for v in file.kernels.values() for c in v)
    assert network.sums == sum(
        s is not None for v in file.sums.values() for c in v for s in c.scales
    )
    assert network.sums > 5


def run_unchanged(path, samples) -> np.ndarray:
    """Run a file as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    return np.concatenate([session.run(None, sample.arrays)[0] for sample in samples])


def masks(network, model, samples) -> np.ndarray:
    normalize = Normalize(model.spec, from_bytes=True)
    found = []
    for sample in samples:
        planes = {name: torch.from_numpy(array) for name, array in sample.arrays.items()}
        planes["rgb"] = planes["rgb"].permute(0, 3, 1, 2).float()
        planes = {part.name: planes[part.name] for part in model.spec.modalities}
        with torch.inference_mode():
            logits = network(*normalize(planes).values())["logits"]
        found.append(probability_of(model.spec, logits).numpy())
    return np.concatenate(found)


def test_the_network_computes_what_the_file_does(single, int8, folder):
    """To within what the order of sums does to codes on the edge between two."""
    manifest = manifest_of(read_model(single))
    samples = list(CalibrationSet.open(folder, manifest.inputs, 6, label_rule="none",
                                       classes=manifest.classes).samples())  # fmt: skip
    file = run_unchanged(int8, samples)
    model = trained()
    exact = masks(model, model, samples)
    rounded = masks(FakeQuantization(model, read_qdq_file(int8)), model, samples)
    far = np.abs(file - exact).mean()
    assert np.abs(rounded - file).mean() < 0.4 * far
    assert np.abs(rounded - exact).mean() > 0.6 * far
    assert np.array_equal(masks(model, model, samples), exact)  # the network itself stays exact


@pytest.fixture(scope="module")
def rewritten(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 file of a network whose blocks the export writes in a shorter form."""
    path = tmp_path_factory.mktemp("rewritten") / "edge.onnx"
    export_model(path, model="segnext-freqfusion-edge", size=SIZE_HW, limit=1, real=False)
    return write_int8(path, folder, "onnxruntime", label_rule="none")


def test_blocks_that_the_export_rewrites_are_rounded_where_they_lie(rewritten, folder, tmp_path):
    model = load_network("segnext-freqfusion-edge", None).module.model
    whole = FakeQuantization(model, read_qdq_file(rewritten))
    single = read_model(rewritten.with_name("edge.onnx"))
    manifest = manifest_of(single)
    images = CalibrationSet.open(folder, manifest.inputs, 4, label_rule="none",
                                 classes=manifest.classes)  # fmt: skip
    calibrated = Calibrated.of(single, manifest, images, 4, method="min-max")
    kernels = calibrated.placement.kernels
    assert (whole.kernels, whole.skipped) == (len(kernels), ())
    # Of one stage alone: through all of them codes on the edge between two make another picture.
    others = frozenset(name for name in kernels if not name.startswith("backbone.block1."))
    path = tmp_path / "part.onnx"
    onnx.save(calibrated.write(family_of(find_target("onnxruntime")), others), path)
    network = FakeQuantization(model, read_qdq_file(path))
    samples = list(images.samples())
    exact, rounded = (masks(form, model, samples) for form in (model, network))
    file = run_unchanged(path, samples)
    assert np.abs(rounded - file).mean() < 0.05 * np.abs(file - exact).mean()


def test_a_weight_is_rounded_with_the_normalisation_that_it_takes_in(rewritten):
    model = create_model("segnext-freqfusion-edge").eval()
    block = model.get_submodule("backbone.block2.0")
    with torch.no_grad():
        block.norm1.weight.uniform_(0.3, 3)
        block.norm1.running_var.uniform_(0.3, 3)
        block.norm1.weight[0] = 0
    network = FakeQuantization(model, read_qdq_file(rewritten))
    path = "backbone.block2.0.attn.proj_1"
    rounded = network._rounded_weight(path, block.attn.proj_1.weight, 0).detach()
    factor = block.norm1.weight / (block.norm1.running_var + block.norm1.eps).sqrt()
    folded = round_weight(FoldedBlock(block).proj_1.weight, 0, 127).detach()
    assert torch.allclose((rounded * factor[:, None, None])[:, 1:], folded[:, 1:], atol=1e-5)


@pytest.mark.parametrize(("axis", "levels"), [(0, 127), (1, 63), (None, 127)])
def test_weights_have_the_codes_of_the_calibration(axis, levels):
    weight = torch.randn(8, 4, 3, 3) * torch.logspace(-3, 1, 8).view(-1, 1, 1, 1)
    codes, scale = quantized_weight(weight.numpy(), axis, reduce_range=levels == 63)
    wide = scale if axis is None else np.moveaxis(scale.reshape(-1, 1, 1, 1), 0, axis)
    rounded = round_weight(weight, axis, levels)
    assert np.allclose(rounded.numpy(), codes * wide, rtol=1e-6, atol=0)


def test_gradients_pass_but_beyond_the_last_code(int8):
    model = trained().train()
    network = FakeQuantization(model, read_qdq_file(int8))
    inputs = [torch.rand(2, part.channels, *SIZE_HW) for part in model.spec.modalities]
    network(*inputs)["logits"].square().mean().backward()
    first = next(path for path in network._axes)
    gradient = model.get_parameter(f"{first}.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0
    x = torch.tensor([0.5, 200.0], requires_grad=True)
    _rounded(x, 1.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 0]


class Shared(ClassesNet):
    """Calls a convolution twice and adds both results."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.again = nn.Conv2d(8, 8, 1)

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        before = self.first(torch.cat(inputs, dim=1))
        middle = self.again(before)
        after = self.again(middle)
        middle += after
        return {"logits": self.last(middle + 1)}


def test_every_call_of_a_module_has_its_own_scale(int8):
    model = Shared(spec_of()).eval()
    kernels = {
        "again": (KernelCall("again/Conv", 0.02, True), KernelCall("again/Conv_1", 0.03, True))
    }
    sums = {"": (SumCall("Add", (0.04, 0.05)),)}
    manifest = dataclasses.replace(
        read_qdq_file(int8).manifest, model=model.spec.name, classes=model.spec.classes
    )
    network = FakeQuantization(model, QdqFile(int8, "", manifest, kernels, sums, 127))
    assert (network.kernels, network.sums, network.skipped) == (2, 2, ())
    inputs = [torch.randn(1, part.channels, *model.spec.size_hw) for part in model.spec.modalities]
    with torch.no_grad():
        weight = round_weight(model.again.weight, 0, 127)
        before = model.first(torch.cat(inputs, dim=1))
        middle = F.conv2d(_rounded(before, 0.02), weight, model.again.bias)
        after = F.conv2d(_rounded(middle, 0.03), weight, model.again.bias)
        expected = model.last(_rounded(middle, 0.04) + _rounded(after, 0.05) + 1)
        assert torch.allclose(network(*inputs)["logits"], expected, atol=1e-6)
        assert torch.equal(network(*inputs)["logits"], network(*inputs)["logits"])


def test_a_sum_that_the_network_does_not_make_is_told(int8):
    file = read_qdq_file(int8)
    path = next(p for p, calls in file.sums.items() if any(c.scales != (None, None) for c in calls))
    twice = {**file.sums, path: file.sums[path] * 2}
    network = FakeQuantization(trained(), dataclasses.replace(file, sums=twice))
    assert network.skipped == (f"{file.sums[path][0].node}: 1 sums, 2 in the file",)


@pytest.fixture(scope="module")
def run(int8: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "qat"
    train(fine_tuning(out, folder, int8))
    return out


def fine_tuning(out: Path, folder: Path, int8: Path, **changes: object):
    return short_run(
        out, out, data=str(folder), init=WEIGHTS, holdout=0.5, batch=2, warmup=0.0, lr=3e-4,
        ema=0.5, synthetic_cache=None, synthetic_size=None, **{"qat": int8, **changes},
    )  # fmt: skip


def test_what_was_learnt_is_written_as_the_file_was(run, int8, folder, tmp_path):
    assert json.loads((run / "config.json").read_text())["qat"].startswith("sha256 ")
    before, after = load_file(WEIGHTS), load_file(run / "best.safetensors")
    assert before.keys() == after.keys()
    again, out = tmp_path / "again.onnx", tmp_path / "again.int8.onnx"
    export_model(
        again, checkpoint=run / "best.safetensors", size=SIZE_HW, data=folder, limit=1, real=False
    )
    quantize(again, folder, out, target="onnxruntime", like=int8, max_drop=1.0)
    old, new = read_qdq_file(int8), read_qdq_file(out)
    assert (old.kernels, old.sums) == (new.kernels, new.sums)
    said = {decision.what: decision for decision in new.manifest.decisions}
    assert f"scales and placement of {int8.name}" in said["int8"].reason


def test_the_same_command_goes_on(run, int8, folder, tmp_path):
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(int8.read_bytes())
    options = fine_tuning(run, folder, moved)
    assert train(options)["completed"]
    with pytest.raises(InputError, match="qat"):
        train(dataclasses.replace(options, qat=None))


def test_a_start_is_judged_with_the_rounding(run, int8, folder, tmp_path):
    train(fine_tuning(tmp_path / "exact", folder, int8, qat=None, epochs=1))
    starts = [
        json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
        for out in (run, tmp_path / "exact")
    ]
    assert [line["epoch"] for line in starts] == [0, 0]
    assert starts[0]["validation"]["iou"] != starts[1]["validation"]["iou"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"init": None}, "--qat: the scales of a file are those of trained weights"),
        ({"qat": Path("no.onnx")}, "--qat no.onnx: there is no such file"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(int8, folder, tmp_path, change, said):
    options = dataclasses.replace(fine_tuning(tmp_path / "run", folder, int8), **change)
    with pytest.raises(InputError, match=said):
        train(options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other"}, "is of other; --model is differseg-edge"),
        ({"classes": CLASSES}, "finds unlabeled, car.*; this run learns background"),
    ],
)
def test_a_file_of_another_network_is_refused(int8, change, said):
    file = read_qdq_file(int8)
    other = dataclasses.replace(file.manifest, **change)
    with pytest.raises(InputError, match=said):
        FakeQuantization(trained(), dataclasses.replace(file, manifest=other))


def test_files_that_round_nothing_are_refused(single, tmp_path, capsys):
    with pytest.raises(InputError, match="nothing in it is int8"):
        read_qdq_file(single)
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    arguments = ["--qat", str(text), "--init", str(WEIGHTS), "--out", str(tmp_path / "run")]
    assert run_main(main, arguments) == 2
    assert "not an ONNX file" in capsys.readouterr().err
