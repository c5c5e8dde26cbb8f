"""Videos and folders: order, times, bits, ends and damages."""

import threading
import time

import cv2
import numpy as np
import pytest

from differseg.errors import DifferSegError, InputError, SourceError
from differseg.runtime.sources import PaceClock, open_source
from differseg.runtime.sources.files import (
    FolderSource,
    PacedSource,
    VideoSource,
    match_folders,
    natural_key,
)


def write_video(path, count=12, fps=9.0, size_wh=(64, 48), code="mp4v", color=False):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size_wh)
    for k in range(count):
        image = np.full((size_wh[1], size_wh[0], 3), 10 + 15 * k % 240, np.uint8)
        if color:
            image[:, :, 0] = 250 - 15 * k % 240
        writer.write(image)
    writer.release()
    return path


def read_all(source):
    frames = []
    with source:
        while (frame := source.read()) is not None:
            frames.append(frame)
    return frames


def test_video_gives_every_frame_in_order_with_media_times(tmp_path):
    source = VideoSource(write_video(tmp_path / "a.mp4"), "rgb")
    frames = read_all(source)
    assert [f.index for f in frames] == list(range(12))
    assert [f.timestamp_s for f in frames] == pytest.approx([k / 9 for k in range(12)], abs=1e-3)
    levels = [float(f.image.mean()) for f in frames]
    assert levels == pytest.approx([10 + 15 * k for k in range(12)], abs=4)
    assert source.fps == pytest.approx(9)
    assert source.size_wh == (64, 48)


def test_video_can_be_opened_again(tmp_path):
    source = VideoSource(write_video(tmp_path / "a.mp4"), "rgb")
    first, second = read_all(source), read_all(source)
    assert [f.timestamp_s for f in first] == [f.timestamp_s for f in second]
    assert (first[3].image == second[3].image).all()


def test_thermal_video_must_be_grey(tmp_path):
    grey = read_all(VideoSource(write_video(tmp_path / "grey.mp4"), "thermal"))
    assert grey[0].image.shape == (48, 64)
    assert grey[0].image.dtype == np.uint8
    with pytest.raises(SourceError, match="false-coloured"):
        read_all(VideoSource(write_video(tmp_path / "color.mp4", color=True), "thermal"))


def test_a_sixteen_bit_thermal_video_keeps_its_bits(tmp_path):
    path = str(tmp_path / "t.mkv")
    options = [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    code = cv2.VideoWriter.fourcc(*"FFV1")
    writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, code, 9.0, (64, 48), options)
    given = np.random.default_rng(0).integers(29000, 31000, (5, 48, 64)).astype(np.uint16)
    for image in given:
        writer.write(image)
    writer.release()
    source = open_source(path, "thermal")
    assert source.notes == []
    for image, frame in zip(given, read_all(source), strict=True):
        assert frame.image.dtype == np.uint16
        assert (frame.image == image).all()


def test_an_eight_bit_thermal_video_says_so(tmp_path):
    path = str(write_video(tmp_path / "a.mp4"))
    with open_source(path, "thermal") as source:
        assert source.notes == [
            f"video {path}: the thermal picture has 8 bits; the camera's own gain control has "
            "decided the contrast"
        ]
    with open_source(path, "rgb") as source:
        assert source.notes == []


def test_damaged_videos_are_named(tmp_path):
    whole = write_video(tmp_path / "whole.avi", count=60, code="MJPG")
    data = whole.read_bytes()
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "head.mp4").write_bytes(write_video(tmp_path / "b.mp4").read_bytes()[:300])
    for name, words in (
        ("absent.mp4", "no such file"),
        ("zero.mp4", "empty"),
        ("text.mp4", "not a video"),
        ("head.mp4", "not a video"),
    ):
        with pytest.raises(DifferSegError, match=words) as caught:
            open_source(str(tmp_path / name), "rgb")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"breaks off after \d+ of 60 frames"):
        read_all(VideoSource(tmp_path / "cut.avi", "rgb"))


def test_frames_kept_by_a_reader_are_never_overwritten(tmp_path):
    source = VideoSource(write_video(tmp_path / "a.mp4", count=40, fps=30), "rgb")
    with source:
        kept = [source.read() for _ in range(30)]
        again = VideoSource(tmp_path / "a.mp4", "rgb")
        with again:
            for frame in kept:
                assert (again.read().image == frame.image).all()


def test_buffers_are_used_again(tmp_path):
    with VideoSource(write_video(tmp_path / "a.mp4", count=40), "rgb") as source:
        addresses = {source.read().image.__array_interface__["data"][0] for _ in range(30)}
    assert len(addresses) <= 2


def thermal_folder(folder, names, dtype=np.uint16):
    folder.mkdir()
    for k, name in enumerate(names):
        high = 29000 if dtype == np.uint16 else 10
        cv2.imwrite(str(folder / name), np.full((24, 32), high + k, dtype))
    return folder


def test_folder_in_natural_order_keeps_sixteen_bits(tmp_path):
    folder = thermal_folder(tmp_path / "t", ["f10.png", "f2.png", "f1.png", "F3.PNG"])
    frames = read_all(open_source(f"{folder},fps=10", "thermal"))
    assert [f.name for f in frames] == ["f1", "f2", "F3", "f10"]
    assert [f.timestamp_s for f in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert frames[3].image.dtype == np.uint16
    assert int(frames[3].image[0, 0]) == 29000


def test_natural_key_handles_leading_zeros_and_long_numbers(tmp_path):
    names = ["a9.png", "a10.png", "a010b.png", "a99999999999999999999.png"]
    assert sorted(names, key=lambda n: natural_key(tmp_path / n)) == names


def test_folder_with_time_stamps(tmp_path):
    folder = thermal_folder(tmp_path / "t", ["a.png", "b.png", "c.png"])
    (folder / "timestamps.csv").write_text("name,timestamp_s\nc.png,100.5\na,100.625\n")
    source = FolderSource(folder, "thermal")
    frames = read_all(source)
    assert [(f.name, f.timestamp_s) for f in frames] == [("c", 100.5), ("a", 100.625)]
    assert source.fps == pytest.approx(8)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,time\na,1\n", "expected the columns name,timestamp_s, got file,time"),
        ("", "got nothing"),
        ("name,timestamp_s\nx.png,1\n", "there is no image 'x.png'"),
        ("name,timestamp_s\na,soon\n", "'a': expected seconds, got 'soon'"),
        ("name,timestamp_s\na,nan\n", "expected seconds"),
        ("name,timestamp_s\na\n", "expected seconds, got ''"),
        ("name,timestamp_s\n", "no rows"),
    ],
)
def test_bad_time_stamps(tmp_path, table, words):
    folder = thermal_folder(tmp_path / "t", ["a.png"])
    (folder / "timestamps.csv").write_text(table)
    with pytest.raises(SourceError) as caught:
        FolderSource(folder, "thermal").open()
    assert words in str(caught.value)
    assert "timestamps.csv" in str(caught.value)


def test_bad_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="holds no images"):
        open_source(str(tmp_path / "empty"), "rgb")
    broken = thermal_folder(tmp_path / "broken", ["a.png", "b.png"])
    (broken / "b.png").write_bytes((broken / "b.png").read_bytes()[:30])
    with pytest.raises(DifferSegError, match=r"b\.png: cannot be read"):
        read_all(open_source(str(broken), "thermal"))
    mixed = thermal_folder(tmp_path / "mixed", ["a.png"])
    cv2.imwrite(str(mixed / "b.png"), np.zeros((10, 12), np.uint16))
    with pytest.raises(SourceError, match=r"b\.png: is 12x10 pixels.*32x24"):
        read_all(open_source(str(mixed), "thermal"))
    with pytest.raises(InputError, match="expected 8-bit colour"):
        read_all(open_source(str(mixed), "rgb"))


def folder_pair(tmp_path, rgb_names, thermal_names, *, live=False, rgb_fps="", thermal_fps=""):
    clock = PaceClock()
    made = ("rgb", rgb_names, rgb_fps), ("thermal", thermal_names, thermal_fps)
    return [
        open_source(
            f"{thermal_folder(tmp_path / modality, names)}{fps}", modality, live=live, clock=clock
        )
        for modality, names, fps in made
    ]


@pytest.mark.parametrize("live", [False, True])
def test_folders_without_times_must_have_the_same_names(tmp_path, live):
    pair = folder_pair(
        tmp_path, ["1.png", "2.png", "3.png"], ["1.png", "3.png", "4.png"], live=live
    )
    with pytest.raises(SourceError, match=r"2 images have no partner of the same name.*'2'"):
        match_folders(*pair)
    (tmp_path / "thermal" / "timestamps.csv").write_text("name,timestamp_s\n1,0\n3,1\n")
    match_folders(*pair)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("rgb_fps", "thermal_fps", "expected"),
    [("", "", 30), (",fps=10", "", 10), ("", ",fps=10", 10), (",fps=5", ",fps=5", 5)],
)
def test_a_rate_given_for_one_folder_holds_for_both(tmp_path, live, rgb_fps, thermal_fps, expected):
    names = [f"f{k:03d}.png" for k in range(4)]
    pair = folder_pair(tmp_path, names, names, live=live, rgb_fps=rgb_fps, thermal_fps=thermal_fps)
    match_folders(*pair)
    for source in pair:
        folder = source.inner if live else source
        assert source.fps == folder.fps == expected
        assert [time_s for _, time_s in folder._entries] == [k / expected for k in range(4)]


def test_two_rates_for_two_folders_are_refused(tmp_path):
    pair = folder_pair(tmp_path, ["a.png"], ["a.png"], rgb_fps=",fps=10", thermal_fps=",fps=9")
    with pytest.raises(InputError, match=r"fps=10 and .*fps=9, but .*give one rate") as caught:
        match_folders(*pair)
    assert "\n" not in str(caught.value)


def test_two_images_of_one_stem_are_refused(tmp_path):
    folder = thermal_folder(tmp_path / "t", ["f004.png", "f005.bmp", "f005.png"])
    with pytest.raises(SourceError, match=r"'f005\.bmp' and 'f005\.png' have the same stem"):
        open_source(str(folder), "thermal")


def test_paced_recording_comes_in_real_time(tmp_path):
    inner = VideoSource(write_video(tmp_path / "a.mp4", count=6, fps=30), "rgb")
    source = PacedSource(inner, PaceClock())
    assert source.clock == "media"
    with source:
        frames, times_s = [], []
        while (frame := source.read()) is not None:
            frames.append(frame)
            times_s.append(time.monotonic())
    stamps = [f.timestamp_s for f in frames]
    assert np.diff(stamps) == pytest.approx([1 / 30] * 5, abs=1e-3)
    late = np.array(times_s) - stamps
    assert (late >= -1e-4).all(), "a frame is never there before its time"
    assert late.max() < 0.15


def test_paced_sources_of_one_run_share_their_start(tmp_path):
    clock = PaceClock()
    path = write_video(tmp_path / "a.mp4", count=3, fps=30)
    stamps = []
    for _ in range(2):
        with PacedSource(VideoSource(path, "rgb"), clock) as source:
            stamps.append(source.read().timestamp_s)
            time.sleep(0.02)
    assert stamps[0] == stamps[1]


def test_a_waiting_paced_source_can_be_interrupted(tmp_path):
    folder = thermal_folder(tmp_path / "t", ["a.png", "b.png"])
    (folder / "timestamps.csv").write_text("name,timestamp_s\na,0\nb,3600\n")
    with PacedSource(FolderSource(folder, "thermal"), PaceClock()) as source:
        assert source.read() is not None
        threading.Timer(0.05, source.interrupt).start()
        start_s = time.monotonic()
        assert source.read() is None
        assert time.monotonic() - start_s < 2
