"""Pairs to register from, taken from what ``differseg run --record`` wrote."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import InputError, SourceError
from differseg.runtime.register.command import RegisterOptions
from differseg.runtime.register.shots import read_session
from differseg.runtime.run_camera import run_camera
from differseg.runtime.session_file import read_table


@pytest.fixture(scope="module")
def session(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "walk"
    cameras = [f"synthetic:seed=3,size=96x64,paced=0,seconds=3,fps={fps}" for fps in (30, 7)]
    run_camera(tiny_model, *cameras, headless=True, record=folder)
    return folder


def test_pairs_are_spread_and_near_in_time(session: Path) -> None:
    shots = read_session(session, 5)
    assert len(shots) == 5
    tables = {n: read_table(session / n / "timestamps.csv")[0] for n in ("rgb", "thermal")}
    record = json.loads((session / "session.json").read_text())
    late_s = 0.001 * record["thermal_offset_ms"]
    times_s = []
    for shot in shots:
        row = next(row for row in tables["rgb"] if row.name == shot.name)
        times_s.append(row.timestamp_s)
        near = min(tables["thermal"], key=lambda t: abs(t.timestamp_s - late_s - row.timestamp_s))
        assert abs(near.timestamp_s - late_s - row.timestamp_s) < 0.5 / 30 + 1e-6
        kept = cv2.imread(str(session / "thermal" / f"{near.name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(shot.thermal, kept)
    assert np.diff(times_s).min() > 0.2
    assert times_s[-1] - times_s[0] > 1.5


def test_a_short_session_gives_what_it_has(session: Path) -> None:
    assert len(read_session(session, 1000)) == len(
        read_table(session / "thermal" / "timestamps.csv")[0]
    )


def test_a_folder_that_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises((InputError, SourceError), match=r"session\.json"):
        read_session(tmp_path, 5)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"session": Path("s"), "rgb": Path("a"), "thermal": Path("b")}, "give --session DIR, or"),
        ({}, "or --session DIR"),
    ],
)
def test_options_that_do_not_go_together(images: dict[str, Path], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RegisterOptions("automatic", Path("r.json"), **images)
