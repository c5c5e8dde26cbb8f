"""Recorded sessions: equal when played, and whole up to the last chunk whatever happened."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from recorded_frames import RECORD, assert_equal, frame, frames_in
from tiny_network import tiny_manifest

from differseg.errors import InputError, SourceError
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.model_file import read_manifest
from differseg.runtime.pairing import Pairer
from differseg.runtime.recorder import Recorder
from differseg.runtime.registration import Registration
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.session_file import (
    COLUMNS,
    load_record,
    read_table,
)
from differseg.runtime.session_text import session_record
from differseg.runtime.sources import Frame, Source, open_source
from differseg.runtime.sources.session import (
    SessionSource,
    one_session,
    session_registration,
    session_source,
)

AWKWARD = [0.1 + 0.2, 1e-17, 86400.123456789012, 1 / 3, float(np.nextafter(5.0, 6.0))]


def test_frames_play_bit_for_bit(tmp_path):
    rgb = [frame(3 * k, time_s=t, name='a,b "c"' if k else None) for k, t in enumerate(AWKWARD)]
    thermal = [frame(k, "thermal", size_hw=(20, 24)) for k in range(7)]
    eight = Frame(thermal[0].image.astype(np.uint8), 9.0, 70)
    view = Frame(np.random.default_rng(0).integers(0, 9, (60, 99, 3), np.uint8)[::2, 1::3], 8.0, 99)
    recorder = Recorder(tmp_path / "s", RECORD)
    for each in [*rgb, view]:
        recorder.add("rgb", each)
    for each in [*thermal, eight]:
        recorder.add("thermal", each)
    state = recorder.close("done", 12.5)
    assert recorder.close("again") == state
    assert state.frames == {"rgb": 6, "thermal": 8}
    assert state.dropped == {"rgb": 0, "thermal": 0}
    assert state.ended is None
    assert_equal(frames_in(tmp_path / "s"), [*rgb, view])
    assert_equal(frames_in(tmp_path / "s", "thermal"), [*thermal, eight])
    assert load_record(tmp_path / "s").thermal_offset_ms == 12.5
    end = load_record(tmp_path / "s").end
    assert (end.reason, end.frames, end.bytes) == ("done", state.frames, state.bytes)
    assert state.bytes == sum(p.stat().st_size for p in (tmp_path / "s").rglob("*.png"))


class Tapped(Source):
    """A source whose frames a recorder gets too, as a capture thread gives them."""

    def __init__(self, inner, recorder):
        super().__init__(inner.modality)
        self.inner, self.recorder = inner, recorder
        self.live, self.clock, self.fps = inner.live, inner.clock, inner.fps
        self.description = inner.description

    def open(self):
        pass

    def read(self):
        found = self.inner.read()
        if found is not None:
            self.recorder.add(self.modality, found)
        return found

    def close(self):
        self.inner.close()


def pairs_and_masks(model, sources, registration, offset_ms):
    pairer = Pairer(60.0, offset_ms, live=False)
    feed = open_feed(*sources, pairer, ThermalWatch(5.0))
    found = []
    with Segmenter(model, "onnxruntime", 1, "BGR") as segmenter:
        feed.start()
        while not feed.ended:
            delivery = feed.take(5.0)
            if delivery is None or delivery.pair.thermal is None:
                continue
            pair = delivery.pair
            height, width = pair.rgb.image.shape[:2]
            warped = registration.warp(pair.thermal.image, (width, height))
            output = segmenter(
                timestamp_s=pair.thermal.timestamp_s, rgb=pair.rgb.image, thermal=warped
            )
            found.append((pair.rgb, pair.thermal, pair.skew_ms, output.mask.copy()))
        feed.close()
    return found


def test_a_replay_gives_the_same_pairs_and_masks(tiny_model, tmp_path):
    """A synthetic pair of 30 and 9 Hz with a homography and an offset of its own."""
    text = "synthetic:seed=3,size=128x96,paced=0,seconds=2"
    sources = [open_source(text, "rgb"), open_source(text + ",fps=9", "thermal")]
    scene = sources[0].scene
    registration = Registration(scene.thermal_to_rgb, scene.thermal_size_wh, scene.size_wh)
    offset_ms = 1000 * scene.thermal_offset_s
    record = session_record(
        sources,
        options={"model": tiny_model, "rgb": "rtsp://me:secret@host/x", "tolerance_ms": 60.0},
        manifest=read_manifest(tiny_model),
        thermal_offset_ms=offset_ms,
    )
    recorder = Recorder(tmp_path / "s", record, registration=registration)
    taps = [Tapped(source, recorder) for source in sources]
    first = pairs_and_masks(tiny_model, taps, registration, offset_ms)
    recorder.close()

    again = [open_session(tmp_path / "s", name) for name in ("rgb", "thermal")]
    session = one_session(*again)
    second = pairs_and_masks(
        tiny_model, again, session_registration(session), session.record.thermal_offset_ms
    )
    assert len(first) == len(second) > 50
    for a, b in zip(first, second, strict=True):
        assert_equal(b[:2], a[:2])
        assert a[2] == b[2]
        np.testing.assert_array_equal(a[3], b[3])
    assert any(mask.any() for *_, mask in second)
    assert session.record.cameras["thermal"].fps == 9.0
    assert session.record.model["model"] == read_manifest(tiny_model).model
    everything = b"".join(p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file())
    assert b"secret" not in everything
    assert "session:. --thermal session:.\n" in (tmp_path / "s/README.txt").read_text()


def open_session(folder, modality):
    source = SessionSource(folder, modality)
    source.open()
    return source


def test_a_session_is_a_calibration_set(tmp_path):
    from differseg.calibration.dataset import CalibrationSet

    registration = Registration(np.diag([2.0, 2.0, 1.0]), (32, 24), (64, 48))
    recorder = Recorder(tmp_path / "s", RECORD, registration=registration)
    for k in range(6):
        recorder.add("rgb", frame(k))
        if k != 2:
            recorder.add("thermal", frame(k, "thermal", size_hw=(24, 32), time_s=k / 30 + 0.004))
    recorder.close()
    found = CalibrationSet.open(tmp_path / "s", tiny_manifest().inputs)
    samples = list(found.samples())
    assert len(samples) == 6
    np.testing.assert_array_equal(samples[3].images["rgb"], frame(3).image[:, :, ::-1])
    thermal = registration.warp(frame(3, "thermal", size_hw=(24, 32)).image)
    np.testing.assert_array_equal(samples[3].images["thermal"], thermal)


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_recorder import RECORD, frame
from differseg.runtime.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), RECORD, chunk_s=0.05)
print("go", flush=True)
k = 0
while True:
    recorder.add("rgb", frame(k))
    if k % 3 == 0:
        recorder.add("thermal", frame(k, "thermal"))
    k += 1
    time.sleep(0.001)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_recording_reads_up_to_its_last_chunk(tmp_path, seed):
    here = os.path.dirname(__file__)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "s"), here],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.stdout.readline() == b"go\n"
    table = tmp_path / "s/thermal/timestamps.csv"
    end_s = time.monotonic() + 60
    while table.stat().st_size < 300 and time.monotonic() < end_s:
        time.sleep(0.01)
    time.sleep(random.Random(seed).uniform(0.0, 0.3))
    lines_before = len(table.read_text().splitlines())
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    for modality, step in (("rgb", 1), ("thermal", 3)):
        played = frames_in(tmp_path / "s", modality)
        assert_equal(played, [frame(k * step, modality) for k in range(len(played))])
        assert len(played) >= 1
    assert len(played) >= lines_before - 2, "what a table names is never lost"
    source = open_session(tmp_path / "s", "rgb")
    assert "cut off" in source.notes[0]


def test_a_table_reads_wherever_the_power_went(tmp_path):
    recorder = Recorder(tmp_path / "s", RECORD)
    for k in range(4):
        recorder.add("rgb", frame(k, name=f"n{k}"))
    recorder.close()
    table = tmp_path / "s/rgb/timestamps.csv"
    whole = table.read_bytes()
    rows, torn = read_table(table)
    assert (len(rows), torn) == (4, 0)
    ends = [k + 1 for k, byte in enumerate(whole) if byte == 10]
    for cut in range(ends[0], len(whole)):
        for tail in (b"", b"\0" * 40, b"\0\n\0"):
            table.write_bytes(whole[:cut] + tail)
            rows, torn = read_table(table)
            assert len(rows) == sum(end <= cut for end in ends) - 1
            assert torn or cut in ends
    table.write_bytes(whole[: ends[1]] + b"\0\0\n" + whole[ends[1] :])
    with pytest.raises(SourceError, match=r"timestamps\.csv:3: the line is damaged"):
        read_table(table)


def test_images_that_no_table_names_are_left_out(tmp_path):
    recorder = Recorder(tmp_path / "s", RECORD)
    recorder.add("rgb", frame(0))
    recorder.close()
    (tmp_path / "s/rgb/000001.png").write_bytes(b"")
    assert_equal(frames_in(tmp_path / "s"), [frame(0)])


def test_a_damaged_image_is_refused(tmp_path):
    recorder = Recorder(tmp_path / "s", RECORD)
    for k in range(2):
        recorder.add("rgb", frame(k))
    recorder.close()
    path = tmp_path / "s/rgb/000001.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with SessionSource(tmp_path / "s", "rgb") as source:
        source.read()
        with pytest.raises(SourceError, match=r"000001\.png: is not the file that was recorded"):
            source.read()
    path.unlink()
    with SessionSource(tmp_path / "s", "rgb") as source:
        source.read()
        with pytest.raises(SourceError, match="names it"):
            source.read()


def test_a_fault_of_the_recorder_is_not_the_runs(tmp_path):
    notes = []
    recorder = Recorder(tmp_path / "s", RECORD, on_note=notes.append)
    recorder.add("rgb", Frame(np.zeros((4, 4, 7), np.complex64), 0.0, 0))
    state = recorder.close()
    assert state.ended
    assert "\n" not in state.ended
    assert len(notes) == 1


def test_folders_that_are_no_place_for_a_session(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with pytest.raises(InputError, match=r"holds files already; name a new folder"):
        Recorder(tmp_path / "full", RECORD)
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory"):
        Recorder(tmp_path / "full/x/y", RECORD)
    recorder = Recorder(tmp_path / "runs/%Y%m%d-%H%M%S", RECORD)
    recorder.close()
    assert recorder.folder.name[:2] == "20"
    assert len(recorder.folder.name) == 15


def test_what_a_session_can_be_called(tmp_path):
    recorder = Recorder(tmp_path / "s", RECORD)
    recorder.add("rgb", frame(0))
    recorder.close()
    for text in (f"session:{tmp_path / 's'}", str(tmp_path / "s"), str(tmp_path / "s/rgb")):
        with session_source(text, "rgb") as source:
            assert_equal([source.read()], [frame(0)])
    assert session_source(str(tmp_path), "rgb") is None
    assert session_source("0", "rgb") is None
    with pytest.raises(InputError, match="is the rgb camera of a session"):
        session_source(str(tmp_path / "s/rgb"), "thermal")
    with pytest.raises(SourceError, match=r"holds no session\.json"):
        session_source("session:nowhere", "rgb")
    with pytest.raises(SourceError, match="holds no thermal frames"):
        SessionSource(tmp_path / "s", "thermal").open()
    shutil.rmtree(tmp_path / "s/rgb")
    with pytest.raises(SourceError, match=r"timestamps\.csv: cannot be read"):
        SessionSource(tmp_path / "s", "rgb").open()
    document = json.loads((tmp_path / "s/session.json").read_text())
    (tmp_path / "s/session.json").write_text(json.dumps(document | {"cameras": {"rgb": 3}}))
    with pytest.raises(SourceError, match=r"session\.json: cameras"):
        SessionSource(tmp_path / "s", "rgb").open()


def test_anybody_can_read_a_session(tmp_path):
    """With OpenCV and a CSV reader alone."""
    recorder = Recorder(tmp_path / "s", RECORD)
    recorder.add("thermal", frame(5, "thermal"))
    recorder.close()
    with (tmp_path / "s/thermal/timestamps.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == COLUMNS
    assert float(row["timestamp_s"]) == 5 / 30
    image = cv2.imread(str(tmp_path / f"s/thermal/{row['name']}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(image, frame(5, "thermal").image)
