from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import InputError
from differseg.runtime.image_files import list_images, match_images, read_image


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def color(value: int = 9) -> np.ndarray:
    return np.full((4, 6, 3), (value, 60, 200), np.uint8)


def test_folders_are_matched_by_stem_in_order(tmp_path: Path) -> None:
    for stem in ("b", "a", "c.1"):
        write(tmp_path / f"rgb/{stem}.png", color())
        write(tmp_path / f"thermal/{stem}.tiff", np.full((2, 3), 30000, np.uint16))
    (tmp_path / "rgb/notes.txt").write_text("not an image")
    samples = match_images({"rgb": tmp_path / "rgb", "thermal": tmp_path / "thermal"})
    assert [stem for stem, _ in samples] == ["a", "b", "c.1"]
    assert samples[0][1]["thermal"].name == "a.tiff"


def test_single_files_are_taken_as_given(tmp_path: Path) -> None:
    rgb = write(tmp_path / "left.png", color())
    thermal = write(tmp_path / "right.png", np.zeros((2, 3), np.uint16))
    assert match_images({"rgb": rgb, "thermal": thermal}) == [
        ("left", {"rgb": rgb, "thermal": thermal})
    ]


def test_unmatched_stems_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        write(tmp_path / f"rgb/{stem}.png", color())
    write(tmp_path / "thermal/b.png", np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError) as caught:
        match_images({"rgb": tmp_path / "rgb", "thermal": tmp_path / "thermal"})
    assert "--thermal" in str(caught.value)
    assert "2 of 3 stems have no file here (first: a)" in str(caught.value)


def test_places_that_cannot_be_matched(tmp_path: Path) -> None:
    write(tmp_path / "rgb/a.png", color())
    write(tmp_path / "twice/a.png", color())
    write(tmp_path / "twice/a.jpg", color())
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"--thermal .*no such file or folder"):
        match_images({"rgb": tmp_path / "rgb", "thermal": tmp_path / "absent"})
    with pytest.raises(InputError, match="give folders or files"):
        match_images({"rgb": tmp_path / "rgb", "thermal": tmp_path / "rgb/a.png"})
    with pytest.raises(InputError, match="same stem"):
        list_images(tmp_path / "twice")
    with pytest.raises(InputError, match="holds no images"):
        list_images(tmp_path / "bare")
    with pytest.raises(InputError, match="no such folder"):
        list_images(tmp_path / "absent")


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    image = np.array([[0, 256, 65535]], np.uint16)
    for suffix in ("png", "tiff"):
        back = read_image(write(tmp_path / f"t.{suffix}", image), "thermal")
        assert back.dtype == np.uint16
        assert np.array_equal(back, image)


def test_colour_is_bgr_and_alpha_is_dropped(tmp_path: Path) -> None:
    assert np.array_equal(read_image(write(tmp_path / "c.png", color()), "rgb"), color())
    with_alpha = np.dstack([color(), np.full((4, 6), 77, np.uint8)])
    assert np.array_equal(read_image(write(tmp_path / "d.png", with_alpha), "rgb"), color())


def test_one_channel_stored_three_times_is_one_channel(tmp_path: Path) -> None:
    plane = np.arange(24, dtype=np.uint8).reshape(4, 6)
    path = write(tmp_path / "t.png", np.dstack([plane] * 3))
    assert np.array_equal(read_image(path, "thermal"), plane)


def test_images_of_the_wrong_kind(tmp_path: Path) -> None:
    grey = write(tmp_path / "grey.png", np.zeros((4, 6), np.uint8))
    deep = write(tmp_path / "deep.png", np.zeros((4, 6, 3), np.uint16))
    broken = tmp_path / "broken.png"
    broken.write_bytes(grey.read_bytes()[:30])
    with pytest.raises(InputError, match="8-bit colour, got 1 channel of uint8; are two folders"):
        read_image(grey, "rgb")
    with pytest.raises(InputError, match="got 3 channels of uint16"):
        read_image(deep, "rgb")
    with pytest.raises(InputError, match="colour-mapped"):
        read_image(write(tmp_path / "map.png", color()), "thermal")
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(broken, "rgb")


def indexed_png(path: Path, index: int, palette: list[tuple[int, int, int]]) -> Path:
    """Write an indexed PNG of 2x2 pixels of one index."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0),
        b"PLTE": bytes(value for entry in palette for value in entry),
        b"IDAT": zlib.compress(bytes([0, index, index] * 2)),
        b"IEND": b"",
    }
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("shown", [(128, 0, 0), (128, 128, 128)])
def test_indexed_labels_are_refused_with_the_line_that_mends_them(
    tmp_path: Path, shown: tuple[int, int, int]
) -> None:
    path = indexed_png(tmp_path / "voc.png", 1, [(0, 0, 0), shown])
    said = r"voc.png: is an indexed \(palette\) PNG.*numpy.array"
    with pytest.raises(InputError, match=said) as caught:
        read_image(path, "label")
    assert "\n" not in str(caught.value)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture[0, 0].tolist() == list(shown)[::-1]  # the file is a good one


def test_rgb_and_thermal_in_one_file_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "00001D.png", np.dstack([color(), np.full((4, 6), 77, np.uint8)]))
    with pytest.raises(InputError, match=r"got a PNG of four channels; .* MFNet's release, split"):
        read_image(path, "thermal")


def test_the_documented_lines_split_four_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "training.md"
    (lines,) = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    write(tmp_path / "MFNet/images/00001D.png", np.dstack([color(), np.full((4, 6), 77, np.uint8)]))
    for name in ("rgb", "thermal"):
        (tmp_path / "mfnet" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, str(page), "exec"), {})
    assert np.array_equal(read_image("mfnet/rgb/00001D.png", "rgb"), color())
    assert (read_image("mfnet/thermal/00001D.png", "thermal") == 77).all()
