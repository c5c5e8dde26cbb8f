"""Figures of merit of binary masks, streamed image by image; numpy and OpenCV only.

:class:`SegmentationMetrics` takes one image at a time and holds only sums, so that a data set of
any size fits.  ``compute()`` gives:

===============  ======  ========================================================================
figure           over    what it is
===============  ======  ========================================================================
``iou``          set     IoU of the foreground, from pixel counts of the whole set
``mean_iou``     set     mean of ``iou`` and the background's
``image_iou``    images  IoU of the foreground
``precision``    set     share of found pixels that are right; ``recall``: of the label's, found
``f_measure``    set     F-measure of these two, beta^2 = 0.3
``mae``          images  mean absolute error of the probability; ``set_mae``: over all pixels
``ber``          images  balanced error rate; ``set_ber``: from pixel counts of the whole set
``boundary_f``   images  F-measure of outlines within a tolerance, :mod:`.boundaries`
``s_measure``    images  structural similarity, :mod:`.structure`
``e_max`` ...    images  E-measure: maximum and mean of the mean curve of 256 thresholds (``e_max``,
                         ``e_mean``), and at an adaptive threshold (``e_adaptive``),
                         :mod:`.enhanced_alignment`
``f_max`` ...    images  F-measure likewise: ``f_max``, ``f_mean``, ``f_adaptive``, :mod:`.f_curve`
``f_weighted``   images  weighted F-measure, :mod:`.weighted_f`
``hce``          images  human correction effort, where asked for, :mod:`.human_correction_effort`
``images``               images added
===============  ======  ========================================================================

Figures with a threshold take the model's; curves and the adaptive figures choose their own.

Convention: two conventions meet here.  IoU, precision, recall, their F-measure and ``boundary_f``
are the house's: a ratio of nothing to nothing is 1 (two empty masks agree), of nothing on one side
only 0.  All others are those of papers on salient and camouflaged objects, equal to PySODMetrics
(github.com/lartpang/PySODMetrics), whose quirks they keep: an image whose label is empty has no
F-measure but 0, and a ``ber`` of at least 0.5.  Papers, moreover, stretch every prediction to 0..1
(``normalize="minmax"``) and read it from 8-bit files: give ``uint8`` for the same figures.

Convention: pixels labelled 255 count as if they lay outside the image, in every measure; see
:class:`Pair`.  An image without any other pixel counts in ``images`` alone.
"""

from differseg.metrics.boundaries import BOUNDARY_TOLERANCE_PX, boundary, boundary_f
from differseg.metrics.overlap import F_BETA_SQUARED, f_measure, mask_iou
from differseg.metrics.pair import Normalize, Pair
from differseg.metrics.streaming import (
    IMAGE_MEASURES,
    MEASURES,
    QUICK_MEASURES,
    ImageScores,
    SegmentationMetrics,
)

__all__ = [
    "BOUNDARY_TOLERANCE_PX",
    "F_BETA_SQUARED",
    "IMAGE_MEASURES",
    "MEASURES",
    "QUICK_MEASURES",
    "ImageScores",
    "Normalize",
    "Pair",
    "SegmentationMetrics",
    "boundary",
    "boundary_f",
    "f_measure",
    "mask_iou",
]
