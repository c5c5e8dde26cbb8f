"""E-measure (enhanced alignment) at every threshold and at an adaptive one.

Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation", IJCAI 2018.  The
alignment of a pixel depends only on what was found there and what the label says, so that four
counts at a threshold hold the whole image (as in PySODMetrics).

Convention: of PySODMetrics, thresholds as in :mod:`differseg.metrics.f_curve`.  The sum is divided
by N - 1, so that a perfect mask of N pixels has N / (N - 1).  An image of one pixel has 0 or 1,
where that division would have no result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from differseg.metrics.pair import Counts, Pair

_EPS = float(np.spacing(1))


def e_curve(pair: Pair) -> npt.NDArray[np.float64]:
    """(256,) E-measure at every threshold."""
    return _e_measure(*pair.threshold_counts, pair)


def e_adaptive(pair: Pair) -> float:
    """E-measure at twice the mean prediction, at most 1."""
    hits, false = pair.adaptive_counts
    return float(_e_measure(np.array([hits]), np.array([false]), pair)[0])


def _e_measure(hits: Counts, false: Counts, pair: Pair) -> npt.NDArray[np.float64]:
    """E-measure of masks with this many foreground and background pixels found."""
    pixels, wanted = pair.pixels, pair.foreground
    found = hits + false
    if wanted == 0:
        total = (pixels - found).astype(np.float64)
    elif wanted == pixels:
        total = found.astype(np.float64)
    else:
        mean_found, mean_label = found / pixels, wanted / pixels
        missed = wanted - hits
        total = (
            hits * _aligned(1 - mean_found, 1 - mean_label)
            + false * _aligned(1 - mean_found, -mean_label)
            + missed * _aligned(-mean_found, 1 - mean_label)
            + (pixels - found - missed) * _aligned(-mean_found, -mean_label)
        )
    return total / max(pixels - 1, 1)


def _aligned(found: npt.NDArray[np.float64], label: float) -> npt.NDArray[np.float64]:
    """Enhanced alignment of two values, each less its mean: 0..1."""
    alignment = 2 * found * label / (found * found + label * label + _EPS)
    return (alignment + 1) ** 2 / 4
