"""The fixtures of the test-bed, for its own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract.fixtures import tensorrt_bed, tensorrt_generation
from contract.install import fake_tensorrt
from contract.short_cuda import Cuda

__all__ = ["tensorrt_bed", "tensorrt_generation"]


@pytest.fixture
def cuda() -> Iterator[Cuda]:
    """cuda-python on an Orin."""
    with fake_tensorrt("10.3") as bed:
        yield Cuda(bed)
