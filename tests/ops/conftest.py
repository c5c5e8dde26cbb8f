"""What the operator tests share: measured errors, kept for the table of docs/operators.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Measured = Callable[..., None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Assert that an error is within its limit and keep the worst one of each form.

    Called as ``measured("rfft2", form="portable", dtype="float32", error=3e-7, limit=1e-5)``;
    the error is ``max |y - reference| / max |reference|`` against a float64 oracle.
    """
    worst: dict[tuple[str, str, str], float] = request.config.measured_errors

    def measure(operator: str, *, form: str, dtype: str, error: float, limit: float) -> None:
        assert error <= limit, f"{operator}, {form}, {dtype}: error {error:.3g}, limit {limit:g}"
        key = (operator, form, dtype)
        worst[key] = max(worst.get(key, 0.0), error)

    return measure
