"""Several processes, and parts of batches, learn what one process learns from whole batches."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gradient_worker import three_steps
from process_runs import WORKER, finish, start_processes
from short_runs import assert_same_run, short_run, wait_for_snapshots

from differseg import create_model
from differseg.checkpoints import save_checkpoint
from differseg.data.loader import EpochOrder, Pieces, Share
from differseg.errors import InputError
from differseg.train import INTERRUPTED, TrainOptions, resume_command, train
from differseg.training.processes import Processes, join_processes
from differseg.training.snapshot import read_snapshot

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = Path(__file__).parents[2] / "differseg" / "weights" / "differseg-edge.safetensors"
ROUNDING = {"gradient": 2e-5, "weights": 2e-4}
"""Largest relative difference of a tensor; 4e-6 and 5e-7 were measured, with a teacher 1e-5 and
4e-5.  AdamW divides gradients by their size, so that the rounding of small ones shows in weights.
A mean over each part in place of the whole batch differs by more than 1e-2."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def alone(scenes: Path) -> dict[str, Any]:
    return three_steps(Processes(), str(scenes), batch=8, pieces=1)


@pytest.fixture(scope="module")
def taught(scenes: Path) -> dict[str, Any]:
    """Like ``alone``, with a teacher."""
    return three_steps(Processes(), str(scenes), batch=8, pieces=1, taught=True)


def assert_equal_to_rounding(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found["losses"] == pytest.approx(wanted["losses"], rel=2e-5)
    for part, most in ROUNDING.items():
        assert found[part].keys() == wanted[part].keys()
        for name, tensor in wanted[part].items():
            exact = tensor.double()
            error = (found[part][name].double() - exact).norm() / exact.norm().clamp_min(1e-9)
            assert error < most, (part, name)


def test_accumulated_parts_equal_the_whole_batch(scenes: Path, alone: dict[str, Any]) -> None:
    assert_equal_to_rounding(three_steps(Processes(), str(scenes), batch=2, pieces=4), alone)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "pieces"), [(4, 1), (2, 2)])
def test_two_processes_equal_one_with_the_whole_batch(
    tmp_path: Path, scenes: Path, alone: dict[str, Any], batch: int, pieces: int
) -> None:
    out = tmp_path / "found.pt"
    words = [str(WORKER), str(out), str(scenes), str(batch), str(pieces), "alone"]
    ended = finish(start_processes(words))
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert_equal_to_rounding(torch.load(out), alone)


def test_accumulated_parts_with_a_teacher_equal_the_whole_batch(
    scenes: Path, taught: dict[str, Any], alone: dict[str, Any]
) -> None:
    found = three_steps(Processes(), str(scenes), batch=2, pieces=4, taught=True)
    assert_equal_to_rounding(found, taught)
    assert taught["gradient"].keys() - alone["gradient"] == {"adapter.weight", "adapter.bias"}
    assert taught["losses"][0] > 1.1 * alone["losses"][0]  # the teacher has a say


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "pieces"), [(4, 1), (2, 2)])
def test_two_processes_with_a_teacher_equal_one_with_the_whole_batch(
    tmp_path: Path, scenes: Path, taught: dict[str, Any], batch: int, pieces: int
) -> None:
    out = tmp_path / "found.pt"
    words = [str(WORKER), str(out), str(scenes), str(batch), str(pieces), "taught"]
    ended = finish(start_processes(words))
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert_equal_to_rounding(torch.load(out), taught)


def test_processes_share_batches_without_gap_or_repeat() -> None:
    for train_order in (True, False):
        whole = list(EpochOrder(50, 12, 3, 1, train_order, start_batch=1))
        shares = [
            list(Pieces(EpochOrder(50, 12, 3, 1, train_order, start_batch=1), 2, Share(2, 3, rank)))
            for rank in range(3)
        ]
        for number, batch in enumerate(whole[:3]):
            pieces = [shares[rank][2 * number + piece] for piece in (0, 1) for rank in range(3)]
            assert [key for piece in pieces for key in piece] == batch


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path, scenes: Path) -> None:
    run = short_run(tmp_path / "run", scenes, accumulate=5)
    with pytest.raises(InputError, match=r"a step takes 20 images, and there are 16 to learn"):
        train(run)


def command(run: TrainOptions) -> list[str]:
    return ["-m", "differseg.train", *resume_command(run).split()[2:]]


@pytest.mark.slow
def test_a_run_of_two_processes_is_killed_and_goes_on_bit_by_bit(
    tmp_path: Path, scenes: Path
) -> None:
    """With a teacher, whose adapter learns beside the joined network."""
    network = "segnext-freqfusion-edge"  # it has dropout
    save_checkpoint(tmp_path / "teacher.safetensors", create_model(network, classes="binary"))
    run = short_run(
        tmp_path / "run", scenes, model=network, classes="binary", batch=2, accumulate=2,
        snapshot_minutes=0.0, teacher=tmp_path / "teacher.safetensors",
        teacher_features="decode_head.squeeze=decode_head.squeeze",
    )  # fmt: skip
    ended = finish(start_processes(command(run)))
    assert [status for status, _, _ in ended] == [0, 0], ended
    (_, said, _), (_, other, err) = ended
    assert "a step takes 8 images: 2 process(es), each 2 times 2" in said
    assert not other  # one process speaks
    assert not err
    assert json.loads((run.out / "config.json").read_text())["processes"] == 2
    whole = run.out.rename(tmp_path / "whole")
    processes = start_processes(command(run))
    wait_for_snapshots(run.out, 1, processes[0])
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 0 < read_snapshot(run.out / "last.pt")["position"]["step"] < 4
    processes = start_processes(command(run))
    wait_for_snapshots(run.out, 2, processes[0])
    for process in processes:
        process.send_signal(signal.SIGTERM)
    ended = finish(processes)
    assert [status for status, _, _ in ended] == [INTERRUPTED] * 2, ended
    assert "go on with: accelerate launch --num_processes 2 -m differseg.train" in ended[0][1]
    ended = finish(start_processes(command(run)))
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert_same_run(run.out, whole)
    adapters = [read_snapshot(out / "last.pt")["adapter"] for out in (run.out, whole)]
    assert adapters[0].keys() == {"weight", "bias"}
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])
    assert (run.out / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()


def test_random_numbers_of_a_step_follow_from_seed_step_and_process() -> None:
    def drawn(seed: int, step: int, rank: int) -> float:
        process = Processes(SimpleNamespace(process_index=rank, num_processes=2))
        process.seed_step(seed, step)
        return float(torch.rand(()))

    keys = [(seed, step, rank) for seed in (0, 1) for step in (0, 1) for rank in (0, 1)]
    numbers = [drawn(*key) for key in keys]
    assert len(set(numbers)) == len(keys)
    assert [drawn(*key) for key in keys] == numbers
    before = torch.get_rng_state()
    Processes().seed_step(0, 0)  # a process alone goes on with its generators
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sum_over_processes_leaves_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    here = SimpleNamespace(process_index=0, num_processes=2, device=torch.device("cpu"))
    processes, values = Processes(here), torch.ones(3)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    assert processes.total(values).tolist() == [2, 2, 2]
    assert values.tolist() == [1, 1, 1]
    processes.require_everywhere(True)
    with pytest.raises(InputError, match="do not find the same snapshot"):
        processes.require_everywhere(False)


@pytest.mark.slow
def test_a_mistake_is_said_once(tmp_path: Path, scenes: Path) -> None:
    ended = finish(start_processes(command(short_run(tmp_path / "run", scenes, size=(64, 90)))))
    assert [status for status, _, _ in ended] == [2, 2]
    assert [len(err.splitlines()) for _, _, err in ended] == [1, 0]
    assert "--size 64x90" in ended[0][2]


def test_options_that_several_processes_cannot_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="--device cuda:1: this run has 2 processes"):
        join_processes("cuda:1")
    monkeypatch.delenv("LOCAL_RANK")  # a batch system may set the others for itself
    assert join_processes("cuda:1").count == 1
    with pytest.raises(InputError, match="--sync-norm: this needs several processes with a GPU"):
        Processes().require_gpus("--sync-norm")
