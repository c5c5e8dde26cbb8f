"""Loader: a batch is a function of seed, epoch and position, and errors stay one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from differseg.data.loader import EpochOrder, make_loader
from differseg.data.transforms import Augmentation
from differseg.errors import InputError
from differseg.manifest import ClassSpec, ThermalPolicy
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec
from differseg.runtime.preprocess import resize, resize_label
from differseg.runtime.thermal import ThermalMapper

SPEC = ModelSpec("toy", "toy", "rgbt", MODALITIES["rgbt"], BINARY_CLASSES, (32, 64))


class Toy:
    """Small random samples; sample ``broken`` lacks its thermal image."""

    def __init__(self, count: int = 11, broken: int = -1) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        sample = {
            "stem": f"toy{index}",
            "rgb": rng.integers(0, 255, (40, 72, 3), np.uint8),
            "thermal": rng.integers(28000, 31000, (40, 72), np.uint16),
            "mask": rng.choice(np.array([0, 1, 255], np.uint8), (40, 72)),
        }
        if index == self.broken:
            del sample["thermal"]
        return sample


def batches(**change: Any) -> list[dict[str, torch.Tensor]]:
    options: dict[str, Any] = {
        "dataset": Toy(), "spec": SPEC, "size_hw": (32, 64), "batch": 3, "seed": 5, "epoch": 2,
        "train": True, "workers": 0, **change,
    }  # fmt: skip
    return list(make_loader(**options))


def assert_equal(a: list[dict[str, torch.Tensor]], b: list[dict[str, torch.Tensor]]) -> None:
    assert len(a) == len(b)
    for one, two in zip(a, b, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            assert torch.equal(one[name], two[name])


def test_training_batches() -> None:
    found = batches()
    assert len(found) == 3  # 11 samples: the incomplete batch is left out
    first = found[0]
    assert first["rgb"].shape == (3, 3, 32, 64)
    assert first["thermal"].shape == first["mask"].shape == first["valid"].shape == (3, 1, 32, 64)
    for tensor in first.values():
        assert tensor.dtype == torch.float32
        assert tensor.min() >= 0
        assert tensor.max() <= 1
    assert not (first["mask"] * (1 - first["valid"])).any()


def test_resuming_at_a_batch_gives_the_same_batches() -> None:
    assert_equal(batches(start_batch=1), batches()[1:])
    assert batches(start_batch=3) == []


def test_workers_play_no_part() -> None:
    assert_equal(batches(workers=2), batches())


def test_the_runs_own_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    batches()
    assert torch.equal(torch.rand(3), expected)


def test_epoch_and_seed_change_order_and_augmentation() -> None:
    base = batches()[0]["rgb"]
    assert not torch.equal(base, batches(epoch=3)[0]["rgb"])
    assert not torch.equal(base, batches(seed=6)[0]["rgb"])
    assert_equal(batches(), batches())


def test_validation_is_complete_in_order_and_as_the_runtime_prepares() -> None:
    found = batches(train=False)
    assert [len(batch["mask"]) for batch in found] == [3, 3, 3, 2]
    sample = Toy()[4]
    mapped = ThermalMapper(ThermalPolicy()).map(sample["thermal"])
    got = found[1]
    rgb = resize(sample["rgb"], (32, 64)).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_allclose(got["rgb"][1].numpy(), rgb, atol=1e-7)
    np.testing.assert_array_equal(got["thermal"][1, 0].numpy(), resize(mapped, (32, 64)))
    mask = resize_label(sample["mask"], (32, 64))
    np.testing.assert_array_equal(got["mask"][1, 0].numpy(), mask == 1)
    np.testing.assert_array_equal(got["valid"][1, 0].numpy(), mask != 255)


def test_thermal_policy_is_used() -> None:
    policy = ThermalPolicy(kind="fixed", low_ck=0, high_ck=60000)
    found = batches(train=False, policy=policy)[0]["thermal"]
    assert found.min() >= 28000 / 60000
    assert found.max() <= 31000 / 60000


def test_fewer_samples_than_a_batch_still_train() -> None:
    found = batches(dataset=Toy(2), batch=8)
    assert [len(batch["mask"]) for batch in found] == [2]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_is_one_line_also_from_a_worker(workers: int) -> None:
    with pytest.raises(InputError, match="sample 'toy7' has no thermal") as caught:
        batches(dataset=Toy(broken=7), train=False, workers=workers)
    assert "\n" not in str(caught.value)


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="no samples"):
        batches(dataset=Toy(0))


def order(**change: Any) -> list[int]:
    options: dict[str, Any] = {
        "count": 50, "batch": 5, "seed": 1, "epoch": 0, "train": True, **change,
    }  # fmt: skip
    return [index for batch in EpochOrder(**options) for _, index in batch]


def test_every_sample_once_an_epoch() -> None:
    assert sorted(order()) == list(range(50))
    assert order() != list(range(50))
    assert order() != order(epoch=1)
    assert order(train=False) == list(range(50))


def test_groups_stay_near_each_other() -> None:
    found = order(count=48, batch=4, group_size=8, groups_mixed=2)
    assert sorted(found) == list(range(48))
    for first in range(0, 48, 16):
        assert len({index // 8 for index in found[first : first + 16]}) == 2


class ToyClasses(Toy):
    """Labels of four classes, in blocks."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        places = np.random.default_rng(index).choice([0, 1, 2, 3, 255], (5, 9)).astype(np.uint8)
        return {**sample, "mask": np.kron(places, np.ones((8, 8), np.uint8))}


CLASSES_SPEC = dataclasses.replace(
    SPEC, classes=tuple(ClassSpec(place, f"c{place}", (place, 0, 0)) for place in range(4))
)


def test_labels_of_several_classes_are_kept() -> None:
    judged = batches(dataset=ToyClasses(), spec=CLASSES_SPEC, train=False)
    assert "valid" not in judged[0]
    assert judged[0]["mask"].dtype == torch.uint8
    assert judged[0]["mask"].shape == (3, 1, 32, 64)
    stretched = resize_label(ToyClasses()[4]["mask"], (32, 64))
    assert np.array_equal(judged[1]["mask"][1, 0].numpy(), stretched)


def test_changed_labels_hold_no_class_that_was_not_there_and_are_ignored_outside() -> None:
    everything = Augmentation(flip=1, rotate=1, rotate_deg=20, largest_crop=3, smallest_crop=1)
    one = ToyClasses(6)
    one_class = [{**one[index], "mask": np.full((40, 72), 2, np.uint8)} for index in range(6)]
    seen = set()
    for batch in batches(dataset=one_class, spec=CLASSES_SPEC, augmentation=everything):
        seen |= set(batch["mask"].unique().tolist())
    assert seen == {2, 255}
    found = batches(dataset=ToyClasses(), spec=CLASSES_SPEC, augmentation=everything)
    assert set(torch.cat([b["mask"].flatten() for b in found]).unique().tolist()) == {
        0,
        1,
        2,
        3,
        255,
    }
