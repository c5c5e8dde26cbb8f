"""Checks of the whole set: how much of what the camera will see does it show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from differseg.calibration.audit_checks import Audited, Check, digests
from differseg.calibration.audit_measure import BINS
from differseg.calibration.audit_report import Finding, InputFigures, Level
from differseg.calibration.audit_source import Item
from differseg.manifest import InputSpec

ENOUGH = 100
"""Distinct images from which the number alone is no concern."""

MEASURED_LOSS = ((32, 21, 76), (16, 42, 66), (8, 60, 58), (4, 72, 51))
"""Images; percent of tensors whose range is over 10 % too small; percent of the range left at the
5th percentile of the tensors.  Shipped differseg-edge against all 62 MFNet pairs of the sample
data, by benchmarks/calibration_count.py."""

NIGHT_LUMINANCE = 0.18
"""Mean RGB luminance below which an image is taken for night; agrees with the names of 60 of 62
MFNet images."""

NARROW = 0.5
"""Part of the value range between the 0.1th and 99.9th percentile below which a set is narrow."""

_MANY_NEAR = 0.2
_PERCENTILES = (0.1, 1.0, 50.0, 99.0, 99.9)
_SEEN_SHARE = 1e-6  # of all pixels: a step seen by single dead pixels is not seen


def repetition(audited: Audited) -> Iterator[Finding]:
    """Equal and nearly equal samples, and too few of the others."""
    items = audited.items
    exact: defaultdict[tuple[bytes, ...], list[Item]] = defaultdict(list)
    for item in items:
        exact[digests(item)].append(item)
    if len(items) > 1 and len(exact) == 1:
        what = f"all {len(items)} samples are equal in every pixel"
        yield Finding("error", "equal", what, _names(items), "record a scene that changes")
        return
    copies = [item for group in exact.values() for item in group[1:]]
    if copies:
        pairs = tuple(
            f"{item.name} = {group[0].name}" for group in exact.values() for item in group[1:]
        )
        what = f"{len(copies)} of {len(items)} samples are copies of another"
        yield Finding("warning", "duplicates", what, pairs, "remove the copies")
    kept, repeats = audited.repeats
    copied = {id(item) for item in copies}
    near = [(item, of) for item, of in repeats if id(item) not in copied]
    if near:
        level: Level = "warning" if len(near) >= _MANY_NEAR * len(items) else "note"
        what = f"{len(near)} of {len(items)} samples nearly equal another: they add time, not range"
        pairs = tuple(f"{item.name} ~ {of.name}" for item, of in near)
        todo = "take frames further apart (--limit spreads them evenly)"
        yield Finding(level, "duplicates", what, pairs, todo)
    if len(kept) < ENOUGH:
        yield Finding("warning", "count", _count_text(len(kept)), (), "add images of other scenes")


def _count_text(distinct: int) -> str:
    images, shrunk, left = next(
        (row for row in MEASURED_LOSS if distinct >= row[0]), MEASURED_LOSS[-1]
    )
    return (
        f"{distinct} distinct image{'s' * (distinct != 1)}; {ENOUGH} or more are better: with "
        f"{images} images, {shrunk} % of the shipped model's tensors show a range over 10 % too "
        f"small, and one in twenty under {left} % of its range with 62"
    )


def day_and_night(audited: Audited) -> Iterator[Finding]:
    """An estimate of how many images are of the day and how many of the night."""
    bright, dark = light_counts(audited)
    if bright is None or dark is None or bright + dark < 2:
        return
    split = f"{bright} bright and {dark} dark RGB images (estimate: luminance {NIGHT_LUMINANCE:g})"
    if bright and dark:
        yield Finding("note", "light", split)
        return
    lacking = "dark" if bright else "bright"
    thermal = any(spec.modality == "thermal" for spec in audited.inputs)
    level: Level = "warning" if thermal else "note"
    todo = f"add {lacking} images if the camera shall work in such light"
    yield Finding(level, "light", split, (), todo)


def light_counts(audited: Audited) -> tuple[int | None, int | None]:
    """Return the numbers of bright and dark RGB images; None without RGB."""
    views = audited.views("rgb")
    if not views:
        return None, None
    dark = sum(view.luminance < NIGHT_LUMINANCE for view in views)
    return len(views) - dark, dark


def value_range(audited: Audited) -> Iterator[Finding]:
    """Inputs whose values fill a small part of their range."""
    for spec in audited.inputs:
        figures = input_figures(audited, spec)
        if figures.images == 0:
            continue
        low, high = figures.percentiles["p0.1"], figures.percentiles["p99.9"]
        if 0 < high - low < NARROW:
            what = f"{spec.name} covers {low:.2f}..{high:.2f} of 0..1 (all but 0.2 % of the values)"
            todo = "add scenes with darker and brighter, colder and hotter parts"
            yield Finding("warning", "range", what, (f"{spec.modality}/",), todo)


def formats(audited: Audited) -> Iterator[Finding]:
    """Bit depths that change within the set, or that the thermal policy does not go with."""
    for spec in audited.inputs:
        views = audited.views(spec.modality)
        counts = Counter(view.dtype for view in views)
        if len(counts) > 1:
            rare = counts.most_common()[-1][0]
            what = f"{spec.modality} images have {' and '.join(sorted(counts))}"
            places = tuple(view.place for view in views if view.dtype == rare)
            yield Finding("warning", "format", what, places, "take the format of one camera")
        policy = spec.thermal_policy
        unfit = {"fixed": "uint8", "full": "uint16"}.get(policy.kind if policy else "")
        if policy is not None and unfit in counts:
            what = f"the model maps thermal by '{policy.kind}', which {unfit} images do not go with"
            places = tuple(view.place for view in views if view.dtype == unfit)
            todo = f"use the camera's {'16' if unfit == 'uint8' else '8'}-bit mode"
            yield Finding("warning", "format", what, places, todo)


def input_figures(audited: Audited, spec: InputSpec) -> InputFigures:
    """Return what the images of one input cover."""
    views = audited.views(spec.modality)
    histogram = np.sum([view.histogram for view in views], axis=0, dtype=np.int64)
    histogram = histogram if views else np.zeros(BINS, np.int64)
    total = max(int(histogram.sum()), 1)
    below = np.cumsum(histogram) / total
    percentiles = {
        f"p{p:g}": float(np.searchsorted(below, p / 100) / (BINS - 1)) if views else 0.0
        for p in _PERCENTILES
    }
    sizes = Counter(f"{view.size_hw[1]}x{view.size_hw[0]}" for view in views)
    return InputFigures(
        name=spec.name,
        images=len(views),
        sizes=tuple(size for size, _ in sizes.most_common()),
        dtypes=tuple(dtype for dtype, _ in Counter(v.dtype for v in views).most_common()),
        seen_share=float(np.mean(histogram > _SEEN_SHARE * total)),
        percentiles=percentiles,
        mean_luminance=float(np.mean([view.luminance for view in views])) if views else 0.0,
        clipped_share=float(np.mean([view.clipped for view in views])) if views else 0.0,
    )


def _names(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(item.name for item in items)


SET_CHECKS: tuple[Check, ...] = (repetition, day_and_night, value_range, formats)
"""In the order in which they are reported."""
