"""Every system's edge network layer by layer: PyTorch and its file part nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("polygraphy")

from differseg.export.divergence import compare_layers
from differseg.export.exporter import write_graph
from differseg.export.finish import finish_graph
from differseg.export.manifest_builder import build_manifest, output_spec
from differseg.export.modelfile import append_manifest
from differseg.export.parity_backends import OnnxRunner
from differseg.export.parity_data import load_samples
from differseg.export.parity_runners import TorchRunner, module_side
from differseg.export.trace import trace
from differseg.manifest import WeightsRecord
from differseg.models import create_model, list_models
from differseg.models.deployment import DeploymentModule, lowered_for_export

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

SIZE_HW = (96, 128)
LARGEST_OWN_ERROR = 1e-5  # quoted in docs/parity.md
NAMES = [
    "differseg-edge",
    "fsanet-edge",
    "rgbt-fusion-edge",
    "segnext-freqfusion-edge",
    "segnext-dwt-ff-edge",
    "segnext-dsconv-ff-edge",
    "sfm-edge",
]


def test_every_system_is_held() -> None:
    systems = {info.name.split("-")[0] for info in list_models()}
    assert systems == {name.split("-")[0] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_network_and_file_part_nowhere(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = DeploymentModule(create_model(name))
    path = tmp_path / "edge.onnx"
    graph = trace(
        lowered_for_export(module, SIZE_HW),
        module.raw_inputs_example(SIZE_HW),
        output_names=[output_spec(module.spec, SIZE_HW).name],
    )
    finish_graph(graph, ops="portable", strip="model.")
    write_graph(graph, path)
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("random"))
    append_manifest(path, manifest)
    file = OnnxRunner(path, threads=1)
    runner = TorchRunner(module, module_side(module, file.manifest), file.inputs)
    found = compare_layers(runner, file, load_samples(file.inputs, None, 1))
    assert found.suspects == (), found.summary()
    assert len(found.layers) > 50
    assert len(found.unmatched) < len(found.layers) / 4, found.unmatched
    assert found.largest is not None
    assert found.largest.own_rms < LARGEST_OWN_ERROR
