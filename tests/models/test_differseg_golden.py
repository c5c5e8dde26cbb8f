"""The four published networks against section 8 of DifferSeg's specification."""

from __future__ import annotations

import hashlib
import importlib.util

import pytest
import torch
from golden_weights import fill, mean_and_std, noise_image

from differseg.authors_names import differseg_name
from differseg.models.registry import create_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"
)

TWO_STREAMS = "00c97c5d0cbd5308a4cf56cc8431813da285d571e788298fda83738801b37db7"
LAYOUT = {
    # entries, fingerprint, parameters, trained parameters, channels of the second input
    "rgb": (
        1677,
        "40c809bc6d46ed6125fd0d343c925430392c6d66f3986571ca651c86e301d436",
        277_241_716,
        65_092_420,
        0,
    ),
    "rgbd": (1853, TWO_STREAMS, 303_372_072, 91_222_776, 1),
    "rgbt": (
        2237,
        "f34a2312f59183b21370241662a5ae1f6e85b9aa04f51bed3e667e7c5c22ad38",
        305_932_872,
        93_783_576,
        1,
    ),
    "video": (1853, TWO_STREAMS, 303_372_072, 91_222_776, 3),
}
PIXELS = ((0, 0), (256, 256), (170, 341), (511, 511), (10, 492))
# Mean and standard deviation of out1 to out4, then five pixels of out1.
OUTPUTS = {
    "rgbd": (
        *(0.228841, 0.023324, 0.124849, 0.055311, -0.051163, 0.085837, -0.045014, 0.064488),
        *(0.134708, 0.248650, 0.220013, 0.111801, 0.231418),
    ),
    "rgbt": (
        *(0.228931, 0.023009, 0.092049, 0.056115, -0.117373, 0.091416, -0.171111, 0.059183),
        *(0.134481, 0.246854, 0.219102, 0.113381, 0.229908),
    ),
}
# Mean and standard deviation inside the RGB-D network.
INSIDE_RGBD = {
    "rfb1": (0.442812, 0.648366, 0.441641, 0.649107),
    "rfb4": (0.150559, 0.226654, 0.150825, 0.227003),
    "dpf4": (0.019157, 0.444097),
    "dpf1": (-0.014516, 1.181133),
    "freq_decoder.freq_decomposers.0": (0.009035, 0.233191, 0.004257, 0.250453),
    "freq_decoder.freq_decomposers.3": (0.031501, 0.684219, -0.027348, 0.712228),
    "freq_decoder.freq_guided_upsamplers.2": (0.007012, 0.143680, -0.001484, 0.152915),
    "freq_decoder.freq_balancer": (0.010376, 0.154905),
}


@pytest.fixture(scope="module", params=LAYOUT)
def weightless(request):
    """A published network without memory for its weights, with its recorded layout."""
    with torch.device("meta"):
        return create_model(f"differseg-{request.param}"), LAYOUT[request.param]


def test_entries_and_parameters(weightless):
    model, (entries, fingerprint, parameters, trained, _) = weightless
    state = model.state_dict()
    lines = sorted(
        f"{differseg_name(key)} {'x'.join(map(str, value.shape))}" for key, value in state.items()
    )
    assert len(set(lines)) == entries
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == fingerprint
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained


def test_four_outputs_of_the_input_size(weightless):
    model, (*_, second_channels) = weightless
    inputs = [torch.empty(2, 3, 512, 512, device="meta")]
    if second_channels:
        inputs.append(torch.empty(2, second_channels, 512, 512, device="meta"))
    shapes = [tuple(output.shape) for output in model.eval().forward_all(*inputs)]
    assert shapes == 4 * [(2, 1, 512, 512)]


@pytest.mark.parametrize("task", ["rgbt", pytest.param("rgbd", marks=pytest.mark.slow)])
def test_golden_values(task):
    model = create_model(f"differseg-{task}").eval()
    fill(model, differseg_name)
    inside: dict[str, list[float]] = {}
    names = INSIDE_RGBD if task == "rgbd" else {}

    def watch(name):
        def record(module, inputs, output):
            parts = output if isinstance(output, tuple) else output.chunk(len(output))
            inside[name] = [value for part in parts for value in mean_and_std(part)]

        return record

    for name in names:
        model.get_submodule(name).register_forward_hook(watch(name))
    with torch.no_grad():
        outputs = model.forward_all(
            noise_image(1, 3, (512, 512)), noise_image(2, LAYOUT[task][-1], (512, 512))
        )
    got = [value for output in outputs for value in mean_and_std(output)]
    got += [outputs[0][0, 0, row, column].item() for row, column in PIXELS]
    # Six digits are printed (5e-7); float32 moves them by about as much again.
    assert got == pytest.approx(OUTPUTS[task], abs=1.5e-6)
    for name, expected in names.items():
        assert inside[name] == pytest.approx(expected, abs=1.5e-6), name
