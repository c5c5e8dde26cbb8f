"""Our own values on seeded weights: they say when the network becomes another one.

There is no authors' code to compare with, see docs/models/sfm.md.
"""

from __future__ import annotations

import hashlib

import pytest
import torch
from golden_weights import fill, mean_and_std, noise_image

from differseg.models import create_model
from differseg.models.deployment import lowered_for_export

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE_HW = (128, 160)
LAYOUT = {
    # entries, fingerprint
    "sfm-edge": (288, "01cc8740245960dfc9ce9668761a30f3fde2ba1a5776078ee03cd58e9ed31773"),
    "sfm-resnet50": (464, "88270c5ebdf829bf005dc3d4105d91e900eeabcaba6df875de93f64c59a76241"),
    "sfm-segnext": (683, "c6fcf73be198a4c31ca65cd0dde4e5c65d4a86a080f0442a7861dc719e6bc2cf"),
}
# Mean and standard deviation of the logits, three of the last class, spread of the displacements.
VALUES = {
    "sfm-edge": (
        *(0.061311, 0.008763, 0.039881, 0.063073, 0.080564),
        *(0.035584, 0.025702, 0.020936),
    ),
    "sfm-resnet50": (
        *(0.054277, 0.251668, 0.360976, 0.327322, 0.313572),
        *(0.082570, 0.028296, 0.038248),
    ),
    "sfm-segnext": (
        *(0.106676, 0.185356, 0.268576, 0.264707, 0.244533),
        *(0.108365, 0.133874, 0.092355),
    ),
}


@pytest.mark.parametrize("name", LAYOUT)
def test_entries(name):
    with torch.device("meta"):
        state = create_model(name).state_dict()
    lines = sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(lines), fingerprint) == LAYOUT[name]


@pytest.mark.parametrize("name", VALUES)
def test_golden_values_in_pytorch_and_in_the_form_for_export(name):
    model = create_model(name).eval()
    fill(model, lambda key: key)
    for form in (model, lowered_for_export(model, SIZE_HW)):
        with torch.no_grad():
            logits = form(noise_image(1, 3, SIZE_HW))["logits"]
            _, displacements = form.modulated(noise_image(1, 3, SIZE_HW))
        got = [
            *mean_and_std(logits),
            *(logits[0, -1, row, column].item() for row, column in ((0, 0), (64, 80), (127, 159))),
            *(mean_and_std(displacement)[1] for displacement in displacements),
        ]
        assert got == pytest.approx(VALUES[name], abs=2e-5)
