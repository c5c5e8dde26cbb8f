"""The audit of recorded sessions: frozen and dead frames by time, pairs that are missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from calibration_data import SIZE_WH, put, write_drive

from differseg.calibration.audit import main
from differseg.calibration.audit_report import AuditReport, Finding
from differseg.calibration.audit_run import audit, plain_inputs
from differseg.calibration.session import RecordedSession

INPUTS = plain_inputs(["rgb", "thermal"])
FRAMES = 40
HW = SIZE_WH[::-1]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp("drive"), FRAMES)


@pytest.fixture
def session(drive: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drive, tmp_path / "session"))


def findings(report: AuditReport, check: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def freeze(session: Path, modality: str, first: int, last: int) -> None:
    for index in range(first + 1, last + 1):
        shutil.copy(
            session / modality / f"{first:03d}.png", session / modality / f"{index:03d}.png"
        )


def test_a_clean_session_is_usable(drive: Path) -> None:
    report = audit(drive, INPUTS)
    assert report.passed
    assert report.images == FRAMES
    assert report.data.startswith("session ")
    assert not findings(report, "frozen")


@pytest.mark.parametrize(("last", "level", "count"), [(13, "warning", 2), (30, "error", 19)])
def test_frozen_frames_are_named(last: int, level: str, count: int, session: Path) -> None:
    # 30 frames a second: the eleventh repetition is the first over 0.35 s.
    freeze(session, "thermal", 1, last)
    (found,) = findings(audit(session, INPUTS), "frozen")
    assert found.level == level
    assert found.where[0] == "thermal/012"
    assert len(found.where) == count


def test_a_slow_thermal_camera_is_not_frozen(session: Path) -> None:
    for first in range(0, FRAMES - 3, 4):
        freeze(session, "thermal", first, first + 3)
    report = audit(session, INPUTS)
    assert report.passed
    assert not findings(report, "frozen")


@pytest.mark.parametrize(("count", "level"), [(2, "warning"), (8, "error")])
def test_dead_frames_are_forgiven_up_to_a_tenth(count: int, level: str, session: Path) -> None:
    for index in range(count):
        put(session / "rgb" / f"{index:03d}.png", np.full((*HW, 3), 90 + index, np.uint8))
    (found,) = findings(audit(session, INPUTS), "constant")
    assert found.level == level
    assert found.where[0] == "rgb/000"


def test_frames_without_a_partner(session: Path) -> None:
    rows = {"rgb": [k / 30 for k in range(FRAMES)], "thermal": [k / 30 for k in range(10)]}
    for name, times_s in rows.items():
        lines = [f"{k:03d},{time_s:.4f}" for k, time_s in enumerate(times_s)]
        text = "\n".join(["name,timestamp_s", *lines])
        (session / name / "timestamps.csv").write_text(text, encoding="utf-8")
    report = audit(session, INPUTS)
    (found,) = findings(report, "pairs")
    assert found.level == "error"
    assert "RGB frames have no thermal partner" in found.what
    assert 10 <= report.images < 15


def test_a_file_that_breaks_off_keeps_what_came_before(session: Path) -> None:
    (session / "thermal" / "020.png").write_bytes(b"cut off")
    report = audit(session, INPUTS)
    (found,) = findings(report, "unreadable")
    assert "020.png" in found.what
    assert 20 <= report.images <= 21  # the frame before may serve one more


def test_unequal_names_are_told(session: Path) -> None:
    (session / "thermal" / "007.png").unlink()
    (found,) = findings(audit(session, INPUTS), "unreadable")
    assert "'007'" in found.what


def test_the_verb_takes_sources(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--rgb", f"{drive}/rgb", "--thermal", f"{drive}/thermal", "--limit", "4"]
    assert main([*argv, "--registration", str(drive / "registration.json")]) == 0
    assert "4 samples" in capsys.readouterr().out


def test_a_session_object_is_taken(drive: Path) -> None:
    assert audit(RecordedSession(drive / "rgb"), plain_inputs(["rgb"]), 3).images == 3
