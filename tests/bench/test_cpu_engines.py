"""The table of docs/backends.md: ratios against the fastest PyTorch, doubts marked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def cpu_engines(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command as a module."""
    pytest.importorskip("openvino")
    monkeypatch.syspath_prepend(str(FOLDER))
    import cpu_engines

    yield cpu_engines
    for name in ("cpu_engines", "page_tables"):
        sys.modules.pop(name, None)


def figures(median_ms: float, disturbed: bool = False) -> dict[str, Any]:
    return {"median_ms": median_ms, "disturbed": disturbed}


def test_ratios_are_against_the_fastest_pytorch(cpu_engines: Any) -> None:
    row = {
        "PyTorch as installed": figures(70.0),
        "PyTorch, memory kept": figures(50.0),
        "PyTorch, threads asleep": figures(90.0),
        "OpenVINO f32": figures(20.0),
        "OpenVINO INT8": figures(12.5, disturbed=True),
    }
    heads, _, cells = cpu_engines.table({"sfm-edge": row}).splitlines()
    assert heads.count("|") == cells.count("|")
    assert cells.startswith("| `sfm-edge` | 70.0 | 50.0 | 90.0 | - | 20.0, **2.50** | - | 12.5, ")
    assert "12.5, **4.00*** |" not in cells  # a mark is no part of the number in bold
    assert "12.5, **4.00** * |" in cells


def test_every_edge_network_is_measured(cpu_engines: Any) -> None:
    names = cpu_engines.edge_networks()
    assert {"differseg-edge", "fsanet-edge", "sfm-edge"} <= set(names)
    assert all(name.endswith("-edge") for name in names)


def test_the_page_has_the_place_of_the_table() -> None:
    page = (FOLDER.parent / "docs" / "backends.md").read_text(encoding="utf-8")
    assert page.count("<!-- begin engines -->") == page.count("<!-- end engines -->") == 1
    assert "`sfm-edge`" in page
