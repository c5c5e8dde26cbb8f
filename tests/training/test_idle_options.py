"""Options without effect are said, with the reason, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from differseg.recipes.reading import read_recipe, recipe_names, recipe_options
from differseg.train import TrainOptions
from differseg.training.idle_options import idle_options
from differseg.training.learning import Learning, LossSettings, StepSettings, Terms

TEACHER = Path("t.safetensors")


def test_an_ordinary_run_has_none() -> None:
    for options in (
        TrainOptions(Path("r")),
        TrainOptions(Path("r"), data="folder", holdout=0.2, label_rule="1", patience=3),
        TrainOptions(Path("r"), synthetic_count=9, teacher=TEACHER, teacher_temperature=3.0),
    ):
        assert idle_options(options, Learning()) == []


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_say_nothing_in_vain(name: str) -> None:
    options = recipe_options(name, Path("r"), data="folder")
    assert idle_options(options, read_recipe(name).learning) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": "folder", "synthetic_count": 9, "synthetic_size": (64, 64)},
            "--synthetic-count, --synthetic-size; --data is not synthetic",
        ),
        ({"holdout": 0.5}, "--holdout; synthetic scenes have labels, and held-out"),
        ({"label_rule": "ids"}, "--label-rule; synthetic scenes have labels"),
        ({"data": "mfnet:.", "holdout": 0.5}, "--holdout; mfnet publishes what is held out"),
        ({"patience": 5, "epochs": 5}, "--patience; the run has 5 epochs"),
        (
            {"teacher": TEACHER, "teacher_weight": 0.0, "teacher_temperature": 4.0},
            "--teacher-temperature; --teacher-weight is 0",
        ),
    ],
)
def test_options_in_vain(changes: dict[str, object], said: str) -> None:
    (note,) = idle_options(TrainOptions(Path("r"), **changes), Learning())  # type: ignore[arg-type]
    assert note.startswith(f"note: without effect: {said}")


def test_what_a_recipe_says_in_vain() -> None:
    def notes(learning: Learning, **changes: object) -> list[str]:
        return idle_options(TrainOptions(Path("r"), **changes), learning)  # type: ignore[arg-type]

    steps = Learning(StepSettings(betas=(0.8, 0.9), momentum=0.8, poly_power=2, flat_epochs=1))
    assert notes(steps, optimizer="sgd", schedule="poly") == [
        "note: without effect: betas of the recipe; the optimiser is sgd",
        "note: without effect: flat_epochs of the recipe; the schedule is poly",
    ]
    assert notes(steps, schedule="exponential") == [
        "note: without effect: momentum of the recipe; the optimiser is adamw",
        "note: without effect: poly_power of the recipe; the schedule is exponential",
    ]
    weightless = Learning(loss=LossSettings(Terms(sorted_errors=1)))
    (note,) = notes(weightless, class_weights="labels")
    assert "--class-weights; no term of the recipe's loss weighs classes" in note
    weighing = Learning(loss=LossSettings(Terms(sorted_errors=1), Terms(dice=1)))
    assert notes(weighing, class_weights="labels") == []
