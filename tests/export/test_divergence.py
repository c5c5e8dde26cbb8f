"""Layer by layer: every planted fault is found by the name of its node, and nothing else is."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("polygraphy")

from small_network import samples_of
from typed_graphs import (
    changed,
    export_fourier,
    fourier_module,
    half,
    quantised,
    scaled,
    with_huge_factor,
)

import differseg.export
from differseg.cli import main as cli
from differseg.errors import InputError, ModelFileError
from differseg.export.divergence import compare_layers, divergence
from differseg.export.divergence_result import Divergence
from differseg.export.parity_backends import OnnxRunner
from differseg.export.parity_data import load_samples
from differseg.export.parity_runners import TorchRunner, module_side
from differseg.models.deployment import DeploymentModule

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> DeploymentModule:
    return fourier_module()


@pytest.fixture(scope="module")
def files(network: DeploymentModule, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("typed")
    full = export_fourier(network, root / "full.onnx")
    return {
        "full": full,
        "half": half(full, root / "half.onnx"),
        "int8": quantised(network, full, root / "int8.onnx", ["Conv"]),
    }


def in_torch(network: DeploymentModule, path: Path) -> Divergence:
    """The network in PyTorch against a file."""
    file = OnnxRunner(path, threads=1)
    runner = TorchRunner(network, module_side(network, file.manifest), file.inputs)
    return compare_layers(runner, file, samples_of(network, None, 1))


def names(found: Divergence) -> list[str]:
    return [layer.node for layer in found.suspects]


# Forms of one network part nowhere.


def test_typed_forms_of_one_network_have_no_suspect(files: dict[str, Path]) -> None:
    for kind in ("full", "half", "int8"):
        found = divergence(files["full"], files[kind])
        assert found.suspects == (), found.summary()
        assert found.first is None
        assert found.unmatched == ()
        assert {"first.conv/Conv", "head/Conv", "Sigmoid"} <= {x.node for x in found.layers}
        assert "no node stands out" in found.summary()
        largest = found.largest
        assert largest is not None
        low, high = {"full": (0, 1e-12), "half": (1e-5, 2e-3), "int8": (1e-3, 0.1)}[kind]
        assert low <= largest.own_rms <= high


def test_network_in_pytorch_by_its_modules(
    network: DeploymentModule, files: dict[str, Path]
) -> None:
    found = in_torch(network, files["full"])
    assert found.suspects == ()
    # A convolution is compared behind its batch normalisation, a block by its activation.
    modules = {"first.conv/Conv", "first/Relu", "second.conv/Conv", "second/Relu", "head/Conv"}
    assert modules <= {layer.node for layer in found.layers}
    assert any(layer.module == "high" for layer in found.layers)
    assert max(layer.rms for layer in found.layers) < 1e-5
    assert in_torch(network, files["int8"]).suspects == ()


def test_order_of_the_sides(network: DeploymentModule, files: dict[str, Path]) -> None:
    file = OnnxRunner(files["int8"], threads=1)
    runner = TorchRunner(network, module_side(network, file.manifest), file.inputs)
    found = compare_layers(file, runner, samples_of(network, None, 1))
    assert (found.a, found.suspects) == ("int8.onnx", ())
    assert found.layers


# Planted faults.


def test_wrong_weight_is_found(files: dict[str, Path], tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        scaled(model, "second.conv.weight", 1.05)

    bad = changed(files["full"], tmp_path / "bad.onnx", edit)
    found = divergence(files["full"], bad)
    assert names(found) == ["second.conv/Conv"]
    first = found.first
    assert first is not None
    assert (first.op, first.module) == ("Conv", "second.conv")
    assert first.read_rms == 0
    assert first.operands == ("second.conv.weight differs by 5 %",)
    # Everything behind it differs too, and is not blamed.
    behind = {layer.node: layer for layer in found.layers}["head/Conv"]
    assert behind.rms > found.limits.rms
    assert behind.own_rms == 0
    assert "first divergence: second.conv/Conv (Conv)" in found.summary()


def test_wrong_weight_is_found_from_pytorch_and_in_fp16(
    network: DeploymentModule, files: dict[str, Path], tmp_path: Path
) -> None:
    def edit(model: onnx.ModelProto) -> None:
        scaled(model, "second.conv.weight", 1.05)

    assert names(in_torch(network, changed(files["full"], tmp_path / "f.onnx", edit))) == [
        "second.conv/Conv"
    ]
    assert names(divergence(files["full"], changed(files["half"], tmp_path / "h.onnx", edit))) == [
        "second.conv/Conv"
    ]


@pytest.mark.parametrize("factor", [0.1, 20.0])
def test_wrong_scale_of_one_pair_is_found(
    files: dict[str, Path], tmp_path: Path, factor: float
) -> None:
    scale = "first/Relu_output_0_scale"
    bad = changed(files["int8"], tmp_path / "bad.onnx", lambda m: scaled(m, scale, factor))
    for reference in (files["full"], files["int8"]):
        found = divergence(reference, bad)
        first = found.first
        assert first is not None
        assert len(found.suspects) <= 2
        assert first.node == "first/Relu_output_0_DequantizeLinear"
        if reference is files["full"]:
            assert (first.op, first.of, first.module) == ("DequantizeLinear", "first/Relu", "first")
            assert "127 steps" in first.operands[0]


def test_wrong_scale_of_a_weight_is_found(files: dict[str, Path], tmp_path: Path) -> None:
    scale = "head.weight_scale"
    bad = changed(files["int8"], tmp_path / "bad.onnx", lambda m: scaled(m, scale, 3.0))
    first = divergence(files["full"], bad).first
    assert first is not None
    assert first.node == "head/Conv"
    assert first.operands[0].startswith("head.weight differs by 200 %")


def test_overflow_in_fp16_is_found(files: dict[str, Path], tmp_path: Path) -> None:
    full = changed(files["full"], tmp_path / "f.onnx", lambda m: with_huge_factor(m, "second/Relu"))
    found = divergence(full, half(full, tmp_path / "h.onnx"))
    first = found.first
    assert first is not None
    assert first.node == "planted/Mul_1"
    assert first.nonfinite > 0
    assert first.own_rms == np.inf
    assert "fp16 holds 65504" in first.operands[0]
    assert names(found) == ["planted/Mul_1"]
    assert divergence(full, full).suspects == ()


def test_quantised_fourier_transform_is_found(
    network: DeploymentModule, files: dict[str, Path], tmp_path: Path
) -> None:
    bad = quantised(network, files["full"], tmp_path / "bad.onnx", ["MatMul"])
    found = divergence(files["full"], bad)
    assert found.suspects
    # The zero frequency holds all the power, so that the error is small and yet all is lost.
    assert all(layer.module == "high" for layer in found.suspects)
    assert any(layer.own_rms < found.limits.rms for layer in found.suspects)
    first = found.first
    assert first is not None
    assert (first.op, first.of) == ("DequantizeLinear", "high/rfft2/MatMul")
    assert "half of its values are off by more than 100 %" in found.summary()


# How it runs.


def test_chunks_change_nothing_but_the_number_of_runs(
    files: dict[str, Path], tmp_path: Path
) -> None:
    whole = divergence(files["full"], files["int8"])
    parts = divergence(files["full"], files["int8"], chunk_bytes=300_000)
    assert (whole.chunks, whole.runs) == (1, 3)
    assert parts.chunks > 5
    assert parts.runs == 3 * parts.chunks
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.node == other.node
        assert one.rms == pytest.approx(other.rms, rel=1e-9)
        assert one.own_rms == pytest.approx(other.own_rms, rel=1e-9)


def test_nodes_that_one_side_lacks_are_told(files: dict[str, Path], tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        next(n for n in model.graph.node if n.name == "first/Relu").name = "other/Relu"

    found = divergence(files["full"], changed(files["full"], tmp_path / "r.onnx", rename))
    assert {text.split(":")[0] for text in found.unmatched} == {"first/Relu", "other/Relu"}
    assert found.suspects == ()


def test_two_checkpoints_have_no_graph(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"expected one \.onnx file"):
        divergence(checkpoint, checkpoint)


def test_missing_polygraphy_is_named(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.startswith("polygraphy")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "differseg.export.divergence_run", raising=False)
    monkeypatch.delattr(differseg.export, "divergence_run", raising=False)
    monkeypatch.setitem(sys.modules, "polygraphy", None)
    full = str(files["full"])
    assert cli(["parity", full, full, "--limit", "1", "--layers"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("error[E_MISSING]: parity: --layers needs the package 'polygraphy'")
    assert error.count("\n") == 1


def test_graph_whose_operators_nobody_has_is_one_line(
    files: dict[str, Path], tmp_path: Path
) -> None:
    def unknown(model: onnx.ModelProto) -> None:
        next(n for n in model.graph.node if n.name == "second/Relu").domain = "nobody"
        model.opset_import.add(domain="nobody", version=1)

    sound = OnnxRunner(files["full"], threads=1)
    broken = OnnxRunner(files["full"], threads=1)
    broken.side = replace(
        broken.side, source=str(changed(files["full"], tmp_path / "u.onnx", unknown))
    )
    with pytest.raises(ModelFileError, match="cannot run layer by layer") as caught:
        compare_layers(sound, broken, load_samples(sound.inputs, None, 1))
    assert "\n" not in str(caught.value)


def test_command_names_the_node(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(model: onnx.ModelProto) -> None:
        scaled(model, "second.conv.weight", 1.05)

    bad = changed(files["full"], tmp_path / "bad.onnx", edit)
    command = ["parity", str(files["full"]), str(bad), "--limit", "2", "--layers", "--json"]
    assert cli([*command, "--report", str(tmp_path / "r.html")]) == 1
    out = capsys.readouterr().out
    assert "[W]" not in out
    document = json.loads(out.strip().splitlines()[-1])
    assert document["layers"]["first"]["node"] == "second.conv/Conv"
    assert document["layers"]["suspects"] == ["second.conv/Conv"]
    assert document["layers"]["images"] == document["worst_first"][:1]
    assert document["spectrum"]["images"] == 2
    assert [band["distance_px"] for band in document["boundary"]] == [1, 2, 4, 8]
    assert "first divergence: second.conv/Conv" in out
    check = next(c for c in document["checks"] if c["what"] == "nodes at fault")
    assert (check["passed"], check["where"]) == (False, "first: second.conv/Conv")
