"""Fixtures for every test that wants the fakes: ``from contract.fixtures import tensorrt_bed``.

pytest finds a fixture in the module of the test, so that import is all it takes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract.fake_tensorrt.generations import GENERATIONS
from contract.install import Bed, fake_tensorrt


@pytest.fixture(params=list(GENERATIONS))
def tensorrt_generation(request: pytest.FixtureRequest) -> str:
    """Name of each generation in turn, nothing installed: use ``fake_tensorrt(name, ...)``."""
    return request.param


@pytest.fixture
def tensorrt_bed(tensorrt_generation: str) -> Iterator[Bed]:
    """Each generation in turn on a Jetson Orin with cuda-python."""
    with fake_tensorrt(tensorrt_generation) as bed:
        yield bed
