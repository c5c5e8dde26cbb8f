"""Folder data sets: what is read, and one line for everything that does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.data.folder import FolderDataset
from differseg.data.sequences import split_by_sequence
from differseg.errors import InputError


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def fill(
    root: Path, stems: tuple[str, ...] = ("a", "b"), size_hw: tuple[int, int] = (8, 12)
) -> Path:
    for k, stem in enumerate(stems):
        rgb = np.zeros((*size_hw, 3), np.uint8)
        rgb[..., 0] = 200  # blue in OpenCV's order
        write(root / "rgb" / f"{stem}.png", rgb)
        write(root / "thermal" / f"{stem}.png", np.full(size_hw, 29000 + k, np.uint16))
        write(root / "labels" / f"{stem}.png", np.full(size_hw, k, np.uint8))
    return root


def refusal(root: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        FolderDataset(root, **options)[0]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_items(tmp_path: Path) -> None:
    data = FolderDataset(fill(tmp_path))
    assert len(data) == 2
    assert data.has_labels
    item = data[1]
    assert item["stem"] == "b"
    assert item["rgb"].shape == (8, 12, 3)
    assert item["rgb"][0, 0].tolist() == [0, 0, 200]
    assert item["thermal"].dtype == np.uint16
    assert item["thermal"][0, 0] == 29001
    assert item["mask"].tolist() == np.ones((8, 12)).tolist()


def test_endings_may_differ_and_depth_stays_16_bit(tmp_path: Path) -> None:
    write(tmp_path / "rgb" / "a.jpg", np.full((8, 12, 3), 90, np.uint8))
    write(tmp_path / "depth" / "a.tif", np.full((8, 12), 40000, np.uint16))
    item = FolderDataset(tmp_path, modalities=("rgb", "depth"))[0]
    assert item["depth"][0, 0] == 40000
    assert "mask" not in item


def test_select_and_stems(tmp_path: Path) -> None:
    data = FolderDataset(fill(tmp_path, ("a", "b", "c")))
    assert [data.select(["c", "a"])[k]["stem"] for k in (0, 1)] == ["c", "a"]
    assert len(data) == 3
    assert FolderDataset(tmp_path, stems=["b"]).stems == ["b"]
    assert "no sample 'x'" in refusal(tmp_path, stems=["x"])


def test_no_such_folder(tmp_path: Path) -> None:
    text = refusal(tmp_path / "none")
    assert "no such folder" in text
    assert "rgb/, thermal/, labels/" in text


def test_missing_modality(tmp_path: Path) -> None:
    write(tmp_path / "rgb" / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert "folder thermal/ is missing" in refusal(tmp_path)


def test_empty_folder(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "depth").mkdir()
    assert "holds no images" in refusal(tmp_path, modalities=("rgb", "depth"))


def test_unmatched_stems_are_counted_and_named(tmp_path: Path) -> None:
    fill(tmp_path, ("a", "b"))
    for stem in ("p", "q", "r", "s", "t"):
        write(tmp_path / "thermal" / f"{stem}.png", np.zeros((8, 12), np.uint16))
    (tmp_path / "labels" / "b.png").unlink()
    text = refusal(tmp_path)
    assert "rgb/ 2, thermal/ 7, labels/ 1; 1 complete" in text
    assert "rgb/ b" in text
    assert "thermal/ b, p, q and 3 more" in text


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "thermal" / "a.png").write_bytes(b"not a picture")
    text = refusal(tmp_path)
    assert "a.png" in text
    assert "cannot be read" in text


def test_sizes_must_agree(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "thermal" / "a.png", np.zeros((4, 6), np.uint16))
    text = refusal(tmp_path)
    assert "sample 'a'" in text
    assert "rgb 12x8, thermal 6x4, mask 12x8" in text


def test_colour_mapped_thermal_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    write(tmp_path / "thermal" / "a.png", picture)
    assert "expected one channel" in refusal(tmp_path)


def test_label_value_without_meaning(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "labels" / "a.png", np.full((8, 12), 77, np.uint8))
    assert "77" in refusal(tmp_path)
    assert FolderDataset(tmp_path, label_rule="77")[0]["mask"].min() == 1


def test_labels_without_foreground(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "labels" / "b.png", np.zeros((8, 12), np.uint8))
    assert "labels, 2 files read: expected foreground, got only value 0" in refusal(tmp_path)
    assert FolderDataset(tmp_path, label_rule="nonzero")[1]["mask"].max() == 0


def test_labels_may_be_left_out(tmp_path: Path) -> None:
    write(fill(tmp_path) / "labels" / "a.png", np.full((8, 12), 77, np.uint8))
    (tmp_path / "labels" / "b.png").unlink()
    data = FolderDataset(tmp_path, label_rule="none")
    assert not data.has_labels
    assert data.rule is None
    assert set(data[0]) == {"stem", "rgb", "thermal"}


def test_a_part_has_the_rule_of_its_folder(tmp_path: Path) -> None:
    fill(tmp_path)  # the label of a is empty
    assert FolderDataset(tmp_path, stems=["a"])[0]["mask"].max() == 0


def test_mfnet_sample_data(sample_data: Path) -> None:
    root = sample_data / "mfnet"
    data = FolderDataset(root)
    assert data.rule is not None
    assert data.rule.name == "auto: mfnet"
    item = data[data.stems.index("00537D")]
    raw = cv2.imread(str(root / "labels" / "00537D.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(item["mask"], np.isin(raw, [1, 2, 3]))
    assert item["rgb"].shape == (480, 640, 3)
    assert item["thermal"].dtype == np.uint8
    split = split_by_sequence(data.stems, 0.2)
    day = {stem[-1] for stem in split.held_out}
    assert day == {"D", "N"}
    sequence = set((root / "sequence_day.txt").read_text().split())
    assert sequence <= set(split.train) or sequence.isdisjoint(split.train)
