import numpy as np
import pytest

from differseg.errors import InputError
from differseg.runtime.colour_maps import COLOUR_MAPS, colour_table, colourise

LUMA = np.array([0.114, 0.587, 0.299])


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_warmer_is_brighter_or_darker_throughout(name: str) -> None:
    luma = colour_table(name)[:, 0] @ LUMA
    steps = np.diff(luma) * (-1 if name == "black-hot" else 1)
    assert steps.min() > -1.5, "no band that looks colder than a colder one"
    assert abs(luma[-1] - luma[0]) > 200
    assert len(np.unique(colour_table(name).reshape(256, 3), axis=0)) > 250


def test_the_ends_of_ironbow_are_black_and_white() -> None:
    table = colour_table("ironbow")
    assert table[0, 0].tolist() == [0, 0, 0]
    assert table[-1, 0].tolist() == [255, 255, 255]
    blue, green, red = table[64, 0].astype(int)
    assert blue > red > green, "cold is violet"
    blue, green, red = table[190, 0].astype(int)
    assert red > green > blue, "warm is orange"


def test_float_and_8_bit_images_are_painted_alike() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    painted = colourise(codes, "inferno")
    assert np.array_equal(painted.reshape(256, 1, 3), colour_table("inferno"))
    assert np.array_equal(colourise((codes / 255).astype(np.float32), "inferno"), painted)
    out = np.empty((16, 16, 3), np.uint8)
    assert colourise(codes, "inferno", out=out) is out


def test_what_cannot_be_painted_is_refused() -> None:
    with pytest.raises(InputError, match="ThermalMapper"):
        colourise(np.zeros((4, 4), np.uint16))
    with pytest.raises(InputError, match="white-hot, black-hot, ironbow, inferno"):
        colourise(np.zeros((4, 4), np.uint8), "rainbow")


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        colour_table("ironbow")[0] = 1
