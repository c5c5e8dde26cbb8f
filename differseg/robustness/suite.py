"""Every corruption with its levels, and which of them fit a network and its data."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from differseg.data.folder import FolderDataset
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.robustness.corruption import Corruption
from differseg.robustness.light import fog, jpeg, night
from differseg.robustness.lost import frozen_thermal, losing
from differseg.robustness.optics import focus_blur, motion_blur, thermal_blur
from differseg.robustness.registration import shifting, warping
from differseg.robustness.sensors import dead_pixels, rgb_noise, thermal_noise, thermal_pattern

REVISION = 2
"""Raised whenever a corruption comes out differently, so that no stale row is read."""

SECOND = ("thermal", "depth", "flow")
"""What may stand beside RGB."""

NAMES = (
    "rgb-lost", "thermal-lost", "depth-lost", "flow-lost", "misregistration", "warp",
    "thermal-frozen", "focus-blur", "motion-blur", "thermal-blur", "rgb-noise", "night", "fog",
    "jpeg", "thermal-noise", "thermal-pattern", "dead-pixels",
)  # fmt: skip
"""Every corruption, in the order of a report."""

_OF_8_BITS, _OF_16_BITS = "% of the range", "mK"
_NOISE_LEVELS = {_OF_8_BITS: (1.0, 2.0, 5.0, 10.0), _OF_16_BITS: (100.0, 250.0, 500.0, 1000.0)}


def corruptions_of_rgb() -> list[Corruption]:
    """Return the corruptions of the colour image, without its loss."""
    return [
        Corruption("focus-blur", "RGB out of focus", "rgb", "px", (3.0, 6.0, 10.0, 16.0),
                   "Diameter of the disc that a point becomes.", focus_blur),
        Corruption("motion-blur", "RGB motion blur", "rgb", "px", (5.0, 10.0, 20.0, 30.0),
                   "Length of the line that a point becomes, each image in its own direction.",
                   motion_blur),
        Corruption("rgb-noise", "RGB noise", "rgb", "grey levels", (5.0, 10.0, 20.0, 40.0),
                   "Standard deviation at grey 128, half of the variance shot noise and half "
                   "read noise.", rgb_noise),
        Corruption("night", "Night", "rgb", "stops", (2.0, 4.0, 6.0, 8.0),
                   "Light lost, halved by every stop, with photon and read noise.", night),
        Corruption("fog", "Fog", "rgb", "% veil", (10.0, 20.0, 40.0, 80.0),
                   "Share of the scene's light that fog takes and replaces by its own, the same in "
                   "the whole picture.", fog),
        Corruption("jpeg", "JPEG", "rgb", "100 - quality", (50.0, 70.0, 85.0, 95.0),
                   "What is lacking of the quality 100.", jpeg),
    ]  # fmt: skip


def corruptions_of_thermal(bits: int) -> list[Corruption]:
    """Return the corruptions of the thermal image, without loss and registration.

    Args:
        bits: 8 or 16, of the thermal images; decides the unit of their noise.
    """
    unit = _OF_16_BITS if bits == 16 else _OF_8_BITS
    noise = _NOISE_LEVELS[unit]
    taken = "; a count of 16 bits is taken as 10 mK" if bits == 16 else ""
    return [
        Corruption("thermal-blur", "Thermal out of focus", "thermal", "px", (3.0, 6.0, 10.0, 16.0),
                   "Diameter of the disc that a point becomes.", thermal_blur),
        Corruption("thermal-noise", "Thermal noise", "thermal", unit, noise,
                   f"Standard deviation from frame to frame (NETD){taken}.", thermal_noise),
        Corruption("thermal-pattern", "Thermal fixed pattern", "thermal", unit, noise,
                   "Standard deviation of a pattern that stays, half of the variance in columns"
                   f"{taken}.", thermal_pattern),
        Corruption("dead-pixels", "Dead thermal pixels", "thermal", "% of pixels",
                   (0.1, 0.5, 2.0, 5.0), "Stuck at the lowest or the highest code.", dead_pixels),
    ]  # fmt: skip


def corruptions_for(
    everything: FolderDataset,
    judged: FolderDataset,
    modalities: Sequence[str],
    policy: ThermalPolicy | None,
) -> tuple[list[Corruption], dict[str, str]]:
    """Return what a network on a data set can be put through.

    Args:
        everything: The whole folder, in which sequences are looked for.
        judged: The samples to judge; the first tells the bits of thermal images.
        modalities: The network's.
        policy: Of its thermal input.

    Returns:
        Corruptions in the order of :data:`NAMES`, and name to reason of those of its cameras that
        the data does not allow.
    """
    found = {corruption.name: corruption for corruption in corruptions_of_rgb()}
    reasons: dict[str, str] = {}
    second = next((name for name in modalities if name in SECOND), None)
    if second is not None:
        for name in ("rgb", second):
            meaning = "A black picture." if name == "rgb" else _lost_meaning(name)
            found[f"{name}-lost"] = Corruption(
                f"{name}-lost", f"{_called(name)} lost", name, "", (1.0,), meaning,
                losing(name, policy),
            )  # fmt: skip
        what = _called(second)
        found["misregistration"] = Corruption(
            "misregistration", f"{what} misregistered", second, "px", (2.0, 5.0, 10.0, 20.0),
            "Shift against RGB and label, each image in its own direction.", shifting(second),
        )  # fmt: skip
        found["warp"] = Corruption(
            "warp", f"{what} warped", second, "px", (5.0, 10.0, 20.0, 40.0),
            "Shift of the four corners, each in its own direction, by a homography.",
            warping(second),
        )  # fmt: skip
    if second == "thermal":
        bits = 16 if judged[0]["thermal"].dtype.itemsize == 2 else 8
        found |= {corruption.name: corruption for corruption in corruptions_of_thermal(bits)}
        frozen = frozen_thermal(everything, judged.stems)
        if frozen is None:
            reasons["thermal-frozen"] = (
                "the names hold no five frames in a row, numbered one by one"
            )
        else:
            found["thermal-frozen"] = frozen
    return [found[name] for name in NAMES if name in found], reasons


def read_names(asked: str) -> list[str]:
    """Return names of corruptions that are given with commas.

    Raises:
        InputError: There is none, or one that does not exist (the nearest is named).
    """
    names = [name.strip() for name in asked.split(",") if name.strip()]
    if not names:
        raise InputError(f"--corruptions '{asked}': expected names with commas, such as night,fog")
    for name in names:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
            raise InputError(f"--corruptions {name}: there is no such corruption; {hint}")
    return names


def choose(
    found: Sequence[Corruption],
    reasons: dict[str, str],
    asked: str | None,
    modalities: Sequence[str],
) -> list[Corruption]:
    """Return the corruptions that were asked for by name, in their own order.

    Args:
        found: What fits.
        reasons: Name to reason of what the data does not allow.
        asked: Names with commas; None takes all.
        modalities: What the networks take.

    Raises:
        InputError: As :func:`read_names`, or one that does not fit.
    """
    if asked is None:
        return list(found)
    names = read_names(asked)
    fitting = [corruption.name for corruption in found]
    for name in names:
        if name not in fitting:
            why = reasons.get(name, f"the network takes {' and '.join(modalities)}")
            raise InputError(f"--corruptions {name}: cannot be judged here: {why}")
    return [corruption for corruption in found if corruption.name in names]


def _called(name: str) -> str:
    return "RGB" if name == "rgb" else name.capitalize()


def _lost_meaning(name: str) -> str:
    if name == "thermal":
        return "The constant picture that a run feeds in its mode rgb_only."
    if name == "depth":
        return "No pixel has a measurement."
    return "White: a picture without motion."
