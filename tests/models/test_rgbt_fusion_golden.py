"""The published RGB-thermal networks: layout, and values that the authors' own code gave.

The values of OUTPUTS and FUSED come from a run of the released code (revision 7a26926) whose
state dict was filled by the rule of golden_weights.py.
"""

from __future__ import annotations

import hashlib
import importlib.util

import pytest
import torch
from golden_weights import fill, mean_and_std, noise_image

from differseg.authors_names.rgbt_fusion import rgbt_fusion_name
from differseg.models.registry import create_model

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"),
]

LAYOUT = {
    # entries, fingerprint, parameters
    "nano-mfnet": (
        586,
        "07080e486d19b5dd6b0c13caf1680f5b75af2265b1b8180a901d191238f02781",
        35_517_284,
    ),
    "nano-pst900": (
        586,
        "616c0baefea53df008653e04ba486ac1d9ced8ac68e1f7fccf8b7e987a928069",
        35_515_500,
    ),
    "tiny-mfnet": (
        666,
        "d34216186e61155746c72705ba8bfad8d5f5da08f294f4db88ce147333b640e6",
        63_712_804,
    ),
    "tiny-pst900": (
        666,
        "a23874dbb5cc4906b29931c739b391fa24c95a877784d2dc4151ff362ba499d3",
        63_710_668,
    ),
    "base-mfnet": (
        1026,
        "bdaaeeea594cd840dc9fb6e714b246d0dfca35e7d672a5118b6871d2122d9174",
        189_539_556,
    ),
    "base-pst900": (
        1026,
        "d1a473dc881407d17d4f9b9c6ba62127376c1f52a76ebedbf4828a3b478da44b",
        189_536_716,
    ),
}
WIDTHS = {"nano": (80, 160), "tiny": (96, 192), "base": (128, 256)}
# Size; then mean and deviation of the output and of the auxiliary one, and of the output class
# i at the pixel i of: the first, the middle one, the one at a third and two thirds, the last.
OUTPUTS = {
    "nano-mfnet": (
        (96, 128),
        (0.041586, 0.147188, 0.149540, 0.372136),
        (0.076473, 0.109536, 0.140080, -0.020004),
    ),
    "nano-pst900": (
        (100, 130),
        (0.033248, 0.123279, 0.239715, 0.293261),
        (0.148004, -0.001850, 0.085502, 0.061512),
    ),
    "nano-mfnet, frequency fusions alone": (
        (96, 128),
        (0.058612, 0.188495, 0.211755, 0.562061),
        (0.085700, 0.063797, 0.182286, -0.005520),
    ),
    "tiny-mfnet": (
        (64, 96),
        (0.029371, 0.116514, -0.004041, 0.124835),
        (0.019593, 0.025241, 0.040790, 0.188769),
    ),
    "nano-mfnet, top-down decoder": (
        (96, 128),
        (-0.074672, 0.357662, -0.336812, 0.584300),
        (-0.324172, -0.314978, -0.060749, 0.072967),
    ),
}
OPTIONS = {
    "nano-mfnet, frequency fusions alone": {"semantic_fusion": False},
    "nano-mfnet, top-down decoder": {"decoder": "fpn"},
}
# Mean and deviation of the four fused levels.
FUSED = {
    "nano-mfnet, top-down decoder": (
        *(-0.033193, 2.217430, -0.125278, 2.323874),
        *(0.929758, 3.343951, 0.371625, 1.642899),
    ),
    "nano-mfnet": (
        *(-0.033193, 2.217430, -0.125278, 2.323874),
        *(0.929758, 3.343951, 0.371625, 1.642899),
    ),
    "nano-pst900": (
        *(-0.035583, 2.229173, -0.137459, 2.352813),
        *(0.959735, 3.382377, 0.383486, 1.626792),
    ),
    "nano-mfnet, frequency fusions alone": (
        *(-0.033193, 2.217430, -0.125278, 2.323874),
        *(0.169440, 4.980088, -0.068943, 2.731447),
    ),
    "tiny-mfnet": (
        *(-0.004233, 1.048788, -0.025638, 1.017725),
        *(0.124220, 0.602158, 0.111759, 0.578405),
    ),
}


def published_layout(model):
    """Name and shape of every published entry, the constant kernels included."""
    lines = [
        f"{rgbt_fusion_name(key)} {'x'.join(map(str, value.shape))}"
        for key, value in model.state_dict().items()
    ]
    widths = WIDTHS[model.spec.config["backbone"]]
    kernels = [f"fusion_stage{i + 1}.lowpass.kernel {c}x1x7x7" for i, c in enumerate(widths)]
    return sorted(lines + kernels)


@pytest.mark.parametrize("name", LAYOUT)
def test_entries_and_parameters(name):
    entries, fingerprint, parameters = LAYOUT[name]
    with torch.device("meta"):
        model = create_model(f"rgbt-fusion-{name}")
    lines = published_layout(model)
    assert len(set(lines)) == entries
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == fingerprint
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_entries_of_the_top_down_decoder():
    with torch.device("meta"):
        lines = published_layout(create_model("rgbt-fusion-nano-mfnet", decoder="fpn"))
    assert len(set(lines)) == 510
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "a87ea1bfa982da0db19e8141c92f24fec990f397c9e40441776b5856c857ca15"


def test_parameters_without_the_deep_heads():
    with torch.device("meta"):
        model = create_model("rgbt-fusion-nano-mfnet", deep_supervision=False)
    assert sum(p.numel() for p in model.parameters()) == 35_514_368


def test_shares_of_the_parameters():
    with torch.device("meta"):
        model = create_model("rgbt-fusion-nano-mfnet")
    parts = [model.rgb_encoder, model.thermal_encoder, *model.fusions, model.decoder]
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == [
        *(14_981_520, 14_978_960),
        *(144_636, 577_156, 671_779, 2_649_059),
        1_514_174,
    ]


@pytest.mark.parametrize("case", OUTPUTS)
def test_golden_values(case):
    size_hw, moments, pixels = OUTPUTS[case]
    name = case.split(",")[0]
    model = create_model(f"rgbt-fusion-{name}", **OPTIONS.get(case, {})).eval()
    fill(model, rgbt_fusion_name)
    fused = []
    for fusion in model.fusions:
        fusion.register_forward_hook(lambda module, inputs, y: fused.extend(mean_and_std(y)))
    with torch.no_grad():
        main, aux, *_ = model.forward_all(noise_image(1, 3, size_hw), noise_image(2, 1, size_hw))
    got = (*mean_and_std(main), *mean_and_std(aux))
    # Six digits are printed (5e-7); float32 moves them by about as much again.
    assert got == pytest.approx(moments, abs=2e-6)
    (h, w), classes = size_hw, len(model.spec.classes)
    places = ((0, 0), (h // 2, w // 2), (h // 3, 2 * w // 3), (h - 1, w - 1))
    values = [main[0, i % classes, row, column].item() for i, (row, column) in enumerate(places)]
    assert values == pytest.approx(pixels, abs=2e-6)
    assert fused == pytest.approx(FUSED[case], abs=5e-6)
