"""Keeping an open stream empty until its first frame is wanted."""

from __future__ import annotations

import threading

import cv2


class Drain:
    """Grabs frames in a thread of its own and lets them go.

    While other cameras open and the network warms up, frames pile up in sockets and queues.  Read
    later, they would come at once and all be stamped with that moment, and pairs of them would
    claim a skew near 0.

    Args:
        capture: Open; not to be used by others until ``stop`` has returned True.

    Attributes:
        lost: Whether the stream ended or failed meanwhile.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self.lost = False
        self._capture = capture
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Let it run for a while; returns early where the stream is lost."""
        self._thread.join(seconds)

    def stop(self, timeout_s: float | None = None) -> bool:
        """End it; the next frame that is grabbed is new.

        Args:
            timeout_s: How long to wait for a driver that blocks; None waits as long as it does.

        Returns:
            Whether it has ended.
        """
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if not self._capture.grab():
                    self.lost = True
                    return
        except cv2.error:
            self.lost = True
