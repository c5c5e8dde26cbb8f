"""DifferSeg's four tasks with SAM 2's four trunks: what is built, recognised and exported."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from golden_weights import fill

from differseg.authors_names import differseg as names
from differseg.authors_names import differseg_name
from differseg.errors import InputError
from differseg.models import create_model, list_models
from differseg.published_models import choose_model

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"),
]

INFO = {
    info.name: info
    for info in list_models()
    if info.system == "differseg" and info.config["backbone"] != "edge"
}
# Entries of the trunk from section 3.1 of the specification, and its blocks.
TRUNKS = {
    "hiera_t": (154, 12),
    "hiera_s": (202, 16),
    "hiera_b_plus": (298, 24),
    "hiera_l": (586, 48),
}
OUTSIDE = {"rgb": 899, "rgbd": 1075, "rgbt": 1075, "video": 1075}
"""Entries outside trunk and adapters: four rfb 90, four heads 9, decoder 503, four dpf 44."""
ADAPTER_ENTRIES = {"linear": 4, "fft": 12}


def test_every_task_is_there_with_every_trunk():
    assert len(INFO) == 16
    pairs = {(info.task, info.config["backbone"]) for info in INFO.values()}
    assert pairs == {(task, trunk) for task in OUTSIDE for trunk in TRUNKS}


@pytest.mark.parametrize("name", INFO)
def test_entries_parameters_and_what_convert_recognises(name):
    info = INFO[name]
    with torch.device("meta"):
        model = create_model(name)
    settings, state = model.spec.config, model.state_dict()
    trunk_entries, blocks = TRUNKS[info.config["backbone"]]
    adapters = blocks * ADAPTER_ENTRIES[settings["adapter"]]
    assert len(state) == trunk_entries + adapters + OUTSIDE[info.task]
    assert sum(p.numel() for p in model.parameters()) == info.params
    found = names.detect({differseg_name(key): tuple(v.shape) for key, v in state.items()})
    assert found["backbone"] == info.config["backbone"]
    assert found["adapter"] == settings["adapter"]
    assert list(found["widths"]) == settings["widths"]
    if info.task in ("rgb", "rgbt"):
        assert choose_model("differseg", found, None, None)[0] == name
    else:  # the same entries for both
        both = ", ".join(sorted(INFO[name.replace(info.task, t)].name for t in ("rgbd", "video")))
        with pytest.raises(InputError, match=rf"fit several tasks \({both}\)"):
            choose_model("differseg", found, None, None)
        assert choose_model("differseg", found, None, info.task)[0] == name
        assert choose_model("differseg", found, name, None)[0] == name


@pytest.mark.slow
@pytest.mark.parametrize("task", ["rgbt", "video"])  # both adapters, one channel and three
def test_tiny_network_exported_equals_pytorch(task, tmp_path):
    from differseg.export import export_onnx
    from differseg.models.deployment import DeploymentModule, lowered_for_export

    network = create_model(f"differseg-{task}-tiny").eval()
    fill(network, differseg_name)
    module = DeploymentModule(network)
    size_hw = (224, 224)
    example = module.raw_inputs_example(size_hw)
    result = export_onnx(lowered_for_export(module, size_hw), example, tmp_path / "tiny.onnx")
    assert result.max_error is not None
    assert result.max_error <= 1e-5
