"""Thermal frames on their way to the network: corrected and warped, each once."""

import numpy as np
import pytest

from differseg.runtime.pairing import Pair
from differseg.runtime.registration import Registration
from differseg.runtime.sources import Frame
from differseg.runtime.thermal_correction import CorrectionOptions, ThermalCorrector
from differseg.runtime.thermal_view import ThermalView
from differseg.runtime.timing import StageTimes

TENTHS = CorrectionOptions(unit="0.1K", dead_pixels=False, jump_smoothing_s=0)


def pair(thermal, rgb_hw=(48, 64)):
    return Pair(Frame(np.zeros((*rgb_hw, 3), np.uint8), 0.0, 0), thermal, 0.0)


def thermal_frame(value, index=0):
    return Frame(np.full((24, 32), value, np.uint16), index / 9, index)


def test_a_frame_that_serves_several_pairs_is_worked_on_once():
    times, stage_ms = StageTimes(), {}
    registration = Registration.identity((32, 24), (64, 48))
    view = ThermalView(registration, ThermalCorrector(TENTHS), times, print)
    thermal = view.corrected(thermal_frame(2980))
    assert (thermal.image == 29800).all()
    first = view.of(pair(thermal), stage_ms)
    assert first.shape == (48, 64)
    assert (first == 29800).all()
    assert set(stage_ms) == {"register"}
    again_ms = {}
    assert view.of(pair(thermal), again_ms) is first
    assert again_ms == {}
    assert times.summary()["register"].count == times.summary()["correct"].count == 1
    other = view.of(pair(view.corrected(thermal_frame(2981, 1))), {})
    assert (other == 29810).all()
    assert (first == 29800).all()  # it is still held, so its memory was left alone


def test_another_rgb_size_is_warped_anew():
    registration = Registration.identity((32, 24), (64, 48))
    view = ThermalView(registration, None, StageTimes(), print)
    thermal = thermal_frame(29800)
    assert view.of(pair(thermal), {}).shape == (48, 64)
    assert view.of(pair(thermal, (96, 128)), {}).shape == (96, 128)


def test_nothing_to_do_gives_the_frame_itself():
    thermal = thermal_frame(29800)
    assert ThermalView(None, None, StageTimes(), print).of(pair(thermal), {}) is thermal.image


def test_a_warning_of_the_corrector_is_told_once():
    notes, corrector = [], ThermalCorrector()
    view = ThermalView(None, corrector, StageTimes(), notes.append)
    for index in range(3):
        view.corrected(thermal_frame(29800, index))
    assert notes == []
    for index in range(3, 6):
        corrector.dead.warning = "thermal: too many dead pixels"
        view.corrected(thermal_frame(29800, index))
    assert notes == ["thermal: too many dead pixels"]


@pytest.mark.parametrize("unit", ["0.01K", "counts"])
def test_other_units_stay(unit):
    options = CorrectionOptions(unit=unit, dead_pixels=False, jump_smoothing_s=0)
    view = ThermalView(None, ThermalCorrector(options), StageTimes(), print)
    assert (view.of(pair(view.corrected(thermal_frame(2980))), {}) == 2980).all()
