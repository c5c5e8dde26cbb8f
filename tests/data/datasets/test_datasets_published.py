"""Every data set on a small tree of its layout: which samples, which pixels, which classes."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from published_trees import CITYSCAPES, FMB, MFNET, PST900, TREES, VIDEO, Tree, image, plant

from differseg.data.datasets.published import PublishedDataset
from differseg.data.datasets.registry import DATASETS, open_dataset
from differseg.data.folder import FolderDataset
from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.models.configs.class_sets import CLASS_SETS, named_classes

_TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
"""Cityscapes' ids that are scored, from cityscapesscripts/helpers/labels.py."""

_VALUES = {"mfnet": 9, "pst900": 5, "pst900-raw": 5, "fmb": 15, "cityscapes": 34, "ade20k": 151}


def expected_mask(dataset: str, label: np.ndarray) -> np.ndarray:
    if dataset == "cityscapes":
        return np.vectorize(lambda value: _TRAIN_IDS.get(int(value), 255))(label)
    if dataset == "ade20k":
        return np.where(label == 0, 255, label.astype(int) - 1)
    return label if dataset in _VALUES else label // 255


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{tree.dataset}-{tree.split}")
def test_layout(tree: Tree, tmp_path: Path) -> None:
    values = _VALUES.get(tree.dataset, 2)
    plant(tmp_path, tree.files, values)
    data = open_dataset(f"{tree.dataset}:{tmp_path}", tree.split, tree.modalities)
    assert data.stems == tree.stems
    assert data.has_labels
    assert len(data) == len(tree.stems)
    planted = [image(path, kind, values) for path, kind in tree.files.items() if kind != "rgbt"]
    fused = [image(path, kind) for path, kind in tree.files.items() if kind == "rgbt"]
    planted += [four[:, :, :3] for four in fused] + [four[:, :, 3] for four in fused]
    for index, stem in enumerate(tree.stems):
        sample = data[index]
        assert list(sample) == ["stem", *data.modalities, "mask"]
        assert sample["stem"] == stem
        for name in data.modalities:
            assert any(np.array_equal(sample[name], one) for one in planted), name
        masks = [expected_mask(tree.dataset, one) for one in planted if one.ndim == 2]
        assert any(np.array_equal(sample["mask"], one) for one in masks)
        assert np.array_equal(sample["mask"], data.mask(index))
        assert sample["mask"].dtype == np.uint8


def test_every_data_set_has_a_tree() -> None:
    assert {tree.dataset for tree in TREES} == set(DATASETS)


def test_partners_belong_together(tmp_path: Path) -> None:
    data = open_dataset(f"mfnet:{plant(tmp_path, MFNET)}")
    sample = data[1]
    four = image("images/00004N.png", "rgbt")
    assert np.array_equal(sample["rgb"], four[:, :, :3])
    assert np.array_equal(sample["thermal"], four[:, :, 3])
    assert np.array_equal(sample["mask"], image("labels/00004N.png", "ids"))


def test_raw_thermal_keeps_16_bits(tmp_path: Path) -> None:
    data = open_dataset(f"pst900-raw:{plant(tmp_path, PST900, 5)}")
    path = "test/thermal_raw/2_bag_frame0000000007.png"
    assert np.array_equal(data[0]["thermal"], image(path, "raw"))


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_dataset(f"mfnet:{plant(tmp_path, MFNET)}")
    read: list[str] = []
    original = cv2.imread
    monkeypatch.setattr(
        cv2, "imread", lambda path, *flags: (read.append(path), original(path, *flags))[1]
    )
    data[0]
    assert sorted(read) == [str(tmp_path / f"{what}/00003D.png") for what in ("images", "labels")]


def test_select_keeps_rule_and_kind(tmp_path: Path) -> None:
    data = open_dataset(f"mfnet:{plant(tmp_path, MFNET)}")
    part = data.select(["00004N"])
    assert isinstance(part, PublishedDataset)
    assert isinstance(part, FolderDataset)
    assert [part[0]["stem"], len(part), len(data)] == ["00004N", 1, 2]
    assert part.rule is data.rule
    part.require_known_pixels()


def test_two_classes_of_mfnet_are_object_and_rest(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    data = open_dataset(f"mfnet:{tmp_path}", classes=CLASS_SETS["binary"])
    label = image("labels/00003D.png", "ids")
    assert np.array_equal(data[0]["mask"], np.isin(label, (1, 2, 3)))


def test_fourteen_classes_of_fmb_leave_background_out(tmp_path: Path) -> None:
    plant(tmp_path, FMB, 15)
    classes = tuple(
        ClassSpec(spec.id - 1, spec.name, spec.color_rgb) for spec in DATASETS["fmb"].classes[1:]
    )
    mask = open_dataset(f"fmb:{tmp_path}", classes=classes)[0]["mask"]
    label = image("test/Label/00002.png", "ids", 15).astype(int)
    assert np.array_equal(mask, np.where(label == 0, 255, label - 1))


def test_classes_that_do_not_fit(tmp_path: Path) -> None:
    plant(tmp_path, FMB, 15)
    with pytest.raises(InputError, match="networks with 14 or 15 classes, not 2"):
        open_dataset(f"fmb:{tmp_path}", classes=CLASS_SETS["binary"])
    foreground = open_dataset(
        f"fmb:{tmp_path}", classes=CLASS_SETS["binary"], label_rule="8,9,10,11,12,13"
    )
    assert set(np.unique(foreground[0]["mask"])) <= {0, 1}


def test_classes_of_the_same_number_and_other_names(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    other = named_classes(("nothing", *"abcdefgh"))
    with pytest.raises(InputError, match="class 0 of the network is 'nothing'"):
        open_dataset(f"mfnet:{tmp_path}", classes=other)
    assert open_dataset(f"mfnet:{tmp_path}", classes=other, label_rule="ids").rule is not None
    spelt = tuple(
        ClassSpec(spec.id, spec.name.replace("_", " ").upper(), spec.color_rgb)
        for spec in CLASS_SETS["mfnet"]
    )
    assert open_dataset(f"mfnet:{tmp_path}", classes=spelt).rule is not None


def test_unlabelled_needs_no_labels(tmp_path: Path) -> None:
    plant(tmp_path, {path: kind for path, kind in MFNET.items() if "labels/" not in path})
    data = open_dataset(f"mfnet:{tmp_path}", label_rule="none")
    assert not data.has_labels
    assert list(data[0]) == ["stem", "rgb", "thermal"]


def test_modality_that_the_data_set_lacks(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    with pytest.raises(InputError, match=r"mfnet: holds rgb, thermal, but depth is asked for"):
        open_dataset(f"mfnet:{tmp_path}", modalities=("rgb", "depth"))


def test_one_modality_of_a_fused_file(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    assert list(open_dataset(f"mfnet:{tmp_path}", modalities=("thermal",))[0])[1] == "thermal"


def test_left_out_frames_are_counted(tmp_path: Path) -> None:
    data = open_dataset(f"davis:{plant(tmp_path, VIDEO)}")
    assert isinstance(data, PublishedDataset)
    assert data.left_out == 1
    assert data.in_words() == (
        "2 samples of davis, split test, 1 without a file of each modality left out"
    )


def test_images_of_different_size_are_named(tmp_path: Path) -> None:
    plant(tmp_path, CITYSCAPES, 34)
    path = tmp_path / "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png"
    cv2.imwrite(str(path), np.full((5, 7), 7, np.uint8))
    data = open_dataset(f"cityscapes:{tmp_path}")
    with pytest.raises(InputError, match="'lindau/lindau_000000_000019' has images of different"):
        data[0]


def test_value_outside_the_coding(tmp_path: Path) -> None:
    plant(tmp_path, MFNET, values=40)
    with pytest.raises(InputError, match=r"00003D\.png: value \d+ is outside rule 'ids'"):
        open_dataset(f"mfnet:{tmp_path}")[0]


def test_workers_can_have_it(tmp_path: Path) -> None:
    data = open_dataset(f"mfnet:{plant(tmp_path, MFNET)}")
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again[0]["rgb"], data[0]["rgb"])


def test_as_published(tmp_path: Path) -> None:
    data = open_dataset(f"mfnet:{plant(tmp_path, MFNET)}")
    assert isinstance(data, PublishedDataset)
    assert data.in_words() == "2 samples of mfnet, split test (393 were published)"
    assert data.name == "mfnet"
