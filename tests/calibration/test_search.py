"""The search: few evaluations, the same by seed, taken up after a kill, never over the limit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from differseg.calibration.placement import Kernel, Placement
from differseg.calibration.search import parts_of, search
from differseg.calibration.task_score import TaskScore

REFERENCE = TaskScore(0.8, 0.7)


def placement_of(macs):
    kernels = {
        f"net.block{i}/Conv": Kernel(f"net.block{i}/Conv", "x", f"w{i}", 0, m)
        for i, m in enumerate(macs)
    }
    return Placement(kernels, {}, (), {})


class Network:
    """Whose parts add fixed drops."""

    def __init__(self, drops, macs):
        self.placement = placement_of(macs)
        self.drops = dict(zip(self.placement.kernels, drops, strict=True))
        self.macs = dict(zip(self.placement.kernels, macs, strict=True))
        self.runs = 0

    def __call__(self, without):
        self.runs += 1
        drop = sum(d for name, d in self.drops.items() if name not in without)
        return TaskScore(0.8 - drop, 0.7, drop**2)

    def best(self, limit):
        """Return the largest share that keeps the limit, by trying all."""
        names, total = list(self.drops), sum(self.macs.values())
        return max(
            sum(self.macs[n] for n in chosen) / total
            for size in range(len(names) + 1)
            for chosen in itertools.combinations(names, size)
            if sum(self.drops[n] for n in chosen) <= limit
        )


def random_network(seed, parts=12):
    draw = np.random.default_rng(seed)
    drops = draw.exponential(0.0008, parts)
    drops[draw.integers(parts)] = 0.02
    return Network(drops, draw.integers(1, 100, parts))


def test_all_in_int8_is_one_evaluation():
    network = Network([1e-4] * 8, [5] * 8)
    found = search(network.placement, network, REFERENCE, max_drop=0.005)
    assert (found.without, found.share, found.evaluations, network.runs) == (frozenset(), 1, 1, 1)


def test_one_bad_part_is_left_out():
    network = Network([1e-4] * 5 + [0.1] + [1e-4] * 5, [5] * 11)
    found = search(network.placement, network, REFERENCE, max_drop=0.005)
    assert found.without == {"net.block5/Conv"}
    assert REFERENCE.drop_to(found.score) <= 0.005


@pytest.mark.parametrize("seed", range(8))
def test_near_the_best_choice_in_few_evaluations(seed):
    network = random_network(seed)
    found = search(network.placement, network, REFERENCE, max_drop=0.005)
    assert REFERENCE.drop_to(found.score) <= 0.005
    assert found.share >= 0.85 * network.best(0.005)
    assert network.runs == found.evaluations <= 12 + 1 + 4 + 6 + 1  # greedily up to 78


def test_equal_seeds_choose_equally():
    network = Network([1e-3] * 10, [7] * 10)
    first, second = (
        search(network.placement, network, REFERENCE, max_drop=0.0045, seed=5) for _ in range(2)
    )
    assert first.without == second.without
    assert len(first.without) == 6


@pytest.mark.parametrize("killed_after", [1, 5, 13, 16])
def test_a_killed_search_goes_on_where_it_was(tmp_path, killed_after):
    expected = random_network(3)
    whole = search(expected.placement, expected, REFERENCE, max_drop=0.005)
    network, log = random_network(3), tmp_path / "a.search.jsonl"

    def dying(without):
        if network.runs == killed_after:
            raise KeyboardInterrupt
        return network(without)

    with pytest.raises(KeyboardInterrupt):
        search(network.placement, dying, REFERENCE, max_drop=0.005, log=log, key="k")
    with log.open("a") as file:
        file.write('{"key": "cut o')
    network.runs = 0
    found = search(network.placement, network, REFERENCE, max_drop=0.005, log=log, key="k")
    assert (found.without, found.evaluations) == (whole.without, whole.evaluations)
    assert network.runs == whole.evaluations - killed_after
    assert not log.exists()


def test_evaluations_of_other_inputs_are_not_taken_up(tmp_path):
    network, log = random_network(3), tmp_path / "a.search.jsonl"

    def dying(without):
        if network.runs == 5:
            raise KeyboardInterrupt
        return network(without)

    with pytest.raises(KeyboardInterrupt):
        search(network.placement, dying, REFERENCE, max_drop=0.005, log=log, key="one set")
    network.runs = 0
    found = search(network.placement, network, REFERENCE, max_drop=0.005, log=log, key="another")
    assert network.runs == found.evaluations


def test_where_no_part_fits_nothing_is_chosen():
    network = Network([0.1] * 4, [1] * 4)
    found = search(network.placement, network, REFERENCE, max_drop=0.005)
    assert found.share == 0


def test_parts_are_modules():
    kernels = {
        name: Kernel(name, "x", "w", 0, 2)
        for name in ("a.b.c.d/Conv", "a.b.c.e/Conv", "a.b.f/Conv", "Conv_3")
    }
    parts = parts_of(kernels)
    assert [part.name for part in parts] == ["a.b.c", "a.b.f", "Conv_3"]
    assert parts[0].macs == 4
