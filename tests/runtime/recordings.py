"""Small recordings, written for a test."""

import cv2
import numpy as np


def folder(path, count, *, thermal=False, hot_from=0):
    """Image folders whose mask is known: the left half bright and hot from a frame on."""
    path.mkdir(parents=True)
    for k in range(count):
        if thermal:
            image = np.full((24, 32), 29000, np.uint16)
            image[:, :16] = 31000 if k >= hot_from else 29000
        else:
            image = np.zeros((48, 64, 3), np.uint8)
            image[:, :32] = 255
        cv2.imwrite(str(path / f"f{k:03d}.png"), image)
    return str(path)


def record(path, count):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (64, 48))
    for _ in range(count):
        writer.write(np.full((48, 64, 3), 200, np.uint8))
    writer.release()
    return str(path)


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count
