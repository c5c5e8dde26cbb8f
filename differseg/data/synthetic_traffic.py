"""Who moves through a synthetic scene, and where each of them is at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from differseg.data import synthetic_figures as figures
from differseg.data import synthetic_vehicles as vehicles
from differseg.data.synthetic_builder import Lane, Place
from differseg.data.synthetic_canvas import Weather
from differseg.data.synthetic_sprites import Sprite
from differseg.data.synthetic_view import View

_MAX_PX_PER_M = 100.0
_FAR_M = 42.0
_FADE_M = 3.0


@dataclass(frozen=True)
class Pose:
    """An actor at one moment: ground point, distance walked, cover, speed along X, facing."""

    x_m: float
    z_m: float
    walked_m: float
    cover: float = 1.0
    speed_x_mps: float = 0.0
    flip: bool = False


@dataclass(frozen=True)
class Across:
    """A straight path from one side of the view to the other that begins again out of sight.

    Attributes:
        z_m: Depth.
        reach_m: The path begins this far from the middle and ends beyond the other side.
        span_m: Length of the path, at least ``2 * reach_m``.
        start_m: Distance covered at time 0.
        speed_mps: Metres per second; 0 stands still.
        to_right: Direction.
    """

    z_m: float
    reach_m: float
    span_m: float
    start_m: float
    speed_mps: float
    to_right: bool

    def pose(self, t_s: float) -> Pose:
        """Return the pose at world time ``t_s``."""
        walked = self.start_m + self.speed_mps * t_s
        x = walked % self.span_m - self.reach_m
        sign = 1.0 if self.to_right else -1.0
        return Pose(sign * x, self.z_m, walked, 1.0, sign * self.speed_mps, not self.to_right)


@dataclass(frozen=True)
class Along:
    """A straight path between beside the camera (out of sight) and far away (faded out).

    Attributes:
        x_m: Distance beside the optical axis.
        near_m: Depth at which a passer-by has left the view.
        start_m: Distance covered at time 0.
        speed_mps: Metres per second.
        away: Away from the camera, or towards it.
    """

    x_m: float
    near_m: float
    start_m: float
    speed_mps: float
    away: bool

    def pose(self, t_s: float) -> Pose:
        """Return the pose at world time ``t_s``."""
        walked = self.start_m + self.speed_mps * t_s
        span = _FAR_M - self.near_m
        gone = walked % span
        z = self.near_m + (gone if self.away else span - gone)
        return Pose(self.x_m, z, walked, float(np.clip((_FAR_M - z) / _FADE_M, 0, 1)))


@dataclass(frozen=True)
class Ahead:
    """Driving ahead of the camera at a distance that swings slowly."""

    x_m: float
    middle_m: float
    swing_m: float
    period_s: float
    phase: float

    def pose(self, t_s: float) -> Pose:
        """Return the pose at world time ``t_s``."""
        turn = self.phase + 2 * np.pi * t_s / self.period_s
        return Pose(self.x_m, self.middle_m + self.swing_m * float(np.sin(turn)), 0.0)


@dataclass(frozen=True)
class Actor:
    """A sprite and the path that it follows."""

    sprite: Sprite
    path: Across | Along | Ahead


def cast(rng: np.random.Generator, view: View, weather: Weather, place: Place) -> list[Actor]:
    """Fill the lanes of a place with about 4 to 10 people, animals and vehicles."""
    actors = []
    wanted = int(rng.integers(4, 9))
    for index in rng.permutation(len(place.lanes))[:wanted]:
        lane = place.lanes[index]
        if not lane.across:
            actors.append(_actor_along(rng, view, weather, place, lane))
        elif lane.at_m > 1.05 * view.near_m:
            actors.append(_actor_across(rng, view, weather, place, lane))
            if lane.users == "people" and rng.uniform() < 0.35:
                actors.append(_actor_across(rng, view, weather, place, lane))
    return actors


def _half_view(view: View, place: Place) -> float:
    """Return the tangent of half the angle that the wider of the two cameras sees."""
    return (view.width_px / 2 + place.margin_px) / view.focal_px


def _actor_across(
    rng: np.random.Generator, view: View, weather: Weather, place: Place, lane: Lane
) -> Actor:
    z = lane.at_m + rng.uniform(0, 0.5)
    sprite, speed, width = _figure_across(
        rng, min(_MAX_PX_PER_M, view.focal_px / z), weather, lane.users
    )
    reach = _half_view(view, place) * z + width / 2
    if speed == 0:
        return Actor(
            sprite,
            Across(z, reach, 2 * reach, rng.uniform(0.3, 1.7) * reach, 0.0, lane.forward),
        )
    span = 2 * reach * (1 + float(rng.uniform(0, 0.5)))
    return Actor(sprite, Across(z, reach, span, rng.uniform(0, 2) * reach, speed, lane.forward))


def _figure_across(
    rng: np.random.Generator, ppm: float, weather: Weather, users: str
) -> tuple[Sprite, float, float]:
    """Choose a figure for a lane across the view: sprite, speed (m/s) and width (m)."""
    pick = rng.uniform()
    air = weather.ambient_k
    if users == "vehicles":
        speed = 0.0 if rng.uniform() < 0.2 else rng.uniform(2.0, 8.0)
        if pick < 0.62:
            return vehicles.car_side(rng, ppm, weather.sun), speed, 4.8
        if pick < 0.82:
            return vehicles.truck_side(rng, ppm, weather.sun), speed, 6.8
        return figures.cyclist(rng, ppm, air), rng.uniform(2.5, 5), 1.9
    if pick < 0.12:
        return figures.dog(rng, ppm, air), rng.uniform(1.2, 2.4), 1.5
    if pick < 0.27:
        return figures.cyclist(rng, ppm, air), rng.uniform(2.0, 4.5), 1.9
    if pick < 0.42:
        facing = "front" if rng.uniform() < 0.6 else "back"
        return figures.person(rng, ppm, air, facing, frames=1), 0.0, 0.9
    return figures.person(rng, ppm, air, "side"), rng.uniform(0.9, 1.7), 1.2


def _actor_along(
    rng: np.random.Generator, view: View, weather: Weather, place: Place, lane: Lane
) -> Actor:
    vehicle = lane.users == "vehicles"
    width = 2.0 if vehicle else 0.8
    near = (abs(lane.at_m) - width / 2) / _half_view(view, place)
    if vehicle and near < 2.5:  # it would drive through the camera
        middle = rng.uniform(9, 20)
        sprite = vehicles.car_end(rng, min(75.0, view.focal_px / 7), weather.sun, front=False)
        path = Ahead(lane.at_m, middle, 0.2 * middle, rng.uniform(8, 20), rng.uniform(0, 6.28))
        return Actor(sprite, path)
    ppm = min(_MAX_PX_PER_M, view.focal_px / (near + 1))
    if vehicle:
        sprite = vehicles.car_end(rng, ppm, weather.sun, front=not lane.forward)
        speed = rng.uniform(3, 9)
    else:
        facing = "back" if lane.forward else "front"
        sprite = figures.person(rng, ppm, weather.ambient_k, facing)
        speed = rng.uniform(0.9, 1.6)
    near = max(near, 1.0)
    span = _FAR_M - near
    begin = rng.uniform(0.05, 0.5) * span  # where it is large enough to matter
    start = begin if lane.forward else span - begin
    return Actor(sprite, Along(lane.at_m, near, start, speed, lane.forward))
