"""The tables of docs/operators.md: complete, within the limits, and what the lint says today."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from differseg.errors import InputError
from differseg.export.lowering.registry import LOWERINGS

ROOT = Path(__file__).resolve().parents[1]
KERNELS = {"rfft2", "irfft2", "dwt2", "idwt2", "reassemble", "local_similarity"}
LIMITS = {"float32": 1e-5, "float16": 5e-3}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """Import benchmarks/operators_page.py, which lies beside what it imports."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location(
            "operators_page", ROOT / "benchmarks" / "operators_page.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # a dataclass looks its module up
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _rows(name: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    page = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    match = re.search(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", page, re.DOTALL)
    assert match, f"no table {name}"
    lines = [line for line in match[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_operator_has_its_rows(writer: ModuleType) -> None:
    operators = {f"`{name}`" for name in writer.CALLS}
    assert len(operators) == len(LOWERINGS)
    for name in ("support", "errors", "costs"):
        assert {row[0] for row in _rows(name)} == operators, name


def test_errors_are_within_the_limits() -> None:
    for operator, dtype, *errors in _rows("errors"):
        row = f"{operator}, {dtype}"
        assert max(float(error) for error in errors if error != "—") <= LIMITS[dtype], row
        if row != "`invert_displacement`, float16":  # displacements are float32
            assert "—" not in errors[:4], f"{row}: PyTorch, portable, function and plugin graph"
        assert ("—" not in errors) == (operator.strip("`") in KERNELS), f"{row}: kernel"


def test_support_is_what_the_lint_says(writer: ModuleType) -> None:
    assert _rows("support") == writer.support_rows()


def test_a_page_without_marks_is_refused(writer: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page")
    with pytest.raises(InputError, match="expected the marks 'begin costs' and 'end costs'"):
        writer.write_tables(page, {"costs": "| a |"})
    assert page.read_text() == "# A page"
