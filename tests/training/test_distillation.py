"""A teacher: its terms against literal computations, that they fall, and that runs resume."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from short_runs import SIZE_HW, assert_same_run, short_run

from differseg import create_model
from differseg.data.loader import make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import InputError
from differseg.losses import Counts
from differseg.train import train
from differseg.training.distillation import (
    Distillation,
    DistillationSettings,
    feature_loss,
    load_teacher,
    softened_loss,
)
from differseg.training.loop import Recipe, Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = Path(__file__).parents[2] / "differseg" / "weights" / "differseg-edge.safetensors"
PARTS = ("encoder.stages.1", "encoder.stages.1")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


def test_softened_answers_equal_a_literal_sum() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (torch.from_numpy(rng.normal(size=(2, 3, 4, 5))).float() for _ in range(2))
    p, q = ((x / 3).double().softmax(dim=1).numpy() for x in (theirs, ours))
    wanted = 9 * (p * np.log(p / q)).sum(axis=1).mean()
    assert softened_loss(ours, theirs, 3, False).item() == pytest.approx(wanted, rel=1e-5)
    a, b = (1 / (1 + np.exp(-x[:, :1].double().numpy() / 3)) for x in (theirs, ours))
    each = a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    found = softened_loss(ours[:, :1], theirs[:, :1], 3, True).item()
    assert found == pytest.approx(9 * each.mean(), rel=1e-4)
    for binary in (True, False):
        assert softened_loss(ours, ours, 3, binary).item() == pytest.approx(0, abs=1e-6)


def test_the_term_on_maps_is_relative_to_the_teachers() -> None:
    goal = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert feature_loss(torch.zeros_like(goal), goal).item() == pytest.approx(1)
    assert feature_loss(3 * goal, goal).item() == pytest.approx(4, rel=1e-5)
    assert feature_loss(torch.zeros(2, 4, 3, 3), 100 * goal).item() == pytest.approx(1)


def make(weight: float = 1.0) -> tuple[Trainer, Distillation, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    student = create_model("differseg-edge")
    teacher = load_teacher(SHIPPED, None, student.spec)
    settings = DistillationSettings(weight, features=PARTS, feature_weight=weight)
    distillation = Distillation(student, teacher, settings, SIZE_HW, CPU)
    how = Recipe(3e-3, 0.0, 0.9, warmup_steps=0, total_steps=1000)
    trainer = Trainer(student, how, CPU, "fp32", distillation=distillation)
    samples = SyntheticDataset(4, seed=5, size_hw=SIZE_HW)
    batch = next(iter(make_loader(samples, student.spec, SIZE_HW, 4, 0, 0, False, 0)))
    return trainer, distillation, batch


def test_the_student_comes_nearer_and_the_teacher_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, distillation, batch = make()
    before = {k: v.clone() for k, v in distillation._teacher.state_dict().items()}
    adapter = distillation.adapter
    assert adapter is not None
    kernel = adapter.weight.detach().clone()
    terms, plain = [], Distillation.__call__

    def remember(self: Distillation, *args: Any) -> torch.Tensor:
        terms.append(plain(self, *args))
        return terms[-1]

    monkeypatch.setattr(Distillation, "__call__", remember)
    for _ in range(15):
        trainer.step(batch)
    assert terms[-1].item() < 0.7 * terms[0].item()
    assert not torch.equal(adapter.weight, kernel)
    assert all(torch.equal(v, before[k]) for k, v in distillation._teacher.state_dict().items())
    assert not distillation._teacher.training
    assert not any("teacher" in name for name in trainer.model.state_dict())


def test_parts_of_a_batch_sum_to_the_whole() -> None:
    trainer, distillation, batch = make()
    trainer.model.eval()
    with torch.no_grad():
        whole = distillation(trainer.model(*trainer.inputs(batch)), batch, None).item()
        found = 0.0
        for part in (slice(0, 1), slice(1, 4)):
            piece = {name: plane[part] for name, plane in batch.items()}
            outputs = trainer.model(*trainer.inputs(piece))
            found += distillation(outputs, piece, Counts(4, 1)).item()
    assert found == pytest.approx(whole, rel=1e-5)


def test_a_run_with_a_teacher_resumes_bit_by_bit(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = short_run(
        tmp_path / "whole", scenes, teacher=SHIPPED, teacher_features="=".join(PARTS), epochs=1,
        thermal_policy="full", modality_dropout=0.2,
    )  # fmt: skip
    said = io.StringIO()
    train(run, Console(file=said))
    for line in (
        f"teacher: differseg-edge, {SHIPPED}; learnt from are its logits (weight 1), maps "
        "encoder.stages.1=encoder.stages.1 (weight 1)",
        "note: the teacher learnt from thermal images mapped by percentile, and is shown them by "
        "full",
        "note: where thermal is lost, the teacher lacks it, too",
    ):
        assert line in said.getvalue().splitlines()
    plain = Trainer.step

    def stopping(trainer: Trainer, *parts: Any) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(trainer, *parts)

    monkeypatch.setattr(Trainer, "step", stopping)
    again = dataclasses.replace(run, out=tmp_path / "stopped")
    assert train(again)["steps"] == 1
    monkeypatch.undo()
    assert train(again)["completed"]
    assert_same_run(again.out, run.out)
    assert (again.out / "steps.csv").read_bytes() == (run.out / "steps.csv").read_bytes()
    other = dataclasses.replace(run, teacher=again.out / "best.safetensors")
    with pytest.raises(InputError, match="another configuration is here: teacher"):
        train(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "sfm-edge"}, "differseg-edge sees thermal, which sfm-edge does not"),
        ({"model": "rgbt-fusion-edge"}, "differseg-edge knows 2 classes, and rgbt-fusion-edge 9"),
        ({"teacher_features": "encoder.stages.9=encoder"}, "the student differseg-edge has no"),
        ({"teacher_features": "encoder=encoder"}, "the student's part gives no map"),
        ({"teacher_features": "encoder"}, "expected STUDENT=TEACHER"),
        ({"teacher_features": "encoder.stages.1=dpf1"}, "gives 2 maps and the teacher's 1"),
        ({"teacher": None, "teacher_model": "fsanet"}, "--teacher-model: there is no teacher"),
        ({"teacher": None, "teacher_weight": 2.0}, "--teacher-weight: there is no teacher"),
        ({"feature_weight": 2.0}, "--feature-weight 2: no maps are learnt"),
        ({"teacher_features": "a=b", "feature_weight": 0.0}, "--feature-weight 0: no maps would"),
        ({"teacher_weight": 0.0}, "--teacher-weight 0: the teacher would teach nothing"),
        ({"teacher": Path("run/best.safetensors")}, "belongs to the run in --out"),
        ({"teacher_temperature": 0.0}, "--teacher-temperature 0.0: expected 0.01 to 1000"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    scenes: Path,
    changes: dict[str, object],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = short_run(tmp_path / "run", scenes, **{"teacher": SHIPPED, **changes})
    with pytest.raises(InputError) as caught:
        train(run)
    assert message in str(caught.value)
    assert not run.out.exists()
