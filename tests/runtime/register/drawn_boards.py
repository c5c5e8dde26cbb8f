"""Two drawn cameras that turn on one point and look at a board: the homography is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from differseg.runtime.register.board import Board

RGB_WH, THERMAL_WH = (640, 480), (320, 256)
_PITCH_PX = 40  # of the board's drawing


@dataclass(frozen=True)
class Camera:
    matrix: np.ndarray
    size_wh: tuple[int, int]
    turn: np.ndarray  # (3, 3), world to camera
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def project(self, points: np.ndarray, rotation: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Send points of a board, (N, 3), to pixels, by OpenCV's own model."""
        there = (self.turn @ (points @ rotation.T + place).T).T
        zero = np.zeros(3)
        seen, _ = cv2.projectPoints(there, zero, zero, self.matrix, np.array(self.distortion))
        return seen[:, 0]


def rgb_camera(distortion: tuple[float, ...] = (0.0,) * 5) -> Camera:
    matrix = np.array([[600.0, 0, 322], [0, 605, 236], [0, 0, 1]])
    return Camera(matrix, RGB_WH, np.eye(3), distortion)


def thermal_camera(
    distortion: tuple[float, ...] = (0.0,) * 5, *, upside_down: bool = False
) -> Camera:
    matrix = np.array([[280.0, 0, 157], [0, 281, 130], [0, 0, 1]])
    turn = cv2.Rodrigues(np.array([0.02, -0.03, 0.025]))[0]
    if upside_down:
        turn = np.diag([-1.0, -1.0, 1.0]) @ turn
    return Camera(matrix, THERMAL_WH, turn, distortion)


def thermal_to_rgb(thermal: Camera, rgb: Camera) -> np.ndarray:
    """The homography between the ideal pictures."""
    matrix = rgb.matrix @ rgb.turn @ thermal.turn.T @ np.linalg.inv(thermal.matrix)
    return matrix / matrix[2, 2]


def drawing(board: Board) -> tuple[np.ndarray, np.ndarray]:
    """Return the board's picture, and the (3, 3) from board units to its pixels."""
    points = board.plane()[:, :2]
    wide, high = points.max(axis=0) + 4
    picture = np.full((int(high * _PITCH_PX), int(wide * _PITCH_PX)), 235, np.uint8)
    to_picture = np.array([[_PITCH_PX, 0, 2 * _PITCH_PX], [0, _PITCH_PX, 2 * _PITCH_PX], [0, 0, 1]])
    if board.kind == "checkerboard":
        for row in range(-1, board.rows):
            for column in range(-1, board.columns):
                if (row + column) % 2 == 0:
                    x, y = (column + 2) * _PITCH_PX, (row + 2) * _PITCH_PX
                    picture[y : y + _PITCH_PX, x : x + _PITCH_PX] = 25
        # A corner lies between pixels: half a pixel before the first of its square.
        to_picture = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) @ to_picture
    else:
        radius = int(_PITCH_PX * (0.33 if board.kind == "circles" else 0.5))
        for x, y in points:
            centre = (int((x + 2) * _PITCH_PX), int((y + 2) * _PITCH_PX))
            cv2.circle(picture, centre, radius, 25, -1, cv2.LINE_AA)
    return picture, to_picture


def poses(board: Board, count: int, rng: np.random.Generator, reach: float = 1.0) -> list[tuple]:
    """Return turns and places of the board, all over the view of both cameras."""
    wide, high = board.plane().max(axis=0)[:2]
    middle, span = np.array([wide, high]) / 2, max(wide, 1.4 * high)
    result = []
    for number in range(count):
        rotation = cv2.Rodrigues(rng.uniform(-0.35, 0.35, 3) * (1, 1, 0.5))[0]
        depth = rng.uniform(1.9, 2.9) * span
        column, row = number % 3 - 1, (number // 3) % 3 - 1
        aim = np.array([0.15 * column * reach, 0.09 * row * reach, 1.0]) * depth
        result.append((rotation, aim - rotation @ np.array([*middle, 0.0])))
    return result


def shoot(board: Board, camera: Camera, pose: tuple, *, hot: bool, rng: np.random.Generator):
    """Return what a camera shows: RGB as uint8 colour, thermal (``hot``) as inverted 16 bit."""
    picture, to_picture = drawing(board)
    rotation, place = pose
    width, height = camera.size_wh
    fine = 2  # samples per pixel and axis
    to_fine = np.array([[fine, 0, fine / 2 - 0.5], [0, fine, fine / 2 - 0.5], [0, 0, 1]])
    plane = np.column_stack([rotation[:, 0], rotation[:, 1], place])  # board to world
    to_ideal = to_fine @ camera.matrix @ camera.turn @ plane @ np.linalg.inv(to_picture)
    fine_wh = (width * fine, height * fine)
    grey = cv2.warpPerspective(picture, to_ideal, fine_wh, borderValue=120)
    if any(camera.distortion):
        grey = cv2.remap(
            grey, *_ideal_places(camera, to_fine, fine_wh), cv2.INTER_LINEAR, borderValue=120
        )
    grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    grey = cv2.GaussianBlur(grey, (0, 0), 0.8 if hot else 0.6)
    if hot:  # dark squares are warm: 8 K over 22 degrees Celsius, noise of 0.1 K
        counts = 29515 + (255 - grey) / 255 * 800 + rng.normal(0, 10, grey.shape)
        return counts.round().astype(np.uint16)
    noisy = np.clip(40 + 0.7 * grey + rng.normal(0, 3, grey.shape), 0, 255).astype(np.uint8)
    return cv2.cvtColor(noisy, cv2.COLOR_GRAY2BGR)


def _ideal_places(camera: Camera, to_fine: np.ndarray, fine_wh: tuple[int, int]) -> tuple:
    """Where each fine pixel of the distorted picture is in the ideal one, by OpenCV's own model."""
    x, y = np.meshgrid(*(np.arange(side, dtype=np.float64) for side in fine_wh))
    matrix = to_fine @ camera.matrix
    seen = np.stack([x, y], -1).reshape(-1, 1, 2)
    places = cv2.undistortPoints(seen, matrix, np.array(camera.distortion), P=matrix)
    places = places.reshape(fine_wh[1], fine_wh[0], 2).astype(np.float32)
    return places[..., 0], places[..., 1]


def write_shots(
    folder,
    board: Board,
    rgb: Camera,
    thermal: Camera,
    count: int,
    seed: int = 0,
    reach: float = 1.0,
):
    """Write pairs of images; returns the two folders and the poses."""
    rng = np.random.default_rng(seed)
    chosen = poses(board, count, rng, reach)
    for name in ("rgb", "thermal"):
        (folder / name).mkdir()
    for number, pose in enumerate(chosen):
        image = shoot(board, rgb, pose, hot=False, rng=rng)
        heat = shoot(board, thermal, pose, hot=True, rng=rng)
        cv2.imwrite(str(folder / "rgb" / f"{number:02d}.png"), image)
        cv2.imwrite(str(folder / "thermal" / f"{number:02d}.png"), heat)
    return folder / "rgb", folder / "thermal", chosen
