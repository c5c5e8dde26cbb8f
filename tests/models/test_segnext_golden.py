"""The three published SegNeXt networks against their authors' code, run once on seeded weights.

Weights and image follow ``golden_weights``; the figures are those of the public repositories
Linwei-Chen/FreqFusion (3fb0c706) and It-is-really-easy/cv-finalword (018641f4) with a zero-padded
reassembly and with our basis in the Hamburger.
"""

from __future__ import annotations

import hashlib

import pytest
import torch
from golden_weights import fill, mean_and_std, noise_image

from differseg.authors_names.segnext import is_segnext_constant, segnext_name
from differseg.models import create_model
from differseg.models.deployment import lowered_for_export

pytestmark = pytest.mark.usefixtures("one_thread")


SIZE_HW = (128, 160)
PIXELS = ((0, 0, 0), (17, 64, 80), (50, 85, 106), (149, 127, 159), (99, 10, 140))
LAYOUT = {
    # entries, fingerprint, parameters
    ("freqfusion", "sim"): (
        590,
        "304ed48ebd56d4f3a69937a290445ccb4a80d9b651b6c4c3556817fcdc57e7f0",
        4_520_794,
    ),
    ("freqfusion", "sim_concat"): (
        590,
        "0797e2b659b18c04460203e2bf26f98491e18f1e09838ec000ad21c7e6330e6e",
        4_607_194,
    ),
    ("dwt-ff", "sim"): (
        594,
        "6173d7916ce7edda74fcf9d5fdb1131ac08a47d3fd470e36c64a15b07408799f",
        4_575_244,
    ),
    ("dsconv-ff", "sim"): (
        598,
        "7cc457326ad344fbd4cc5c188cbd9bf92c65ff8acbb8445d5f635369c4e1471d",
        4_464_346,
    ),
}
# Mean and standard deviation of the logits, then five of them (class, row, column).
LOGITS = {
    ("freqfusion", "sim"): (
        *(0.038639, 0.656580),
        *(-0.202127, -0.190261, 0.287077, -0.575778, 0.903074),
    ),
    ("freqfusion", "sim_concat"): (
        *(0.043160, 0.655716),
        *(-0.193304, -0.349164, 0.545318, -0.651608, 1.058670),
    ),
    ("dwt-ff", "sim"): (
        *(0.034914, 0.659329),
        *(-0.360717, -0.277930, 0.698848, -0.489541, 0.884564),
    ),
    ("dsconv-ff", "sim"): (
        *(0.040440, 0.650741),
        *(-0.106246, -0.210026, 0.391090, -0.633787, 1.114174),
    ),
}


def network(fusion, direction):
    return create_model(f"segnext-{fusion}", direction=direction)


@pytest.mark.parametrize("variant", LAYOUT, ids=str)
def test_entries_and_parameters(variant):
    entries, fingerprint, parameters = LAYOUT[variant]
    with torch.device("meta"):
        model = network(*variant)
    lines = sorted(
        f"{segnext_name(key)} {'x'.join(map(str, value.shape))}"
        for key, value in model.state_dict().items()
    )
    assert len(set(lines)) == entries
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == fingerprint
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("variant", LOGITS, ids=str)
def test_golden_values_in_pytorch_and_in_the_form_for_export(variant):
    torch.manual_seed(0)
    model = network(*variant).eval()
    fill(model, segnext_name)
    for form in (model, lowered_for_export(model, SIZE_HW)):
        with torch.no_grad():
            logits = form(noise_image(1, 3, SIZE_HW))["logits"]
        assert logits.shape == (1, 150, *SIZE_HW)
        got = [*mean_and_std(logits), *(logits[0][pixel].item() for pixel in PIXELS)]
        # Six digits are printed; float32 moves logits of size 1 by a few millionths.
        assert got == pytest.approx(LOGITS[variant], abs=2e-5)


def test_published_constants_are_told_from_weights():
    constants = [
        "decode_head.freqfusions.0.hamming_lowpass",
        "decode_head.freqfusions.1.hamming_highpass",
        "decode_head.freqfusions.1.dysampler.init_pos",
        "decode_head.freqfusions.0.dwt.h0_col",
        "decode_head.freqfusions.1.dwt.h1_row",
    ]
    assert all(map(is_segnext_constant, constants))
    keys = network("dwt-ff", "sim").state_dict()
    assert not any(is_segnext_constant(segnext_name(key)) for key in keys)
