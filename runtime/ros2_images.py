"""Images of ROS (sensor_msgs/Image) to arrays and back, without cv_bridge.

The message's own fields decide: ``step`` is the length of a row in bytes, padding included, and
``is_bigendian`` the order of the bytes in a value (sensor_msgs/msg/Image.msg).
"""

from __future__ import annotations

import array
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError

_TO_BGR = {
    "bgr8": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
}
_GREY_BYTES = {"mono8": 1, "8UC1": 1, "mono16": 2, "16UC1": 2}


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are read."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


def to_array(message: ImageMessage, modality: str) -> npt.NDArray[Any]:
    """Return a message's picture; it may share the message's memory and must not be written to.

    Args:
        message: A picture of one of the encodings rgb8, bgr8, rgba8, bgra8 for ``rgb``, and mono8,
            8UC1, mono16, 16UC1 for the others.
        modality: ``rgb``, ``thermal`` or ``depth``.

    Returns:
        (H, W, 3) uint8 BGR for ``rgb``, else (H, W) uint8 or uint16.

    Raises:
        InputError: Another encoding, or fields that contradict each other.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if modality == "rgb" and encoding in _TO_BGR:
        channels, code = _TO_BGR[encoding]
        rows = _rows(message, modality, width * channels)
        image = np.ascontiguousarray(rows).reshape(height, width, channels)
        return image if code is None else cv2.cvtColor(image, code)
    if modality != "rgb" and encoding in _GREY_BYTES:
        size = _GREY_BYTES[encoding]
        rows = np.ascontiguousarray(_rows(message, modality, width * size))
        if size == 1:
            return rows
        return rows.view(">u2" if message.is_bigendian else "<u2").astype(np.uint16, copy=False)
    known = _TO_BGR if modality == "rgb" else _GREY_BYTES
    hint = ""
    if modality != "rgb" and encoding in _TO_BGR:
        hint = "; a coloured picture does not give its values back: set the camera to 16 bit"
    elif modality == "rgb":
        hint = "; convert it first, for example with image_proc"
    raise InputError(
        f"{modality} image: the encoding is '{encoding}', expected {', '.join(known)}{hint}"
    )


def _rows(message: ImageMessage, modality: str, row_bytes: int) -> npt.NDArray[np.uint8]:
    """Return (H, row_bytes) uint8, a view of the message without its padding."""
    data = np.frombuffer(message.data, np.uint8)
    height, step = message.height, message.step
    if height < 1 or row_bytes < 1 or step < row_bytes or data.size < height * step:
        raise InputError(
            f"{modality} image: {message.width}x{height} {message.encoding} needs rows of "
            f"{row_bytes} bytes; got step {step} and {data.size} bytes of data"
        )
    return data[: height * step].reshape(height, step)[:, :row_bytes]


def fill_message(message: Any, image: npt.NDArray[np.uint8], encoding: str) -> Any:
    """Put a picture into a message, whose header stays as it is; returns the message.

    Args:
        message: A sensor_msgs/Image.
        image: (H, W) uint8 for ``mono8``, (H, W, 3) uint8 for ``bgr8``.
        encoding: ``mono8`` or ``bgr8``.
    """
    message.height, message.width = image.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = message.width * (image.shape[2] if image.ndim == 3 else 1)
    # An array('B') is taken over as it is; of anything else rclpy checks every single value
    # (ros2/rosidl_python, issue 156).
    message.data = array.array("B")
    message.data.frombytes(np.ascontiguousarray(image).data)
    return message
