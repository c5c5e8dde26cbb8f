"""What the operator tests share: measured errors, kept for the table of docs/operators.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Measured = Callable[..., None]
_WORST: dict[tuple[str, str, str], float] = {}


@pytest.fixture
def measured() -> Measured:
    """Assert that an error is within its limit and keep the worst one of each form.

    Called as ``measured("rfft2", form="portable", dtype="float32", error=3e-7, limit=1e-5)``;
    the error is ``max |y - reference| / max |reference|`` against a float64 oracle.
    """

    def measure(operator: str, *, form: str, dtype: str, error: float, limit: float) -> None:
        assert error <= limit, f"{operator}, {form}, {dtype}: error {error:.3g}, limit {limit:g}"
        key = (operator, form, dtype)
        _WORST[key] = max(_WORST.get(key, 0.0), error)

    return measure


@pytest.fixture(scope="session", autouse=True)
def _written(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write the worst errors where ``--measured-errors`` says."""
    yield
    path: Path | None = request.config.getoption("--measured-errors", default=None)
    if path is not None:
        rows = [
            {"operator": operator, "form": form, "dtype": dtype, "error": error}
            for (operator, form, dtype), error in sorted(_WORST.items())
        ]
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
