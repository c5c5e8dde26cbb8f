"""What is learnt from and what is held out; test splits are never among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_trees import CITYSCAPES, MFNET, PST900, plant

from differseg.data.datasets.training import open_training
from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.models.configs.class_sets import CLASS_SETS
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec


def spec(task: str = "rgbt", classes: tuple[ClassSpec, ...] = BINARY_CLASSES) -> ModelSpec:
    return ModelSpec("net", "net", task, MODALITIES[task], classes, (64, 64))


def test_published_val_is_held_out(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    parts = open_training(spec(classes=CLASS_SETS["mfnet"]), "mfnet", tmp_path)
    assert (parts.train.stems, parts.held_out.stems) == (["00001D"], ["00002D"])
    assert parts.description == (
        "1 samples of mfnet, split train (784 were published); labels by rule 'ids'; held out: "
        "1 samples of mfnet, split val (392 were published)"
    )
    train, held_out, _ = parts
    assert train.modalities == held_out.modalities == ("rgb", "thermal")
    assert set(train[0]) == {"stem", "rgb", "thermal", "mask"}


def test_runs_of_frames_are_held_out_where_no_val_is_published(tmp_path: Path) -> None:
    names = [
        f"{bag}_bag_frame{frame:010d}"
        for bag in (1, 2)
        for frame in range(100 * bag, 100 * bag + 30)
    ]
    folders = {"rgb": "rgb", "thermal": "grey", "labels": "ids"}
    plant(tmp_path, {f"train/{f}/{n}.png": kind for f, kind in folders.items() for n in names}, 5)
    plant(tmp_path, {path: kind for path, kind in PST900.items() if path.startswith("test")}, 5)
    parts = open_training(spec(classes=CLASS_SETS["pst900"]), "pst900", tmp_path, holdout=0.2)
    assert not set(parts.train.stems) & set(parts.held_out.stems)
    assert 6 <= len(parts.held_out) <= 18
    assert "2_bag_frame0000000007" not in {*parts.train.stems, *parts.held_out.stems}
    assert "pst900 publishes no val" in parts.description
    assert "whole runs of frame numbers" in parts.description


def test_unrelated_images_are_held_out_by_name(tmp_path: Path) -> None:
    folders = {"RGB": "rgb", "T": "grey", "GT": "mask"}
    files = {f"Train/{f}/{k}.png": kind for f, kind in folders.items() for k in range(20)}
    plant(tmp_path, files)
    parts = open_training(spec(), "vt5000", tmp_path, holdout=0.25)
    assert len(parts.held_out) == 5
    assert sorted({*parts.train.stems, *parts.held_out.stems}) == sorted(map(str, range(20)))
    assert parts.held_out.stems != sorted(map(str, range(20)))[-5:]
    assert open_training(spec(), "vt5000", tmp_path, holdout=0.25).held_out.stems == (
        parts.held_out.stems
    )
    assert "5 of 20 held out by image" in parts.description


def test_whole_sequences_of_videos_are_held_out(tmp_path: Path) -> None:
    folders = {"RGB": "rgb", "Flow": "flow", "GT": "mask"}
    files = {
        f"Train/DAVIS/{sequence}/{f}/{k:05d}.png": kind
        for sequence in ("bear", "bus", "dog", "surf")
        for f, kind in folders.items()
        for k in range(3)
    }
    plant(tmp_path, files)
    parts = open_training(spec("video"), "davis", tmp_path, holdout=0.2)
    held = {stem.split("/")[0] for stem in parts.held_out.stems}
    assert len(held) == 1
    assert held.isdisjoint(stem.split("/")[0] for stem in parts.train.stems)
    assert "3 of 12 held out by 1 of 4 whole sequences" in parts.description


def test_a_set_to_judge_on_is_not_learnt_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nju2k: has only test, .* rgbd-sod is to learn from"):
        open_training(spec("rgbd"), "nju2k", tmp_path)


def test_lists_that_overlap(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    (tmp_path / "test_night.txt").write_text("00004N\n00001D\n")
    with pytest.raises(InputError, match="1 samples of split train are in split test_night too"):
        open_training(spec(classes=CLASS_SETS["mfnet"]), "mfnet", tmp_path)


def test_labels_are_needed(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    with pytest.raises(InputError, match="training needs labels"):
        open_training(spec(classes=CLASS_SETS["mfnet"]), "mfnet", tmp_path, label_rule="none")


def test_labels_that_are_all_ignored(tmp_path: Path) -> None:
    for split in ("train", "val"):
        plant(tmp_path, {p.replace("val", split): kind for p, kind in CITYSCAPES.items()}, 7)
    with pytest.raises(InputError, match="all label pixels of 2 samples are ignored"):
        open_training(spec("rgb", CLASS_SETS["cityscapes"]), "cityscapes", tmp_path)


def test_too_few_images(tmp_path: Path) -> None:
    plant(tmp_path, {"TrainDataset/Imgs/a.png": "rgb", "TrainDataset/GT/a.png": "mask"})
    with pytest.raises(InputError, match="1 samples of 1 image or sequence cannot be split"):
        open_training(spec("rgb"), "cod", tmp_path)
    with pytest.raises(InputError, match="holdout share"):
        open_training(spec("rgb"), "cod", tmp_path, holdout=1.0)
