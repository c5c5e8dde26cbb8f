from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.modules.strip_context import StripContext


def unit(s, key, x, **settings):
    return norm(s, f"{key}.bn", conv(s, f"{key}.conv", x, **settings))


def test_strip_context_equals_its_cascade_written_out():
    block = StripContext(6, 4)
    s, x = randomise(block), noise(2, 6, 9, 11)
    views = [unit(s, f"views.{k}", x) for k in range(5)]
    y = views[0]
    for k, reach in enumerate((3, 5, 7)):
        y = unit(s, f"strips.{k}.0", y, padding=(0, reach // 2))
        y = unit(s, f"strips.{k}.1", y, padding=(reach // 2, 0))
        y = torch.cat((y, views[k + 1]), 1)
    expected = F.relu(views[4] + unit(s, "mix", y, padding=1))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: StripContext(64, 64), 267_776),
        (lambda: StripContext(4864, 64), 1_803_776),
    ],
)
def test_published_sizes(build, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == expected
