"""Fixtures that tests of several packages share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision_shim import declare_missing_operators


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the operator tests write what they measured: ``--measured-errors FILE``."""
    parser.addoption("--measured-errors", type=Path, help="write the operators' errors as JSON")


@pytest.fixture(scope="session", autouse=True)
def _torchvision_operators() -> None:
    """Let every test that builds a Hiera trunk import timm (see torchvision_shim)."""
    if importlib.util.find_spec("torch") is not None:
        declare_missing_operators()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for PyTorch: sums depend on their number, and small networks run faster on one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real sample data, named by DIFFERSEG_SAMPLE_DATA; the test skips without it."""
    folder = os.environ.get("DIFFERSEG_SAMPLE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real sample data: set DIFFERSEG_SAMPLE_DATA to its folder")
    return Path(folder)
