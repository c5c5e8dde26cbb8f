"""Puts the actors of a synthetic scene between its props, in the colour and the thermal view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.synthetic_builder import LIGHT_STEP_PX, Place
from differseg.data.synthetic_canvas import Weather
from differseg.data.synthetic_light import contact_shadow, sun_shadow
from differseg.data.synthetic_sprites import Matrix, SpriteFrame
from differseg.data.synthetic_sprites import place as warp_into
from differseg.data.synthetic_traffic import Actor, Pose
from differseg.data.synthetic_view import View

Float = npt.NDArray[Any]
Byte = npt.NDArray[Any]
Rect = tuple[int, int, int, int]


@dataclass
class _Patch:
    """A warped picture and the rectangle (x0, y0, x1, y1) of the view that it covers."""

    pixels: npt.NDArray[Any]
    rect: Rect


@dataclass
class _Layer:
    """One thing in the picture at its depth: shadow under it, body, light from it."""

    z_m: float
    body: _Patch
    foreground: bool
    shadows: list[_Patch] = field(default_factory=list)
    glow: list[_Patch] = field(default_factory=list)

    def rects(self) -> list[Rect]:
        """Return every rectangle that it touches."""
        return [patch.rect for patch in [self.body, *self.shadows, *self.glow]]


class ColorLayer:
    """Renders the RGB view and the mask without noise."""

    def __init__(self, view: View, weather: Weather, place: Place, exposure_s: float) -> None:
        """Light the props once and keep the picture with and without them."""
        self._view, self._weather, self._exposure_s = view, weather, exposure_s
        self._size_wh = (view.width_px, view.height_px)
        margin = place.margin_px
        inner = (
            slice(margin, margin + view.height_px),
            slice(margin, margin + view.width_px),
        )
        self._bare = np.ascontiguousarray(place.picture[inner])
        self._light, self._margin_px = place.light, margin
        self._props = []
        for prop in place.props:
            foot = view.foot(prop.x_m, prop.z_m)
            matrix = prop.sprite.matrix(foot, view.focal_px / prop.z_m, False)
            body = self._body(prop.sprite.frames[0], matrix, foot, 1.0, 0)
            if body is not None:
                self._props.append(_Layer(prop.z_m, body, False))
        self._full = self._bare.copy()
        everywhere = (0, 0, *self._size_wh)
        unused = np.zeros(self._size_wh[::-1], np.uint8)
        for layer in sorted(self._props, key=lambda item: -item.z_m):
            _blend(self._full, unused, layer, everywhere)
        self._last: tuple[float, Byte, Byte] | None = None

    def render(self, actors: list[Actor], t_s: float) -> tuple[Byte, Byte]:
        """Return the picture (H, W, 3) uint8 and the mask (H, W) uint8 at world time ``t_s``.

        The last result is kept, so that picture and mask of one time cost one drawing; it must
        not be modified.
        """
        last = self._last
        if last is None or last[0] != t_s:
            last = self._last = (t_s, *self._compose(actors, t_s))
        return last[1], last[2]

    def _compose(self, actors: list[Actor], t_s: float) -> tuple[Byte, Byte]:
        moving = [layer for actor in actors if (layer := self._actor(actor, t_s)) is not None]
        order = sorted([*moving, *self._props], key=lambda item: -item.z_m)
        picture = self._full.copy()
        mask = np.zeros(picture.shape[:2], np.uint8)
        for x0, y0, x1, y1 in _merged([rect for layer in moving for rect in layer.rects()]):
            picture[y0:y1, x0:x1] = self._bare[y0:y1, x0:x1]
            for layer in order:
                _blend(picture, mask, layer, (x0, y0, x1, y1))
        return picture, mask

    def _actor(self, actor: Actor, t_s: float) -> _Layer | None:
        pose = actor.path.pose(t_s)
        scale = self._view.focal_px / pose.z_m
        foot = self._view.foot(pose.x_m, pose.z_m)
        frame = actor.sprite.frame_at(pose.walked_m)
        matrix = actor.sprite.matrix(foot, scale, pose.flip)
        blur = round(abs(pose.speed_x_mps) * scale * self._exposure_s)
        body = self._body(frame, matrix, foot, pose.cover, blur)
        if body is None:
            return None
        layer = _Layer(pose.z_m, body, actor.sprite.foreground)
        layer.shadows = self._shadows(frame, matrix, foot, pose.cover)
        if self._weather.night:
            layer.glow = self._glow(actor, pose, foot, scale)
        return layer

    def _body(
        self,
        frame: SpriteFrame,
        matrix: Matrix,
        foot: tuple[float, float],
        cover: float,
        blur_px: int,
    ) -> _Patch | None:
        found = warp_into(frame.rgba, matrix, self._size_wh, pad_px=blur_px)
        if found is None:
            return None
        pixels, rect = found
        if blur_px > 1:
            pixels = cv2.blur(pixels, (blur_px, 1), borderType=cv2.BORDER_CONSTANT)
        rows, columns = self._light.shape[:2]
        column = int(np.clip((foot[0] + self._margin_px) / LIGHT_STEP_PX, 0, columns - 1))
        row = int(np.clip((foot[1] + self._margin_px) / LIGHT_STEP_PX, 0, rows - 1))
        red, green, blue = (float(value) * cover for value in self._light[row, column])
        return _Patch(_scaled(pixels, (red, green, blue, cover)), rect)

    def _shadows(
        self, frame: SpriteFrame, matrix: Matrix, foot: tuple[float, float], cover: float
    ) -> list[_Patch]:
        """Return the patch under the feet and, in the sun, the shadow on the ground."""
        height_px = float(matrix[1, 1]) * frame.shade[0].shape[0]
        maps = [(contact_shadow(foot, height_px), 0.42)]
        if (thrown := sun_shadow(self._weather, self._view, foot)) is not None:
            maps.append(thrown)
        patches = []
        for lay, dark in maps:
            found = warp_into(frame.shade, lay @ matrix, self._size_wh)
            if found is not None:
                patches.append(_Patch(_scaled(found[0], (dark * cover,)), found[1]))
        return patches

    def _glow(
        self, actor: Actor, pose: Pose, foot: tuple[float, float], scale: float
    ) -> list[_Patch]:
        """Return the head and tail lights of a vehicle as patches of added light."""
        patches = []
        for x, y, radius, strength, color in actor.sprite.lights:
            center = (foot[0] + (-x if pose.flip else x) * scale, foot[1] - y * scale)
            reach = max(3.0, radius * scale)
            size = _DISC.shape[0]
            ratio = 2 * reach / size
            matrix = np.array(
                [
                    [ratio, 0, center[0] - reach],
                    [0, ratio, center[1] - reach],
                    [0, 0, 1.0],
                ]
            )
            found = warp_into([_DISC], matrix, self._size_wh)
            if found is not None:
                red, green, blue = (channel * strength * pose.cover for channel in color)
                patches.append(_Patch(_scaled(found[0], (red, green, blue)), found[1]))
        return patches


def _disc(size: int = 64) -> Byte:
    """Return the picture of a light: a small core in a wide faint halo, (N, N, 3) uint8."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    square = axis[:, None] ** 2 + axis[None, :] ** 2
    light = 1.1 * np.exp(-square * 42) + 0.34 * np.exp(-square * 7)
    light *= np.clip(1 - square, 0, 1)
    return np.repeat(np.clip(light * 255, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


_DISC = _disc()


def _scaled(image: Byte, factors: Sequence[float]) -> Byte:
    """Multiply each channel of (H, W[, C]) uint8 by its factor, rounding and saturating."""
    levels = np.arange(256, dtype=np.float32)[:, None] * np.array(factors, np.float32) + 0.5
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]  # (1, 256, C)
    return cv2.LUT(image, table)


def _clipped(patch: _Patch, rect: Rect) -> tuple[npt.NDArray[Any], tuple[slice, slice]] | None:
    """Return the part of a patch inside ``rect`` and the window of the view it covers."""
    x0, y0 = max(patch.rect[0], rect[0]), max(patch.rect[1], rect[1])
    x1, y1 = min(patch.rect[2], rect[2]), min(patch.rect[3], rect[3])
    if x0 >= x1 or y0 >= y1:
        return None
    left, top = patch.rect[0], patch.rect[1]
    return patch.pixels[y0 - top : y1 - top, x0 - left : x1 - left], (slice(y0, y1), slice(x0, x1))


def _blend(picture: Byte, mask: Byte, layer: _Layer, rect: Rect) -> None:
    """Blend one layer into the picture and the mask inside ``rect``, in place."""
    for patch in layer.shadows:
        if (part := _clipped(patch, rect)) is not None:
            keep = cv2.cvtColor(255 - part[0], cv2.COLOR_GRAY2RGB)
            picture[part[1]] = cv2.multiply(picture[part[1]], keep, scale=1 / 255)
    if (part := _clipped(layer.body, rect)) is not None:
        rgba, window = part
        alpha = cv2.extractChannel(rgba, 3)
        keep = cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2RGB)
        under = cv2.multiply(picture[window], keep, scale=1 / 255)
        picture[window] = cv2.add(under, cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))
        mask[window][alpha > 127] = int(layer.foreground)
    for patch in layer.glow:
        if (part := _clipped(patch, rect)) is not None:
            picture[part[1]] = cv2.add(picture[part[1]], part[0])


def _merged(rects: list[Rect]) -> list[Rect]:
    """Join rectangles that overlap until all are disjoint."""
    disjoint: list[Rect] = []
    for rect in rects:
        while True:
            hit = next((other for other in disjoint if _overlap(rect, other)), None)
            if hit is None:
                break
            disjoint.remove(hit)
            rect = (
                min(rect[0], hit[0]), min(rect[1], hit[1]),
                max(rect[2], hit[2]), max(rect[3], hit[3]),
            )  # fmt: skip
        disjoint.append(rect)
    return disjoint


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class HeatLayer:
    """Renders the thermal view in kelvin above ambient, without noise."""

    def __init__(
        self, view: View, place: Place, thermal_to_rgb: Matrix, size_wh: tuple[int, int]
    ) -> None:
        """Warp the background and the props to the thermal view once."""
        self._view, self._size_wh = view, size_wh
        self._from_rgb = np.linalg.inv(thermal_to_rgb)
        shift = np.array([[1, 0, -place.margin_px], [0, 1, -place.margin_px], [0, 0, 1.0]])
        # the thermal pixel is larger: average over it before sampling
        spread = float(np.sqrt(abs(np.linalg.det(thermal_to_rgb[:2, :2]))))
        heat = cv2.GaussianBlur(place.heat_k, (0, 0), max(0.3, 0.42 * spread))
        self._bare = cv2.warpPerspective(
            heat, self._from_rgb @ shift, size_wh, borderMode=cv2.BORDER_REPLICATE
        )
        self._props = []
        for prop in place.props:
            foot = view.foot(prop.x_m, prop.z_m)
            matrix = prop.sprite.matrix(foot, view.focal_px / prop.z_m, False)
            found = warp_into(prop.sprite.frames[0].heat, self._from_rgb @ matrix, size_wh)
            if found is not None:
                self._props.append(_Layer(prop.z_m, _Patch(*found), False))

    def render(self, actors: list[Actor], t_s: float) -> Float:
        """Return the view (Ht, Wt) float32 at world time ``t_s``."""
        moving = []
        for actor in actors:
            pose = actor.path.pose(t_s)
            matrix = actor.sprite.matrix(
                self._view.foot(pose.x_m, pose.z_m),
                self._view.focal_px / pose.z_m,
                pose.flip,
            )
            frame = actor.sprite.frame_at(pose.walked_m)
            found = warp_into(frame.heat, self._from_rgb @ matrix, self._size_wh)
            if found is not None:
                patch = _Patch(found[0] * np.float32(pose.cover), found[1])
                moving.append(_Layer(pose.z_m, patch, True))
        view = self._bare.copy()
        for layer in sorted([*moving, *self._props], key=lambda item: -item.z_m):
            x0, y0, x1, y1 = layer.body.rect
            window = view[y0:y1, x0:x1]
            heat, alpha = layer.body.pixels[..., 0], layer.body.pixels[..., 1]
            window *= 1 - alpha
            window += heat
        return view
