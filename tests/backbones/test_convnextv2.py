from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from differseg.backbones.convnextv2 import create_convnextv2_trunk
from differseg.errors import InputError, MissingComponentError

NEEDS_TIMM = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"
)


@NEEDS_TIMM
@pytest.mark.parametrize(
    ("size", "channels", "parameters"),
    [
        ("nano", (80, 160, 320, 640), 14_978_960),
        ("tiny", (96, 192, 384, 768), 27_861_888),
        ("base", (128, 256, 512, 1024), 87_686_656),
    ],
)
def test_levels_and_parameters_of_the_thermal_trunk(size, channels, parameters):
    with torch.device("meta"):
        trunk = create_convnextv2_trunk(size, in_channels=1)
        levels = trunk(torch.empty(2, 1, 100, 130))
    assert trunk.channels == channels
    assert sum(p.numel() for p in trunk.parameters()) == parameters
    grids = [(25, 32), (12, 16), (6, 8), (3, 4)]
    expected = [(2, c, *grid) for c, grid in zip(channels, grids, strict=True)]
    assert [tuple(x.shape) for x in levels] == expected


def test_unknown_size_is_refused():
    with pytest.raises(InputError, match="'huge' is unknown; choose nano, tiny, base"):
        create_convnextv2_trunk("huge")


def test_absent_timm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingComponentError, match="pip install 'differseg"):
        create_convnextv2_trunk("nano")
