"""The export verb on the networks of the registry, end to end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import differseg
from differseg.checkpoints import save_checkpoint
from differseg.cli import main
from differseg.export import rtx, targets
from differseg.export.exporter import export_onnx
from differseg.export.modelfile import manifest_of, read_model
from differseg.file_hash import sha256_of
from differseg.models.deployment import DeploymentModule, lowered_for_export

REPOSITORY = Path(__file__).resolve().parents[2]
needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The edge network from a checkpoint, exported by the script, with its report."""
    folder = tmp_path_factory.mktemp("edge")
    torch.manual_seed(5)
    extra = {"trained_on": "noise", "thermal_policy": '{"low_percentile": 3.0}'}
    network = differseg.create_model("differseg-edge")
    save_checkpoint(folder / "weights.safetensors", network, extra=extra)
    command = [sys.executable, "export/to_onnx.py", "--checkpoint", folder / "weights.safetensors"]
    command += ["-o", folder / "out" / "edge.onnx", "--json", "--limit", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "out" / "edge.onnx", json.loads(done.stdout.splitlines()[-1])


def test_the_script_reports_what_it_wrote(edge):
    path, report = edge
    assert report["path"] == str(path)
    assert report["sha256"] == sha256_of(path)
    assert report["size_bytes"] == path.stat().st_size
    assert report["check"]["passed"]
    assert report["check"]["targets"]["jetpack5"] == "yes"
    assert set(report["check"]["targets"].values()) == {"yes"}
    assert sum(report["seconds"].values()) > 0


def test_the_manifest_in_the_file_is_complete(edge):
    path, report = edge
    manifest = manifest_of(read_model(path))
    assert manifest is not None
    assert json.loads(manifest.to_json()) == report["manifest"]
    assert manifest.model == "differseg-edge"
    assert (manifest.opset, manifest.precision) == (17, "fp32")
    assert [i.shape for i in manifest.inputs] == [(1, 480, 640, 3), (1, 1, 480, 640)]
    checkpoint = path.parents[1] / "weights.safetensors"
    assert manifest.weights.sha256 == sha256_of(checkpoint)
    assert manifest.weights.trained_on == "noise"
    assert manifest.inputs[1].thermal_policy.low_percentile == 3.0
    assert manifest.parity.max_error <= 1e-5
    assert manifest.parity.images == 1
    decided = {decision.what: decision for decision in manifest.decisions}
    assert {"opset", "batch normalisation", "thermal policy"} <= set(decided)
    assert all(decision.reason for decision in manifest.decisions)
    assert manifest.model_config["backbone"] == "edge"


def test_the_graph_is_clean(edge):
    model = read_model(edge[0])
    onnx.checker.check_model(str(edge[0]), full_check=True)
    ops = {node.op_type for node in model.graph.node}
    assert not ops & {"BatchNormalization", "Identity", "Constant", "Shape", "Dropout", "DFT"}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "freq_decoder.freq_balancer.final_fusion.0/Conv" in names
    assert [n for n in names if re.search(r"node_|val_|aten|model\.", n)] == []
    assert [i.name for i in model.graph.input] == ["rgb", "thermal"]
    assert [o.name for o in model.graph.output] == ["probability"]


@needs_rtx
def test_nvidia_built_an_engine(edge):
    assert edge[1]["check"]["rtx"]["status"] == "built"


def test_no_other_files_are_left(edge):
    assert list(edge[0].parent.iterdir()) == [edge[0]]


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", [(256, 320), (352, 608)], ids=str)
def test_the_edge_network_equals_pytorch_at_other_sizes(tmp_path, size_hw):
    check_equality(differseg.create_model("differseg-edge"), size_hw, tmp_path)


@pytest.mark.slow
def test_a_hiera_network_equals_pytorch(tmp_path):
    pytest.importorskip("timm")
    model = differseg.create_model("differseg", task="rgbt", backbone="hiera_t", size_hw=(224, 224))
    check_equality(model, (224, 224), tmp_path)


def check_equality(model: torch.nn.Module, size_hw: tuple[int, int], folder: Path) -> None:
    """Export with random batch statistics and compare probabilities; NVIDIA must accept it."""
    generator = torch.Generator().manual_seed(2)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0.0, 0.1, generator=generator)
            part.running_var.uniform_(0.8, 1.2, generator=generator)
    deployment = DeploymentModule(model)
    path, inputs = folder / "model.onnx", deployment.raw_inputs_example(size_hw)
    lowered = lowered_for_export(deployment, size_hw)
    export_onnx(lowered, inputs, path, strip="model.", verify=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        expected = deployment(*inputs.values()).numpy()
    assert got.shape == (1, 1, *size_hw)
    assert np.abs(got - expected).max() <= 1e-5
    if rtx.is_available():
        report = rtx.build(path)
        assert report.passed, report.reason


REFUSED = {
    "size": (["--size", "470x650"], 2, "got 470x650 .*nearest: 448x640 or 480x672"),
    "huge size": (["--size", "480000x640"], 2, "up to 8192 .*got 480000x640 .*nearest: 8192x640$"),
    "tiny size": (["--size", "0x32"], 2, "nearest: 32x32"),
    "precision": (["--precision", "int8"], 2, "--precision: invalid choice: .int8."),
    "operators": (["--ops", "native"], 2, "argument --ops: invalid choice: 'native' .*'plugin'"),
    "target": (["--target", "jetpak6"], 2, "did you mean 'jetpack6'"),
    "limit": (["--limit", "0"], 2, "--limit: expected a number of at least 1"),
    "data": (["--data", "/nowhere"], 2, "--data: there is no folder /nowhere"),
    "checkpoint": (["--checkpoint", "/nowhere.safetensors"], 2, "nowhere.safetensors"),
    "unknown flag": (["--sise", "64x64"], 2, "did you mean --size"),
}


@pytest.mark.parametrize(("flags", "status", "said"), REFUSED.values(), ids=list(REFUSED))
def test_a_mistake_is_one_line(tmp_path, capsys, flags, status, said):
    out = tmp_path / "f.onnx"
    assert main(["export", "--model", "differseg-edge", "-o", str(out), *flags]) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_names_the_nearest(tmp_path, capsys):
    assert main(["export", "--model", "diferseg-edge", "-o", str(tmp_path / "f.onnx")]) == 2
    assert "did you mean 'differseg-edge'" in capsys.readouterr().err


def test_neither_model_nor_checkpoint_is_refused(tmp_path, capsys):
    assert main(["export", "-o", str(tmp_path / "f.onnx")]) == 2
    assert "--model" in capsys.readouterr().err


def test_an_unwritable_place_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "f.onnx"
    assert main(["export", "--model", "differseg-edge", "-o", str(out)]) == 2
    captured = capsys.readouterr()
    assert "cannot be written" in captured.err
    assert "build" not in captured.out


@pytest.mark.slow
def test_a_file_that_the_target_refuses_is_left_only_when_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(targets, "_BASE_OPERATORS", targets._BASE_OPERATORS - {"Sigmoid"})
    out = tmp_path / "f.onnx"
    command = ["export", "--model", "differseg-rgb-edge", "-o", str(out), "--no-real"]
    assert main([*command, "--size", "64x96", "--limit", "1", "--keep-failed"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error[E_CHECK]: ")
    assert error.count("\n") == 1
    assert "Sigmoid is not among the operators" in error
    assert manifest_of(read_model(out)) is not None


def test_without_the_package_the_script_says_what_to_install(tmp_path):
    script = tmp_path / "export" / "to_onnx.py"
    script.parent.mkdir()
    script.write_text((REPOSITORY / "export" / "to_onnx.py").read_text())
    code = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'differseg': raise ModuleNotFoundError('no', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "pip install -e '.[export]'" in done.stderr
