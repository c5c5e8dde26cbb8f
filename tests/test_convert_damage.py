"""Published checkpoints with damage, with odd kinds of numbers, or that contradict themselves."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch

from differseg.authors_names.layout import LAYOUTS
from differseg.authors_names.rgbt_fusion import lowpass_kernel
from differseg.checkpoint_files import read_snapshot
from differseg.errors import CheckpointError
from differseg.published_weights import translate

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"),
]


def test_one_wrong_byte_of_an_archive_is_found(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.full((64,), 3.0)}, path)
    whole = path.read_bytes()
    at = whole.index(torch.full((4,), 3.0).numpy().tobytes())
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    with pytest.raises(CheckpointError, match=r"a\.pth: damaged, the checksum of 'a/data/0' does"):
        read_snapshot(path)


def test_an_archive_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": torch.ones(3)}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_snapshot(tmp_path / "a.pth").tensors["weight"].tolist() == [1, 1, 1]


def test_a_nested_tensor_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kind is a prototype
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    torch.save({"weight": nested}, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match="entry 'weight' is a nested tensor; expected a dense"
    ):
        read_snapshot(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_constants_of_half_precision_files(kind, tmp_path):
    dwt = {"h0_col": (2, 1), "h0_row": (1, 2), "h1_col": (2, 1), "h1_row": (1, 2)}
    found = {"decode_head.freqfusions.0.hamming_highpass": torch.ones(1)}
    for name, shape in dwt.items():
        taps = torch.tensor([0.5, 0.5]).sqrt() * torch.tensor([1, 1 if name[1] == "0" else -1])
        found[f"decode_head.freqfusions.1.dwt.{name}"] = taps.reshape(1, 1, *shape)
    lowpass = torch.tensor(lowpass_kernel()).expand(80, 1, 7, 7)
    for system, constants in (
        ("segnext", found),
        ("rgbt_fusion", {"fusion_stage1.lowpass.kernel": lowpass}),
    ):
        cast = {key: value.to(kind) for key, value in constants.items()}
        assert set(translate(tmp_path, system, cast, []).dropped) == set(constants)
        wrong = {key: (value * 1.5).to(kind) for key, value in constants.items()}
        for key, value in wrong.items():
            with pytest.raises(CheckpointError, match=f"'{key}' is a constant, but differs"):
                translate(tmp_path, system, {key: value}, [])


@pytest.mark.parametrize("system", ["segnext", "rgbt_fusion"])
def test_a_constant_of_any_size_asks_for_no_memory(system, tmp_path):
    name, shape = {
        "segnext": ("decode_head.freqfusions.0.dysampler.init_pos", (1, 10**12, 1, 1)),
        "rgbt_fusion": ("fusion_stage1.lowpass.kernel", (10**12, 1, 7, 7)),
    }[system]
    with pytest.raises(CheckpointError, match=r"has shape \[.*\], expected \[.*another network"):
        translate(tmp_path, system, {name: torch.zeros(()).expand(shape)}, [])


def test_a_constant_of_whole_numbers_is_refused(tmp_path):
    name = "decode_head.freqfusions.0.hamming_lowpass"
    with pytest.raises(CheckpointError, match="holds int64 numbers, expected floating-point"):
        translate(tmp_path, "segnext", {name: torch.ones(1, dtype=torch.int64)}, [])


@pytest.mark.parametrize("count", [2, 300, 10**12])
def test_counts_of_classes_that_no_network_has(count):
    shapes = {
        "backbone.patch_embed1.proj.weight": (16, 3, 3, 3),
        "backbone.norm4.weight": (256,),
        "decode_head.freqfusions.0.content_encoder.weight": (25, 64, 3, 3),
        "decode_head.freqfusions.0.dysampler.offset.weight": (32, 8, 3, 3),
        "decode_head.conv_seg.weight": (count, 256, 1, 1),
    }
    with pytest.raises(CheckpointError, match=rf"with \[{count}\] logits: expected 1 .* or 3 to"):
        LAYOUTS["segnext"].detect(shapes)
