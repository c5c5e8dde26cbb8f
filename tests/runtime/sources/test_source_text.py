"""The text of a source: what it becomes, and what is refused in one line."""

import subprocess
import sys

import cv2
import pytest

from differseg.errors import InputError, MissingComponentError, SourceError
from differseg.runtime.sources import cameras, parse_source
from differseg.runtime.sources.cameras import (
    GstreamerSource,
    NetworkSource,
    V4l2Source,
    has_gstreamer,
    without_password,
)
from differseg.runtime.sources.files import FolderSource, PacedSource, VideoSource
from differseg.runtime.sources.parsing import DeviceOptions, read_options
from differseg.runtime.sources.synthetic import SyntheticOptions, SyntheticSource


@pytest.mark.parametrize(
    ("text", "kind", "description"),
    [
        ("0", V4l2Source, "V4L2 /dev/video0"),
        ("12", V4l2Source, "V4L2 /dev/video12"),
        ("/dev/video2", V4l2Source, "V4L2 /dev/video2"),
        ("/dev/v4l/by-id/usb-FLIR-index0,fps=9", V4l2Source, "V4L2 /dev/v4l/by-id/usb-FLIR-index0"),
        ("rtsp://user:secret@10.0.0.2:554/live?pwd=x", NetworkSource, "rtsp://10.0.0.2:554/live"),
        ("HTTP://cam/video.mjpg", NetworkSource, "HTTP://cam/video.mjpg"),
        ("v4l2src device=/dev/video0 ! decodebin", GstreamerSource, "GStreamer"),
        ("synthetic:", SyntheticSource, "synthetic rgb camera, seed 0"),
        ("synthetic:seed=3,fps=9", SyntheticSource, "synthetic rgb camera, seed 3"),
    ],
)
def test_kinds(text, kind, description):
    source = parse_source(text, "rgb")
    assert type(source) is kind
    assert source.description.startswith(description)
    assert "secret" not in source.description
    assert "pwd" not in source.description


def test_files_and_folders(tmp_path):
    (tmp_path / "clip,take=2.mp4").write_bytes(b"x")
    (tmp_path / "frames").mkdir()
    video = parse_source(str(tmp_path / "clip,take=2.mp4"), "rgb")
    assert type(video) is VideoSource
    assert not video.live
    folder = parse_source(f"{tmp_path}/frames,fps=12.5", "thermal")
    assert type(folder) is FolderSource
    paced = parse_source(str(tmp_path / "frames"), "thermal", live=True)
    assert type(paced) is PacedSource
    assert paced.live


def test_synthetic_options():
    source = parse_source("synthetic: seed=3, fps=9, seconds=2.5, night=1, paced=0, size=320x240",
                          "thermal")  # fmt: skip
    assert source.options == SyntheticOptions(3, 9.0, 2.5, True, False, (320, 240))
    assert not source.live


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", InputError, ["--rgb", "empty"]),
        ("synthetic", InputError, ["synthetic:"]),
        ("synthetic:sed=3", InputError, ["'sed'", "did you mean 'seed'?"]),
        ("synthetic:zzz=3", InputError, ["'zzz'", "options: seed, fps"]),
        ("synthetic:seed", InputError, ["'seed'", "has no value"]),
        ("synthetic:seed=1,seed=2", InputError, ["'seed'", "twice"]),
        ("synthetic:seed=x", InputError, ["seed", "whole number", "'x'"]),
        ("synthetic:seed=-1", InputError, ["seed", "'-1'"]),
        ("synthetic:fps=0", InputError, ["fps", "'0'"]),
        ("synthetic:fps=nan", InputError, ["fps", "'nan'"]),
        ("synthetic:night=yes", InputError, ["night", "0 or 1", "'yes'"]),
        ("synthetic:size=640", InputError, ["size", "WIDTHxHEIGHT", "'640'"]),
        ("0,fourc=Y16", InputError, ["'fourc'", "did you mean 'fourcc'?"]),
        ("0,fourcc=TOOLONG", InputError, ["fourcc", "TOOLONG"]),
        ("no/such/place", SourceError, ["no/such/place", "no such file or folder", "synthetic:"]),
    ],
)
def test_refusals(text, error, words):
    with pytest.raises(error) as caught:
        parse_source(text, "rgb")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_a_device():
    options = read_options(DeviceOptions, "fourcc=Y16,size=640x512,fps=9", "0")
    assert options == DeviceOptions("Y16", (640, 512), 9.0)


def test_a_device_that_is_not_there():
    with pytest.raises(SourceError, match="/dev/video987: there is no such device"):
        parse_source("987", "rgb").open()


def test_a_stream_that_does_not_answer():
    with pytest.raises(SourceError, match="cannot connect") as caught:
        parse_source("rtsp://user:secret@127.0.0.1:9/live", "rgb").open()
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(has_gstreamer(), reason="this OpenCV has GStreamer")
def test_gstreamer_needs_another_opencv():
    with pytest.raises(MissingComponentError, match="without GStreamer") as caught:
        parse_source("videotestsrc ! videoconvert", "rgb").open()
    assert caught.value.exit_code == 3
    assert "JetPack" in str(caught.value)


def test_gstreamer_text_gets_a_sink_that_keeps_only_the_newest_frame():
    (rgb,) = GstreamerSource("videotestsrc ! tee", "rgb").pipelines
    assert rgb.endswith("format=BGR ! appsink drop=true max-buffers=1 sync=false")
    first, second = GstreamerSource("v4l2src ! queue", "thermal").pipelines
    assert first.startswith("v4l2src ! queue ! identity ! video/x-raw,format=GRAY16_LE ! appsink")
    assert second.startswith("v4l2src ! queue ! videoconvert ! video/x-raw,format=GRAY8 ! appsink")
    own = "videotestsrc ! appsink name=mine"
    assert GstreamerSource(own, "rgb").pipelines == [own]


@pytest.mark.skipif(not has_gstreamer(), reason="this OpenCV has no GStreamer")
@pytest.mark.parametrize(
    ("pixels", "dtype"), [("GRAY16_LE", "uint16"), ("GRAY8", "uint8"), ("I420", "uint8")]
)
def test_gstreamer_keeps_sixteen_bits(pixels, dtype):
    text = (
        f"videotestsrc is-live=true num-buffers=30 ! video/x-raw,format={pixels},width=64,height=48"
    )
    with parse_source(text, "thermal") as source:
        frame = source.read()
        assert (frame.image.shape, frame.image.dtype.name) == ((48, 64), dtype)
        with pytest.raises(SourceError, match="ended or failed"):
            [source.read() for _ in range(30)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://u:secret@h:8554/a/b?token=secret#f", "rtsp://h:8554/a/b"),
        ("rtsp://u:sec/ret@x@h/a", "rtsp://h/a"),
        ("a location=rtsp://u:secret@h/1 ! b", "a location=rtsp://h/1 ! b"),
        ('rtspsrc user-id=u user-pw="my secret" ! a', "rtspsrc user-id=u user-pw=... ! a"),
        ('a location="http://h/1?pwd=secret" ! b', 'a location="http://h/1" ! b'),
        ("http://h/user=u_password=secret_channel=1", "http://h/user=u_password=..."),
        ("a ! video/x-raw,width=64 ! b", "a ! video/x-raw,width=64 ! b"),
    ],
)
def test_passwords_are_not_shown(text, shown):
    assert without_password(text) == shown


def test_no_message_shows_a_password(monkeypatch):
    monkeypatch.setattr(cameras, "has_gstreamer", lambda: True)
    monkeypatch.setattr(cameras, "missing_elements", lambda _: [])
    source = GstreamerSource("rtspsrc location=rtsp://u:secret@h/1 user-pw=secret ! queue", "rgb")
    assert "rtsp://h/1" in source.description
    assert "secret" not in source.description
    monkeypatch.setattr(cameras, "open_quietly", lambda *_: cv2.VideoCapture())
    with pytest.raises(SourceError, match=r"does not start.*rtsp://h/1") as caught:
        source.open()
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="srt://h/1: no such file") as caught:
        parse_source("srt://u:secret@h/1", "rgb")
    assert "secret" not in str(caught.value)


def test_opening_failures_print_nothing(tmp_path):
    """One line from us and none from OpenCV or FFmpeg; in a fresh process, as on a device."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x20ftypisom" + bytes(300))
    code = (
        "import sys\n"
        "from differseg.errors import SourceError\n"
        "from differseg.runtime.sources import open_source\n"
        "for text in sys.argv[1:]:\n"
        "    try:\n"
        "        open_source(text, 'rgb')\n"
        "    except SourceError:\n"
        "        print('refused')\n"
    )
    texts = ["987", "rtsp://127.0.0.1:9/live", str(broken)]
    done = subprocess.run([sys.executable, "-c", code, *texts], capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * 3
    assert done.stderr == ""
