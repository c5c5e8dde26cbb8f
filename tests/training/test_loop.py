"""A step: it learns, stops at NaN with everything as it was, and goes on bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from short_runs import SIZE_HW
from torch import nn

from differseg import create_model
from differseg.data.loader import make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import CheckFailedError, CheckpointError
from differseg.training.loop import Recipe, Trainer
from differseg.training.snapshot import read_snapshot, write_snapshot

CPU = torch.device("cpu")


def recipe() -> Recipe:
    return Recipe(1e-2, 5e-4, 0.9, warmup_steps=2, total_steps=40)


def four_scenes() -> dict[str, torch.Tensor]:
    samples = SyntheticDataset(4, seed=5, size_hw=SIZE_HW)
    spec = create_model("differseg-edge").spec
    return next(iter(make_loader(samples, spec, SIZE_HW, 4, 0, 0, False, 0)))


def test_four_samples_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    trainer, batch = Trainer(create_model("differseg-edge"), recipe(), CPU, "fp32"), four_scenes()
    losses = [trainer.step(batch) for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]
    with trainer.average.applied_to(trainer.model), torch.inference_mode():
        trainer.model.eval()
        found = trainer.model(*trainer.inputs(batch))["logits"] > 0
    mask = batch["mask"] > 0.5
    assert (found & mask).sum() / (found | mask).sum() > 0.5


@pytest.mark.parametrize("broken", ["input", "gradient"])
def test_nan_stops_before_it_reaches_weights_or_statistics(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, batch = Trainer(create_model("differseg-edge"), recipe(), CPU, "fp32"), four_scenes()
    trainer.step(batch)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    if broken == "input":
        batch["thermal"][1, 0, 3, 3] = float("nan")
        said = r"loss is nan at step 2 \(epoch 1, batch 2\); .* in thermal: mend the data"
    else:
        norm = torch.tensor(float("inf"))
        monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: norm)
        said = r"gradient norm is inf at step 2 .*--restart --lr 3\.3e-03"
    with pytest.raises(CheckFailedError, match=said):
        trainer.step(batch)
    assert all(torch.equal(t, before[name]) for name, t in trainer.model.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_goes_on_bit_by_bit(precision: str, tmp_path: Path) -> None:
    batch = four_scenes()
    torch.manual_seed(0)
    whole = Trainer(create_model("differseg-edge"), recipe(), CPU, precision)
    first = whole.step(batch)
    write_snapshot(tmp_path / "last.pt", whole.state())
    wanted = [whole.step(batch) for _ in range(2)]
    assert wanted[-1] < first
    resumed = Trainer(create_model("differseg-edge"), recipe(), CPU, precision)
    resumed.restore(read_snapshot(tmp_path / "last.pt"))
    assert [resumed.step(batch) for _ in range(2)] == wanted
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    assert (resumed.scaler.state_dict() != {}) == (precision == "fp16")


def test_frozen_parameters_stay_as_they_are() -> None:
    model = create_model("differseg-edge")
    model.encoder.requires_grad_(False)
    trainer = Trainer(model, recipe(), CPU, "fp32")
    before = [p.detach().clone() for p in model.encoder.parameters()]
    trainer.step(four_scenes())
    assert all(torch.equal(a, b) for a, b in zip(before, model.encoder.parameters(), strict=True))
    optimised = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert not optimised & {id(p) for p in model.encoder.parameters()}


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_statistics_stay_while_gain_and_bias_learn(freeze: bool) -> None:
    torch.manual_seed(0)
    how = Recipe(1e-2, 0.0, 0.9, warmup_steps=0, total_steps=9, freeze_norm=freeze)
    model, batch = create_model("differseg-edge"), four_scenes()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.fill_(0.9)
    trainer = Trainer(model, how, CPU, "fp32")
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    for meddle in (trainer.model.train, trainer.model.eval):
        meddle()
        trainer.step(batch)
    after = trainer.model.state_dict()
    norms = [n for n, part in trainer.model.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) > 20
    for part in ("running_mean", "running_var", "num_batches_tracked"):
        assert all(
            torch.equal(after[f"{n}.{part}"], before[f"{n}.{part}"]) == freeze for n in norms
        )
    for part in ("weight", "bias"):
        assert not any(torch.equal(after[f"{n}.{part}"], before[f"{n}.{part}"]) for n in norms)


@pytest.mark.parametrize("part", ["model", "average", "optimizer", "position"])
def test_a_snapshot_of_another_network_is_one_line(part: str, tmp_path: Path) -> None:
    trainer = Trainer(create_model("differseg-edge"), recipe(), CPU, "fp32")
    state = trainer.state()
    if part == "model":
        state["model"] = {f"old.{name}": t for name, t in state["model"].items()}
    elif part == "average":
        state["average"]["values"] = {}
    elif part == "optimizer":
        state["optimizer"]["param_groups"][0]["params"] = []
    else:
        state["position"]["stride"] = 3
    write_snapshot(tmp_path / "last.pt", state)
    with pytest.raises(CheckpointError, match=r"last\.pt: does not fit .*--restart") as caught:
        trainer.resume(tmp_path / "last.pt")
    assert "\n" not in str(caught.value)
