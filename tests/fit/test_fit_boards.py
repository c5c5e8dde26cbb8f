"""Figures of boards: those of the devices where they meet, and every one with its source."""

from __future__ import annotations

import pytest

from differseg.bench.devices import DEVICES
from differseg.errors import InputError
from differseg.fit.boards import BOARDS, boards_named, modes_of

SAME = [
    ("orin-nano-4gb", "10W", "orin-nano-4gb"),
    ("orin-nano-4gb", "MAXN_SUPER", "orin-nano-4gb-super"),
    ("orin-nano-8gb", "15W", "orin-nano-8gb"),
    ("orin-nano-8gb", "MAXN_SUPER", "orin-nano-8gb-super"),
    ("orin-nx-8gb", "MAXN", "orin-nx-8gb"),
    ("orin-nx-16gb", "MAXN", "orin-nx-16gb"),
    ("agx-orin-32gb", "MAXN", "agx-orin-32gb"),
    ("agx-orin-64gb", "MAXN", "agx-orin-64gb"),
    ("thor-t4000", "MAXN", "thor-t4000"),
    ("thor-t5000", "MAXN", "thor-t5000"),
]


@pytest.mark.parametrize(("board", "mode", "device"), SAME)
def test_a_mode_that_is_a_device_has_its_figures(board: str, mode: str, device: str) -> None:
    (found,) = modes_of(BOARDS[board], mode)
    at, known = BOARDS[board].at(found), DEVICES[device]
    assert at.matrix_tflops == pytest.approx(known.matrix_tflops)
    assert at.vector_tflops == pytest.approx(known.vector_tflops)
    assert (at.bandwidth_gbs, at.clock_mhz) == (known.bandwidth_gbs, known.clock_mhz)


def test_half_the_multiprocessors_at_a_lower_clock() -> None:
    """7 W of an Orin Nano 8GB: 2 of 4 TPCs at 408 of 625 MHz."""
    (low,) = modes_of(BOARDS["orin-nano-8gb"], "7W")
    full = DEVICES["orin-nano-8gb"].matrix_tflops["int8"]
    at = BOARDS["orin-nano-8gb"].at(low)
    assert at.matrix_tflops["int8"] == pytest.approx(full * 0.5 * 408 / 625)
    assert at.clock_mhz == 408


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_every_figure_has_a_source(board: object) -> None:
    from differseg.fit.boards import Board

    assert isinstance(board, Board)
    assert board.usable_source
    assert 0.9 * board.memory_mib < board.usable_mib < board.memory_mib
    for mode in board.modes:
        at = board.at(mode)
        assert mode.source in at.sources
        assert DEVICES[board.device].sources in at.sources
        assert mode.multiprocessors <= board.multiprocessors
        assert mode.is_super == ("super" in mode.source)


def test_a_family_is_all_of_its_boards() -> None:
    assert [b.name for b in boards_named("orin-nano")] == ["orin-nano-4gb", "orin-nano-8gb"]
    assert [b.name for b in boards_named("thor")] == ["thor-t4000", "thor-t5000"]
    assert len(boards_named("all")) == len(BOARDS)


def test_modes_of_equal_figures_stand_once() -> None:
    names = [mode.name for mode in modes_of(BOARDS["orin-nx-16gb"], None)]
    assert names == ["10W", "15W", "25W", "MAXN", "MAXN_SUPER"]
    assert [m.name for m in modes_of(BOARDS["orin-nx-16gb"], "40w")] == ["40W"]


def test_an_unknown_board_or_mode_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'orin-nano'"):
        boards_named("orin-nanoo")
    with pytest.raises(InputError, match="it has 7W, 15W, 25W, MAXN_SUPER"):
        modes_of(BOARDS["orin-nano-8gb"], "30W")
