"""Calibration sets: the bytes that the device feeds, in a fixed order, with a fingerprint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from calibration_data import get, inputs_of, put, write_drive, write_mfnet, write_pairs
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.calibration.dataset import CalibrationSet, Feed
from differseg.calibration.session import RecordedSession
from differseg.errors import InputError, SourceError
from differseg.manifest import ThermalPolicy
from differseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from differseg.runtime.run_camera import run_camera
from differseg.runtime.run_images import run_images

SIZE_HW = (48, 64)
INPUTS = inputs_of(SIZE_HW, ThermalPolicy(smoothing_s=0.1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    return write_model(path, tiny_onnx(SIZE_HW), tiny_manifest(SIZE_HW, inputs=INPUTS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"), 5)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp("session"), 6)


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[Feed]:
    """What the runtime gives its engine from now on."""
    feeds: list[Feed] = []
    run = OnnxRuntimeBackend.run

    def recording(self: OnnxRuntimeBackend) -> None:
        feeds.append({name: array.copy() for name, array in self.inputs.items()})
        run(self)

    monkeypatch.setattr(OnnxRuntimeBackend, "run", recording)
    return feeds


def assert_equal(ours: list[Feed], device: list[Feed]) -> None:
    device = [feed for feed in device if any(array.any() for array in feed.values())]  # no warm-up
    assert len(ours) == len(device) > 0
    for mine, theirs in zip(ours, device, strict=True):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype
            assert array.tobytes() == theirs[name].tobytes(), name


def test_a_folder_feeds_what_the_device_feeds(
    model: Path, folder: Path, fed: list[Feed], tmp_path: Path
) -> None:
    run_images(
        model,
        folder / "rgb",
        tmp_path / "out",
        thermal=folder / "thermal",
        backend="onnxruntime",
        overlays=False,
    )
    assert_equal(list(CalibrationSet.from_folder(folder, INPUTS)), fed)


def test_a_session_feeds_what_the_device_feeds(model: Path, session: Path, fed: list[Feed]) -> None:
    recorded = RecordedSession.in_folder(session)
    feeds = list(CalibrationSet.from_session(recorded, INPUTS))
    run_camera(
        model,
        str(session / "rgb"),
        str(session / "thermal"),
        registration=session / "registration.json",
        headless=True,
        backend="onnxruntime",
    )
    assert_equal(feeds, fed)
    # The thermal range follows the frames, so that single images would have other bytes.
    alone = CalibrationSet.from_folder(_registered(session), INPUTS)
    assert list(alone)[-1]["thermal"].tobytes() != feeds[-1]["thermal"].tobytes()


def _registered(session: Path) -> Path:
    """Return a folder of the session's frames as single registered images."""
    folder = session / "single"
    if not folder.exists():
        shutil.copytree(session / "rgb", folder / "rgb")
        (folder / "thermal").mkdir()
        for frame in RecordedSession.in_folder(session).frames(INPUTS):
            put(folder / "thermal" / f"{frame.name}.png", frame.images["thermal"])
    return folder


def test_a_part_of_a_session_has_the_bytes_of_the_whole(session: Path) -> None:
    recorded = RecordedSession.in_folder(session)
    whole = CalibrationSet.from_session(recorded, INPUTS)
    part = CalibrationSet.from_session(recorded, INPUTS, 3)
    assert len(whole) == 6
    assert part.names == ("000", "002", "005")
    every = list(whole)
    assert_equal(list(part), [every[0], every[2], every[5]])
    assert part.fingerprint != whole.fingerprint
    assert "3 of 6 frames" in part.description


def test_videos_are_sessions(tmp_path: Path) -> None:
    for name in ("rgb", "thermal"):
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.mp4"), code, 10.0, (64, 48))
        for shade in (40, 90, 140, 190):
            writer.write(np.full((48, 64, 3), shade, np.uint8))
        writer.release()
    recorded = RecordedSession(tmp_path / "rgb.mp4", tmp_path / "thermal.mp4")
    images = CalibrationSet.from_session(recorded, INPUTS, 2)
    assert images.names == ("frame-000000", "frame-000003")
    assert [sample.label for sample in images.samples()] == [None, None]
    dark, bright = (feed["rgb"].mean() for feed in images)
    assert dark < 60 < 170 < bright


def test_labels_come_with_the_samples(folder: Path, session: Path) -> None:
    recorded = RecordedSession.in_folder(session)
    for images in (
        CalibrationSet.from_folder(folder, INPUTS, 2),
        CalibrationSet.from_session(recorded, INPUTS, 2),
    ):
        samples = list(images.samples())
        assert tuple(sample.stem for sample in samples) == images.names
        assert all(sample.label is not None for sample in samples)
    frame = samples[-1]
    expected = get(session / "labels" / f"{frame.stem}.png")
    np.testing.assert_array_equal(frame.label, expected)
    assert frame.images["rgb"].shape[:2] == frame.images["thermal"].shape


def test_the_order_is_fixed_and_a_limit_spreads(folder: Path) -> None:
    images = CalibrationSet.from_folder(folder, INPUTS, 3)
    assert images.names == ("s0", "s2", "s4")
    assert_equal(list(images), list(images))


def test_a_folder_is_opened_for_what_it_is(folder: Path, session: Path) -> None:
    assert CalibrationSet.open(folder, INPUTS, 2).description.startswith("2 of 5 images")
    opened = CalibrationSet.open(session, INPUTS, 2)
    assert "frames of session" in opened.description
    whole = CalibrationSet.from_session(RecordedSession.in_folder(session), INPUTS, 2)
    assert opened.fingerprint == whole.fingerprint


def test_the_fingerprint_is_of_the_bytes(folder: Path, tmp_path: Path) -> None:
    first = CalibrationSet.from_folder(folder, INPUTS).fingerprint
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    put(copy / "labels" / "s0.png", get(copy / "labels" / "s1.png"))
    assert CalibrationSet.from_folder(copy, INPUTS).fingerprint == first
    assert CalibrationSet.from_folder(copy, INPUTS, 3).fingerprint != first
    changed = get(copy / "thermal" / "s3.png").copy()
    changed[0, 0] += 1
    put(copy / "thermal" / "s3.png", changed)
    assert CalibrationSet.from_folder(copy, INPUTS).fingerprint != first


def test_a_published_data_set_is_calibrated_on_train(tmp_path: Path) -> None:
    data = f"mfnet:{write_mfnet(tmp_path)}"
    images = CalibrationSet.open(data, INPUTS, 3)
    assert images.names == ("00000D", "00002D", "00003D")
    assert images.description == (
        f"3 of 4 images of mfnet, split train, in {tmp_path}, labels by the rule mfnet"
    )
    sample = next(images.samples())
    four = get(tmp_path / "images/00000D.png")
    assert np.array_equal(sample.images["rgb"], four[:, :, 2::-1])
    assert np.array_equal(sample.images["thermal"], four[:, :, 3])
    assert np.array_equal(sample.label, get(tmp_path / "labels/00000D.png"))
    assert CalibrationSet.open(data, INPUTS, split="test").names == ("00004D", "00005D")


def test_the_fingerprint_of_a_data_set_is_of_the_files_that_are_fed(tmp_path: Path) -> None:
    data = f"mfnet:{write_mfnet(tmp_path)}"
    first = CalibrationSet.open(data, INPUTS).fingerprint
    assert CalibrationSet.open(data, INPUTS, split="test").fingerprint != first
    put(tmp_path / "images/00005D.png", 255 - get(tmp_path / "images/00005D.png"))
    assert CalibrationSet.open(data, INPUTS).fingerprint == first
    put(tmp_path / "images/00000D.png", 255 - get(tmp_path / "images/00000D.png"))
    assert CalibrationSet.open(data, INPUTS).fingerprint != first


@pytest.mark.parametrize(
    ("data", "split", "text"),
    [
        ("vt821:DIR", None, "vt821: has only test, .* vt5000 is to learn from; or give --split te"),
        ("mfnett:DIR", None, "there is no data set 'mfnett'; did you mean 'mfnet'"),
        ("mfnet:DIR", "dusk", "mfnet: there is no split 'dusk'"),
        ("mfnet:DIR/none", None, "none: there is no such folder; expected MFNet"),
        ("DIR", "test", "--split test: .* is a plain folder, which has no splits"),
    ],
)
def test_data_sets_that_cannot_be_used_are_one_line(
    data: str, split: str | None, text: str, folder: Path
) -> None:
    with pytest.raises(InputError, match=text) as caught:
        CalibrationSet.open(data.replace("DIR", str(folder)), INPUTS, split=split)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda f, s: CalibrationSet.from_folder(f, INPUTS, 0), InputError, "at least 1"),
        (lambda f, s: CalibrationSet.from_session(s, INPUTS, 0), InputError, "at least 1"),
        (lambda f, s: _session("0"), InputError, "not recorded"),
        (lambda f, s: _session("synthetic:seed=1"), InputError, "not recorded"),
        (lambda f, s: _session("rtsp://camera/live"), InputError, "not recorded"),
        (lambda f, s: list(_session(f / "rgb")), InputError, "gives rgb, but the network"),
        (lambda f, s: _session(f / "labels" / "no.mp4"), InputError, "not recorded"),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(
    make: Callable[[Path, Any], Any], kind: type[Exception], text: str, folder: Path, session: Path
) -> None:
    with pytest.raises(kind, match=text) as caught:
        make(folder, RecordedSession.in_folder(session))
    assert "\n" not in str(caught.value)


def _session(rgb: str | Path) -> CalibrationSet:
    return CalibrationSet.from_session(RecordedSession(rgb), INPUTS)


def test_recordings_of_two_moments_hold_no_pair(tmp_path: Path, folder: Path) -> None:
    for name, start_s in (("rgb", 0), ("thermal", 100)):
        shutil.copytree(folder / name, tmp_path / name)
        rows = [f"s{k},{start_s + k / 10}" for k in range(5)]
        text = "\n".join(["name,timestamp_s", *rows])
        (tmp_path / name / "timestamps.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match="no pair of frames within 60 ms"):
        CalibrationSet.from_session(RecordedSession.in_folder(tmp_path), INPUTS)
