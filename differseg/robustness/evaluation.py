"""Every corruption at every level through every model; rows that are there are not judged again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from differseg import __version__
from differseg.data.labels import IGNORE
from differseg.robustness.corruption import Corruption
from differseg.robustness.judged import JudgedData, JudgedModel, modalities_of
from differseg.robustness.panels import draw_panels, write_panels
from differseg.robustness.rows import Picture, Row, RowStore, key_of
from differseg.robustness.suite import NAMES, REVISION, choose, corruptions_for
from differseg.scoring import Row as ShownRow
from differseg.scoring import Scorer, open_scorer

CLEAN = "clean"
"""Name of the row without corruption."""


@dataclass(frozen=True)
class Settings:
    """How to judge.

    Attributes:
        seed: Of all directions and all noise.
        tolerance_px: Tolerance of the boundary F-measure in pixels.
    """

    seed: int
    tolerance_px: float


@dataclass(frozen=True, eq=False)
class Task:
    """One row to judge: a corruption at a level, or no corruption on the same samples."""

    model: JudgedModel
    corruption: Corruption | None
    level: float
    indices: tuple[int, ...]
    pictures: int

    @property
    def name(self) -> str:
        """The row's corruption."""
        return CLEAN if self.corruption is None else self.corruption.name


@dataclass(frozen=True)
class Plan:
    """What is to be judged.

    Attributes:
        corruptions: Of all models together, in the order of a report.
        tasks: In the order in which they are judged; a clean row before the rows that need it.
        skipped: Name to reason of what the data does not allow.
    """

    corruptions: list[Corruption]
    tasks: list[Task]
    skipped: dict[str, str]

    @property
    def images(self) -> int:
        """How many images that is, counted once for each row."""
        return sum(len(task.indices) for task in self.tasks)


def make_plan(
    models: Sequence[JudgedModel], data: JudgedData, asked: str | None, worst: int
) -> Plan:
    """Lay down what is judged.

    Args:
        models: That can be compared.
        data: The samples.
        asked: Names of corruptions with commas; None takes all that fit.
        worst: Pictures of each corruption.

    Raises:
        InputError: A corruption that does not exist, or fits none of the models.
    """
    tasks: list[Task] = []
    found: dict[str, Corruption] = {}
    reasons: dict[str, str] = {}
    for model in models:
        fitting, lacking = corruptions_for(
            data.everything, data.samples, model.predictor.modalities, model.policy
        )
        for corruption in fitting:
            before = found.get(corruption.name, corruption)
            found[corruption.name] = _together(before, corruption)
        reasons |= lacking
        tasks += _tasks(model, fitting, data, worst)
    skipped = {name: why for name, why in reasons.items() if name not in found}
    ordered = [found[name] for name in NAMES if name in found]
    chosen = choose(ordered, skipped, asked, modalities_of(models))
    names = {corruption.name for corruption in chosen}
    subsets = {(id(task.model), task.indices) for task in tasks if task.name in names}
    kept = [
        task
        for task in tasks
        if task.name in names
        or (task.corruption is None and (id(task.model), task.indices) in subsets)
    ]
    return Plan(chosen, kept, skipped)


def _together(one: Corruption, other: Corruption) -> Corruption:
    """Return what stands for both in a report: two models may have another second camera."""
    if other.title in one.title.split(" / "):
        return one
    return dataclasses.replace(
        one,
        title=f"{one.title} / {other.title}",
        modality=f"{one.modality} / {other.modality}",
    )


def _tasks(
    model: JudgedModel, corruptions: Sequence[Corruption], data: JudgedData, worst: int
) -> list[Task]:
    everything = tuple(range(len(data.samples)))
    tasks, cleaned = [], set()
    for corruption in corruptions:
        indices = everything if corruption.only is None else corruption.only
        if indices not in cleaned:
            tasks.append(Task(model, None, 0.0, indices, 0))
            cleaned.add(indices)
        for level in corruption.levels:
            pictures = worst if level == corruption.levels[-1] else 0
            tasks.append(Task(model, corruption, level, indices, pictures))
    return tasks


@dataclass(frozen=True)
class Judged:
    """A plan and its rows.

    Attributes:
        headline: Name of the figure that ranks images.
        rows: For each task of the plan.
    """

    plan: Plan
    headline: str
    rows: dict[Task, Row]

    def clean(self, task: Task) -> Row:
        """Return the row without corruption that a task compares with."""
        return next(
            row
            for other, row in self.rows.items()
            if other.corruption is None
            and other.model is task.model
            and other.indices == task.indices
        )

    def curve(self, model: JudgedModel, corruption: Corruption) -> list[Row]:
        """Return the rows of a corruption by level, the clean one first; empty if it fits not."""
        tasks = [t for t in self.rows if t.model is model and t.name == corruption.name]
        return [self.clean(tasks[0]), *(self.rows[task] for task in tasks)] if tasks else []

    def kept(self, model: JudgedModel, corruption: Corruption) -> float | None:
        """Return the headline figure's mean over the levels as a share of the clean one.

        None where the corruption does not fit the model, or the clean figure is 0.
        """
        curve = self.curve(model, corruption)
        if not curve or not curve[0].figures[self.headline]:
            return None
        values = [row.figures[self.headline] for row in curve[1:]]
        return float(sum(values) / len(values) / curve[0].figures[self.headline])


def judge(
    plan: Plan,
    data: JudgedData,
    settings: Settings,
    store: RowStore,
    advance: Callable[[int, str], None],
) -> Judged:
    """Judge what is not there yet.

    Args:
        plan: What to judge.
        data: The samples.
        settings: How.
        store: Holds the rows that are there and takes the new ones.
        advance: Called with a number of images and what they were.
    """
    rows: dict[Task, Row] = {}
    headline = ""
    for task in plan.tasks:
        predictor = task.model.predictor
        scorer = open_scorer(predictor.classes, predictor.threshold, settings.tolerance_px)
        headline = scorer.headline
        key = key_of(_facts(task, data, settings))
        row = store.get(key)
        if row is None:
            clean = Judged(plan, headline, rows).clean(task) if task.corruption else None
            row = _judge(task, data, settings, store.folder, key, scorer, clean, advance)
            store.put(key, row)
        else:
            advance(len(task.indices), "kept")
        rows[task] = row
    return Judged(plan, headline, rows)


def _facts(task: Task, data: JudgedData, settings: Settings) -> dict[str, object]:
    predictor = task.model.predictor
    return {
        "differseg": __version__,
        "revision": REVISION,
        "model": task.model.sha256,
        "size": predictor.size_hw,
        "modalities": predictor.modalities,
        "runs_on": predictor.runs_on,
        "data": data.fingerprint,
        "indices": task.indices,
        "corruption": task.name,
        "level": task.level,
        "seed": settings.seed,
        "tolerance_px": settings.tolerance_px,
        "pictures": task.pictures,
    }


def _judge(
    task: Task,
    data: JudgedData,
    settings: Settings,
    folder: Path,
    key: str,
    scorer: Scorer,
    clean: Row | None,
    advance: Callable[[int, str], None],
) -> Row:
    predictor, of_images = task.model.predictor, []
    worst: list[tuple[float, int, ShownRow, Picture]] = []
    for place, index in enumerate(task.indices):
        sample = data.samples[index]
        if task.corruption is not None:
            sample = task.corruption.apply(sample, task.level, settings.seed, index)
        scored = scorer.score(predictor.probability(sample), sample["mask"])
        of_images.append(float(scored.headline))
        if clean is not None and task.pictures and (sample["mask"] != IGNORE).any():
            before = clean.of_images[place]
            drop = before - of_images[-1]
            if drop > 0 and (len(worst) < task.pictures or drop > worst[-1][0]):
                shown = scorer.row(scored, sample["stem"], predictor.pictures(sample))
                picture = Picture(sample["stem"], before, of_images[-1], ())
                worst.append((drop, place, shown, picture))
                worst.sort(key=lambda kept: (-kept[0], kept[1]))
                del worst[task.pictures :]
        advance(1, f"{task.model.name}: {task.name}")
    pictures = []
    for number, (_, _, shown, picture) in enumerate(worst):
        panels = draw_panels(shown, predictor.threshold, predictor.classes)
        written = write_panels(folder, f"{task.name}-{key[:12]}-{number}", panels)
        pictures.append(Picture(picture.stem, picture.clean, picture.figure, written))
    return Row(
        task.model.sha256,
        task.name,
        task.level,
        len(task.indices),
        scorer.compute(),
        tuple(of_images),
        tuple(pictures),
    )
