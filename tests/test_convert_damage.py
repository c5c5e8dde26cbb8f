"""Published checkpoints with damage, with odd kinds of numbers, or that contradict themselves."""

from __future__ import annotations

import importlib.util
import warnings
from types import SimpleNamespace

import pytest
import torch

import differseg.conversion as conversion
from differseg.authors_names import fsanet_name
from differseg.authors_names.layout import LAYOUTS
from differseg.authors_names.rgbt_fusion import lowpass_kernel
from differseg.checkpoint_files import read_snapshot
from differseg.conversion import convert
from differseg.convert import ConvertOptions
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


class Small(torch.nn.Module):
    """Stands for a network where only the numbers of entries matter."""

    def __init__(self):
        super().__init__()
        self.spec = SimpleNamespace(system="fsanet", name="fsanet")
        self.norm = torch.nn.BatchNorm2d(2)
        self.high_pass = torch.nn.Module()
        self.high_pass.radius = torch.nn.Parameter(torch.tensor([100.0]))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("norm.weight", torch.tensor([1e300, 1], dtype=torch.float64), "infinite numbers as float"),
        ("norm.weight", torch.tensor([torch.nan, 1]), "NaN or infinite numbers as float32; take"),
        ("norm.num_batches_tracked", torch.tensor(torch.inf), "infinite numbers as int64"),
        ("norm.running_var", torch.tensor([0.5, -0.25]), "holds -0.25, expected at least 0; take"),
        ("frequency.radius", torch.zeros(1), "'high_pass.radius' holds 0, expected at least 1"),
        ("frequency.radius", -torch.ones(1), "'high_pass.radius' holds -1, expected at least 1"),
    ],
)
def test_numbers_that_no_weight_is(key, value, words, tmp_path):
    state = {fsanet_name(name): value for name, value in Small().state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        conversion._fitted(tmp_path / "a.pth", state | {key: value}, Small())
    assert str(caught.value).startswith(f"checkpoint {tmp_path / 'a.pth'}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float4_e2m1fn_x2"])
def test_the_smallest_kinds_of_numbers(kind, tmp_path):
    if not hasattr(torch, kind):
        pytest.skip(f"this PyTorch has no {kind}")
    state = {fsanet_name(name): value for name, value in Small().state_dict().items()}
    path = tmp_path / "a.pth"
    state["norm.weight"] = torch.zeros(2, dtype=torch.uint8).view(getattr(torch, kind))
    if kind == "float8_e4m3fn":
        found, _ = conversion._fitted(path, state, Small())
        assert found.tensors["norm.weight"].dtype == torch.float32
        return
    with pytest.raises(CheckpointError, match="cannot be turned from float4_e2m1fn_x2 to float32"):
        conversion._fitted(path, state, Small())


FOUND = {
    "backbone": "nano",
    "dataset": "mfnet",
    "decoder": "panet",
    "semantic_fusion": True,
    "deep_supervision": True,
}
CONFIG = {
    "num_classes": 9,
    "dataset": "mfnet",
    "decoder_type": "panet",
    "enhanced_fusion": True,
    "deep_supervision": True,
    "rgb_arch": "convnextv2_nano.fcmae_ft_in22k_in1k_384",
    "ir_arch": "convnextv2_nano.fcmae_ft_in22k_in1k_384",
}
stored = LAYOUTS["rgbt_fusion"].stored


def test_the_size_in_the_authors_arguments():
    assert stored({}, FOUND) == stored(CONFIG, FOUND) == {}
    size = {"img_height": 480.0, "img_width": 640}
    got = stored(CONFIG | size, FOUND)["size_hw"]
    assert got == (480, 640)
    assert all(type(side) is int for side in got)
    assert stored({"deep_supervision": True}, FOUND | {"decoder": "fpn"}) == {}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_classes": 5}, "num_classes 5, its tensors 9; if the tensors are right"),
        ({"dataset": "pst900"}, "dataset 'pst900', its tensors 'mfnet'"),
        ({"decoder_type": "fpn"}, "decoder_type 'fpn', its tensors 'panet'"),
        ({"enhanced_fusion": False}, "enhanced_fusion False, its tensors True"),
        ({"deep_supervision": False}, "deep_supervision False, its tensors True"),
        ({"rgb_arch": "convnextv2_base.fcmae"}, "rgb_arch 'convnextv2_base.fcmae', its tensors"),
        ({"num_classes": torch.zeros(3, 3)}, "num_classes a Tensor, its tensors 9"),
        (
            {"img_height": 480.5, "img_width": 640},
            "img_height 480.5, img_width 640; expected whole",
        ),
        ({"img_height": torch.inf, "img_width": 640}, "img_height inf, img_width 640; expected"),
        ({"img_height": "480", "img_width": 640}, "img_height '480', img_width 640; expected"),
    ],
)
def test_arguments_of_another_network(config, words):
    with pytest.raises(CheckpointError) as caught:
        stored(CONFIG | config, FOUND)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


NANO = {
    "ir_encoder.stem_0.weight": (80, 1, 4, 4),
    "rgb_encoder.stem_0.weight": (80, 3, 4, 4),
    **{f"rgb_encoder.stages_2.blocks.{n}.conv_dw.weight": (320, 1, 7, 7) for n in range(8)},
    "fusion_stage1.lowpass.kernel": (80, 1, 7, 7),
    "fusion_stage3.res_scale": (1,),
    "decoder.td_convs.0.0.weight": (160, 160, 3, 3),
    "decoder.deep_heads.0.weight": (9, 160, 1, 1),
    "decoder.seg_head.4.weight": (9, 80, 1, 1),
    "decoder.seg_head.3.weight": (9, 80, 1, 1),
}
"""What tells the network."""


@pytest.mark.parametrize(
    ("entries", "config", "words"),
    [
        ({}, {"img_height": 0, "img_width": -4}, "create_model('rgbt-fusion-nano-mfnet'): size_hw"),
        ({}, {"num_classes": 5}, "the file's config says num_classes 5"),
        (
            {"decoder.td_projs.0.weight": torch.zeros(1)},
            {},
            "with both decoders, top-down ('decoder.td_projs.0.weight') and bidirectional",
        ),
    ],
)
def test_refusals_name_the_file(entries, config, words, tmp_path):
    path = tmp_path / "a.pth"
    nano = {key: torch.zeros(()).expand(shape) for key, shape in NANO.items()}
    torch.save({"model_state_dict": nano | entries, "config": config}, path)
    with pytest.raises(CheckpointError) as caught:
        convert(ConvertOptions(path, tmp_path / "b.safetensors"))
    assert str(caught.value).startswith(f"checkpoint {path}: ")
    assert words in str(caught.value)
