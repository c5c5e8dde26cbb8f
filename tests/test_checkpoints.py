from __future__ import annotations

import importlib.util
import json
import os
import pickle
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import differseg.checkpoints as checkpoints
from differseg.authors_names import differseg_name, sam2_name
from differseg.checkpoints import (
    load_checkpoint,
    load_sam2_trunk,
    read_info,
    save_checkpoint,
    shipped_weights,
)
from differseg.errors import CheckpointError, InputError
from differseg.manifest import ThermalPolicy
from differseg.models.registry import create_model
from differseg.schema import to_plain

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"
)


class Caller:
    """Unpickling one calls os.system."""

    def __reduce__(self):
        return os.system, ("exit 0",)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("differseg-edge")


@pytest.fixture
def file(model, tmp_path):
    save_checkpoint(tmp_path / "edge.safetensors", model)
    return tmp_path / "edge.safetensors"


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def refusal(call, *arguments):
    """Return the message of the CheckpointError that a call must raise; it is one line."""
    with pytest.raises(CheckpointError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip_rebuilds_the_network(model, tmp_path):
    path = tmp_path / "run" / "best.safetensors"
    policy = ThermalPolicy("fixed", low_ck=28000, high_ck=31000)
    extra = {
        "thermal_policy": json.dumps(to_plain(policy)),
        "trained_on": "synthetic scenes",
        "epoch": "7",
    }
    save_checkpoint(path, model, extra=extra)
    loaded = load_checkpoint(path)
    assert same(loaded, model)
    assert loaded.spec == model.spec
    info = read_info(path)
    assert (info.model, info.thermal_policy, info.trained_on) == (
        "differseg-edge",
        policy,
        "synthetic scenes",
    )
    assert info.config == model.spec.config
    assert list(tmp_path.rglob("*")) == [path.parent, path]
    beside = tmp_path / "beside.txt"
    beside.touch()
    assert path.stat().st_mode == beside.stat().st_mode  # as readable as any other file


def test_changed_settings_come_back(tmp_path):
    wide = create_model("differseg-rgb-edge", widths=(24, 32, 48, 64))
    save_checkpoint(tmp_path / "wide.safetensors", wide)
    assert same(load_checkpoint(tmp_path / "wide.safetensors"), wide)


def test_failed_save_keeps_the_old_file(model, file, monkeypatch):
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    assert "cannot be written: [Errno 28]" in refusal(save_checkpoint, file, model)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_only_safetensors_are_written(model, tmp_path):
    with pytest.raises(InputError, match=r"written as \.safetensors"):
        save_checkpoint(tmp_path / "model.pth", model)


def test_missing_file_folder_and_suffix(tmp_path):
    assert "there is no such file" in refusal(load_checkpoint, tmp_path / "none.safetensors")
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in refusal(load_checkpoint, tmp_path / "folder.pt")
    assert "got '.onnx'" in refusal(load_checkpoint, tmp_path / "model.onnx")


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999], ids=str)
def test_truncated_safetensors(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert "truncated or damaged at" in refusal(load_checkpoint, file)


def test_text_is_not_a_checkpoint(tmp_path):
    for name, words in (
        ("a.safetensors", "not a safetensors file"),
        ("a.pt", "not a file that torch wrote"),
    ):
        (tmp_path / name).write_text("these are not the weights you are looking for")
        assert words in refusal(load_checkpoint, tmp_path / name)
    (tmp_path / "empty.pth").touch()
    assert "not a file that torch wrote" in refusal(load_checkpoint, tmp_path / "empty.pth")


def test_truncated_torch_file(model, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated" in refusal(load_checkpoint, path, model)


@pytest.mark.parametrize("writer", ["torch", "torch legacy", "pickle 2", "pickle 5"])
def test_pickle_with_code_is_refused_by_name(model, tmp_path, writer, monkeypatch):
    path = tmp_path / "evil.pth"
    content = {"model_state_dict": model.state_dict(), "note": Caller()}
    if writer.startswith("torch"):
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    else:
        path.write_bytes(pickle.dumps({"note": Caller()}, protocol=int(writer[-1])))
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("the pickle was run"))
    message = refusal(load_checkpoint, path, model)
    assert f"wants to call {os.name}.system" in message or "wants to call os.system" in message


def test_whole_module_pickled_is_refused(model, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    message = refusal(load_checkpoint, tmp_path / "module.pt", model)
    assert "torch.nn.modules.linear.Linear" in message


def test_torchscript_is_refused(model, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    assert "TorchScript" in refusal(load_checkpoint, tmp_path / "script.pt", model)


def test_torch_file_without_a_state_dict(model, tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"epoch": 3, "lr": 0.1}, path)
    assert "entry 'epoch' is a int" in refusal(load_checkpoint, path, model)
    torch.save([torch.zeros(2)], path)
    assert "expected a state dict, got a list" in refusal(load_checkpoint, path, model)


def test_entries_of_another_network_name_the_first_and_what_the_file_is(model, file):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    surplus = {f"surplus.{key}": value for key, value in load_file(file).items()}
    info = json.dumps({"schema": 1, "model": "differseg-edge"})
    save_file({**load_file(file), **surplus}, file, metadata={"differseg": info})
    message = refusal(load_checkpoint, file, model)
    assert f"unexpected '{min(surplus)}' and {len(surplus) - 1} more" in message
    assert message.endswith("the file says it is 'differseg-edge'")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_missing_and_unexpected_keys_are_named(model, tmp_path):
    tensors = {**model.state_dict(), "surplus.weight": torch.zeros(1)}
    first = next(iter(tensors))
    del tensors[first]
    torch.save(tensors, tmp_path / "weights.pt")
    message = refusal(load_checkpoint, tmp_path / "weights.pt", model)
    assert f"not of the model 'differseg-edge': missing '{first}', unexpected 'surplus.weight'" in (
        message
    )


def test_shape_mismatch_names_entry_and_both_shapes(file):
    wide = create_model("differseg-edge", widths=(24, 32, 48, 64))
    save_file(load_file(file), file)  # without its metadata
    message = refusal(load_checkpoint, file, wide)
    assert " has shape [" in message
    assert "the model 'differseg-edge' expects [" in message


def settings(config):
    return json.dumps({"schema": 1, "model": "differseg-edge", "config": config})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.to(torch.int8), "holds int8 numbers, the model 'differseg-rgb-edge' expects"),
        (lambda x: x.to(torch.complex64), "holds complex64 numbers"),
        (lambda x: x.to_sparse(), "is torch.sparse_coo; expected a dense tensor"),
        (lambda x: x.to("meta"), "has no values (meta device); expected a dense tensor"),
    ],
    ids=["int8", "complex", "sparse", "meta"],
)
def test_weights_of_another_kind_are_refused(tmp_path, change, words):
    rgb = create_model("differseg-rgb-edge")
    state = {k: change(v) if v.ndim == 4 else v for k, v in rgb.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch on tensors of these kinds
        torch.save(state, tmp_path / "weights.pt")
    before = {key: value.clone() for key, value in rgb.state_dict().items()}
    assert words in refusal(load_checkpoint, tmp_path / "weights.pt", rgb)
    assert all(torch.equal(before[key], value) for key, value in rgb.state_dict().items())


def test_half_precision_weights_load(tmp_path):
    rgb = create_model("differseg-rgb-edge")
    torch.save({k: v.half() for k, v in rgb.state_dict().items()}, tmp_path / "half.pt")
    loaded = load_checkpoint(tmp_path / "half.pt", create_model("differseg-rgb-edge"))
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("running_var", -1.0, "holds -1, expected at least 0"),
        ("running_mean", torch.nan, "holds NaN or infinite numbers"),
    ],
)
def test_numbers_that_no_weight_is_in_a_file_of_others(entry, value, words, tmp_path):
    model = create_model("differseg-edge")
    state = model.state_dict()
    key = next(name for name in state if name.endswith(entry))
    torch.save(state | {key: torch.full_like(state[key], value)}, tmp_path / "a.pt")
    message = refusal(load_checkpoint, tmp_path / "a.pt", create_model("differseg-edge"))
    assert f"'{key}' {words}" in message


def test_keys_that_are_no_names_are_refused(tmp_path):
    torch.save({0: torch.zeros(1)}, tmp_path / "list.pt")
    trunk = torch.nn.Linear(1, 1)
    assert "expected names of weights, got the key 0" in refusal(
        load_sam2_trunk, tmp_path / "list.pt", trunk
    )


def test_metadata_of_the_future_or_damaged(model, file):
    tensors = load_file(file)
    for text, words in (
        ('{"schema": 2, "model": "differseg-edge"}', "metadata schema 2, this differseg reads 1"),
        ('{"schema": 1, "modle": "differseg-edge"}', "did you mean 'model'?"),
        ("{", "metadata 'differseg'"),
        ('{"schema": 1, "model": "differseg-egde"}', "did you mean 'differseg-edge'?"),
        ("[" * 200_000, "nested too deeply"),
        (settings({"name": "x"}), "there is no setting 'name'"),
        (settings({"task": ["rgb"]}), "task: expected one of"),
        (settings({"widths": [8_000_000] * 4}), "widths: expected 4 positive multiples of 8 up to"),
        (settings({"size_hw": [32 * 10**9] * 2}), "size_hw: expected 2 positive multiples of 32"),
    ):
        save_file(tensors, file, metadata={"differseg": text})
        assert words in refusal(load_checkpoint, file)


def test_file_without_metadata_needs_a_model(model, tmp_path):
    path = tmp_path / "bare.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    assert read_info(path) is None
    assert "does not say which model it is" in refusal(load_checkpoint, path)
    other = create_model("differseg-edge")
    assert load_checkpoint(path, other) is other
    assert same(other, model)


def test_no_weights_are_shipped_under_another_name():
    assert shipped_weights("no-such-model") is None


@needs_timm
@pytest.mark.parametrize("adapter", ["linear", "fft"])
@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "bare"])
def test_authors_layout_loads_strictly(adapter, snapshot, tmp_path):
    settings = {"backbone": "hiera_t", "widths": (8, 8, 16, 16), "adapter": adapter}
    source = create_model("differseg", task="rgbt", **settings)
    state = {differseg_name(key): value for key, value in source.state_dict().items()}
    key = {
        "linear": "encoder.blocks.0.prompt_learn.0.weight",
        "fft": "encoder.blocks.11.low_freq_adapter.2.bias",
    }[adapter]
    assert len(state) == len(source.state_dict())
    assert {key, "encoder.pos_embed", "encoder.blocks.3.block.mlp.layers.1.weight"} <= state.keys()
    path = tmp_path / "SAM2-UNet-RGBT-best_mae.pth"
    other = {"epoch": 9, "best_val_mae": 0.02, "optimizer_state_dict": {"state": {}}}
    torch.save({**other, "model_state_dict": state} if snapshot else state, path)

    target = create_model("differseg", task="rgbt", **settings)
    assert not same(source, target)
    assert same(load_checkpoint(path, target), source)
    wrong = create_model(
        "differseg",
        task="rgbt",
        **{**settings, "adapter": {"linear": "fft"}.get(adapter, "linear")},
    )
    message = refusal(load_checkpoint, path, wrong)
    assert "missing 'encoder.blocks.0.adapter." in message
    assert "unexpected 'encoder.blocks.0." in message


@needs_timm
def test_sam2_checkpoint_fills_the_trunk_only(tmp_path):
    from differseg.backbones.hiera import create_hiera_trunk

    source, target = create_hiera_trunk("tiny", None), create_hiera_trunk("tiny", "linear")
    prefix = "image_encoder.trunk."
    state = {prefix + sam2_name(key): value for key, value in source.state_dict().items()}
    assert prefix + "blocks.0.mlp.layers.0.weight" in state
    torch.save({"model": {**state, "memory_encoder.x": torch.zeros(1)}}, tmp_path / "sam2.pt")
    adapters = {k: v.clone() for k, v in target.state_dict().items() if ".adapter." in k}
    load_sam2_trunk(tmp_path / "sam2.pt", target)
    loaded = target.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())
    assert all(torch.equal(loaded[key], value) for key, value in adapters.items())

    del state[prefix + "pos_embed"]
    torch.save({"model": state}, tmp_path / "sam2.pt")
    message = refusal(load_sam2_trunk, tmp_path / "sam2.pt", target)
    assert "missing 'position.coarse'" in message
