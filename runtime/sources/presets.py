"""GStreamer pipelines for Jetson cameras, by name: ``csi:0``, ``nvv4l2:/dev/video0``, ``nvdec:``.

All keep one frame and let the older go: a leaky queue behind the source or decoder, and an appsink
that drops.  Element names and properties are those of NVIDIA's Accelerated GStreamer guide for
Jetson Linux.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from differseg.errors import InputError
from differseg.runtime.sources.base import Modality

PRESETS = ("csi", "nvv4l2", "nvdec")
"""Names that stand before a colon."""

_QUEUE = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
_SINK = "appsink drop=true max-buffers=1 sync=false"


@dataclass(frozen=True)
class CsiOptions:
    """Options of ``csi:0`` and ``nvv4l2:/dev/video0``.

    Attributes:
        size: Width and height in pixels that the sensor is asked for.
        fps: Rate in Hz that it is asked for.
    """

    size: tuple[int, int] = (1280, 720)
    fps: float = 30.0


@dataclass(frozen=True)
class DecoderOptions:
    """Options of ``nvdec:rtsp://...``.

    Attributes:
        codec: ``h264`` or ``h265``.
        latency: Milliseconds that packets may wait for one another.
    """

    codec: str = "h264"
    latency: int = 100


def csi_pipeline(sensor: str, options: CsiOptions, modality: Modality) -> str:
    """Return the pipeline of a camera on a Jetson's CSI connector, through its image processor.

    Args:
        sensor: Number of the sensor, such as ``0``.
        options: Size and rate.
        modality: ``rgb``; the image processor takes colour sensors alone.

    Raises:
        InputError: Not a number, or a thermal camera.
    """
    if not re.fullmatch(r"\d{1,2}", sensor):
        raise InputError(f"csi:{sensor}: expected the sensor's number, such as csi:0")
    if modality == "thermal":
        raise InputError(
            f"--thermal csi:{sensor}: Jetson's image processor takes colour sensors alone; give "
            "the thermal camera's device, such as /dev/video1"
        )
    source = f"nvarguscamerasrc sensor-id={sensor}"
    return _converted(f"{source} ! {_caps(options)}", modality)


def nvv4l2_pipeline(device: str, options: CsiOptions, modality: Modality) -> str:
    """Return the pipeline of a camera that gives UYVY itself, copied by the hardware.

    Args:
        device: Such as ``/dev/video0``.
        options: Size and rate.
        modality: ``rgb``, or ``thermal`` with 8 bits.

    Raises:
        InputError: Not the path of a device.
    """
    if not re.fullmatch(r"/dev/[\w/.:-]+", device):
        raise InputError(f"nvv4l2:{device}: expected a device, such as nvv4l2:/dev/video0")
    source = f"nvv4l2camerasrc device={device}"
    return _converted(f"{source} ! {_caps(options, 'format=UYVY,')}", modality)


def decoder_pipeline(address: str, options: DecoderOptions, modality: Modality) -> str:
    """Return the pipeline of an RTSP stream that a Jetson's hardware decodes.

    Args:
        address: ``rtsp://...``.
        options: Codec and latency.
        modality: ``rgb``, or ``thermal`` with 8 bits.

    Raises:
        InputError: Not an RTSP address, or an unknown codec.
    """
    if not re.fullmatch(r"rtsps?://[^\s\"]+", address):
        raise InputError(f"nvdec:{address[:7]}...: expected an address, such as nvdec:rtsp://...")
    codec = options.codec.lower()
    if codec not in ("h264", "h265"):
        raise InputError(f"nvdec: codec: expected h264 or h265, got '{options.codec}'")
    source = f'rtspsrc location="{address}" protocols=tcp latency={options.latency}'
    decoder = f"rtp{codec}depay ! {codec}parse ! nvv4l2decoder enable-max-performance=1"
    return _converted(f"{source} drop-on-latency=true ! {decoder}", modality)


def _caps(options: CsiOptions, pixels: str = "") -> str:
    rate = Fraction(options.fps).limit_denominator(1001)
    width, height = options.size
    return (
        f"video/x-raw(memory:NVMM),{pixels}width={width},height={height},"
        f"framerate={rate.numerator}/{rate.denominator}"
    )


def _converted(source: str, modality: Modality) -> str:
    """Return a pipeline whose frames lie in the processor's memory, in OpenCV's formats."""
    start = f"{source} ! {_QUEUE} ! nvvidconv ! video/x-raw,format="
    if modality == "thermal":
        return f"{start}GRAY8 ! {_SINK}"
    return f"{start}BGRx ! videoconvert ! video/x-raw,format=BGR ! {_SINK}"
