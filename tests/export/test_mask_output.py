"""Graphs that give masks: the same decision as the runtime's, and NaN that is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from classes_network import SIZE_HW as CLASSES_HW
from classes_network import classes_module
from small_network import SIZE_HW

from differseg.errors import InputError
from differseg.export import check, rtx
from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.mask_output import MASK, MEAN, with_mask_output
from differseg.export.masks import main, write_masks
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.opset_up import raise_opset
from differseg.export.precision import typed_half
from differseg.manifest import WeightsRecord
from differseg.runtime.decision import most_probable


def feed_of(size_hw: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "rgb": rng.integers(0, 256, (1, *size_hw, 3), np.uint8),
        "thermal": rng.random((1, 1, *size_hw), np.float32),
    }


def outputs_of(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.fixture(scope="module")
def classes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = classes_module()
    path = tmp_path_factory.mktemp("classes") / "classes.onnx"
    manifest = build_manifest(module.spec, CLASSES_HW, weights=WeightsRecord("a test"))
    example = module.raw_inputs_example(CLASSES_HW)
    export_onnx(module, example, path, manifest=manifest, strip="model.", verify=False)
    return path


def test_two_classes_are_decided_by_the_threshold(model_file: Path) -> None:
    model = read_model(model_file)
    masks, feed = with_mask_output(model), feed_of(SIZE_HW)
    found, probability = outputs_of(masks, feed), outputs_of(model, feed)["probability"]
    assert set(found) == {MASK, MEAN}
    assert found[MASK].dtype == np.uint8
    assert found[MASK].shape == probability.shape
    assert np.array_equal(found[MASK], (probability >= 0.5).astype(np.uint8))
    assert 0.05 < found[MASK].mean() < 0.95  # both classes are there
    assert found[MEAN].shape == (1, 1, 1, 1)
    assert found[MEAN] == pytest.approx(probability.mean(), rel=1e-4)


def test_of_several_classes_the_logits_decide(classes_file: Path) -> None:
    model = read_model(classes_file)
    masks, feed = with_mask_output(model), feed_of(CLASSES_HW)
    assert "Softmax" in [node.op_type for node in model.graph.node]
    assert "Softmax" not in [node.op_type for node in masks.graph.node]
    found = outputs_of(masks, feed)
    probability = outputs_of(model, feed)["class_probability"]
    assert np.array_equal(found[MASK][0, 0], most_probable(probability[0]))
    assert len(np.unique(found[MASK])) == 4


def test_the_manifest_says_it(classes_file: Path) -> None:
    manifest = manifest_of(with_mask_output(read_model(classes_file)))
    assert manifest is not None
    mask, mean = manifest.outputs
    assert (mask.kind, mask.shape, mask.dtype) == ("mask", (1, 1, *CLASSES_HW), "uint8")
    assert (mean.kind, mean.shape, mean.dtype) == ("mean", (1, 1, 1, 1), "float32")
    assert manifest.decisions[-1].value == "mask"
    assert manifest.parity is None


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_and_infinity_spoil_the_mean(
    model_file: Path, classes_file: Path, poison: float
) -> None:
    """One number in one place; the mask alone would be a plain background there."""
    for path, size_hw in ((model_file, SIZE_HW), (classes_file, CLASSES_HW)):
        masks, feed = with_mask_output(read_model(path)), feed_of(size_hw)
        feed["thermal"][0, 0, 3, 4] = poison
        found = outputs_of(masks, feed)
        assert not np.isfinite(found[MEAN]).all()
        assert set(np.unique(found[MASK])) <= {0, 1, 2, 3}


@pytest.mark.parametrize("which", ["float16", "opset 19"])
def test_typed_graphs_and_newer_opsets(model_file: Path, which: str) -> None:
    model = read_model(model_file)
    if which == "float16":
        model, _ = typed_half(model, [feed_of(SIZE_HW)], inputs_outputs="fp16")
    else:
        import onnx_ir as ir

        graph = ir.from_proto(model)
        raise_opset(graph)
        model = ir.to_proto(graph)
    masks = with_mask_output(model)
    onnx.checker.check_model(masks, full_check=True)
    feed = feed_of(SIZE_HW)
    if which == "float16":
        feed["thermal"] = feed["thermal"].astype(np.float16)
    probability = outputs_of(model, feed)["probability"].astype(np.float32)
    # On the processor ONNX Runtime leaves out the rounding of an output that a Cast widens again.
    sure = np.abs(probability - 0.5) > (1e-3 if which == "float16" else 0.0)
    decided = (probability >= 0.5).astype(np.uint8)
    assert np.array_equal(outputs_of(masks, feed)[MASK][sure], decided[sure])
    assert sure.mean() > 0.98


@pytest.mark.parametrize("target", ["jetpack5", "jetpack6", "trt11.4"])
def test_every_target_takes_it(model_file: Path, tmp_path: Path, target: str) -> None:
    path = write_masks(model_file, tmp_path / "m.onnx").path
    real = rtx.is_available() and target == "jetpack6"
    report = check(path, target, real=real)
    assert report.passed, report.reasons()


def test_what_has_no_probabilities_is_refused(model_file: Path, tmp_path: Path) -> None:
    masks = with_mask_output(read_model(model_file))
    with pytest.raises(InputError, match="the file has mask, mean; start from"):
        with_mask_output(masks)
    del masks.metadata_props[:]
    with pytest.raises(InputError, match="no differseg manifest"):
        with_mask_output(masks)


def test_the_command_says_what_it_saves(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "g.onnx"
    assert main([str(model_file), "-o", str(out), "--json"]) == 0
    text = capsys.readouterr().out
    assert "0.01 MB leave the device" in text
    assert '"differing": 0' in text
    assert manifest_of(read_model(out)) is not None


def test_a_file_is_not_written_over_itself(model_file: Path) -> None:
    with pytest.raises(InputError, match="is the file itself"):
        main([str(model_file), "-o", str(model_file)])
