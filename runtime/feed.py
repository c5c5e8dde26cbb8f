"""From two capture threads to one stream of pairs.

Live: frames are paired as they arrive, and the newest pair waits in a slot of one; a pair that
the consumer was too busy to take is replaced and counted, so what is processed is never old.
Recorded: the consumer pulls, each capture thread reads one frame ahead, and nothing is dropped.
"""

from __future__ import annotations

from differseg.errors import InputError
from differseg.runtime.feed_base import Delivery, Feed
from differseg.runtime.live_feed import LiveFeed
from differseg.runtime.loss import RgbLossPolicy, ThermalWatch
from differseg.runtime.pairing import Pairer
from differseg.runtime.recorded_feed import RecordedFeed
from differseg.runtime.sources import Source

__all__ = ["Delivery", "Feed", "LiveFeed", "RecordedFeed", "ThermalWatch", "open_feed"]


def open_feed(
    rgb: Source,
    thermal: Source | None,
    pairer: Pairer | None,
    watch: ThermalWatch,
    *,
    on_rgb_loss: RgbLossPolicy = "stop",
) -> Feed:
    """Return the feed that suits two open sources.

    Raises:
        InputError: One source is live and the other recorded, so their times do not compare.
    """
    if thermal is not None and thermal.live != rgb.live:
        live, recorded = (rgb, thermal) if rgb.live else (thermal, rgb)
        raise InputError(
            f"{live.description} is live but {recorded.description} is recorded, so their times "
            "do not compare; add --live to play the recording in real time"
        )
    kind = LiveFeed if rgb.live else RecordedFeed
    return kind(rgb, thermal, pairer, watch, on_rgb_loss=on_rgb_loss)
