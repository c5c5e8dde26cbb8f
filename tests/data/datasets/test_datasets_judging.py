"""What is judged: a split, a folder, or what a run left out of its training."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_trees import MFNET, plant

from differseg.data.datasets.judging import open_judged
from differseg.data.datasets.training import open_training
from differseg.errors import InputError
from differseg.models.configs.class_sets import CLASS_SETS
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec

_INPUTS = ("rgb", "thermal")


def test_a_split(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    classes = CLASS_SETS["mfnet"]
    parts = open_judged(f"mfnet:{tmp_path}", None, _INPUTS, classes=classes)
    assert (parts.judged.stems, parts.name) == (["00003D", "00004N"], "mfnet")
    parts = open_judged(f"mfnet:{tmp_path}", "val", _INPUTS, classes=classes)
    assert parts.judged.stems == ["00002D"]


def test_the_share_that_training_left_out(tmp_path: Path) -> None:
    folders = {"RGB": "rgb", "T": "grey", "GT": "mask"}
    plant(
        tmp_path,
        {f"{s}/{f}/{k}.png": v for s in ("Train", "Test") for f, v in folders.items()
         for k in range(12)},
    )  # fmt: skip
    data = f"vt5000:{tmp_path}"
    parts = open_judged(data, "train", _INPUTS, holdout=0.25, classes=BINARY_CLASSES)
    spec = ModelSpec("net", "net", "rgbt", MODALITIES["rgbt"], BINARY_CLASSES, (64, 64))
    learnt = open_training(spec, "vt5000", tmp_path, holdout=0.25)
    assert parts.judged.stems == learnt.held_out.stems
    assert len(parts.everything) == 12
    with pytest.raises(InputError, match="is a share of split train, and vt5000 is judged on test"):
        open_judged(data, None, _INPUTS, holdout=0.25, classes=BINARY_CLASSES)


def test_a_plain_folder(tmp_path: Path) -> None:
    folders = {"rgb": "rgb", "thermal": "grey", "labels": "mask"}
    plant(tmp_path, {f"{f}/{k:03d}.png": v for f, v in folders.items() for k in range(20)})
    whole = open_judged(str(tmp_path), None, _INPUTS)
    assert len(whole.judged) == 20
    assert whole.name == tmp_path.name
    assert 1 <= len(open_judged(str(tmp_path), None, _INPUTS, holdout=0.2).judged) < 20


def test_without_labels(tmp_path: Path) -> None:
    plant(tmp_path, {"rgb/a.png": "rgb", "thermal/a.png": "grey"})
    with pytest.raises(InputError, match="there is nothing to judge against"):
        open_judged(str(tmp_path), None, _INPUTS)
    plant(tmp_path, MFNET)
    with pytest.raises(InputError, match="--label-rule none leaves labels out"):
        open_judged(f"mfnet:{tmp_path}", None, _INPUTS, label_rule="none")
