"""Published checkpoints, planted with random weights: what is detected, refused, and written."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

import differseg.conversion as conversion
from differseg.authors_names import differseg as differseg_names
from differseg.authors_names import (
    differseg_name,
    fsanet_name,
    is_segnext_constant,
    rgbt_fusion_name,
    segnext_name,
)
from differseg.authors_names.rgbt_fusion import lowpass_kernel
from differseg.authors_names.segnext import segnext_constant
from differseg.checkpoints import load_checkpoint, save_checkpoint
from differseg.cli import main
from differseg.conversion import convert
from differseg.convert import ConvertOptions
from differseg.errors import CheckpointError, InputError
from differseg.models import create_model

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"),
]
SMALL = {"backbone": "hiera_t", "widths": (8, 8, 16, 16)}


def published(model, name):
    return {name(key): value.clone() for key, value in model.state_dict().items()}


def meta_shapes(name, rename, **config):
    with torch.device("meta"):
        state = create_model(name, **config).state_dict()
    return {rename(key): tuple(value.shape) for key, value in state.items()}


def hollow(shapes):
    """Zeros of any size that take no room in a file."""
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


def segnext_constants(dwt=False):
    found = {}
    for p in ("decode_head.freqfusions.0.", "decode_head.freqfusions.1."):
        found |= {p + "hamming_lowpass": torch.ones(1), p + "hamming_highpass": torch.ones(1)}
        half = torch.tensor([-0.25, 0.25])
        grid = torch.stack(torch.meshgrid(half, half, indexing="ij")).transpose(1, 2)
        found[p + "dysampler.init_pos"] = grid.repeat(1, 4, 1).reshape(1, -1, 1, 1)
        if dwt:
            low, high = torch.tensor([0.5, 0.5]).sqrt(), torch.tensor([0.5, 0.5]).sqrt()
            high[1] *= -1
            for name, taps in (("h0", low), ("h1", high)):
                found[f"{p}dwt.{name}_col"] = taps.reshape(1, 1, 2, 1)
                found[f"{p}dwt.{name}_row"] = taps.reshape(1, 1, 1, 2)
    return found


@pytest.fixture(scope="module")
def segnext():
    torch.manual_seed(0)
    model = create_model("segnext-dwt-ff")
    return model, published(model, segnext_name) | segnext_constants(dwt=True)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "ours.safetensors"


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def refusal(kind, path, out, **options):
    """Return the one line of the error that a conversion must raise; an old output stays."""
    out.write_bytes(b"before")
    with pytest.raises(kind) as caught:
        convert(ConvertOptions(path, out, **options))
    assert out.read_bytes() == b"before"
    assert {p.name for p in out.parent.iterdir()} <= {path.name, out.name}
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_segnext_comes_back_exactly_with_its_constants_dropped(segnext, tmp_path, out):
    model, state = segnext
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "iter_160000.pth")
    report = convert(ConvertOptions(tmp_path / "iter_160000.pth", out))
    assert (report.model, report.place) == ("segnext-dwt-ff", "state_dict")
    assert report.config["direction"] == "sim"
    assert len(report.dropped) == 14
    assert all(map(is_segnext_constant, report.dropped))
    assert len(report.mapped) == len(model.state_dict())
    assert report.missed == ()
    loaded = load_checkpoint(out)
    assert same(loaded, model)
    assert loaded.spec == create_model("segnext-dwt-ff").spec


def test_published_file_is_also_read_without_conversion(segnext, tmp_path):
    model, state = segnext
    torch.save({"state_dict": state}, tmp_path / "iter.pth")
    assert same(load_checkpoint(tmp_path / "iter.pth", create_model("segnext-dwt-ff")), model)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("segnext-freqfusion", {"direction": "sim_concat"}),
        ("segnext-dsconv-ff", {}),
        ("segnext-freqfusion", {"classes": ("class_0", "class_1", "class_2")}),
    ],
    ids=str,
)
def test_variants_of_segnext(name, settings, tmp_path, out, monkeypatch):
    shapes = meta_shapes(name, segnext_name, **settings)
    torch.save(hollow(shapes) | segnext_constants(), tmp_path / "a.pth")
    monkeypatch.setattr(conversion, "save_checkpoint", lambda *arguments, **extra: None)
    report = convert(ConvertOptions(tmp_path / "a.pth", out))
    assert report.model == name
    expected = create_model(name, **settings).spec.config
    assert {k: report.config[k] for k in settings} == {k: expected[k] for k in settings}


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("dwt.h1_row", torch.full((1, 1, 1, 2), 0.70710678), "a constant, but differs from its"),
        ("dysampler.init_pos", torch.zeros(1, 32, 1, 1), "differs from its formula by 0.25"),
        ("hamming_highpass", torch.ones(2, 3) * 2, "differs from its formula by 1"),
        ("dwt.h0_col", torch.ones(1, 1, 3, 1), "has shape [1, 1, 3, 1], expected [2, 1]"),
        ("hamming_lowpass", torch.ones(1, 1, 5, 5), "have a Hamming window"),
    ],
)
def test_other_constants_mean_another_network(segnext, tmp_path, out, entry, value, words):
    state = segnext[1] | {f"decode_head.freqfusions.0.{entry}": value}
    torch.save(state, tmp_path / "a.pth")
    assert words in refusal(CheckpointError, tmp_path / "a.pth", out)


def test_formulas_of_constants_are_those_of_the_public_code():
    for name, value in segnext_constants(dwt=True).items():
        formula = torch.tensor(segnext_constant(name)).expand(value.shape)
        assert torch.allclose(formula, value, atol=1e-7), name


@pytest.fixture(scope="module")
def two_streams():
    torch.manual_seed(1)
    model = create_model("differseg", task="rgbd", **SMALL)
    return model, published(model, differseg_name)


def test_differseg_of_two_streams_needs_its_task(two_streams, tmp_path, out):
    model, state = two_streams
    path = tmp_path / "best.pth"
    wrapped = {f"module.{key}": value.half() for key, value in state.items()}
    torch.save({"epoch": 3, "model_state_dict": wrapped}, path)
    message = refusal(InputError, path, out)
    assert "fit several tasks, and no tensor tells which" in message
    report = convert(ConvertOptions(path, out, task="rgbd"))
    assert (report.model, report.config["task"]) == ("differseg-rgbd-tiny", "rgbd")
    assert report.config["widths"] == [8, 8, 16, 16]
    assert "float16" in report.kinds
    loaded = load_checkpoint(out)
    assert loaded.spec.task == "rgbd"
    weight = loaded.state_dict()["dpf1.rgb_proj.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, model.state_dict()["dpf1.rgb_proj.weight"].half().float())
    message = refusal(CheckpointError, path, out, model="differseg-rgbd")
    assert "with backbone 'hiera_t', the model 'differseg-rgbd' has 'hiera_l'" in message


@pytest.mark.parametrize("backbone", ["hiera_t", "hiera_s", "hiera_b_plus", "hiera_l"])
@pytest.mark.parametrize("adapter", ["linear", "fft"])
@pytest.mark.parametrize("task", ["rgb", "rgbt"])
def test_differsegs_settings_are_recognised(backbone, adapter, task):
    config = {"backbone": backbone, "adapter": adapter, "widths": (16, 24, 32, 40)}
    found = differseg_names.detect(meta_shapes("differseg", differseg_name, task=task, **config))
    assert found == (config | {"task": "rgb"} if task == "rgb" else config)


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("differseg-rgb", None, "differseg-rgb"),
        ("differseg-rgbt", None, "differseg-rgbt"),
        ("differseg-rgbd", "differseg-video", "differseg-video"),
        ("differseg-rgbd", None, "fit several tasks (differseg-rgbd, differseg-video)"),
        ("differseg-rgbd", "differseg-edge", "the model 'differseg-edge' has 'edge'"),
        ("differseg-rgb", "differseg-rgbt", "with task 'rgb', the model 'differseg-rgbt' has"),
        ("differseg-rgb", "fsanet", "the model 'fsanet' is fsanet; leave out --model, or name"),
        ("differseg-rgb", "fsanett", "no model 'fsanett'; did you mean 'fsanet'?"),
    ],
)
def test_which_of_the_large_networks_it_is(name, wanted, expected, tmp_path):
    path = tmp_path / "a.pth"
    torch.save(hollow(meta_shapes(name, differseg_name)), path)
    snapshot = conversion.read_snapshot(path)
    try:
        got, _ = conversion._identified(path, snapshot, wanted, None)
    except (CheckpointError, InputError) as error:
        got = str(error)
        assert "\n" not in got
    assert got == expected or (" " in expected and expected in got)


@pytest.fixture(scope="module")
def nano():
    shapes = meta_shapes("rgbt-fusion-nano-mfnet", rgbt_fusion_name)
    kernel = torch.tensor(lowpass_kernel())
    widths = (80, 160)
    kernels = {
        f"fusion_stage{s}.lowpass.kernel": kernel.expand(c, 1, 7, 7).contiguous()
        for s, c in zip((1, 2), widths, strict=True)
    }
    return hollow(shapes) | kernels


def caught_model(monkeypatch):
    """Keep what would be written, for a large file, and what would be noted beside it."""
    seen = []

    def keep(path, model, extra):
        seen.append(model)
        model.notes = extra

    monkeypatch.setattr(conversion, "save_checkpoint", keep)
    return seen


def test_averaged_weights_keep_the_running_statistics(nano, tmp_path, out, monkeypatch):
    statistic, weight = "decoder.agg_conv.1.running_var", "decoder.agg_conv.1.weight"
    content = {
        "model_state_dict": nano | {statistic: torch.full((160,), 3.0)},
        "ema_state_dict": {weight: torch.full((160,), 5.0)},
        "config": {"img_height": 512, "img_width": 640, "num_classes": 9},
    }
    path = tmp_path / "best.pth"
    torch.save(content, path)
    seen = caught_model(monkeypatch)
    for averaged, expected in ((False, 0.0), (True, 5.0)):
        report = convert(ConvertOptions(path, out, averaged=averaged))
        assert report.model == "rgbt-fusion-nano-mfnet"
        assert (report.average, report.averaged) == ("ema_state_dict", averaged)
        assert report.config["size_hw"] == [512, 640]
        assert sorted(report.dropped) == [f"fusion_stage{s}.lowpass.kernel" for s in (1, 2)]
        ours = {rgbt_fusion_name(key): value for key, value in seen[-1].state_dict().items()}
        assert set(ours[weight].tolist()) == {expected}
        assert set(ours[statistic].tolist()) == {3.0}
        assert json.loads(seen[-1].notes["thermal_policy"])["kind"] == "full"
    message = refusal(CheckpointError, path, out, model="rgbt-fusion-tiny-mfnet")
    assert "with backbone 'nano', the model 'rgbt-fusion-tiny-mfnet' has 'tiny'" in message
    del content["ema_state_dict"]
    torch.save(content, path)
    assert "no averaged weights" in refusal(CheckpointError, path, out, averaged=True)


def test_another_lowpass_is_refused(nano, tmp_path, out):
    key = "fusion_stage2.lowpass.kernel"
    torch.save(nano | {key: nano[key] + 2e-6}, tmp_path / "a.pth")
    message = refusal(CheckpointError, tmp_path / "a.pth", out)
    assert f"'{key}' is a constant, but differs from its formula by 2e-06" in message


def test_fsanets_oldest_spelling(tmp_path, out, monkeypatch):
    shapes = meta_shapes("fsanet", fsanet_name)
    old = {
        "module." + key.replace("sff.sea.", "acfm.msca.").replace("sff.", "acfm."): value
        for key, value in hollow(shapes).items()
        if not key.endswith("num_batches_tracked")
    }
    old["module.frequency.radius"] = torch.tensor([100.0])
    content = {"model": old, "optimizer": {"state": {}}, "loss": torch.tensor(1.0), "opech": 9}
    torch.save(content, tmp_path / "FSANet-10.pth")
    seen = caught_model(monkeypatch)
    report = convert(ConvertOptions(tmp_path / "FSANet-10.pth", out))
    assert (report.model, report.place, len(report.dropped)) == ("fsanet", "model", 0)
    counters = [key for key in shapes if key.endswith("num_batches_tracked")]
    assert len(report.missed) == len(counters) > 0
    assert len(report.mapped) == len(shapes) - len(counters)
    assert seen[0].state_dict()["high_pass.radius"].tolist() == [100.0]
    assert "thermal_policy" not in seen[0].notes


def test_files_that_are_none(segnext, tmp_path, out):
    model, state = segnext
    path = tmp_path / "a.pth"
    torch.save({"conv.weight": torch.zeros(1)}, path)
    message = refusal(CheckpointError, path, out)
    assert "of no network that differseg knows" in message
    assert "'conv.weight'" in message
    assert "missing 'backbone" in refusal(CheckpointError, path, out, model="segnext-dwt-ff")
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, path)
    assert "load_sam2_trunk" in refusal(CheckpointError, path, out)
    torch.save({key: value for key, value in state.items() if "block2.0" not in key}, path)
    assert "not of the model 'segnext-dwt-ff': missing 'backbone" in refusal(
        CheckpointError, path, out
    )
    torch.save(state | {"extra.weight": torch.zeros(1)}, path)
    assert "unexpected 'extra.weight'" in refusal(CheckpointError, path, out)
    first = next(key for key in state if key.endswith("0.weight"))
    torch.save(state | {first: torch.full_like(state[first], torch.nan)}, path)
    assert "holds NaN or infinite numbers" in refusal(CheckpointError, path, out)
    own = tmp_path / "b.safetensors"
    save_checkpoint(own, model)
    path.unlink()
    assert "differseg wrote it, as 'segnext-dwt-ff'" in refusal(CheckpointError, own, out)
    with pytest.raises(InputError, match="is the file to convert"):
        convert(ConvertOptions(own, own))


def test_our_own_names_need_the_model(segnext, tmp_path, out):
    model, _ = segnext
    torch.save(model.state_dict(), tmp_path / "last.pt")
    report = convert(ConvertOptions(tmp_path / "last.pt", out, model="segnext-dwt-ff"))
    assert all(theirs == ours for theirs, ours in report.mapped.items())
    assert same(load_checkpoint(out), model)


def test_verb_prints_what_it_did_and_json_last(segnext, tmp_path, out, capsys):
    torch.save(segnext[1], tmp_path / "a.pth")
    arguments = [str(tmp_path / "a.pth"), "-o", str(out), "--json"]
    assert main(["convert", *arguments, "--model", "segnext-dwt-ff"]) == 0
    text = capsys.readouterr().out
    report = json.loads(text.splitlines()[-1])
    assert report["model"] == "segnext-dwt-ff"
    assert len(report["mapped"]) == len(segnext[0].state_dict())
    assert "dropped decode_head.freqfusions.0.hamming_lowpass (a constant" in text
    before = out.read_bytes()
    assert main(["convert", *arguments, "--model", "differseg-rgb"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error[E_CHECKPOINT]: ")
    assert "the model 'differseg-rgb' is differseg" in error
    assert error.count("\n") == 1
    assert out.read_bytes() == before


def test_a_full_disk_keeps_the_old_output(segnext, tmp_path, out, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    torch.save(segnext[1], tmp_path / "a.pth")
    monkeypatch.setattr("differseg.checkpoints.os.fsync", full)
    assert "cannot be written: [Errno 28]" in refusal(CheckpointError, tmp_path / "a.pth", out)
