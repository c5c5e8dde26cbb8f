"""Which images of ROS topics belong together, also after a clock went back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

CLOCK_STEP_S = 0.5
"""A stamp further back than this is a new clock: a bag that began again, or one that was set."""


class StampPairing:
    """Pairs of images with stamps that differ by less than the slop; an image makes one pair.

    ``ApproximateTimeSynchronizer`` keeps the images with the latest stamps, so after a clock went
    back it would wait for ever; it is made anew then.

    Args:
        ros: From :func:`differseg.runtime.ros2_options.load_ros`.
        subscribers: One ``message_filters.Subscriber`` for each topic.
        queue_size: Images of each topic that wait for their partner.
        slop_s: Largest difference of the stamps within a pair, in seconds.
        callback: Called with one image of each topic; must not raise, because the synchroniser
            would keep its lock.

    Attributes:
        counts: Images that came, one number for each topic.
        restarts: Clocks that went back.
    """

    def __init__(
        self,
        ros: SimpleNamespace,
        subscribers: Sequence[Any],
        queue_size: int,
        slop_s: float,
        callback: Callable[..., None],
    ) -> None:
        self.counts = [0] * len(subscribers)
        self.restarts = 0
        self._filters, self._callback = ros.filters, callback
        self._queue_size, self._slop_s = queue_size, slop_s
        self._newest_s = [-math.inf] * len(subscribers)
        self._inputs: list[Any] = []
        self._begin()
        for place, subscriber in enumerate(subscribers):
            subscriber.registerCallback(self._came, place)

    def _begin(self) -> None:
        filters = self._filters
        self._newest_s = [-math.inf] * len(self.counts)
        self._inputs = [filters.SimpleFilter() for _ in self.counts]
        if len(self._inputs) == 1:
            self._inputs[0].registerCallback(self._callback)
            return
        synchronizer = filters.ApproximateTimeSynchronizer(
            self._inputs, self._queue_size, self._slop_s
        )
        synchronizer.registerCallback(self._callback)

    def _came(self, message: Any, place: int) -> None:
        self.counts[place] += 1
        stamp_s = stamp_of(message)
        if stamp_s < self._newest_s[place] - CLOCK_STEP_S:
            self.restarts += 1
            self._begin()
        self._newest_s[place] = max(stamp_s, self._newest_s[place])
        self._inputs[place].signalMessage(message)


def stamp_of(message: Any) -> float:
    """Return the capture time of a message in seconds."""
    return float(message.header.stamp.sec) + float(message.header.stamp.nanosec) * 1e-9
