"""How much later one camera shows the same motion than another.

Time stamps cannot show that a sensor's picture is old when it is stamped; only the pictures can.
Both cameras see changes when something moves or the robot turns, so the speed of change is one
signal seen twice.  Its rise and fall is compared; nothing is compared pixel by pixel, so no
registration is needed.

Convention: lag = time of the thermal stamp minus time of the RGB stamp of one moment; positive
where thermal is late.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

MAX_LAG_S = 0.5
"""Largest lag that is looked for."""

LEAST_CORRELATION = 0.9
"""Weaker likeness is chance, or two cameras that look at different things.  A head that turns gives
0.98 and more; walkers and cars before a head at rest 0.5 to 0.9, with lags that are wrong by tens
of milliseconds, because each camera sees other parts of them."""

WINDOW_S = 40.0
"""Length of the signals that are kept."""

_SIZE_WH = (32, 24)
_SAMPLED_LINES = 120
_FRAMES = 1250
_MIN_INTERVALS = 60
_LEAST_VARIATION = 0.15
_TREND_S = 1.5
_STEP_S = 0.005
_RIVAL = 0.85
_LARGEST_UNCERTAINTY_S = 0.005
_CAUTION = 2.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MotionLag:
    """The lag that the motion shows.

    Attributes:
        lag_s: Thermal behind RGB; None where it cannot be told.
        uncertainty_s: Standard deviation of the lag; infinite without one.
        correlation: Of the two signals at the best lag, -1..1.
        reason: What was found, or why there is no lag.
    """

    lag_s: float | None
    uncertainty_s: float
    correlation: float
    reason: str


class ChangeSignal:
    """Small pictures of one camera over the last 40 s, and how fast they change."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, npt.NDArray[np.float32]]] = deque(maxlen=_FRAMES)

    def add(self, time_s: float, image: npt.NDArray[Any]) -> None:
        """Take one frame; a clock that goes back starts afresh.

        Args:
            time_s: Stamp in seconds.
            image: (H, W) or (H, W, 3), uint8 or uint16.
        """
        if self._frames and time_s <= self._frames[-1][0]:
            self.restart()
        self._frames.append((time_s, _small(image)))
        while self._frames[0][0] < time_s - WINDOW_S:
            self._frames.popleft()

    def restart(self) -> None:
        """Forget all."""
        self._frames.clear()

    @property
    def span_s(self) -> float:
        """Length of the signal."""
        return self._frames[-1][0] - self._frames[0][0] if self._frames else 0.0

    @property
    def interval_s(self) -> float:
        """Median time between two frames; infinite while unknown."""
        times = np.array([time_s for time_s, _ in self._frames])
        return float(np.median(np.diff(times))) if times.size > 1 else math.inf

    def rates(self, over_s: float) -> tuple[Floats, Floats]:
        """Return how fast the picture changes, from frames about ``over_s`` apart.

        Returns:
            (N,) times halfway between the two frames, and (N,) changes a second beyond the
            sensor's noise; all 0 where noise is all there is.
        """
        times = np.array([time_s for time_s, _ in self._frames])
        pictures = np.array([picture for _, picture in self._frames])  # (N, P)
        if times.size < 2:
            return np.empty(0), np.empty(0)
        after = np.clip(np.searchsorted(times, times - over_s), 1, times.size - 1)
        nearer = times - over_s - times[after - 1] < times[after] - (times - over_s)
        before = np.minimum(after - nearer, np.arange(times.size) - 1)
        apart = times - times[before]
        used = (before >= 0) & (np.abs(apart - over_s) < over_s / 2)
        changes = pictures[used] - pictures[before[used]]
        # An exposure or shutter correction that lifts the whole picture is no motion.
        changes -= changes.mean(axis=1, keepdims=True)
        amounts = np.abs(changes, out=changes).mean(axis=1).astype(np.float64)
        times = times[used] - apart[used] / 2
        if not amounts.size:
            return times, amounts
        noise, middle, high = np.percentile(amounts, (5, 50, 95))
        if high - noise <= _LEAST_VARIATION * middle:
            return times, np.zeros_like(amounts)
        return times, (amounts - noise) / apart[used]


def motion_lag(
    rgb: ChangeSignal, thermal: ChangeSignal, correct: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> MotionLag:
    """Return the lag of the thermal camera, or why it cannot be told.

    Args:
        rgb: Changes of the RGB camera.
        thermal: Changes of the thermal camera.
        correct: How much the thermal clock is ahead of the RGB camera's: seconds, at which
            thermal stamp, and growth in seconds a second.
    """
    # Frames as far apart for both, so that a change counts alike however large it is.
    swapped = rgb.interval_s > thermal.interval_s
    over_s = max(rgb.interval_s, thermal.interval_s)
    rgb_times, rgb_rates = rgb.rates(over_s)
    thermal_times, thermal_rates = thermal.rates(over_s)
    for name, rates in (("RGB", rgb_rates), ("thermal", thermal_rates)):
        if not rates.any():
            return _refusal(f"nothing moves before the {name} camera")
    ahead_s, at_s, growth = correct
    thermal_times = thermal_times - (ahead_s + growth * (thermal_times - at_s))
    fast, slow = (rgb_times, rgb_rates), (thermal_times, thermal_rates)
    if swapped:
        fast, slow = slow, fast
    lags = np.arange(-MAX_LAG_S, MAX_LAG_S + _STEP_S / 2, _STEP_S)
    correlations, count = _correlations(fast, slow, lags)
    if count < _MIN_INTERVALS:
        return _refusal(f"{count} common frames so far, {_MIN_INTERVALS} are needed")
    found = _peak(lags, correlations, count)
    if swapped and found.lag_s is not None:
        found = replace(found, lag_s=-found.lag_s)
    return found


def _correlations(
    fast: tuple[Floats, Floats], slow: tuple[Floats, Floats], lags: Floats
) -> tuple[Floats, int]:
    """Return the correlation at every lag, and the number of samples compared."""
    times, rates = fast[0], _without_outliers(fast[1])
    used = (slow[0] > times[0] + MAX_LAG_S) & (slow[0] < times[-1] - MAX_LAG_S)
    count = int(used.sum())
    if count < _MIN_INTERVALS:
        return np.zeros_like(lags), count
    at, observed = slow[0][used], _without_outliers(slow[1])[used]
    width = max(3, round(_TREND_S / float(np.median(np.diff(at)))))
    expected = _without_trend(np.interp(at - lags[:, None], times, rates), width)
    observed = _without_trend(observed[None], width)[0]
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(observed)
    return expected @ observed / np.maximum(norms, 1e-12), count


def _without_outliers(rates: Floats) -> Floats:
    """Clip what shutters and flashes are."""
    low, high = np.percentile(rates, (1, 98))
    return np.clip(rates, low, high)


def _peak(lags: Floats, correlations: Floats, count: int) -> MotionLag:
    """Return the best lag, to a fraction of a step, or a refusal."""
    best = int(np.argmax(correlations))
    top = float(correlations[best])
    if top < LEAST_CORRELATION:
        return _refusal(
            f"the motion that the two cameras see is not alike enough (correlation {top:.2f}, "
            f"{LEAST_CORRELATION} is needed); turn the camera head to and fro",
            top,
        )
    high = correlations > _RIVAL * top
    below = np.flatnonzero(~high)
    left = int(below[below < best].max(initial=-1)) + 1
    right = int(below[below > best].min(initial=len(lags))) - 1
    if best in (0, len(lags) - 1):
        return _refusal(f"the lag is larger than {1000 * MAX_LAG_S:.0f} ms", top)
    if left == 0 or right == len(lags) - 1:
        return _refusal("the motion is too even: many lags fit alike", top)
    if high[:left].any() or high[right + 1 :].any():
        return _refusal("the motion repeats, so that several lags fit", top)
    # A parabola through the upper part of the peak.
    a, b, _ = np.polyfit(lags[left : right + 1] - lags[best], correlations[left : right + 1], 2)
    if a >= 0:
        return _refusal("the likeness has no clear peak", top)
    uncertainty_s = _CAUTION * math.sqrt((1 - min(top, 0.999) ** 2) / (count * top * -2 * a))
    if uncertainty_s > _LARGEST_UNCERTAINTY_S:
        return _refusal(
            f"the motion is too even: the lag is known to {1000 * uncertainty_s:.0f} ms only", top
        )
    lag_s = float(lags[best] - b / (2 * a))
    return MotionLag(lag_s, uncertainty_s, top, f"motion of both cameras, correlation {top:.2f}")


def _without_trend(rows: Floats, width: int) -> Floats:
    """Subtract the moving average over ``width`` samples, and the mean: (M, K) float64."""
    smooth = cv2.blur(rows, (width, 1), borderType=cv2.BORDER_REFLECT)
    rest = rows - smooth
    return rest - rest.mean(axis=1, keepdims=True)


def _refusal(reason: str, correlation: float = 0.0) -> MotionLag:
    return MotionLag(None, math.inf, correlation, reason)


def _small(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return (768,) float32; of a colour image the green channel."""
    step = max(1, image.shape[0] // _SAMPLED_LINES)
    sampled = image[::step, ::step] if image.ndim == 2 else image[::step, ::step, 1]
    small = cv2.resize(np.ascontiguousarray(sampled), _SIZE_WH, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32).ravel()
