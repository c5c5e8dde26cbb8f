"""F-measure at every threshold and at an adaptive one, as papers on salient objects give it.

Achanta et al., "Frequency-tuned Salient Region Detection", CVPR 2009, with beta^2 = 0.3.

Convention: of PySODMetrics.  Thresholds are t / 255 for t from 0 to 255, and a prediction counts
from ``floor(255 p) >= t`` on.  An image whose label has no foreground has 0, whatever was found.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from differseg.metrics.overlap import F_BETA_SQUARED, f_measure
from differseg.metrics.pair import Pair

Curve = npt.NDArray[np.float64]


def precision_curve(pair: Pair) -> Curve:
    """(256,) precision at every threshold, 0 where nothing is found."""
    hits, false = pair.threshold_counts
    return hits / np.maximum(hits + false, 1)


def recall_curve(pair: Pair) -> Curve:
    """(256,) recall at every threshold, 0 where the label has no foreground."""
    hits, _ = pair.threshold_counts
    return hits / max(pair.foreground, 1)


def f_curve(pair: Pair) -> Curve:
    """(256,) F-measure at every threshold."""
    precision, recall = precision_curve(pair), recall_curve(pair)
    product = (1 + F_BETA_SQUARED) * precision * recall
    return product / np.where(product == 0, 1, F_BETA_SQUARED * precision + recall)


def f_adaptive(pair: Pair) -> float:
    """F-measure at twice the mean prediction, at most 1."""
    hits, false = pair.adaptive_counts
    if not hits:
        return 0.0
    return f_measure(hits / (hits + false), hits / pair.foreground, F_BETA_SQUARED)
