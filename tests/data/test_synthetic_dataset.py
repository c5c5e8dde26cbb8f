"""Synthetic data set: sample k is always the same, with and without the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from differseg.data.folder import FolderDataset
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import InputError

SIZE = (96, 128)


@pytest.fixture(scope="module")
def data() -> SyntheticDataset:
    return SyntheticDataset(10, seed=3, size_hw=SIZE)


def test_samples(data: SyntheticDataset) -> None:
    item = data[9]
    assert len(data) == 10
    assert item["stem"] == data.stems[9]
    assert item["rgb"].shape == (*SIZE, 3)
    assert item["thermal"].dtype == np.uint16
    assert item["mask"].shape == SIZE
    with pytest.raises(IndexError):
        data[10]


def test_order_of_access_plays_no_part(data: SyntheticDataset) -> None:
    other = SyntheticDataset(10, seed=3, size_hw=SIZE)
    wanted = (8, 1, 0)
    backwards = {index: other[index] for index in wanted}
    for index in sorted(wanted):
        for name, array in data[index].items():
            np.testing.assert_array_equal(backwards[index][name], array)


def test_samples_and_seeds_differ(data: SyntheticDataset) -> None:
    assert not np.array_equal(data[0]["rgb"], data[1]["rgb"])
    other = SyntheticDataset(10, seed=4, size_hw=SIZE)[0]
    assert not np.array_equal(data[0]["rgb"], other["rgb"])


def test_cache_gives_the_same_samples_and_is_a_folder_data_set(
    data: SyntheticDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = SyntheticDataset(10, seed=3, size_hw=SIZE, cache_dir=tmp_path)
    fresh = cached[9]
    monkeypatch.setattr(cached, "_draw", lambda index: pytest.fail("drawn again"))
    kept = cached[9]
    for name, array in data[9].items():
        np.testing.assert_array_equal(fresh[name], array)
        np.testing.assert_array_equal(kept[name], array)
    folder = FolderDataset(next(tmp_path.iterdir()))
    assert folder.stems == data.stems[8:]
    np.testing.assert_array_equal(folder[1]["thermal"], data[9]["thermal"])
    np.testing.assert_array_equal(folder[1]["mask"], data[9]["mask"])


def test_a_damaged_cache_file_is_drawn_again(data: SyntheticDataset, tmp_path: Path) -> None:
    cached = SyntheticDataset(10, seed=3, size_hw=SIZE, cache_dir=tmp_path)
    cached[8]
    path = next(tmp_path.iterdir()) / "thermal" / f"{data.stems[8]}.png"
    path.write_bytes(b"")
    np.testing.assert_array_equal(cached[8]["thermal"], data[8]["thermal"])


@pytest.mark.parametrize("change", [{"count": 0}, {"count": 4, "seed": -1}])
def test_wrong_arguments(change: dict[str, int]) -> None:
    with pytest.raises(InputError, match="synthetic data"):
        SyntheticDataset(**change)
