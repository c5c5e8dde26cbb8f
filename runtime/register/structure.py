"""What RGB and thermal images have in common: where edges are, and which way they run.

A warm wall is bright to one camera and dark to the other, so neither grey values nor the sign of
an edge can be compared.  What remains is the strength of edges by orientation, made even over the
image.  After the channel features of orientated gradients (CFOG; Ye et al., "Fast and Robust
Matching for Multimodal Remote Sensing Image Registration", IEEE TGRS 2019).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

ORIENTATIONS = 4
"""Channels of a structure image (the most that OpenCV's template matching takes)."""

_EVEN_OUT_PX = 10.0


def stretched(image: npt.NDArray[Any], low: float = 0.5, high: float = 99.5) -> Floats:
    """Return an image as grey values 0..1 between two of its percentiles.

    Args:
        image: (H, W) uint8, uint16 or float32; or (H, W, 3) uint8, BGR.
        low: Percentile that becomes 0.
        high: Percentile that becomes 1.

    Returns:
        (H, W) float32.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    grey = image.astype(np.float32)
    bottom, top = np.percentile(grey, [low, high])
    return np.clip((grey - bottom) / max(top - bottom, 1e-6), 0, 1).astype(np.float32)


def stretched_u8(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return an image of any depth as one that can be looked at: (H, W) uint8."""
    return np.rint(stretched(image) * 255).astype(np.uint8)


def without_dead_pixels(grey: Floats) -> Floats:
    """Return a thermal image, (H, W) float32, without its single wrong pixels."""
    return np.asarray(cv2.medianBlur(grey, 3), np.float32)


def structure(grey: Floats, blur_px: float = 1.0) -> Floats:
    """Return the strength of edges by orientation.

    Convention: channel k answers to gradients along the angle ``k * 180 / ORIENTATIONS`` degrees
    from x towards y; the sign of the gradient does not count.

    Args:
        grey: (H, W) float32, 0..1.
        blur_px: Standard deviation of the smoothing before the gradient.

    Returns:
        (H, W, 4) float32, >= 0; about 1 along edges, whatever their contrast.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), blur_px)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    angles = np.arange(ORIENTATIONS) * (np.pi / ORIENTATIONS)
    channels = np.stack([np.abs(gx * np.cos(a) + gy * np.sin(a)) for a in angles], axis=-1)
    channels = cv2.GaussianBlur(channels.astype(np.float32), (0, 0), blur_px)
    strength = np.sqrt((channels**2).sum(axis=-1))
    # Noise of flat parts stays small beside the image's mean, edges of all contrasts become alike.
    level = cv2.GaussianBlur(strength, (0, 0), _EVEN_OUT_PX) + 0.3 * float(strength.mean()) + 1e-6
    return np.minimum(channels / level[..., None], 3.0).astype(np.float32)


def empty_border(images: list[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Return (H, W) bool: True where no image ever shows anything, from the border inwards.

    Letterboxes and the corners of images that were warped before are not part of the view; their
    outline would be taken for an edge of the scene.

    Args:
        images: (H, W) or (H, W, 3) each, all of one size.
    """
    zero = np.ones(images[0].shape[:2], bool)
    for image in images:
        zero &= (image == 0) if image.ndim == 2 else (image == 0).all(axis=-1)
    opened = cv2.morphologyEx(zero.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(opened, connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, np.setdiff1d(edge, 0))
