"""A live camera that a test unplugs, plugs in again, silences and lets fail to open."""

from __future__ import annotations

import os
import threading
import time

import numpy as np

from differseg.errors import SourceError
from differseg.runtime.sources import Frame, Source


class PluggableCamera(Source):
    """Gives frames in real time while it is plugged in.

    Holds a real file handle while it is open, so that a leak shows in the process.

    Attributes:
        given: What each frame showed, by its time stamp.
        opens: Monotonic times of all calls of ``open``, successful or not.
        opened_twice: Calls of ``open`` while it was open.
    """

    reopens = True
    clock = "driver"

    def __init__(self, modality="rgb", *, fps=200.0, tells=True):
        super().__init__(modality)
        self.fps, self.description = fps, f"pluggable {modality}"
        self.given: dict[float, int] = {}
        self.opens: list[float] = []
        self.opened_twice = 0
        self._tells = tells
        self._wake = threading.Condition()
        self._plugged, self._silent, self._interrupted = True, False, False
        self._generation = 0
        self._handle: int | None = None
        self._number = self._index = 0

    def unplug(self):
        with self._wake:
            self._plugged = False
            self._wake.notify_all()

    def plug_in(self):
        with self._wake:
            self._plugged, self._silent = True, False
            self._generation += 1

    def silence(self):
        with self._wake:
            self._silent = True

    def presence(self):
        if not self._tells:
            return "unknown"
        return self._generation if self._plugged else None

    def open(self):
        self.opens.append(time.monotonic())
        if not self._plugged:
            raise SourceError(f"{self.description}: there is no such device")
        self.opened_twice += self._handle is not None
        self.close()
        self._handle = os.open(os.devnull, os.O_RDONLY)
        self._index, self._interrupted = 0, False

    def read(self):
        assert self._handle is not None, "read before open"
        with self._wake:
            self._wake.wait_for(self._broken, 1 / self.fps)
            if self._silent:
                self._wake.wait_for(lambda: self._interrupted or not self._plugged, 30)
            if not self._plugged:
                raise SourceError(f"{self.description}: pulled out")
            if self._interrupted:
                return None
            now_s = time.monotonic()
            self._number += 1
            self.given[now_s] = self._number
            self._index += 1
            return Frame(self._image(), now_s, self._index - 1)

    def _broken(self):
        return self._interrupted or not self._plugged

    def _image(self):
        if self.modality == "rgb":
            image = np.full((48, 64, 3), 60, np.uint8)
            image[8::16, 8::16] = 60 + self._number % 180
        else:
            image = np.full((24, 32), 29000 + self._number % 5000, np.uint16)
        return image

    def interrupt(self):
        with self._wake:
            self._interrupted = True
            self._wake.notify_all()

    def close(self):
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
