"""Splits by sequence: no run of frames on both sides, and always the same split."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from differseg.data.sequences import find_runs, split_by_sequence
from differseg.errors import InputError


def names(first: int, last: int, suffix: str, step: int = 1) -> list[str]:
    return [f"{number:05d}{suffix}" for number in range(first, last + 1, step)]


STEMS = [
    *names(100, 130, "D", 2), *names(400, 412, "D"), *names(700, 705, "D"),
    *names(300, 340, "N", 4), *names(900, 903, "N"),
]  # fmt: skip


def number(stem: str) -> int:
    return int(re.sub(r"\D", "", stem))


def test_runs_break_at_jumps_alone() -> None:
    runs = find_runs(["00003D", "00001D", "00002N", "00013D", "00024D", "b", "a"], gap=10)
    assert sorted(map(tuple, runs)) == [
        ("00001D", "00002N", "00003D", "00013D"), ("00024D",), ("a",), ("b",),
    ]  # fmt: skip


def clock(time_s: float, form: str = "img_20230310_{:02d}{:02d}{:02d}_{:03d}") -> str:
    """Name a moment between 17:20 and 18:00 by date and clock time."""
    whole, thousandths = divmod(round(1000 * time_s), 1000)
    minutes, seconds = divmod(whole, 60)
    return form.format(17 + (20 + minutes) // 60, (20 + minutes) % 60, seconds, thousandths)


FRAMES = [k for k in range(400) if k % 7 != 5 and not 150 < k < 153]
"""Numbers of the frames of one recording, some of them missing."""

NAMINGS: dict[str, Callable[[int], list[str]]] = {
    "seconds": lambda k: [f"{1305031102.175304 + k / 30:.6f}"],
    "milliseconds": lambda k: [f"cam_{1678446035959 + 33 * k}"],
    "nanoseconds": lambda k: [f"{1678446035959000000 + 33333333 * k}"],
    "clock": lambda k: [clock(k / 30)],
    "clock with marks": lambda k: [clock(k / 30, "2023-03-10 {:02d}-{:02d}-{:02d}.{:03d}")],
    "every 15th": lambda k: [f"frame_{15 * k:05d}"],
    "camera behind": lambda k: [f"frame_{k:05d}_cam1"],
    "not padded": lambda k: [f"frame_{k}_cam12"],
    "changed copies": lambda k: [f"{k:05d}D", f"{k:05d}D_flip", f"{k:05d}D_rot90"],
    "few copies": lambda k: [f"{k:05d}D"] + [f"{k:05d}D_flip"] * (k % 40 == 0),
    "two cameras": lambda k: [f"camL_{k:05d}", f"camR_{k:05d}"],
    "cameras by number": lambda k: [f"{k:05d}_cam{camera}" for camera in range(4)],
    "cameras out of step": lambda k: [f"cam0_{33 * k}", f"cam1_{33 * k + 5}"],
    "alternating cameras": lambda k: [f"cam{'LR'[k % 2]}_{k:05d}"],
    "hashes": lambda k: [f"f{k:05d}_jpg.rf.{(k + 1) * 0x9E3779B97F4A7C15A:032x}"],
}


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("naming", NAMINGS)
def test_frames_of_ordinary_names_stay_ten_apart(naming: str, share: float) -> None:
    frame = {stem: k for k in FRAMES for stem in NAMINGS[naming](k)}
    split = split_by_sequence(list(frame), share)
    held = {frame[stem] for stem in split.held_out}
    kept = {frame[stem] for stem in split.train}
    assert min(abs(a - b) for a in held for b in kept) >= 10
    assert share * 2 / 3 <= len(split.held_out) / len(frame) <= share * 4 / 3
    assert len(split.dropped) < 0.1 * len(frame)
    assert "warning" not in split.reason


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_neighbours_never_stand_on_both_sides(seed: int, share: float) -> None:
    split = split_by_sequence(STEMS, share, seed=seed)
    assert sorted([*split.train, *split.held_out, *split.dropped]) == sorted(STEMS)
    for held in split.held_out:
        for kept in split.train:
            same = held[-1] == kept[-1]
            assert not same or abs(number(held) - number(kept)) > 10
    assert {stem[-1] for stem in split.held_out} == {"D", "N"}
    assert share * 2 / 3 <= len(split.held_out) / len(STEMS) <= share * 4 / 3


def test_order_of_names_plays_no_part_and_seed_does() -> None:
    assert split_by_sequence(STEMS) == split_by_sequence(STEMS[::-1])
    many = [stem for k in range(20) for stem in names(1000 * k, 1000 * k + 4, "D")]
    assert len({split_by_sequence(many, seed=seed).held_out for seed in range(5)}) > 1


def test_one_long_run_is_cut_with_a_gap() -> None:
    split = split_by_sequence(names(1, 100, "D"), 0.2)
    assert split.held_out == tuple(names(81, 100, "D"))
    assert split.dropped == tuple(names(71, 80, "D"))
    assert "cut at their end" in split.reason


@pytest.mark.parametrize("share", [0.15, 0.25, 0.4, 0.5])
def test_long_runs_are_cut_where_whole_ones_miss_the_share(share: float) -> None:
    runs = [("D", 102, 25), ("D", 502, 6), ("D", 537, 2), ("N", 701, 16), ("N", 1101, 13)]
    stems = [name for suffix, a, count in runs for name in names(a, a + count - 1, suffix)]
    split = split_by_sequence(stems, share)
    for suffix, count in (("D", 33), ("N", 29)):
        held = sum(stem.endswith(suffix) for stem in split.held_out)
        assert share * 2 / 3 <= held / count <= share * 4 / 3
    assert f"{len(split.held_out)} of 62 held out ({len(split.held_out) / 62:.0%})" in split.reason


@pytest.mark.parametrize("share", [0.15, 0.25, 0.4])
def test_mfnet_sample_meets_the_share(sample_data: Path, share: float) -> None:
    stems = [path.stem for path in (sample_data / "mfnet" / "labels").iterdir()]
    assert sorted(map(len, find_runs(stems))) == [2, 6, 13, 16, 25]
    split = split_by_sequence(stems, share)
    assert len(split.held_out) / len(stems) == pytest.approx(share, abs=0.03)
    assert {stem[-1] for stem in split.held_out} == {"D", "N"}


def test_small_groups_give_their_share_together() -> None:
    stems = ["00004N", "01016N", "02032N", "03051N", "04085D", "05095D", "06103D", "07107D"]
    assert len(split_by_sequence(stems, 0.15, gap=10).held_out) == 1


def test_names_without_numbers() -> None:
    split = split_by_sequence([f"{a}{b}" for a in "abcdef" for b in "xyz"], 0.25)
    assert len(split.held_out) == 4
    assert not split.dropped
    assert "warning: 18 of 18 runs hold one name" in split.reason


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_share_must_leave_both_sides(share: float) -> None:
    with pytest.raises(InputError, match="share"):
        split_by_sequence(STEMS, share)


@pytest.mark.parametrize("stems", [[], ["00001D"], ["00001D", "00002D"]])
def test_too_few_samples(stems: list[str]) -> None:
    with pytest.raises(InputError, match="split"):
        split_by_sequence(stems)
