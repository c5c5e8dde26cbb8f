"""Splits by sequence: no run of frames on both sides, and always the same split."""

from __future__ import annotations

import re

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


def test_runs_break_at_jumps_and_suffixes() -> None:
    runs = find_runs(["00003D", "00001D", "00002N", "00013D", "00024D", "b", "a"], gap=10)
    assert sorted(map(tuple, runs)) == [
        ("00001D", "00003D", "00013D"), ("00002N",), ("00024D",), ("a",), ("b",),
    ]  # fmt: skip


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
    assert 0.3 * share <= len(split.held_out) / len(STEMS) <= 2 * share


def test_order_of_names_plays_no_part_and_seed_does() -> None:
    assert split_by_sequence(STEMS) == split_by_sequence(STEMS[::-1])
    many = [stem for k in range(20) for stem in names(1000 * k, 1000 * k + 4, "D")]
    assert len({split_by_sequence(many, seed=seed).held_out for seed in range(5)}) > 1


def test_one_long_run_is_cut_with_a_gap() -> None:
    split = split_by_sequence(names(1, 100, "D"), 0.2)
    assert split.held_out == tuple(names(81, 100, "D"))
    assert split.dropped == tuple(names(71, 80, "D"))
    assert "cut at their end" in split.reason


def test_names_without_numbers() -> None:
    split = split_by_sequence([f"{a}{b}" for a in "abcdef" for b in "xyz"], 0.25)
    assert len(split.held_out) == 4
    assert not split.dropped


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_share_must_leave_both_sides(share: float) -> None:
    with pytest.raises(InputError, match="share"):
        split_by_sequence(STEMS, share)


@pytest.mark.parametrize("stems", [[], ["00001D"], ["00001D", "00002D"]])
def test_too_few_samples(stems: list[str]) -> None:
    with pytest.raises(InputError, match="split"):
        split_by_sequence(stems)
