"""Validation of runs that learn to do without a camera."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from classes_network import spec_of
from rich.console import Console
from short_runs import short_run
from torch import Tensor

from differseg.data.modality_dropout import LOST_PLANE, ModalityDropout, without_camera
from differseg.models.base import SegmentationModel
from differseg.models.spec import BINARY_CLASSES
from differseg.scoring import in_short
from differseg.train import train
from differseg.training.interruption import StopRequest
from differseg.training.loop import Recipe, Trainer
from differseg.training.validation import Judged, validate

pytestmark = pytest.mark.usefixtures("one_thread")
STEMS = ["a", "b", "c"]


class Brightness(SegmentationModel):
    """Finds what is brighter than the mean colour; thermal adds a little to it."""

    def __init__(self) -> None:
        super().__init__(spec_of(BINARY_CLASSES))
        self.thermal = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, rgb: Tensor, thermal: Tensor) -> dict[str, Tensor]:
        return {"logits": rgb.mean(1, keepdim=True) + self.thermal * thermal}


def batches() -> list[dict[str, Tensor]]:
    made = torch.Generator().manual_seed(0)
    found = []
    for count in (2, 1):
        rgb = torch.rand(count, 3, 64, 96, generator=made)
        thermal = torch.rand(count, 1, 64, 96, generator=made)
        mask = (rgb.mean(1, keepdim=True) > 0.48).float()
        found.append({"rgb": rgb, "thermal": thermal, "mask": mask, "valid": torch.ones_like(mask)})
    return found


def judged(lost: dict[str, float] | None, samples: list[dict[str, Tensor]] | None = None) -> Judged:
    trainer = Trainer(Brightness(), Recipe(1e-3, 0, 0, 0, 1), torch.device("cpu"), "fp32")
    result = validate(trainer, samples or batches(), STEMS, StopRequest(), lost)
    assert result is not None
    return result


def test_figures_without_a_camera_are_those_of_samples_that_lack_it() -> None:
    clean, with_lost = judged(None), judged({"thermal": 0.25, "rgb": 0.5})
    ious = [clean.figures["iou"]]
    for camera, lost_value in (("thermal", 0.5), ("rgb", 0.0)):
        lacking = [{**b, camera: torch.full_like(b[camera], lost_value)} for b in batches()]
        expected = judged(None, lacking).figures
        assert with_lost.figures["lost"][camera] == expected
        ious.append(expected["iou"])
    assert {name: with_lost.figures[name] for name in clean.figures} == clean.figures
    assert len(set(ious)) == 3
    ranked_by = 0.25 * ious[0] + 0.25 * ious[1] + 0.5 * ious[2]
    assert with_lost.headline == pytest.approx(ranked_by, abs=1e-12)
    assert with_lost.figures["ranked_by"] == with_lost.headline
    assert clean.headline == clean.figures["iou"]
    assert "ranked_by" not in clean.figures


@pytest.mark.parametrize("name", ["rgb", "thermal", "depth", "flow"])
def test_a_batch_lacks_a_camera_as_a_training_sample_does(name: str) -> None:
    channels, scale = (3, 255) if name in ("rgb", "flow") else (1, 1)
    batch = {name: torch.rand(2, channels, 4, 6), "mask": torch.ones(2, 1, 4, 6)}
    before = batch[name].clone()
    lacking = without_camera(batch, name)
    assert (lacking[name] == LOST_PLANE[name] / scale).all()
    assert lacking[name].shape == before.shape
    assert lacking["mask"] is batch["mask"]
    assert torch.equal(batch[name], before)


def test_cameras_that_may_be_lost() -> None:
    assert ModalityDropout(0.3, 0.1).lost(["rgb", "depth"]) == {"rgb": 0.1, "depth": 0.3}
    assert ModalityDropout(0.3).lost(["rgb", "thermal"]) == {"thermal": 0.3}


def test_a_run_with_dropout_keeps_the_epoch_that_is_best_with_lost_cameras(tmp_path: Path) -> None:
    run = short_run(
        tmp_path / "run", tmp_path / "scenes", epochs=3, modality_dropout=0.3, rgb_dropout=0.2,
        lr=2e-2,
    )  # fmt: skip
    said = io.StringIO()
    summary = train(run, Console(file=said, width=200))
    lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    figures = [line["validation"] for line in lines]
    for found in figures:
        expected = 0.5 * found["iou"] + 0.3 * found["lost"]["thermal"]["iou"]
        expected += 0.2 * found["lost"]["rgb"]["iou"]
        assert found["ranked_by"] == pytest.approx(expected, abs=1e-12)
    ranks = [found["ranked_by"] for found in figures]
    assert summary["best_epoch"] == 1 + ranks.index(max(ranks))
    (table,) = (path for path in run.out.glob("*.csv") if path.name != "steps.csv")
    with table.open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert float(row["lost.thermal.iou"]) == figures[0]["lost"]["thermal"]["iou"]
    assert "iou without rgb " in said.getvalue()


def test_a_line_names_the_lost_cameras() -> None:
    one = {"iou": 0.5, "boundary_f": 0.25, "mae": 0.125}
    assert in_short(one) == "iou 0.5000, boundary_f 0.2500, mae 0.1250"
    assert in_short({**one, "lost": {"thermal": one}}).endswith(", iou without thermal 0.5000")
