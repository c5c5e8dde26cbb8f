"""Files that are not uniform: read as the published loaders read them, or refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.data.datasets.decoders import decode_plain, decode_rgb_thermal, decode_salient
from differseg.errors import InputError


@pytest.fixture
def colour(tmp_path: Path) -> Path:
    path = tmp_path / "colour.png"
    cv2.imwrite(str(path), np.tile(np.uint8([[[10, 200, 60]]]), (4, 6, 1)))  # BGR
    return path


def test_colour_is_rgb_and_grey_photographs_have_three_channels(
    tmp_path: Path, colour: Path
) -> None:
    assert decode_plain(colour, ["rgb"])["rgb"][0, 0].tolist() == [60, 200, 10]
    path = tmp_path / "grey.jpg"
    cv2.imwrite(str(path), np.full((4, 6), 90, np.uint8))
    assert decode_plain(path, ["rgb"])["rgb"].shape == (4, 6, 3)


def test_orientation_tags_are_not_followed(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (6, 4), (9, 9, 9))
    tags = image.getexif()
    tags[0x0112] = 6  # turned by a quarter
    path = tmp_path / "turned.jpg"
    image.save(path, exif=tags)
    assert cv2.imread(str(path)).shape == (6, 4, 3)
    assert decode_plain(path, ["rgb"])["rgb"].shape == (4, 6, 3)


def test_thermal_in_colour_is_luma_in_salient_sets_alone(colour: Path) -> None:
    luma = round(0.299 * 60 + 0.587 * 200 + 0.114 * 10)
    assert abs(int(decode_salient(colour, ["thermal"])["thermal"][0, 0]) - luma) <= 1
    with pytest.raises(InputError, match=r"thermal image .* expected one channel"):
        decode_plain(colour, ["thermal"])


def test_depth_keeps_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), np.full((4, 6), 40_000, np.uint16))
    for decode in (decode_plain, decode_salient):
        assert decode(path, ["depth"])["depth"].dtype == np.uint16


@pytest.mark.parametrize("values", [(0, 1), (0, 255)])
def test_masks_of_0_and_1_become_0_and_255(values: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.uint8([values, values]))
    assert decode_salient(path, ["labels"])["labels"].tolist() == [[0, 255], [0, 255]]


def test_indexed_labels(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    indexes = np.uint8([[0, 1, 3], [3, 3, 0]])
    image = pillow.fromarray(indexes, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128])
    path = tmp_path / "indexed.png"
    image.save(path)
    assert np.array_equal(decode_plain(path, ["labels"])["labels"], indexes)
    assert np.array_equal(decode_salient(path, ["labels"])["labels"], (indexes > 0) * 255)


@pytest.mark.parametrize(
    ("greys", "mask"),
    [((255, 0), (255, 0)), ((0, 255), (0, 255)), ((0, 1), (0, 255)), ((0, 90), (0, 90))],
)
def test_indexed_masks_of_greys_are_what_they_show(
    greys: tuple[int, int], mask: tuple[int, int], tmp_path: Path
) -> None:
    """Tools that make files small order the palette as they like, white first among them."""
    image = pytest.importorskip("PIL.Image").fromarray(np.uint8([[0, 1]]), "P")
    image.putpalette([value for grey in greys for value in (grey,) * 3])
    path = tmp_path / "mask.png"
    image.save(path)
    assert decode_salient(path, ["labels"])["labels"].tolist() == [list(mask)]


def test_fused_file_of_three_channels(colour: Path) -> None:
    with pytest.raises(InputError, match="thermal in one PNG, got 3 channels of uint8"):
        decode_rgb_thermal(colour, ["rgb", "thermal"])


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "link"])
@pytest.mark.parametrize("decode", [decode_plain, decode_salient, decode_rgb_thermal])
def test_not_an_image(decode: object, broken: bool, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    if broken:
        path.write_bytes(b"\x89PNG\r\n\x1a\n0000")
    else:
        path.symlink_to(tmp_path / "gone.png")
    for wanted in ("rgb", "labels"):
        with pytest.raises(InputError, match=r"broken\.png"):
            decode(path, [wanted])


def test_mask_of_16_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.full((4, 6), 65_535, np.uint16))
    with pytest.raises(InputError, match="expected 8 bits, got uint16"):
        decode_salient(path, ["labels"])
