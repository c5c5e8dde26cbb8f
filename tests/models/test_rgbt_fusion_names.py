"""Published names of the RGB-thermal network, and what they say of a checkpoint."""

from __future__ import annotations

import importlib.util
import re

import pytest
import torch

from differseg.authors_names.rgbt_fusion import LOWPASS_KERNEL, detect, rgbt_fusion_name
from differseg.errors import CheckpointError
from differseg.models import create_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"
)


def published_shapes(**config):
    """Names and shapes of a published state dict."""
    with torch.device("meta"):
        state = create_model("rgbt_fusion", **config).state_dict()
    shapes = {rgbt_fusion_name(key): tuple(value.shape) for key, value in state.items()}
    assert len(shapes) == len(state)
    stages = (1, 2) if config.get("semantic_fusion", True) else (1, 2, 3, 4)
    return shapes | {f"fusion_stage{s}.lowpass.kernel": (80, 1, 7, 7) for s in stages}


@pytest.fixture(scope="module")
def nano():
    return published_shapes()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("rgb_encoder.stem.0.weight", "rgb_encoder.stem_0.weight"),
        (
            "thermal_encoder.stages.2.blocks.7.mlp.grn.bias",
            "ir_encoder.stages_2.blocks.7.mlp.grn.bias",
        ),
        ("rgb_encoder.stages.1.downsample.1.bias", "rgb_encoder.stages_1.downsample.1.bias"),
        ("fusions.0.thermal_projection.bn.running_var", "fusion_stage1.ir_proj.1.running_var"),
        ("fusions.1.high_attention.conv.weight", "fusion_stage2.sa_high.conv.weight"),
        ("fusions.1.band_gate.weight", "fusion_stage2.freq_gate.1.weight"),
        ("fusions.0.confidence.expand.weight", "fusion_stage1.fusion_block.rgb_gate.gate.3.weight"),
        ("fusions.0.project.bn.bias", "fusion_stage1.fusion_block.refine.4.bias"),
        ("fusions.2.residual_scale", "fusion_stage3.res_scale"),
        ("fusions.2.far.pointwise.conv.weight", "fusion_stage3.ms_conv_5x5.3.weight"),
        ("fusions.3.refine.depthwise.bn.weight", "fusion_stage4.refine.1.weight"),
        ("fusions.3.cross_gate.reduce.weight", "fusion_stage4.cross_gate.1.weight"),
        ("decoder.bottom_up.2.bn.weight", "decoder.bu_merge_convs.2.1.weight"),
        ("decoder.context.expand.bias", "decoder.global_context.3.bias"),
        ("decoder.join.blend.conv.weight", "decoder.agg_conv.3.weight"),
        ("decoder.head.logits.bias", "decoder.seg_head.4.bias"),
        ("decoder.aux_head.features.bn.bias", "decoder.aux_head.1.bias"),
        ("decoder.deep_heads.3.weight", "decoder.deep_heads.3.weight"),
    ],
)
def test_published_names(ours, theirs):
    assert rgbt_fusion_name(ours) == theirs


def test_every_name_is_one_of_the_specification(nano):
    shapes = nano | published_shapes(decoder="fpn")
    bn = "(weight|bias|running_mean|running_var|num_batches_tracked)"
    block = r"blocks\.\d+\.(conv_dw|norm|mlp\.(fc1|grn|fc2))"
    patterns = [
        rf"(rgb|ir)_encoder\.(stem_[01]|stages_\d\.(downsample\.[01]|{block}))\.(weight|bias)",
        rf"fusion_stage\d\.ir_proj\.(0\.weight|1\.{bn})",
        r"fusion_stage[12]\.(lowpass\.kernel|sa_(low|high)\.conv\.weight|freq_gate\.1\.weight)",
        rf"fusion_stage[12]\.fusion_block\.(rgb_gate\.gate\.[13]\.weight|refine\.[0134]\.{bn})",
        r"fusion_stage[34]\.(res_scale|(cross_gate|channel_attention)\.[13]\.weight)",
        rf"fusion_stage[34]\.(ms_conv_[35]x[35]|refine)\.[0134]\.{bn}",
        rf"fusion_stage[34]\.(ms_fusion\.[01]\.{bn}|spatial_attention\.0\.weight)",
        rf"decoder\.(lateral_convs|td_convs|bu_convs|bu_merge_convs)\.\d\.[01]\.{bn}",
        rf"decoder\.(agg_conv\.[0134]|seg_head\.[014]|aux_head\.[013])\.{bn}",
        r"decoder\.(global_context\.[13]|deep_heads\.\d|seg_head\.3)\.(weight|bias)",
        rf"decoder\.(td_projs\.\d\.weight|merge_weights\.\d|fpn_convs\.\d\.[01]\.{bn})",
        r"decoder\.context_proj\.1\.(weight|bias)",
    ]
    strange = [key for key in shapes if not any(re.fullmatch(p, key) for p in patterns)]
    assert strange == []
    assert sum(1 for key in nano if LOWPASS_KERNEL.match(key)) == 2


@pytest.mark.parametrize(
    "config",
    [
        {"backbone": "nano", "dataset": "mfnet"},
        {"backbone": "tiny", "dataset": "pst900", "deep_supervision": False},
        {"backbone": "base", "dataset": "mfnet", "semantic_fusion": False},
        {"backbone": "nano", "dataset": "pst900", "decoder": "fpn", "deep_supervision": False},
    ],
    ids=str,
)
def test_settings_are_recognised(config):
    found = detect(published_shapes(**config))
    usual = {"decoder": "panet", "semantic_fusion": True, "deep_supervision": True}
    assert found == usual | config


def test_weights_of_other_networks_are_not_ours(nano):
    assert detect({}) is None
    assert detect({"encoder.blocks.0.norm1.weight": (144,)}) is None
    assert detect({key: s for key, s in nano.items() if "ir_encoder" not in key}) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"thermal_prior.encoder.0.weight": (8, 1, 3, 3)}, "thermal prior weighting (use_tpsw)"),
        ({"fusion_stage3.cafg.x": (1,)}, "complementarity-aware fusion gate (use_cafg)"),
        ({"fusion_stage1.sigma_predictor.predictor.1.weight": (1,)}, "(use_safd)"),
        ({"decoder.seg_head.4.weight": (19, 80, 1, 1)}, "for 19 classes: expected 9 (MFNet) or 5"),
        ({"rgb_encoder.stem_0.weight": (96, 3, 4, 4)}, "stem width 96 and stage-3 depth 8"),
        ({"decoder.seg_head.4.weight": ()}, "entry 'decoder.seg_head.4.weight' is missing"),
    ],
)
def test_what_differseg_has_not_is_refused_by_name(nano, change, text):
    with pytest.raises(CheckpointError) as caught:
        detect(nano | change)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
