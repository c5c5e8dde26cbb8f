"""Judged samples that were trained on are noticed, and others raise no alarm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from differseg import create_model
from differseg.checkpoints import METADATA_KEY, read_info, save_checkpoint, shipped_weights
from differseg.data.sequences import split_by_sequence
from differseg.provenance import (
    LearntData,
    TrainingRecord,
    names_fingerprint,
    seen_in_training,
    spread_names,
)
from differseg.schema import to_plain

STEMS = [f"{number:05d}D" for number in range(0, 2000, 20)]


def learnt(name: str = "mfnet", holdout: float = 0.25) -> LearntData:
    parts = split_by_sequence(STEMS, holdout)
    fingerprint = names_fingerprint(parts.train, parts.held_out)
    names = spread_names(parts.train)
    return LearntData("folder", name, len(parts.train), fingerprint, names, holdout)


RECORD = TrainingRecord((256, 320), (learnt(),))
SPLIT = split_by_sequence(STEMS, 0.25)
TRAIN, HELD_OUT = SPLIT.train, SPLIT.held_out


def test_the_very_folder_is_known_under_any_name() -> None:
    said = seen_in_training(RECORD, "renamed", STEMS, STEMS)
    assert said == (
        f"{len(TRAIN)} of the 100 samples were trained on; judge the others alone with "
        "--holdout 0.25"
    )
    assert seen_in_training(RECORD, "mfnet", STEMS, HELD_OUT) is None


def test_another_share_held_out_is_counted() -> None:
    other = split_by_sequence(STEMS, 0.5).held_out
    seen = len(set(other) & set(TRAIN))
    assert seen
    said = seen_in_training(RECORD, "mfnet", STEMS, other)
    assert said is not None
    assert said.startswith(f"{seen} of the {len(other)} samples were trained on")


def test_a_changed_folder_may_hold_what_was_trained_on() -> None:
    grown = [*STEMS, *(f"{number:05d}N" for number in range(0, 200, 20))]
    for name in ("mfnet", "renamed"):
        said = seen_in_training(RECORD, name, grown, grown)
        assert said is not None
        assert f"trained on: {len(TRAIN)} samples of folder 'mfnet' were" in said
    some = [*learnt().some_names[:3], "00001X"]
    assert seen_in_training(RECORD, "mfnet", some, some) is not None
    assert seen_in_training(RECORD, "other", some, some) is None


def test_other_data_raise_no_alarm() -> None:
    others = [f"night_{number:04d}" for number in range(50)]
    assert seen_in_training(RECORD, "mfnet", others, others) is None
    assert seen_in_training(RECORD, "one", ["a"], ["a"]) is None
    scenes = LearntData("synthetic", "seed 0", 100, "0123")
    assert seen_in_training(TrainingRecord((64, 96), (scenes,)), "mfnet", STEMS, STEMS) is None


def test_the_chain_is_looked_through() -> None:
    scenes = LearntData("synthetic", "seed 0", 100, "0123")
    chain = dataclasses.replace(RECORD, data=(scenes, learnt("other"), learnt()))
    assert seen_in_training(chain, "mfnet", STEMS, STEMS) is not None


@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 1000])
def test_kept_names_are_few_and_spread(count: int) -> None:
    names = [f"{number:04d}" for number in range(count)]
    kept = spread_names(names)
    assert len(kept) == len(set(kept)) == min(count, 16)
    assert list(kept) == sorted(kept)
    if count > 16:
        assert int(kept[-1]) >= count * 14 // 16


def test_a_record_goes_through_a_file_and_older_files_stay_readable(tmp_path: Path) -> None:
    model = create_model("differseg-rgb-edge")
    path = tmp_path / "new.safetensors"
    save_checkpoint(path, model, extra={"training": json.dumps(to_plain(RECORD))})
    info = read_info(path)
    assert info is not None
    assert info.training == RECORD

    from safetensors.torch import load_file, save_file

    old = {"schema": 1, "model": "differseg-rgb-edge", "config": {}, "trained_on": "a folder"}
    save_file(load_file(path), tmp_path / "old.safetensors", {METADATA_KEY: json.dumps(old)})
    info = read_info(tmp_path / "old.safetensors")
    assert info is not None
    assert (info.trained_on, info.training) == ("a folder", None)
    shipped = shipped_weights("differseg-edge")
    assert shipped is not None
    assert read_info(shipped) is not None
