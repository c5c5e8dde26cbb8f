"""From what a checkpoint's tensors tell to the named configuration that they are."""

from __future__ import annotations

import dataclasses
from typing import Any

from differseg.errors import CheckpointError, InputError
from differseg.models.registry import SYSTEMS, find_model
from differseg.models.spec import Task
from differseg.models.system import ModelInfo, System, settings_of


def choose_model(
    system: str, settings: dict[str, Any], wanted: str | None, task: Task | None
) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings for ``create_model``.

    Args:
        system: The system that was detected.
        settings: Its settings that names and shapes tell; one of which they say nothing is absent.
        wanted: The model that the user named, or None.
        task: The task that the user named, or None.

    Raises:
        CheckpointError: The weights are not of the model or of the task that was named.
        InputError: An unknown model, or nothing tells the task.
    """
    if task is not None:
        if settings.get("task", task) != task:
            raise CheckpointError(
                f"the weights are for task '{settings['task']}', not '{task}'; leave out --task"
            )
        settings = {"task": task, **settings}
    family = next(known for known in SYSTEMS if known.name == system)
    if "task" not in {field.name for field in dataclasses.fields(family.config)}:
        if task is not None:
            raise InputError(f"--task: {system} has one task; leave it out")
    elif "task" not in settings and wanted in (None, system):
        _check_one_task(family, settings)
    if wanted is None:
        return _fitting(family, settings), settings
    _check_agrees(family, settings, wanted)
    return wanted, settings


def _check_one_task(family: System, settings: dict[str, Any]) -> None:
    """Refuse weights whose task neither they nor a single fitting configuration tells."""
    exact = [info.name for info in family.models if _is_exactly(family, info, settings)]
    if len(exact) != 1:
        fitting = f" ({', '.join(exact)})" if exact else ""
        raise InputError(
            f"the weights fit several tasks{fitting}, and no tensor tells which; say what the "
            "second input is: --task rgbd, rgbt or video"
        )


def _fitting(family: System, settings: dict[str, Any]) -> str:
    """Return the configuration that equals the settings, else one that allows them, else all."""
    exact = [info.name for info in family.models if _is_exactly(family, info, settings)]
    allowed = [info.name for info in family.models if not _conflicts(info.config, settings)]
    for names in (exact, allowed):
        if len(names) == 1:
            return names[0]
    return family.name


def _is_exactly(family: System, info: ModelInfo, settings: dict[str, Any]) -> bool:
    if info.task == "rgb" and "task" in info.config and "task" not in settings:
        return False  # one input, and weights that leave the task open take two
    complete = family.resolve(info.name, settings_of(info.name, family.config, info.config))[1]
    return all(getattr(complete, key) == value for key, value in settings.items())


def _conflicts(pinned: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    return [key for key, value in pinned.items() if settings.get(key, value) != value]


def _check_agrees(family: System, settings: dict[str, Any], wanted: str) -> None:
    """Refuse a named configuration of another system, or with other settings than the weights."""
    system, pinned = find_model(wanted)
    what = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "classes")
    fitting = _fitting(family, settings)
    if system.name != family.name:
        raise CheckpointError(
            f"holds {family.name} ({what}), the model '{wanted}' is {system.name}; leave out "
            f"--model, or name '{fitting}'"
        )
    wrong = _conflicts(pinned, settings)
    if wrong:
        raise CheckpointError(
            f"holds {family.name} with {wrong[0]} {settings[wrong[0]]!r}, the model '{wanted}' has "
            f"{pinned[wrong[0]]!r}; leave out --model, or name '{fitting}'"
        )
