"""Non-uniform upsampling as its authors define it: a Delaunay triangulation, in float64."""

from __future__ import annotations

import numpy as np

FAR = 1e4
"""How far the corners lie that start the triangulation, in pixels."""


def triangulated(points: np.ndarray) -> np.ndarray:
    """Return the Delaunay triangles of ``(P, 2)`` points, ``(T, 3)`` indices (Bowyer, Watson)."""
    count = len(points)
    corners = np.array([(-FAR, -FAR), (3 * FAR, -FAR), (-FAR, 3 * FAR)])
    # Lattice points lie on common circles; a millionth of a pixel decides between equal triangles.
    jitter = np.random.default_rng(0).normal(scale=1e-7, size=points.shape)
    places = np.concatenate((points + jitter, corners))
    triangles = np.array([[count, count + 1, count + 2]])
    circles = _circles(places[triangles])
    for index in range(count):
        distance = ((places[index] - circles[:, :2]) ** 2).sum(1)
        hit = distance < circles[:, 2]
        edges = triangles[hit][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        outline = _single(edges)
        new = np.column_stack((outline, np.full(len(outline), index)))
        triangles = np.concatenate((triangles[~hit], new))
        circles = np.concatenate((circles[~hit], _circles(places[new])))
    return triangles[(triangles < count).all(1)]


def _circles(vertices: np.ndarray) -> np.ndarray:
    """Return centre and squared radius of the circles through ``(T, 3, 2)`` vertices, (T, 3)."""
    first = vertices[:, 0]
    sides = vertices[:, 1:] - first[:, None]  # (T, 2, xy)
    squares = (sides**2).sum(2)
    area = 2 * (sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    x = (sides[:, 1, 1] * squares[:, 0] - sides[:, 0, 1] * squares[:, 1]) / area
    y = (sides[:, 0, 0] * squares[:, 1] - sides[:, 1, 0] * squares[:, 0]) / area
    return np.column_stack((first[:, 0] + x, first[:, 1] + y, x**2 + y**2))


def _single(edges: np.ndarray) -> np.ndarray:
    """Return the edges that only one triangle has, with their direction."""
    ordered = np.sort(edges, 1)
    _, where, counts = np.unique(ordered, axis=0, return_inverse=True, return_counts=True)
    return edges[counts[where.reshape(-1)] == 1]


def unwarped(values: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Interpolate lattice values that sit at displaced points at every whole pixel.

    Args:
        values: ``(C, H, W)``.
        displacement: ``(2, H, W)``, x then y, in pixels.

    Returns:
        ``(C, H, W)``; not a number in a pixel that no triangle covers.
    """
    rows, columns = np.mgrid[: values.shape[1], : values.shape[2]]
    points = np.stack((columns, rows), -1).reshape(-1, 2) + displacement.reshape(2, -1).T
    triangles = triangulated(points)
    flat, out = values.reshape(len(values), -1), np.full(values.shape, np.nan)
    for triangle in triangles:
        vertices = points[triangle]
        low, high = np.ceil(vertices.min(0) - 1e-6), np.floor(vertices.max(0) + 1e-6)
        for x in range(int(low[0]), int(high[0]) + 1):
            for y in range(int(low[1]), int(high[1]) + 1):
                shares = _shares(vertices, (x, y))
                inside = 0 <= x < values.shape[2] and 0 <= y < values.shape[1]
                if inside and shares.min() >= -1e-5:
                    out[:, y, x] = flat[:, triangle] @ shares
    return out


def _shares(vertices: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    """Return the barycentric coordinates of a pixel."""
    sides = (vertices[1:] - vertices[0]).T
    if abs(np.linalg.det(sides)) < 1e-9:
        return np.full(3, -1.0)
    second, third = np.linalg.solve(sides, np.array(pixel) - vertices[0])
    return np.array((1 - second - third, second, third))
