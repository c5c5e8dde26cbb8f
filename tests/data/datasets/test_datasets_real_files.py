"""Real files in their published layouts: MFNet's PNGs of four channels, and Kvasir's polyps."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.data.datasets.registry import open_dataset
from differseg.data.folder import FolderDataset


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


@pytest.fixture(scope="module")
def mfnet(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MFNet as released, from the sample's colour, thermal and label files."""
    root, parts = tmp_path_factory.mktemp("MFNet"), sample_data / "mfnet"
    (root / "images").mkdir()
    (root / "labels").mkdir()
    stems = (parts / "sequence_day.txt").read_text().split()
    night = (parts / "sequence_night.txt").read_text().split()
    for stem in (*stems, *night):
        four = np.dstack([read(parts / f"{what}/{stem}.png") for what in ("rgb", "thermal")])
        cv2.imwrite(str(root / f"images/{stem}.png"), four)
        shutil.copy(parts / f"labels/{stem}.png", root / "labels")
    for split, names in {"test": stems + night, "test_day": stems, "test_night": night}.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def test_mfnet_has_the_pixels_of_the_folder(mfnet: Path, sample_data: Path) -> None:
    data = open_dataset(f"mfnet:{mfnet}")
    folder = FolderDataset(sample_data / "mfnet", label_rule="ids", classes=data.info.classes)
    assert len(data) == 22
    places = {stem: index for index, stem in enumerate(folder.stems)}
    for index, stem in enumerate(data.stems):
        ours, theirs = data[index], folder[places[stem]]
        for name in ("rgb", "thermal", "mask"):
            assert np.array_equal(ours[name], theirs[name])
    assert {1, 2} <= set(np.unique([data.mask(index) for index in range(len(data))]))
    assert len(open_dataset(f"mfnet:{mfnet}", "test_night")) == 10


def test_mfnet_original_files(sample_data: Path, tmp_path: Path) -> None:
    parts = sample_data / "mfnet"
    stems = [path.stem for path in sorted((parts / "rgba_original").iterdir())]
    shutil.copytree(parts / "rgba_original", tmp_path / "images")
    (tmp_path / "labels").symlink_to(parts / "labels")
    (tmp_path / "test.txt").write_text("\n".join(stems))
    data = open_dataset(f"mfnet:{tmp_path}")
    assert data.stems == ["00111D", "01106N"]
    for sample in (data[0], data[1]):
        assert sample["rgb"].shape == (480, 640, 3)
        assert np.array_equal(sample["rgb"], read(parts / f"rgb/{sample['stem']}.png")[:, :, ::-1])
        assert np.array_equal(sample["thermal"], read(parts / f"thermal/{sample['stem']}.png"))


def test_the_folders_of_the_sample_with_a_list(sample_data: Path, tmp_path: Path) -> None:
    for folder in ("rgb", "thermal", "labels"):
        (tmp_path / folder).symlink_to(sample_data / "mfnet" / folder)
    (tmp_path / "val.txt").write_text("01101N\n00107D\n")
    data = open_dataset(f"mfnet:{tmp_path}", "val")
    assert data.stems == ["00107D", "01101N"]
    assert data[0]["thermal"].shape == (480, 640)


def test_kvasir(sample_data: Path, tmp_path: Path) -> None:
    place = tmp_path / "TestDataset/Kvasir"
    place.mkdir(parents=True)
    (place / "images").symlink_to(sample_data / "kvasir_polyp/rgb")
    (place / "masks").symlink_to(sample_data / "kvasir_polyp/labels")
    data = open_dataset(f"kvasir:{tmp_path}")
    assert len(data) == 4
    for index in range(4):
        sample = data[index]
        label = read(place / f"masks/{sample['stem']}.png")
        assert sample["rgb"].shape[:2] == label.shape
        assert np.array_equal(sample["mask"], label > 127)
        assert 0.01 < sample["mask"].mean() < 0.9


def test_jpeg_masks(sample_data: Path, tmp_path: Path) -> None:
    """CVC and Kvasir masks went through JPEG: grey along the edges."""
    (tmp_path / "images").symlink_to(sample_data / "kvasir_polyp/rgb")
    (tmp_path / "masks").mkdir()
    for path in (sample_data / "kvasir_polyp/labels").iterdir():
        mask = cv2.cvtColor(read(path), cv2.COLOR_GRAY2BGR)
        cv2.imwrite(str(tmp_path / f"masks/{path.stem}.jpg"), mask)
    data = open_dataset(f"kvasir:{tmp_path}")
    for index, stem in enumerate(data.stems):
        exact = read(sample_data / f"kvasir_polyp/labels/{stem}.png") > 127
        assert (data.mask(index) != exact).mean() < 0.002
