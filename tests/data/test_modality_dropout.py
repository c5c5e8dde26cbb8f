"""Modality dropout: what a lost camera is, how often, and from which seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from differseg.data.loader import PreparedSamples, make_loader
from differseg.data.modality_dropout import ModalityDropout, drop_modality
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec
from differseg.robustness.lost import lost_image
from differseg.runtime.preprocess import map_depth
from differseg.runtime.thermal import NEUTRAL_THERMAL, ThermalMapper

SPEC = ModelSpec("toy", "toy", "rgbt", MODALITIES["rgbt"], BINARY_CLASSES, (32, 64))


class Pairs:
    """Random samples."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        return {
            "rgb": rng.integers(1, 255, (40, 72, 3), np.uint8),
            "thermal": rng.integers(28000, 31000, (40, 72), np.uint16),
            "mask": rng.integers(0, 2, (40, 72), np.uint8),
        }


def batches(
    dropout: ModalityDropout | None, *, count: int = 8, **change: Any
) -> list[dict[str, torch.Tensor]]:
    options: dict[str, Any] = {"batch": 4, "seed": 3, "epoch": 1, "train": True, "workers": 0}
    loader = make_loader(Pairs(count), SPEC, (32, 64), **{**options, **change}, dropout=dropout)
    return list(loader)


def planes(**of: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    sample = {
        "rgb": rng.integers(1, 255, (6, 8, 3), np.uint8),
        "thermal": rng.uniform(0, 1, (6, 8)).astype(np.float32),
        "mask": rng.integers(0, 2, (6, 8), np.uint8),
    }
    return {**sample, **of}


def lost(batch: dict[str, torch.Tensor]) -> tuple[list[bool], list[bool]]:
    """Say of every sample whether thermal, and whether RGB, is the picture of a lost camera."""
    thermal = [bool((one == NEUTRAL_THERMAL).all()) for one in batch["thermal"]]
    return thermal, [bool((one == 0).all()) for one in batch["rgb"]]


def test_a_lost_thermal_camera_is_what_the_runtime_feeds() -> None:
    sample = planes()
    dropped = drop_modality(sample, ModalityDropout(second=1), np.random.default_rng(0))
    assert (dropped["thermal"] == NEUTRAL_THERMAL).all()
    assert dropped["thermal"].dtype == np.float32
    assert dropped["rgb"] is sample["rgb"]
    assert dropped["mask"] is sample["mask"]
    assert not (sample["thermal"] == NEUTRAL_THERMAL).any()


@pytest.mark.parametrize(
    "policy",
    [
        ThermalPolicy(kind="percentile"),
        ThermalPolicy(kind="full"),
        ThermalPolicy(kind="fixed", low_ck=29000, high_ck=31000),
    ],
    ids=lambda policy: policy.kind,
)
def test_evaluation_and_training_lose_thermal_alike(policy: ThermalPolicy) -> None:
    mapped = ThermalMapper(policy).map(lost_image("thermal", (12, 16), policy))
    assert (mapped == np.float32(NEUTRAL_THERMAL)).all()


def test_evaluation_and_training_lose_depth_alike() -> None:
    depth = np.full((6, 8), 0.3, np.float32)
    dropped = drop_modality(
        {"rgb": planes()["rgb"], "depth": depth}, ModalityDropout(second=1), np.random.default_rng()
    )
    assert np.array_equal(dropped["depth"], map_depth(lost_image("depth", (6, 8), None)))


def test_rgb_has_its_own_probability_and_flow_becomes_white() -> None:
    rng = np.random.default_rng(0)
    assert not drop_modality(planes(), ModalityDropout(rgb=1), rng)["rgb"].any()
    pair = {"rgb": planes()["rgb"], "flow": np.zeros((6, 8, 3), np.uint8)}
    assert (drop_modality(pair, ModalityDropout(second=1), rng)["flow"] == 255).all()


@pytest.mark.parametrize("name", ["rgb", "thermal"])
def test_the_only_camera_is_never_lost(name: str) -> None:
    sample = {"mask": planes()["mask"], name: planes()[name]}
    for dropout in (ModalityDropout(second=1), ModalityDropout(rgb=1)):
        assert drop_modality(sample, dropout, np.random.default_rng(0))[name] is sample[name]


def test_loses_as_often_as_asked_and_never_both() -> None:
    thermal, rgb = np.array(
        [lost(batch) for batch in batches(ModalityDropout(0.3, 0.2), count=400, batch=400)]
    )[0]
    assert 0.24 < thermal.mean() < 0.36
    assert 0.15 < rgb.mean() < 0.25
    assert not (thermal & rgb).any()


def test_a_sample_follows_from_seed_epoch_and_index() -> None:
    dropout = ModalityDropout(0.4, 0.2)
    first, again = (batches(dropout, count=40, workers=workers) for workers in (0, 2))
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    late = batches(dropout, count=40, start_batch=7)
    assert torch.equal(late[0]["thermal"], first[7]["thermal"])


def test_another_epoch_and_another_seed_lose_other_samples() -> None:
    def lost_indices(seed: int, epoch: int) -> list[int]:
        dropout, policy = ModalityDropout(0.4), ThermalPolicy()
        samples = PreparedSamples(Pairs(40), SPEC, (32, 64), seed, None, policy, dropout)
        thermal = [samples[epoch, index]["thermal"] for index in range(40)]
        return [i for i, plane in enumerate(thermal) if (plane == NEUTRAL_THERMAL).all()]

    assert lost_indices(3, 1) == lost_indices(3, 1)
    assert len({tuple(lost_indices(*key)) for key in ((3, 1), (3, 2), (4, 1))}) == 3


def test_samples_that_keep_both_cameras_are_those_without_dropout() -> None:
    pairs = zip(batches(ModalityDropout(0.5), count=24), batches(None, count=24), strict=True)
    kept = 0
    for with_dropout, without in pairs:
        assert torch.equal(with_dropout["rgb"], without["rgb"])
        assert torch.equal(with_dropout["mask"], without["mask"])
        for place, is_lost in enumerate(lost(with_dropout)[0]):
            if not is_lost:
                kept += 1
                assert torch.equal(with_dropout["thermal"][place], without["thermal"][place])
    assert 0 < kept < 24


def test_validation_loses_nothing() -> None:
    dropout = ModalityDropout(1.0)
    assert not any(any(lost(batch)[0]) for batch in batches(dropout, train=False))
    assert all(all(lost(batch)[0]) for batch in batches(dropout))


@pytest.mark.parametrize("values", [(-0.1, 0), (0, 1.1), (0.6, 0.5), (float("nan"), 0)])
def test_refuses_what_is_no_probability(values: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="modality dropout"):
        ModalityDropout(*values)
