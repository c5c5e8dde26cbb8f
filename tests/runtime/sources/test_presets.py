"""Jetson cameras by name: the pipelines, what is refused, and that GStreamer understands them."""

import shutil
import subprocess

import pytest

from differseg.errors import InputError
from differseg.runtime.sources import parse_source
from differseg.runtime.sources.cameras import GstreamerSource

QUEUE = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
BGR = "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR"
SINK = "appsink drop=true max-buffers=1 sync=false"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (
            "csi:0",
            "nvarguscamerasrc sensor-id=0 ! "
            "video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1",
        ),
        (
            "csi:1,size=1920x1080,fps=59.94",
            "nvarguscamerasrc sensor-id=1 ! "
            "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=2997/50",
        ),
        (
            "nvv4l2:/dev/video0,fps=60",
            "nvv4l2camerasrc device=/dev/video0 ! "
            "video/x-raw(memory:NVMM),format=UYVY,width=1280,height=720,framerate=60/1",
        ),
        (
            "nvdec:rtsp://u:secret@cam/live?a=1,codec=h265,latency=40",
            'rtspsrc location="rtsp://u:secret@cam/live?a=1" protocols=tcp latency=40 '
            "drop-on-latency=true ! rtph265depay ! h265parse ! "
            "nvv4l2decoder enable-max-performance=1",
        ),
    ],
)
def test_pipelines_keep_one_frame_and_drop_the_older(text, source):
    made = parse_source(text, "rgb")
    assert type(made) is GstreamerSource
    assert made.pipelines == [f"{source} ! {QUEUE} ! {BGR} ! {SINK}"]
    assert made.description.startswith(f"GStreamer '{text.partition(':')[0]}:")
    assert "secret" not in made.description


def test_thermal_gets_eight_bit_grey():
    (pipeline,) = parse_source("nvv4l2:/dev/video1", "thermal").pipelines
    assert pipeline.endswith(f"{QUEUE} ! nvvidconv ! video/x-raw,format=GRAY8 ! {SINK}")


@pytest.mark.parametrize(
    ("text", "modality", "words"),
    [
        ("csi:front", "rgb", "csi:front: expected the sensor's number"),
        ("csi:", "rgb", "expected the sensor's number"),
        ("csi:0", "thermal", "colour sensors alone"),
        ("csi:0,sized=640x480", "rgb", "did you mean 'size'?"),
        ("csi:0,fps=0", "rgb", "fps"),
        ("nvv4l2:0", "rgb", "nvv4l2:0: expected a device"),
        ("nvv4l2:/dev/video0;rm", "rgb", "expected a device"),
        ("nvdec:http://u:secret@h/1", "rgb", "expected an address"),
        ('nvdec:rtsp://h/1" a=b', "rgb", "expected an address"),
        ("nvdec:rtsp://u:secret@h/1,codec=vp9", "rgb", "expected h264 or h265, got 'vp9'"),
        ("nvdec:rtsp://u:secret@h/1,codek=h264", "rgb", "did you mean 'codec'?"),
    ],
)
def test_refusals_are_one_line_and_show_no_password(text, modality, words):
    with pytest.raises(InputError) as caught:
        parse_source(text, modality)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed")
@pytest.mark.parametrize(
    "text", ["csi:0,size=64x48", "nvv4l2:/dev/video0,size=64x48", "nvdec:rtsp://h/1"]
)
def test_gstreamer_runs_them_with_stand_ins_for_the_hardware(text):
    """NVIDIA's elements are replaced one for one, and the appsink, which waits for a program."""
    (pipeline,) = parse_source(text, "rgb").pipelines
    source, queue, rest = pipeline.partition(f" ! {QUEUE}")
    caps = source.partition(" ! ")[2].replace("(memory:NVMM)", "")
    stand_in = "videotestsrc num-buffers=5"
    if caps.startswith("video/x-raw"):
        stand_in += f" ! {caps}"
    text = f"{stand_in}{queue}{rest}".replace("nvvidconv", "videoconvert")
    text = text.replace(SINK, "fakesink")
    done = subprocess.run(
        ["gst-launch-1.0", "-q", *text.split()], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
