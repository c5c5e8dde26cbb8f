"""The network to train: a configuration, with classes of one's own where it takes some."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from differseg.checkpoints import read_info
from differseg.errors import InputError
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.configs.class_sets import CLASS_SETS
from differseg.models.registry import SYSTEMS, find_model


def network_to_train(name: str, classes: str | None, init: Path | None) -> SegmentationModel:
    """Build a network with fresh weights.

    Args:
        name: A configuration.
        classes: What :func:`read_classes` reads; None for those of ``init``, or the network's own.
        init: A checkpoint that will fill it: where it is of this configuration, its settings hold.

    Raises:
        InputError: No such configuration, or none with such classes.
        CheckpointError: ``init`` cannot be read.
    """
    system, _ = find_model(name)
    info = None if init is None else read_info(init)
    settings: dict[str, Any] = {}
    if info is not None and info.model == name:
        settings = dict(info.config)
    if classes is not None:
        if "classes" not in _keys(system.config):
            taking = ", ".join(s.name for s in SYSTEMS if "classes" in _keys(s.config))
            raise InputError(
                f"--classes {classes:.80}: {name} finds one object before its background; networks "
                f"of these systems take other classes: {taking}"
            )
        settings["classes"] = read_classes(classes)
    return create_model(name, **settings)


def read_classes(text: str) -> str | tuple[str, ...]:
    """Read ``--classes``: a set's name, names with commas, or a file with one name a line.

    Returns:
        The set's name, or the names in the order of their numbers; blank lines are left out.

    Raises:
        InputError: Neither a set nor a file nor several names, or a file that cannot be read.
    """
    if text in CLASS_SETS:
        return text
    path = Path(text)
    if _is_file(path):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows marks its files
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--classes {text}: cannot be read as text: {error}") from None
        return tuple(line.strip() for line in lines if line.strip())
    if "," in text:
        return tuple(word.strip() for word in text.split(","))
    raise InputError(
        f"--classes {text:.80}: expected {', '.join(CLASS_SETS)}, names with commas in the order "
        "of their numbers, or a text file with one name a line; there is no such file"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a list of names is longer than a file's name may be
        return False


def _keys(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}
