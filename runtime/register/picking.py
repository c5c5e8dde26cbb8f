"""``differseg register pick``: serve the page until the user is done, and keep what it saves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from differseg.errors import InputError
from differseg.runtime.register.lens_fit import LensChoice
from differseg.runtime.register.methods import Found, fit_points, given_lenses, read_given
from differseg.runtime.register.points import PickedPoints, load_points
from differseg.runtime.register.points_page import PointsPage, serve_page
from differseg.runtime.register.shots import Shot

if TYPE_CHECKING:
    from differseg.runtime.register.command import RegisterOptions


class Picker:
    """Fits and saves picked points.

    Args:
        shots: The images, at least one.
        out: The registration file.
        points: The file of points; read at once where it is there already.
        choice: The lenses.

    Raises:
        InputError: The file of points is for other images.
    """

    def __init__(self, shots: list[Shot], out: Path, points: Path, choice: LensChoice) -> None:
        self.shots, self._out, self.points_path, self._choice = shots, out, points, choice
        self.saved: Found | None = None
        thermal_wh, rgb_wh = shots[0].sizes_wh
        self.picked = PickedPoints((), thermal_wh, rgb_wh)
        if points.exists():
            self.picked = load_points(points)
            sizes = (self.picked.thermal_size_wh, self.picked.rgb_size_wh)
            names = {shot.name for shot in shots}
            if sizes != shots[0].sizes_wh or {p.shot for p in self.picked.points} - names:
                raise InputError(
                    f"points {points}: were picked in other images; move the file away, or give "
                    "another --points"
                )

    def fit(self, picked: PickedPoints) -> Found:
        """Return the registration of points.

        Raises:
            InputError: They do not determine one.
        """
        return fit_points(
            picked.pairs(), "points", self.shots[0].sizes_wh, self._choice, self.shots
        )

    def save(self, picked: PickedPoints) -> str:
        """Write the points, and the registration where they give a good one; return what to say."""
        _write(self.points_path, picked.text())
        self.picked = picked
        try:
            found = self.fit(picked)
        except InputError as error:
            return f"{self.points_path} written, but no registration: {error}"
        if found.refusal is not None:
            return f"{self.points_path} written, but no registration: {found.refusal}"
        found.registration.save(self._out)
        self.saved = found
        return f"{self._out} and {self.points_path} written"


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a crash leaves the old points or the new ones."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def pick(options: RegisterOptions) -> Found:
    """Serve the page until it says that the user is done, or Ctrl-C; return what was saved last.

    Raises:
        InputError: The images or the address cannot be used, or nothing was saved.
    """
    shots = read_given(options)
    points = options.points or options.out.with_suffix(".points.json")
    if points.suffix.lower() != ".json":
        raise InputError(f"--points {points}: the page writes a .json file")
    picker = Picker(shots, options.out, points, LensChoice(*given_lenses(options), ""))
    with serve_page(PointsPage(picker), options.host, options.port) as server:
        print(f"pick points at {server.address} (Ctrl-C, or Done on the page, ends)", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            print()
    if picker.saved is None:
        raise InputError(
            f"register pick: no registration was saved; the points are kept in {points} as far as "
            "they were saved"
        )
    return picker.saved
