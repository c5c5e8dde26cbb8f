"""Checks of single images: data that is no picture, or not the one that it should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from differseg.calibration.audit_measure import Measures
from differseg.calibration.audit_report import Finding, Level
from differseg.calibration.audit_source import Item
from differseg.calibration.repeats import distinct_items
from differseg.manifest import InputSpec

FEW = 0.1
"""Part of a session's frames that may be unusable before it is refused."""

CLIPPED, CLIPPED_ALL = 0.2, 0.75
"""Part of an image at the highest code: worth a warning, and no picture any more."""
MISSING = 0.5
"""Part of a depth image without a measurement that is worth a warning."""
FROZEN_AFTER_S = 0.35
"""A picture that stays equal for this long, longer than the period of a slow thermal camera, adds
nothing; a working sensor's noise never repeats."""
SAME_AS_LUMINANCE = 0.95
"""Correlation with RGB's luminance or a channel of it; over 113 real pairs it stays under 0.81."""


@dataclass(frozen=True)
class Audited:
    """All that was measured.

    Attributes:
        inputs: The network's inputs.
        items: The samples, in order.
        session: Whether they are frames of a session, which cannot be removed one by one.
    """

    inputs: tuple[InputSpec, ...]
    items: Sequence[Item]
    session: bool

    @cached_property
    def repeats(self) -> tuple[list[Item], list[tuple[Item, Item]]]:
        """The distinct samples, and the others with what they nearly equal."""
        return distinct_items(self.items)

    def views(self, modality: str) -> list[Measures]:
        """Return what was measured of one modality, in order."""
        return [item.views[modality] for item in self.items if modality in item.views]

    def unusable(self, count: int, total: int) -> Level:
        """Return how much unusable images weigh: a file can be deleted, a frame cannot."""
        return "error" if not self.session or count >= FEW * total else "warning"


Check = Callable[[Audited], Iterator[Finding]]


def constant(audited: Audited) -> Iterator[Finding]:
    """Images without content: ranges measured on them are those of a dead camera."""
    for spec in audited.inputs:
        views = audited.views(spec.modality)
        flat = [view for view in views if (view.constant or view.black) and not _dark_rgb(view)]
        if not flat:
            continue
        whole = len(flat) == len(views)
        # A colour-coded flow without motion is constant, and right.
        mild = spec.modality == "flow" and not whole
        level = "warning" if mild else audited.unusable(len(flat), len(views))
        what = f"{len(flat)} of {len(views)} {spec.modality} images are constant"
        yield Finding(level, "constant", what, _places(flat), "remove them; record a scene")


def black(audited: Audited) -> Iterator[Finding]:
    """Black RGB images: a covered lens, or a night without any light."""
    views = audited.views("rgb")
    dark = [view for view in views if _dark_rgb(view)]
    if dark:
        level: Level = "error" if len(dark) == len(views) else "warning"
        what = f"{len(dark)} of {len(views)} rgb images are black"
        todo = "remove them unless the camera shall work in full darkness"
        yield Finding(level, "black", what, _places(dark), todo)


def noise(audited: Audited) -> Iterator[Finding]:
    """Random numbers in place of pictures, which give ranges that no camera reaches."""
    for spec in audited.inputs:
        views = audited.views(spec.modality)
        white = [view for view in views if view.noise == "white" and not view.black]
        if white:
            level = audited.unusable(len(white), len(views))
            what = f"{len(white)} of {len(views)} {spec.modality} images are random noise"
            found = white[0].texture
            if found is not None:
                what += f" (neighbours correlate {found.correlation:.2f}, slope {found.slope:.2f})"
            yield Finding(level, "noise", what, _places(white), "take images of the camera")
        coarse = [view for view in views if view.noise == "enlarged"]
        if coarse:
            what = f"{len(coarse)} of {len(views)} {spec.modality} images look like enlarged noise"
            todo = "look at them (--pictures); fine gravel or leaves are fine"
            yield Finding("warning", "noise", what, _places(coarse), todo)


def saturated(audited: Audited) -> Iterator[Finding]:
    """Images with a large part at the highest code."""
    for spec in audited.inputs:
        views = [view for view in audited.views(spec.modality) if not view.constant]
        for least, most in ((CLIPPED_ALL, 2.0), (CLIPPED, CLIPPED_ALL)):
            hit = [view for view in views if least <= view.clipped < most]
            if hit:
                bad = least == CLIPPED_ALL
                level = audited.unusable(len(hit), len(views)) if bad else "warning"
                worst = max(view.clipped for view in hit)
                what = (
                    f"{len(hit)} of {len(views)} {spec.modality} images are saturated: up to "
                    f"{100 * worst:.0f} % of their pixels at the highest code"
                )
                todo = "remove them" if bad else "shorten the exposure or widen the camera's range"
                yield Finding(level, "saturated", what, _places(hit), todo)


def missing_depth(audited: Audited) -> Iterator[Finding]:
    """Depth images that are mostly holes."""
    views = [view for view in audited.views("depth") if not view.constant]
    holes = [view for view in views if view.missing >= MISSING]
    if holes:
        what = f"{len(holes)} of {len(views)} depth images have no measurement in half their pixels"
        yield Finding("warning", "missing", what, _places(holes), "check the sensor's reach")


def frozen(audited: Audited) -> Iterator[Finding]:
    """A camera that repeats its picture while time, or the other camera, goes on."""
    for spec in audited.inputs:
        stuck, level = _stuck(audited, spec.modality)
        if not stuck:
            continue
        total = len(audited.views(spec.modality))
        if audited.session:
            what = f"{len(stuck)} of {total} {spec.modality} frames repeat a picture for over "
            what += f"{FROZEN_AFTER_S:g} s"
        else:
            what = f"the same {spec.modality} picture stands beside different images {len(stuck)} "
            what += f"times (of {total})"
        todo = "remove these frames and look at the camera"
        yield Finding(level, "frozen", what, _places(stuck), todo)


def _stuck(audited: Audited, modality: str) -> tuple[list[Measures], Level]:
    if audited.session:
        stuck = list(_frozen_in_time(audited.items, modality))
        return stuck, audited.unusable(len(stuck), len(audited.items))
    groups: defaultdict[bytes, list[Item]] = defaultdict(list)
    for item in audited.items:
        view = item.views.get(modality)
        if view is not None and not view.constant:
            groups[view.digest].append(item)
    # Where all of the sample is repeated, it is a duplicate, not a frozen camera.
    groups = defaultdict(list, {k: g for k, g in groups.items() if len(set(map(digests, g))) > 1})
    stuck = [item.views[modality] for group in groups.values() for item in group]
    largest = max((len(group) for group in groups.values()), default=0)
    return stuck, "error" if 2 * largest >= len(audited.items) else "warning"


def _frozen_in_time(items: Sequence[Item], modality: str) -> Iterator[Measures]:
    last, since_s = b"", 0.0
    for item in items:
        view = item.views[modality]
        time_s = item.time_s or 0.0
        if view.digest != last:
            last, since_s = view.digest, time_s
        elif time_s - since_s >= FROZEN_AFTER_S and not view.constant:
            yield view


def digests(item: Item) -> tuple[bytes, ...]:
    """Return what tells whether two samples are equal in every pixel."""
    return tuple(view.digest for _, view in sorted(item.views.items()))


def wrong_modality(audited: Audited) -> Iterator[Finding]:
    """A second modality that is the RGB image again, in grey."""
    for spec in audited.inputs:
        if spec.modality == "rgb":
            continue
        both = [
            (item.views["rgb"], item.views[spec.modality])
            for item in audited.items
            if {"rgb", spec.modality} <= item.views.keys()
        ]
        same = [other for rgb, other in both if _same_as_luminance(rgb, other)]
        if same:
            level = audited.unusable(len(same), len(both))
            what = f"{len(same)} of {len(both)} {spec.modality} images are the RGB image in grey"
            todo = f"put the {spec.modality} camera's own images there"
            yield Finding(level, "modality", what, _places(same), todo)


def _same_as_luminance(rgb: Measures, other: Measures) -> bool:
    if rgb.constant or other.constant:
        return False
    colour, second = rgb.thumb.astype(np.float64), other.thumb.astype(np.float64)
    single = second if second.ndim == 2 else second.mean(axis=2)
    planes = [colour.mean(axis=2), *np.moveaxis(colour, -1, 0)]
    return any(
        plane.std() > 0
        and single.std() > 0
        and abs(np.corrcoef(plane.ravel(), single.ravel())[0, 1]) >= SAME_AS_LUMINANCE
        for plane in planes
    )


def grey(audited: Audited) -> Iterator[Finding]:
    """RGB images without colour."""
    views = [view for view in audited.views("rgb") if not view.constant]
    without = [view for view in views if view.grey and not view.black]
    if without:
        what = f"{len(without)} of {len(views)} rgb images have three equal channels"
        todo = "check that they are the colour camera's; a camera's night mode gives such images"
        yield Finding("warning", "grey", what, _places(without), todo)


def channels(audited: Audited) -> Iterator[Finding]:
    """Channels that hold one value over the whole set."""
    for spec in audited.inputs:
        views = audited.views(spec.modality)
        if not views or all(view.constant or view.black for view in views):
            continue
        for channel in range(spec.channels):
            low = min(view.channel_ranges[channel][0] for view in views)
            high = max(view.channel_ranges[channel][1] for view in views)
            if low == high:
                name = "RGB"[channel] if spec.modality == "rgb" else str(channel)
                what = f"channel {name} of {spec.modality} is {low:g} in every image"
                where = (f"{spec.modality}/",)
                yield Finding("error", "channel", what, where, "read or record all channels")


def _dark_rgb(view: Measures) -> bool:
    return view.modality == "rgb" and view.black


def _places(views: Sequence[Measures]) -> tuple[str, ...]:
    return tuple(view.place for view in views)


IMAGE_CHECKS: tuple[Check, ...] = (
    constant,
    black,
    noise,
    saturated,
    missing_depth,
    frozen,
    wrong_modality,
    grey,
    channels,
)
"""In the order in which they are reported."""
