"""The published network against section 8 of FSANet's specification."""

from __future__ import annotations

import hashlib

import pytest
import torch
from golden_weights import fill, mean_and_std, noise_image

from differseg.authors_names import fsanet_name
from differseg.authors_names.fsanet import detect, newest_name
from differseg.models.registry import create_model

FINGERPRINT = "ff4a9359ed2aaa2b931d25147606649338b2e2ce46f13b9703c674db22efce4c"
# Mean and standard deviation of P1 and of the high-pass image, then five pixels of each.
OUTPUTS = {
    (256, 320): (
        *(-0.385334, 0.208960, 0.628739, 0.270910),
        *(-0.086606, -0.752072, -0.473442, 0.014562, -0.475277),
        *(0.938556, 0.574982, 0.654598, 0.423084, 0.128429),
    ),
    (352, 352): (
        *(-0.383654, 0.201698, 0.690664, 0.299417),
        *(-0.094429, -0.320109, -0.694300, 0.013466, -0.366788),
        *(0.678826, 0.358637, 0.983756, 0.536824, 0.365879),
    ),
    (128, 128): (
        *(-0.341802, 0.209395, 0, 0),
        *(-0.060819, -0.425434, -0.467940, -0.052806, -0.321953),
        *(0, 0, 0, 0, 0),
    ),
    (736, 736): (
        *(-0.405083, 0.207363, 0.774454, 0.337438),
        *(-0.276263, -0.093995, -0.422113, 0.086890, -0.230332),
        *(1.174729, 0.543445, 0.530058, 1.146509, 1.068279),
    ),
}
SIDE_OUTPUTS = (-0.279400, 0.174626, -0.286697, 0.210865, -0.377653, 0.291123)
# Mean and standard deviation inside the network at 256x320, of each call of the module.
INSIDE = {
    "backbone.stages.0": (-0.012993, 1.014395),
    "backbone.stages.1": (0.003045, 1.002835),
    "backbone.stages.2": (0.004590, 1.002396),
    "backbone.stages.3": (-0.001529, 1.007435),
    "frequency_backbone.conv1": (-0.013912, 0.635019),
    "frequency_backbone.layer1": (0.287257, 0.352316),
    "frequency_backbone.layer4": (0.237461, 0.273728),
    "fusions.0.gate": (0.003857, 0.238303),
    "fusions.3.gate": (0.003146, 0.181950),
    "scales.down1_8": (-0.000378, 0.877413),
    "scales.down2_4": (0.004260, 0.892729),
    "scales.upsample4_4": (0.022753, 0.691564),
    "scales.upsample41_2": (-0.004955, 0.621381),
    "scales.down31_2": (0.007580, 0.785928),
    "scales.down32_2": (0.005376, 0.677674),
    "contexts.0": (0.456104, 0.681283),
    "contexts.1": (0.335456, 0.516232),
    "contexts.2": (0.350793, 0.522477),
    "contexts.3": (0.401617, 0.567275),
    "selection.attention": (0.498892, 0.020034, 0.498606, 0.021710, 0.498259, 0.024260),
    "selection": (0.376484, 0.332309, 0.355397, 0.291095, 0.406141, 0.360410),
}


@pytest.fixture(scope="module")
def shapes():
    with torch.device("meta"):
        model = create_model("fsanet")
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def golden():
    """The published network with the rule's weights."""
    model = create_model("fsanet").eval()
    fill(model, fsanet_name)
    with torch.no_grad():
        model.high_pass.radius.fill_(100)
    return model


def test_entries_are_the_published_ones(shapes):
    lines = sorted(f"{fsanet_name(key)} {'x'.join(map(str, s))}" for key, s in shapes.items())
    assert len(set(lines)) == 1133
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == FINGERPRINT


def test_parameters():
    with torch.device("meta"):
        model = create_model("fsanet")
    assert sum(p.numel() for p in model.parameters()) == 109_194_130
    # No gradient reaches the radius in the authors' code either.
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "high_pass.radius"
    ]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("block", ["sff.sea.", "acfm.sea.", "acfm.msca."])
def test_all_spellings_of_a_snapshot_are_recognised(shapes, prefix, block):
    spelled = {}
    for key, shape in shapes.items():
        name = fsanet_name(key)
        theirs = name.replace("sff.sea.", block).replace("sff.", block.split(".")[0] + ".")
        assert newest_name(prefix + theirs) == name
        spelled[prefix + theirs] = shape
    assert len(spelled) == len(shapes)
    assert detect(spelled) == {"backbone": "pvt_v2_b2"}


def test_other_weights_are_not_taken_for_it(shapes):
    published = {fsanet_name(key): shape for key, shape in shapes.items()}
    assert detect(published) is not None
    assert detect({}) is None
    assert detect({**published, "resnet_f.conv1.weight": (64, 3, 7, 7)}) is None
    assert detect({k: s for k, s in published.items() if k != "frequency.radius"}) is None
    with torch.device("meta"):
        other = create_model("differseg-edge").state_dict()
    assert detect({key: tuple(value.shape) for key, value in other.items()}) is None


def watched(model, names):
    """Record mean and standard deviation of every output of these modules; returns the record."""
    seen = {name: [] for name in names}

    def watch(name):
        return lambda module, inputs, output: seen[name].extend(mean_and_std(output))

    handles = [model.get_submodule(n).register_forward_hook(watch(n)) for n in seen]
    return seen, handles


def test_golden_values_inside(golden):
    seen, handles = watched(golden, INSIDE)
    with torch.no_grad():
        outputs = golden.forward_all(noise_image(1, 3, (256, 320)))
    for handle in handles:
        handle.remove()
    got = [value for output in outputs[1:] for value in mean_and_std(output)]
    # Six digits are printed (5e-7); float32 moves them by about as much again.
    assert got == pytest.approx(SIDE_OUTPUTS, abs=1.5e-6)
    for name, expected in INSIDE.items():
        assert seen[name] == pytest.approx(expected, abs=2e-6), name


@pytest.mark.parametrize(
    "size_hw",
    [
        pytest.param(size_hw, marks=pytest.mark.slow if size_hw[0] > 352 else ())
        for size_hw in OUTPUTS
    ],
    ids=str,
)
def test_golden_outputs(golden, size_hw):
    height, width = size_hw
    pixels = ((0, 0), (height // 2, width // 2), (height // 3, 2 * width // 3))
    pixels += ((height - 1, width - 1), (10, width - 20))
    image = noise_image(1, 3, size_hw)
    with torch.no_grad():
        maps = (golden(image)["logits"], golden.high_pass(image))
    got = [value for output in maps for value in mean_and_std(output)]
    got += [output[0, 0, row, column].item() for output in maps for row, column in pixels]
    assert got == pytest.approx(OUTPUTS[size_hw], abs=3e-6)
