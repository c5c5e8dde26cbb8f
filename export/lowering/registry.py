"""Every lowering by the node that it rewrites."""

from __future__ import annotations

from differseg.export.lowering.fourier import (
    LowerFft,
    LowerIrfft,
    LowerIrfft2,
    LowerRfft,
    LowerRfft2,
)
from differseg.export.lowering.framework import Lowering
from differseg.export.lowering.gaussian import LowerGaussian
from differseg.export.lowering.reassembly import LowerReassemble
from differseg.export.lowering.saliency import LowerSaliencyDisplacement
from differseg.export.lowering.sampling import (
    LowerInvertDisplacement,
    LowerSampleOffsets,
    LowerWarp,
)
from differseg.export.lowering.similarity import LowerLocalSimilarity
from differseg.export.lowering.wavelet import LowerDwt2, LowerIdwt2

_ALL: tuple[Lowering, ...] = (
    LowerRfft2(),
    LowerIrfft2(),
    LowerRfft(),
    LowerIrfft(),
    LowerFft(),
    LowerDwt2(),
    LowerIdwt2(),
    LowerGaussian(),
    LowerReassemble(),
    LowerLocalSimilarity(),
    LowerSampleOffsets(),
    LowerSaliencyDisplacement(),
    LowerInvertDisplacement(),
    LowerWarp(),
)

LOWERINGS: dict[str, Lowering] = {lowering.op_type: lowering for lowering in _ALL}
"""Node's name to the class that writes it out."""
