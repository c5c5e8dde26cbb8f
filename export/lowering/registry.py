"""Every lowering by the node that it rewrites."""

from __future__ import annotations

import torch

from differseg.errors import InputError
from differseg.export.lowering.fourier import (
    LowerFft,
    LowerIrfft,
    LowerIrfft2,
    LowerRfft,
    LowerRfft2,
)
from differseg.export.lowering.framework import PREFIX, Lowering, name_of
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


def register_lowering(lowering: Lowering) -> None:
    """Add the standard form of an operator of one's own, for every export of this process.

    Args:
        lowering: Its ``op_type`` is ``Differseg`` and the operator's name in capitals:
            ``DiffersegSoftEdge`` is written for ``torch.ops.differseg.soft_edge``, which must be
            registered by then.

    Raises:
        InputError: The name is taken or of another form, or there is no such operator.
    """
    op_type = lowering.op_type
    name = name_of(op_type)
    if not op_type.startswith(PREFIX) or op_type == PREFIX:
        raise InputError(f"lowering: op_type '{op_type}': expected a name such as {PREFIX}SoftEdge")
    if op_type in LOWERINGS:
        raise InputError(f"lowering: there is one for {op_type} already; choose another name")
    if not hasattr(torch.ops.differseg, name):
        raise InputError(
            f"lowering: there is no operator torch.ops.differseg.{name}; define it first with "
            f'torch.library.custom_op("differseg::{name}", ...)'
        )
    LOWERINGS[op_type] = lowering


def operator_in(name: str) -> str:
    """Return the operator of whose standard form a named node is part, "" for none.

    ``high_pass/rfft2/MatMul_1`` gives ``rfft2``, see :mod:`differseg.export.naming`.
    """
    parts = name.split("/")
    named = len(parts) > 1 and parts[-2] in map(name_of, LOWERINGS)
    return parts[-2] if named else ""
