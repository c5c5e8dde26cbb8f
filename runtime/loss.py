"""When a camera counts as lost, and what a run can do then."""

from __future__ import annotations

from typing import Literal

from differseg.runtime.capture import Capture
from differseg.runtime.pairing import Pairer

RgbLossPolicy = Literal["stop", "wait"]
"""``stop`` ends the run when a live RGB camera is away for 10 s; ``wait`` goes on trying."""


class ThermalWatch:
    """Decides when the thermal camera counts as lost.

    It is lost while its state is ``offline``; and, by the time stamps of the RGB frames, where it
    gives no pair for a while, whatever its state.

    Args:
        timeout_s: RGB time without a pair after which it is lost; longer than the pause of a
            camera's shutter correction, about 1 s.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._paired_s: float | None = None

    def paired(self, rgb_time_s: float) -> None:
        """Note that a pair was made."""
        self._paired_s = rgb_time_s

    def restart(self) -> None:
        """Begin to count with the next RGB frame: the RGB camera was away."""
        self._paired_s = None

    def lost(self, rgb_time_s: float, capture: Capture, pairer: Pairer) -> str | None:
        """Say why the camera is lost, or None.

        Args:
            rgb_time_s: Time of an RGB frame that found no thermal frame.
            capture: The thermal camera's.
            pairer: What paired it.
        """
        if self._paired_s is None or rgb_time_s < self._paired_s:
            self._paired_s = rgb_time_s
        if pairer.thermal_ended:
            error = capture.error
            return f"failed ({error})" if error else f"ended after {capture.captured} frames"
        if capture.check() == "offline":
            error = capture.error
            return f"failed ({error})" if error else f"gave no frame for {capture.silent_s:.1f} s"
        alone_s = rgb_time_s - self._paired_s
        if alone_s <= self._timeout_s:
            return None
        if capture.captured == 0:
            return f"gave no frame for {alone_s:.1f} s"
        if pairer.distrust is not None:
            return f"cannot be paired: {pairer.distrust}"
        nearest_ms = pairer.nearest_ms
        near = "" if nearest_ms is None else f", the nearest is {nearest_ms:+.0f} ms away"
        return f"gave no frame within the tolerance for {alone_s:.1f} s{near}"
