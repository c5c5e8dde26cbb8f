"""Every lowering by the node that it rewrites."""

from __future__ import annotations

from differseg.export.lowering.fourier import (
    LowerFft,
    LowerIrfft,
    LowerIrfft2,
    LowerRfft,
    LowerRfft2,
)
from differseg.export.lowering.framework import Lowering, name_of
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

_NAMES = frozenset(map(name_of, LOWERINGS))


def operator_in(name: str) -> str:
    """Return the operator of whose standard form a named node is part, "" for none.

    ``high_pass/rfft2/MatMul_1`` gives ``rfft2``, see :mod:`differseg.export.naming`.
    """
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 and parts[-2] in _NAMES else ""
