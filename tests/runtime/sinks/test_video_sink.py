"""Videos: playable, as long as the run was, and never cut off in silence."""

import json
import shutil
import subprocess
from collections import deque

import cv2
import numpy as np
import pytest
from sink_results import files_limited_to, noise, result

from differseg.errors import InputError
from differseg.runtime.sinks.video import LONGEST_GAP_S, VideoSink, readable_frames


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
def test_odd_sizes_keep_every_pixel_and_repeat_the_edge(tmp_path, size_hw):
    pictures = [result(k / 30, size_hw=size_hw) for k in range(5)]
    for each in pictures:
        each.picture[-8:, -8:] = 250
    write(tmp_path / "a.mp4", pictures)
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    frames = [capture.read()[1] for _ in range(5)]
    height, width = size_hw
    for frame in frames:
        assert frame.shape == (height + height % 2, width + width % 2, 3)
        assert frame[:-12, :-12].mean() == pytest.approx(100, abs=6)
        assert frame[-6:, -6:].mean() == pytest.approx(250, abs=6)
    assert not capture.read()[0]


@pytest.mark.parametrize(
    ("fps", "of_the_file"),
    [(66.66667, 60), (90.1234, 60), (0.0004, 1), (59.9401, 59.94), (23.97602, 23.976), (1e9, 60)],
)
def test_every_rate_becomes_one_that_mpeg4_can_hold(tmp_path, fps, of_the_file, capfd):
    sink = write(tmp_path / "a.mp4", [result(k / 10, 60 + 10 * k) for k in range(11)], fps=fps)
    levels, played = play(tmp_path / "a.mp4")
    assert played == pytest.approx(of_the_file, abs=1e-3)
    assert len(levels) == sink.frames_written == round(of_the_file) + 1
    assert capfd.readouterr() == ("", "")


def test_a_video_that_was_cut_off_is_an_error(tmp_path, capfd):
    """OpenCV's writer reports nothing: neither a frame that was lost nor a file without index."""
    sink = VideoSink(tmp_path / "a.mp4")
    with files_limited_to(500_000):
        for each in noise(20):
            sink.write(each)
        with pytest.raises(InputError, match=r"a\.mp4: is not a whole video, 0 of 20 frames"):
            sink.close()
    sink.close()
    assert sink.files == []
    assert capfd.readouterr() == ("", ""), "one line is for the caller to print"


def test_a_video_ends_whole_before_the_disk_is_full(tmp_path, monkeypatch):
    left = 12 * 2**20

    def usage(place):
        assert place == tmp_path
        used = (tmp_path / "a.mp4").stat().st_size
        return shutil._ntuple_diskusage(left, used, left - used)

    monkeypatch.setattr("shutil.disk_usage", usage)
    sink = VideoSink(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4: its disk is full .* the video ends here"):
        deque(map(sink.write, noise(200)), maxlen=0)
    sink.close()
    assert 20 < sink.frames_written < 150
    assert len(play(tmp_path / "a.mp4")[0]) == sink.frames_written
    assert (tmp_path / "a.mp4").stat().st_size < left


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
    (tmp_path / "b.mp4").symlink_to(tmp_path / "none" / "b.mp4")
    with pytest.raises(InputError, match=r"b\.mp4: cannot be written \(No such file"):
        VideoSink(tmp_path / "b.mp4").write(result(0.0))


def test_nothing_written_leaves_no_file(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4")
    sink.close()
    assert sink.files == []
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 31, 90])
@pytest.mark.parametrize("fps", [7.3, 29.97, 60])
def test_matroska_is_found_whole(tmp_path, count, fps):
    sink = write(tmp_path / "a.mkv", [result(k / fps, 20 + k) for k in range(count)], fps=fps)
    assert sink.files == [str(tmp_path / "a.mkv")]
    levels, played = play(tmp_path / "a.mkv")
    assert levels == pytest.approx([20 + k for k in range(count)], abs=6)
    assert played == pytest.approx(fps, abs=0.01)


def test_a_matroska_that_lost_frames_on_the_way_is_an_error(tmp_path, capfd):
    sink = VideoSink(tmp_path / "a.mkv")
    with files_limited_to(2_000_000):
        for each in noise(60):
            sink.write(each)
        with pytest.raises(InputError, match=r"a\.mkv: is not a whole video, 0 of 60 frames"):
            sink.close()
    assert sink.files == []
    assert capfd.readouterr() == ("", "")


def test_the_header_of_a_matroska_is_not_believed(tmp_path):
    """It tells the duration of all frames, whatever became of them."""
    write(tmp_path / "a.mkv", noise(90, (120, 160)))
    assert readable_frames(tmp_path / "a.mkv") == 90
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) // 2])
    assert readable_frames(tmp_path / "a.mkv") == 0
