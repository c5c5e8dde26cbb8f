"""The RGB-thermal fusion authors' names of our entries, and what their names say of a network.

A published training checkpoint is a dict with ``model_state_dict`` and, under ``config``, the
authors' arguments; ``ema_state_dict``, where there is one, averages parameters only: the running
statistics stay those of ``model_state_dict``.  The separate file of averaged weights holds them
as its ``model_state_dict``.  No tensor says the size that a network was made for:
``config["img_height"]`` and ``config["img_width"]`` do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from differseg.errors import CheckpointError

LOWPASS_KERNEL = re.compile(r"^fusion_stage[1-4]\.lowpass\.kernel$")
"""Published entries without a counterpart: (C, 1, 7, 7), each channel :func:`lowpass_kernel`."""

_CONV_BN = r"(conv|bn)"
# Our name of a part, the publisher's, and the index of its convolution in the publisher's
# sequence; batch normalisation comes next.
_UNITS = (
    (r"thermal_projection", "ir_proj", 0),
    (r"join", "fusion_block.refine", 0),
    (r"project", "fusion_block.refine", 3),
    (r"near\.depthwise", "ms_conv_3x3", 0),
    (r"near\.pointwise", "ms_conv_3x3", 3),
    (r"far\.depthwise", "ms_conv_5x5", 0),
    (r"far\.pointwise", "ms_conv_5x5", 3),
    (r"merge", "ms_fusion", 0),
    (r"refine\.depthwise", "refine", 0),
    (r"refine\.pointwise", "refine", 3),
)
_DECODER_UNITS = (
    (r"laterals\.(\d)", r"lateral_convs.\1", 0),
    (r"top_down\.(\d)", r"td_convs.\1", 0),
    (r"halvings\.(\d)", r"bu_convs.\1", 0),
    (r"bottom_up\.(\d)", r"bu_merge_convs.\1", 0),
    (r"join\.mix", "agg_conv", 0),
    (r"join\.blend", "agg_conv", 3),
    (r"(?:main_)?head\.features", "seg_head", 0),
    (r"aux_head\.features", "aux_head", 0),
    (r"refinements\.(\d)", r"fpn_convs.\1", 0),
)
_PARTS = (
    (r"band_gate\.", "freq_gate.1."),
    (r"low_attention\.", "sa_low."),
    (r"high_attention\.", "sa_high."),
    (r"confidence\.reduce\.", "fusion_block.rgb_gate.gate.1."),
    (r"confidence\.expand\.", "fusion_block.rgb_gate.gate.3."),
    (r"(cross_gate|channel_attention)\.reduce\.", r"\1.1."),
    (r"(cross_gate|channel_attention)\.expand\.", r"\1.3."),
    (r"pixel_attention\.conv\.", "spatial_attention.0."),
    (r"residual_scale$", "res_scale"),
)
_DECODER_PARTS = (
    (r"context\.reduce\.", "global_context.1."),
    (r"context\.expand\.", "global_context.3."),
    (r"head\.logits\.", "seg_head.4."),
    (r"main_head\.logits\.", "seg_head.3."),
    (r"aux_head\.logits\.", "aux_head.3."),
    (r"projections\.", "td_projs."),
    (r"trusts\.", "merge_weights."),
    (r"finest_gate\.", "context_proj.1."),
)
_TRUNKS = {"rgb_encoder": "rgb_encoder", "thermal_encoder": "ir_encoder"}


def rgbt_fusion_name(key: str) -> str:
    """Return the name that the authors give to ``key`` of our network.

    ``fusions.0.thermal_projection.bn.weight`` is their ``fusion_stage1.ir_proj.1.weight``.
    """
    part, _, name = key.partition(".")
    if part in _TRUNKS:
        flat = re.sub(r"^(stem|stages)\.(\d)\.", r"\1_\2.", name)
        return f"{_TRUNKS[part]}.{flat}"
    if part == "decoder":
        return "decoder." + _renamed(name, _DECODER_UNITS, _DECODER_PARTS)
    number, _, name = name.partition(".")
    return f"fusion_stage{int(number) + 1}." + _renamed(name, _UNITS, _PARTS)


def _renamed(
    name: str, units: Sequence[tuple[str, str, int]], parts: Sequence[tuple[str, str]]
) -> str:
    for ours, theirs, index in units:
        match = re.match(rf"{ours}\.{_CONV_BN}\.", name)
        if match:
            step = index + (match[match.lastindex or 0] == "bn")
            return f"{match.expand(theirs)}.{step}.{name[match.end() :]}"
    for ours, theirs in parts:
        match = re.match(ours, name)
        if match:
            return match.expand(theirs) + name[match.end() :]
    return name


_TRUNK_SIZES = {(80, 8): "nano", (96, 9): "tiny", (128, 27): "base"}
_DATASETS = {9: "mfnet", 5: "pst900"}
# What the released file can switch on and no published result uses.
_EXPERIMENTS = (
    (".sigma_predictor.", "scene-adaptive frequency decomposition (use_safd)"),
    (".adaptive_lowpass.", "scene-adaptive frequency decomposition (use_safd)"),
    (".fusion_gate.", "complementarity-aware fusion gate (use_cafg)"),
    (".cafg.", "complementarity-aware fusion gate (use_cafg)"),
    ("thermal_prior.", "thermal prior weighting (use_tpsw)"),
)


def detect(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """Recognise the settings of a published state dict from its names and shapes.

    Args:
        shapes: The publisher's name of every tensor, with its shape.

    Returns:
        Settings for ``create_model("rgbt_fusion", **settings)``, without ``size_hw``, which no
        tensor tells; None for another system's weights.

    Raises:
        CheckpointError: The authors' network with an option that differseg does not have, or
            with widths or classes of none of its configurations.
    """
    if not any(key.startswith("ir_encoder.") for key in shapes) or not any(
        key.startswith("fusion_stage1.") for key in shapes
    ):
        return None
    for fragment, option in _EXPERIMENTS:
        found = next((key for key in shapes if fragment in key), None)
        if found is not None:
            raise CheckpointError(
                f"rgbt_fusion weights with the {option}: differseg has not this option, '{found}' "
                "has no counterpart; convert weights without it"
            )
    blocks = re.compile(r"^rgb_encoder\.stages_2\.blocks\.(\d+)\.conv_dw\.weight$")
    depth = sum(1 for key in shapes if blocks.match(key))
    width = _rows(shapes, "rgb_encoder.stem_0.weight")
    pyramid = _is_pyramid(shapes)
    classes = _rows(shapes, f"decoder.seg_head.{3 if pyramid else 4}.weight")
    if (width, depth) not in _TRUNK_SIZES:
        known = ", ".join(f"{name} {w}/{d}" for (w, d), name in _TRUNK_SIZES.items())
        raise CheckpointError(
            f"rgbt_fusion weights of stem width {width} and stage-3 depth {depth}: expected one "
            f"of {known}"
        )
    if classes not in _DATASETS:
        raise CheckpointError(
            f"rgbt_fusion weights for {classes} classes: expected 9 (MFNet) or 5 (PST900)"
        )
    return {
        "backbone": _TRUNK_SIZES[width, depth],
        "dataset": _DATASETS[classes],
        "decoder": "fpn" if pyramid else "panet",
        "semantic_fusion": "fusion_stage3.res_scale" in shapes,
        "deep_supervision": "decoder.deep_heads.0.weight" in shapes,
    }


def _is_pyramid(shapes: Mapping[str, Sequence[int]]) -> bool:
    """Say whether the decoder is the top-down one; without a sign of it, it is bidirectional.

    Raises:
        CheckpointError: There are entries of both decoders.
    """
    pyramid, both_ways = "decoder.td_projs.0.weight", "decoder.td_convs.0.0.weight"
    if pyramid in shapes and both_ways in shapes:
        raise CheckpointError(
            f"rgbt_fusion weights with both decoders, top-down ('{pyramid}') and bidirectional "
            f"('{both_ways}'): expected one of them; save the state dict of one network"
        )
    return pyramid in shapes


def stored(config: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image size that the file's arguments tell, after comparing the other arguments.

    Args:
        config: The authors' arguments; one that is absent says nothing.
        found: What :func:`detect` returned for the tensors of the same file.

    Raises:
        CheckpointError: The arguments are those of another network, or a side is no whole number.
    """
    classes = next(count for count, name in _DATASETS.items() if name == found["dataset"])
    expected = {
        "num_classes": classes,
        "dataset": found["dataset"],
        "decoder_type": found["decoder"],
        "enhanced_fusion": found["semantic_fusion"],
        "rgb_arch": f"convnextv2_{found['backbone']}",
        "ir_arch": f"convnextv2_{found['backbone']}",
    }
    if found["decoder"] == "panet":  # the other decoder ignores it
        expected["deep_supervision"] = found["deep_supervision"]
    for key, value in expected.items():
        said = config.get(key)
        named = (
            key.endswith("_arch") and isinstance(said, str) and value in said
        )  # with its weights
        if said is not None and not named and not (isinstance(said, _PLAIN) and said == value):
            raise CheckpointError(
                f"the file's config says {key} {_shown(said)}, its tensors {value!r}; if the "
                "tensors are right, save their state dict alone"
            )
    keys = ("img_height", "img_width")
    if any(config.get(key) is None for key in keys):
        return {}
    sides = [config[key] for key in keys]
    if not all(type(side) is int or (type(side) is float and side.is_integer()) for side in sides):
        raise CheckpointError(
            f"the file's config says img_height {_shown(sides[0])}, img_width {_shown(sides[1])}; "
            "expected whole numbers of pixels; save the state dict alone to do without them"
        )
    return {"size_hw": tuple(map(int, sides))}


_PLAIN = (str, int, float)


def _shown(value: object) -> str:
    return f"{value!r:.40}" if isinstance(value, _PLAIN) else f"a {type(value).__name__}"


def _rows(shapes: Mapping[str, Sequence[int]], key: str) -> int:
    """Return the first dimension of an entry.

    Raises:
        CheckpointError: There is no such entry, or it is a single number.
    """
    if not shapes.get(key):
        raise CheckpointError(f"rgbt_fusion weights: entry '{key}' is missing or has no rows")
    return int(shapes[key][0])


def lowpass_kernel() -> list[list[float]]:
    """Return the 7x7 Gaussian that every published ``lowpass.kernel`` must hold, summing to 1.

    Our networks compute it (sigma 2 pixels); weights with another one mean another network.
    """
    taps = [math.exp(-(t**2) / (2 * 2.0**2)) for t in range(-3, 4)]
    total = sum(taps) ** 2
    return [[row * column / total for column in taps] for row in taps]
