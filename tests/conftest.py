"""Fixtures that tests of several packages share."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exporter_tables import keep_exporter_tables
from torchvision_shim import declare_missing_operators


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the operator tests write what they measured: ``--measured-errors FILE``."""
    parser.addoption("--measured-errors", type=Path, help="write the operators' errors as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Make room for (operator, form, dtype) -> worst error, see the fixture ``measured``."""
    config.measured_errors = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist measured."""
    worst = node.config.measured_errors
    for *key, error in getattr(node, "workeroutput", {}).get("measured_errors", ()):
        worst[tuple(key)] = max(worst.get(tuple(key), 0.0), error)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the worst errors where ``--measured-errors`` says."""
    config = session.config
    rows = [[*key, error] for key, error in sorted(config.measured_errors.items())]
    path: Path | None = config.getoption("--measured-errors")
    if hasattr(config, "workeroutput"):
        config.workeroutput["measured_errors"] = rows
    elif path is not None:
        named = [
            dict(zip(("operator", "form", "dtype", "error"), row, strict=True)) for row in rows
        ]
        path.write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def _torchvision_operators() -> None:
    """Let every test that builds a Hiera trunk import timm (see torchvision_shim)."""
    if importlib.util.find_spec("torch") is not None:
        declare_missing_operators()


@pytest.fixture(scope="session", autouse=True)
def _exporter_tables() -> Iterator[None]:
    """Make exports cheaper (see exporter_tables)."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torch") is not None:
            keep_exporter_tables(patch)
        yield


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


@pytest.fixture(scope="session")
def plugin_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our TensorRT plugin library, built for one GPU, and the compilers' words in a .log beside.

    The test skips without TENSORRT_ROOT; with it, a library that cannot be built is a failure.
    """
    from differseg.export.plugin_library import build_library, choose_architectures, find_nvcc

    if not os.environ.get("TENSORRT_ROOT"):
        pytest.skip("plugin library: set TENSORRT_ROOT to a folder with TensorRT's include/")
    oldest = choose_architectures(find_nvcc())[0]
    said: list[str] = []
    library = tmp_path_factory.mktemp("plugins") / "libdifferseg_plugins.so"
    build_library(library, architectures=[oldest], say=said.append)
    library.with_suffix(".log").write_text("\n".join(said), encoding="utf-8")
    return library
