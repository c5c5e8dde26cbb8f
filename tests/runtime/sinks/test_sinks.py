"""Files that a run writes: playable, as long as the run was, one line and one mask a frame."""

import json
import shutil
import subprocess
import threading
import time

import cv2
import numpy as np
import pytest

from differseg.errors import DifferSegError, InputError
from differseg.runtime.sinks import FrameResult
from differseg.runtime.sinks.masks import MaskSink
from differseg.runtime.sinks.video import LONGEST_GAP_S, VideoSink
from differseg.runtime.sinks.window import why_no_window
from differseg.runtime.sinks.writer import SinkWriter
from differseg.runtime.timing import StageTimes


def result(time_s, level=100, size_hw=(48, 64), **changes):
    picture = np.full((*size_hw, 3), level, np.uint8)
    values = {"index": 0, "name": None, "rgb_time_s": time_s, "status": "ok", "picture": picture}
    return FrameResult(**(values | changes))


def play(path):
    capture = cv2.VideoCapture(str(path))
    levels = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return levels, capture.get(cv2.CAP_PROP_FPS)
        levels.append(float(frame.mean()))


def write(path, results, fps=30.0):
    sink = VideoSink(path, fps)
    for each in results:
        sink.write(each)
    sink.close()
    sink.close()
    return sink


def test_regular_frames_are_written_once_each(tmp_path):
    sink = write(tmp_path / "a.mp4", [result(5 + k / 30, 10 + 8 * k) for k in range(30)])
    levels, fps = play(tmp_path / "a.mp4")
    assert levels == pytest.approx([10 + 8 * k for k in range(30)], abs=6)
    assert fps == pytest.approx(30)
    assert sink.files == [str(tmp_path / "a.mp4")]
    assert sink.frames_written == 30


def test_jitter_neither_repeats_nor_loses_time(tmp_path):
    rng = np.random.default_rng(0)
    times_s = [7 + k / 30 + rng.uniform(-0.012, 0.012) for k in range(90)]
    write(tmp_path / "a.mp4", [result(t) for t in times_s])
    assert len(play(tmp_path / "a.mp4")[0]) == pytest.approx(90, abs=1)


def test_dropped_frames_are_filled_so_that_playback_is_real_time(tmp_path):
    """Results at about 8 Hz for 3 s give 3 s of video at 30 Hz."""
    times_s = [100.0, 100.13, 100.21, 100.5, 101.4, 102.0, 102.97]
    write(tmp_path / "a.mp4", [result(t, 60 + 20 * k) for k, t in enumerate(times_s)])
    levels, _ = play(tmp_path / "a.mp4")
    assert len(levels) == round(2.97 * 30) + 1
    shown = {round((level - 60) / 20): 0 for level in levels}
    for level in levels:
        shown[round((level - 60) / 20)] += 1
    assert [shown[k] for k in range(7)] == [4, 2, 9, 27, 18, 29, 1]


def test_faster_results_than_the_file_keep_the_newest(tmp_path):
    write(tmp_path / "a.mp4", [result(k / 60, k) for k in range(60)], fps=30)
    assert len(play(tmp_path / "a.mp4")[0]) in (30, 31)


def test_clock_steps_and_long_gaps_do_not_fill_the_disk(tmp_path):
    times_s = [10.0, 10.1, 4.0, 4.1, 90_000.0, 90_000.1]
    sink = write(tmp_path / "a.mp4", [result(t) for t in times_s])
    assert sink.frames_written == 1 + 3 + 1 + 3 + LONGEST_GAP_S * 30 + 3


@pytest.mark.parametrize("size_hw", [(47, 63), (48, 63), (31, 64)])
def test_odd_sizes_play(tmp_path, size_hw):
    write(tmp_path / "a.mp4", [result(k / 30, size_hw=size_hw) for k in range(5)])
    levels, _ = play(tmp_path / "a.mp4")
    assert levels == pytest.approx([100] * 5, abs=6)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_agrees(tmp_path):
    write(tmp_path / "a.mp4", [result(k / 15) for k in range(30)], fps=30)
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-of", "json", "-show_entries",
         "stream=nb_read_frames,duration,codec_name", str(tmp_path / "a.mp4")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    stream = json.loads(done.stdout)["streams"][0]
    assert (stream["codec_name"], int(stream["nb_read_frames"])) == ("mpeg4", 59)
    assert float(stream["duration"]) == pytest.approx(59 / 30, abs=0.01)
    assert done.stderr == ""


def test_bad_video_places(tmp_path):
    with pytest.raises(InputError, match="must end in"):
        VideoSink(tmp_path / "run.txt")
    (tmp_path / "run.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        VideoSink(tmp_path / "run.mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        VideoSink(tmp_path / "file" / "x" / "run.mp4")
    sink = VideoSink(tmp_path / "a.mp4")
    sink.write(result(0.0))
    with pytest.raises(InputError, match=r"\(48, 64\) to \(24, 32\)"):
        sink.write(result(0.1, size_hw=(24, 32)))
    sink.close()


def test_nothing_written_leaves_no_file(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4")
    sink.close()
    assert sink.files == []
    assert not (tmp_path / "a.mp4").exists()


def test_masks_and_lines(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[5:9, 3:20] = 1
    sink = MaskSink(tmp_path / "m")
    common = {"picture": None, "skew_ms": -3.14159, "stage_ms": {"infer": 12.34567}}
    sink.write(result(1.5, index=7, mask=mask, area_fraction={"object": 0.25}, **common))
    sink.write(result(1.6, index=8, name="img_08", mask=1 - mask, **common))
    sink.write(result(1.7, index=9, status="hold", note="stale", **common))
    lines = [json.loads(line) for line in (tmp_path / "m/results.jsonl").read_text().splitlines()]
    assert len(lines) == 3, "each line is on the disk before the run ends"
    sink.close()
    assert [line["mask"] for line in lines] == ["000007.png", "img_08.png", None]
    assert [line["status"] for line in lines] == ["ok", "ok", "hold"]
    assert lines[0]["skew_ms"] == -3.142
    assert lines[0]["area_fraction"] == {"object": 0.25}
    assert lines[0]["stage_ms"] == {"infer": 12.346}
    assert lines[2]["note"] == "stale"
    read = cv2.imread(str(tmp_path / "m/000007.png"), cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint8
    assert (read == mask).all()


def test_masks_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        MaskSink(tmp_path / "file")
    sink = MaskSink(tmp_path / "m")
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(InputError, match=r"000000\.png: cannot be written"):
        sink.write(result(0.0, mask=np.zeros((4, 4), np.uint8)))
    sink.close()


class Recorder:
    wants_picture = False

    def __init__(self, seconds=0.0):
        self.files, self.seen, self.threads, self._seconds = [], [], set(), seconds

    def write(self, result):
        time.sleep(self._seconds)
        self.threads.add(threading.current_thread().name)
        self.seen.append(result.index)

    def close(self):
        self.threads.add(threading.current_thread().name)


def test_writer_keeps_order_in_one_thread():
    sink, times = Recorder(), StageTimes()
    writer = SinkWriter([sink], times)
    for k in range(50):
        writer.put(result(0.0, index=k))
    assert writer.close() is None
    assert writer.close() is None
    assert sink.seen == list(range(50))
    assert sink.threads == {"sinks"}
    assert times.summary()["write"].count == 50


def test_writer_lets_at_most_one_result_wait():
    sink = Recorder(seconds=0.05)
    writer = SinkWriter([sink], StageTimes())
    start_s = time.monotonic()
    for k in range(6):
        writer.put(result(0.0, index=k))
    assert time.monotonic() - start_s > 0.15, "put waits for a slow sink"
    writer.close()
    assert sink.seen == list(range(6))


def test_writer_survives_a_bug_in_a_sink():
    class Broken(Recorder):
        def write(self, result):
            raise ZeroDivisionError("oops")

    good = Recorder()
    writer = SinkWriter([Broken(), good], StageTimes())
    writer.put(result(0.0))
    error = writer.close()
    assert isinstance(error, DifferSegError)
    assert "oops" in str(error)
    assert good.seen == [0]


def test_why_no_window_is_a_reason_or_none(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    reason = why_no_window()
    assert reason is not None
    assert "display" in reason or "windows" in reason
