from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from differseg.cli import main
from differseg.errors import InputError
from differseg.models import create_model, list_models

EDGE = [info.name for info in list_models() if info.name.endswith("-edge")]
AUTHORS = [info.name for info in list_models() if info.name not in EDGE]
INFO = {info.name: info for info in list_models()}
# Their parameters are also counted in test_differseg_sizes.py, which is fast.
SMALLER_HIERAS = ("hiera_t", "hiera_s", "hiera_b_plus")
SLOW = {name for name in AUTHORS if INFO[name].config.get("backbone") in SMALLER_HIERAS}


def build_on_meta(name):
    """The network without storage, and its multiply-adds at its own size."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = create_model(name).eval()
    spec = model.spec
    tensors = [torch.empty(1, m.channels, *spec.size_hw, device="meta") for m in spec.modalities]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*tensors)
    return model, counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in EDGE + AUTHORS],
)
def test_recorded_figures_are_those_of_the_built_network(name):
    if name in AUTHORS and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: pip install 'differseg[timm]'")
    model, gmacs = build_on_meta(name)
    info = INFO[name]
    assert sum(p.numel() for p in model.parameters()) == info.params
    assert gmacs == pytest.approx(info.gmacs, rel=0.003)
    assert model.spec.name == name
    assert model.spec.task == info.task
    assert tuple(m.name for m in model.spec.modalities) == info.inputs
    assert model.spec.size_hw == info.size_hw


@pytest.mark.parametrize("name", EDGE)
def test_edge_networks_keep_within_their_limits(name):
    info = INFO[name]
    assert info.size_hw == (480, 640)
    params, gmacs = (1_950_000, 3.6) if info.system == "differseg" else (6_000_000, 12)
    assert info.params <= params
    assert info.gmacs <= gmacs


def test_a_network_is_rebuilt_from_its_spec():
    model = create_model("differseg-edge", widths=(8, 16, 16, 24), size_hw=[256, 320])
    config = json.loads(json.dumps(model.spec.config))
    again = create_model(model.spec.name, **config)
    assert again.spec == model.spec
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (model, again)]
    assert shapes[0] == shapes[1]


def test_system_name_takes_task_and_backbone():
    spec = create_model("differseg", task="video", backbone="edge").spec
    assert (spec.task, spec.config["backbone"]) == ("video", "edge")
    assert [m.name for m in spec.modalities] == ["rgb", "flow"]


@pytest.mark.parametrize(
    ("name", "config", "text"),
    [
        ("differseg-egde", {}, "no model 'differseg-egde'; did you mean 'differseg-edge'?"),
        ("nothing", {}, "'differseg models' lists them"),
        ("differseg-edge", {"taks": "rgb"}, "no setting 'taks'; did you mean 'task'?"),
        ("differseg-edge", {"task": "rgbx"}, "task: expected one of 'rgb', 'rgbd'"),
        ("differseg-edge", {"backbone": "vit"}, "backbone: expected one of 'edge'"),
        ("differseg-edge", {"adapter": "fft"}, "adapter: expected one of None; got 'fft'"),
        ("differseg", {"adapter": "lora"}, "adapter: expected one of 'linear', 'fft'"),
        ("differseg-edge", {"widths": (8, 16, 24)}, "widths: expected 4 positive multiples of 8"),
        ("differseg-edge", {"widths": (8, 16, 24, 36)}, "got (8, 16, 24, 36)"),
        ("differseg-edge", {"size_hw": (480, 650)}, "size_hw: expected 2 positive multiples of 32"),
    ],
)
def test_mistakes_are_named_in_one_line(name, config, text):
    with pytest.raises(InputError) as caught:
        create_model(name, **config)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_verb_lists_every_network_as_json(capsys):
    assert main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [m["name"] for m in models] == [info.name for info in list_models()]
    keys = {"name", "system", "task", "inputs", "size_hw", "params", "gmacs", "shipped_weights"}
    assert keys <= set(models[0])


def test_verb_prints_a_table_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for info in list_models():
        assert info.name in out
    assert "…" not in out


def test_listing_loads_no_heavy_package():
    code = (
        "import sys, differseg.models.listing; from differseg import list_models; list_models();"
        "print([m for m in ('torch', 'numpy', 'onnx', 'timm', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
