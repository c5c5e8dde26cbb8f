"""What products and moves of numbers cost in ONNX Runtime: the model behind Fourier plans.

Fitted to operators of every plan of 13 map sizes from 16 x 16 to 270 x 480, 32 planes, float32,
2 threads, AVX-512.  Only the order of the estimates matters, and plans whose estimates are close
are about as fast, so the model has few terms and is the same everywhere.
"""

from __future__ import annotations

_VECTOR = 16
"""Columns that the kernels of a matrix product compute at once: 65 columns cost as much as 80."""


def product_ns(count: int, rows: int, inner: int, columns: int) -> float:
    """Return the time of ``count`` products ``(rows, inner) @ (inner, columns)``."""
    padded = -(-columns // _VECTOR) * _VECTOR
    each_ns = 40.0 + padded * inner * (0.0046 * rows + 0.02) + 0.03 * rows * columns
    return 4000.0 + count * each_ns


def taken_ns(rows: int, columns: int) -> float:
    """Return the time of gathering rows of so many columns."""
    return 3300.0 + 0.075 * rows * columns


def transposed_ns(planes: int, rows: int, columns: int) -> float:
    """Return the time of transposing every plane; threads share each plane and meet after it."""
    return 4000.0 + planes * (1600.0 + 0.095 * rows * columns)
