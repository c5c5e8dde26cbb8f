"""Losses of recipes against literal computations, whole and in parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from differseg.errors import InputError
from differseg.losses import Counts, class_loss, deep_supervision_loss, structure_loss
from differseg.training.learning import LossSettings, Terms
from differseg.training.loss_terms import dice_loss, hardest_pixels_loss, sorted_errors_loss
from differseg.training.objective import Objective

WEIGHTS = torch.tensor([1.0, 4.0, 0.5])


@pytest.fixture
def classes() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(2)
    label = rng.choice([0, 1, 2, 255], (4, 1, 9, 11)).astype(np.uint8)
    label[0, 0, :5] = 255
    logits = torch.from_numpy(rng.normal(size=(4, 3, 9, 11))).float()
    return logits, torch.from_numpy(label)


@pytest.fixture
def binary() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    mask = torch.from_numpy((rng.uniform(size=(4, 1, 40, 48)) > 0.6).astype(np.float32))
    valid = torch.ones_like(mask)
    valid[1, 0, :30] = 0
    return torch.from_numpy(rng.normal(size=(4, 1, 40, 48))).float(), mask, valid


def in_parts(objective: Objective, logits: torch.Tensor, *truth: torch.Tensor) -> float:
    names = ("mask", "valid")
    cut = [slice(0, 1), slice(1, 4)]
    batches = [dict(zip(names, (t[part] for t in truth), strict=False)) for part in cut]
    images, pixels = objective.counts(batches).tolist()
    return sum(
        objective({"logits": logits[part]}, batch["mask"], batch.get("valid"),
                  Counts(images, pixels)).item()
        for part, batch in zip(cut, batches, strict=True)
    )  # fmt: skip


def test_parts_of_a_batch_sum_to_the_whole(
    binary: tuple[torch.Tensor, ...], classes: tuple[torch.Tensor, ...]
) -> None:
    logits, mask, valid = binary
    whole = deep_supervision_loss({"logits": logits}, mask, valid).item()
    assert in_parts(Objective(True, None), logits, mask, valid) == pytest.approx(whole, rel=1e-6)
    split = LossSettings(Terms(cross_entropy=1, edge_iou=1))
    assert in_parts(Objective(True, None, split), logits, mask, valid) == pytest.approx(whole)
    logits, labels = classes
    for weights in (None, WEIGHTS):
        whole = class_loss({"logits": logits}, labels, weights).item()
        for settings in (None, LossSettings(Terms(cross_entropy=1))):
            found = in_parts(Objective(False, weights, settings), logits, labels)
            assert found == pytest.approx(whole, rel=1e-6)


def test_outputs_weigh_as_the_recipe_says(binary: tuple[torch.Tensor, ...]) -> None:
    logits, mask, valid = binary
    how = LossSettings(
        Terms(cross_entropy=1, edge_iou=1), main=0.7, sides=(0.1, 0.2), sides_end=0.5,
        sides_epochs=10,
    )  # fmt: skip
    outputs = {"logits": logits, "aux": [-logits, 2 * logits]}
    each = [structure_loss(x, mask, valid).item() for x in (logits, -logits, 2 * logits)]
    for epoch, factor in ((0, 1.0), (5, 0.75), (10, 0.5), (99, 0.5)):
        found = Objective(True, None, how)(outputs, mask, valid, epoch=epoch).item()
        wanted = 0.7 * each[0] + factor * (0.1 * each[1] + 0.2 * each[2])
        assert found == pytest.approx(wanted, rel=1e-6)
    outputs["aux"] = [logits] * 3
    with pytest.raises(InputError, match=r"loss.sides has 2 weights, but .* 3 side outputs"):
        Objective(True, None, how)(outputs, mask, valid)


def test_terms_belong_to_a_number_of_classes() -> None:
    with pytest.raises(InputError, match="loss term 'dice' is not for two classes; these have"):
        Objective(True, None, LossSettings(Terms(dice=1)))
    with pytest.raises(InputError, match="loss term 'edge_iou' is not for more than two"):
        Objective(False, None, LossSettings(Terms(cross_entropy=1), Terms(edge_iou=1)))
    assert Objective(False, None, LossSettings(Terms(cross_entropy=1))).splits
    assert not Objective(False, None, LossSettings(Terms(cross_entropy=1, hardest=1))).splits


def test_dice_and_sorted_errors_equal_literal_loops(classes: tuple[torch.Tensor, ...]) -> None:
    logits, labels = classes
    target = labels[:, 0].long()
    probability = logits.double().softmax(dim=1).numpy()
    truth = target.numpy()
    dice, errors = [], []
    for k in range(3):
        pairs = [
            (probability[n, k, y, x], float(truth[n, y, x] == k))
            for n, y, x in np.ndindex(truth.shape)
            if truth[n, y, x] != 255
        ]
        both, total = sum(p * t for p, t in pairs), sum(p + t for p, t in pairs)
        dice.append(1 - (2 * both + 1) / (total + 1))
        ordered = sorted(pairs, key=lambda pair: -abs(pair[1] - pair[0]))
        seen, count, sum_ = 0.0, sum(t for _, t in pairs), 0.0
        for p, t in ordered:
            seen += t
            sum_ += abs(t - p) * (1 - seen / count)
        errors.append(sum_ / (9 * 11))
    assert dice_loss(logits, target).item() == pytest.approx(np.mean(dice), rel=1e-5)
    weighted = np.mean(np.array(dice) * WEIGHTS.numpy())
    assert dice_loss(logits, target, WEIGHTS).item() == pytest.approx(weighted, rel=1e-5)
    assert sorted_errors_loss(logits, target).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_hardest_pixels_are_those_below_seven_tenths() -> None:
    logits = torch.zeros(1, 2, 400, 400)
    logits[:, 0, :100] = 0.2  # 40,000 unsure pixels
    logits[:, 0, 100:] = 9
    target = torch.zeros(1, 400, 400, dtype=torch.long)
    sure, unsure = np.log1p(np.exp(-9)), np.log1p(np.exp(-0.2))
    wanted = (40_000 * unsure + 60_000 * sure) / 100_000  # at least 100,000
    assert hardest_pixels_loss(logits, target).item() == pytest.approx(wanted, rel=1e-4)
    logits[:, 0, :300] = 0.2  # 120,000
    assert hardest_pixels_loss(logits, target).item() == pytest.approx(unsure, rel=1e-4)
    nothing = torch.full_like(target, 255)
    assert hardest_pixels_loss(logits, nothing).item() == 0
