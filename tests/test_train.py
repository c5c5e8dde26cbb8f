"""Training: it learns, it stops cleanly, and it goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from differseg import create_model
from differseg.checkpoints import load_checkpoint, read_info
from differseg.data.loader import make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import CheckFailedError, DifferSegError, InputError
from differseg.options import run_main
from differseg.train import INTERRUPTED, TrainOptions, main, resume_command, train
from differseg.training.loop import Recipe, Trainer
from differseg.training.snapshot import read_snapshot, write_snapshot

SIZE_HW = (64, 96)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums depend on the number of threads, and the runs of this module are compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


def options(out: Path, scenes: Path, **changes: object) -> TrainOptions:
    base = TrainOptions(
        out=out, size=SIZE_HW, synthetic_size=SIZE_HW, synthetic_count=16, synthetic_cache=scenes,
        epochs=2, batch=4, workers=0, device="cpu",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def as_command(run: TrainOptions) -> list[str]:
    return [sys.executable, "-m", "differseg.cli", *resume_command(run).split()[1:]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """Return the folder of an uninterrupted run of 2 epochs of 4 steps."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert train(options(run, scenes))["completed"]
    return run


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


def test_nan_stops_before_it_reaches_the_weights() -> None:
    trainer, batch = Trainer(create_model("differseg-edge"), recipe(), CPU, "fp32"), four_scenes()
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    batch["thermal"][1, 0, 3, 3] = float("nan")
    with pytest.raises(CheckFailedError, match=r"loss is nan at step 1 \(epoch 1, batch 1\)"):
        trainer.step(batch)
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())


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


def test_run_folder_holds_everything(finished: Path) -> None:
    config = json.loads((finished / "config.json").read_text())
    assert (config["model"], config["size"]) == ("differseg-edge", [64, 96])
    assert config["samples"]["train"] == 16
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"loss", "learning_rate", "images_per_s", "validation"} <= set(lines[0])
    pictures = sorted(path.name for path in (finished / "pictures").iterdir())
    assert pictures == ["epoch_001.jpg", "epoch_002.jpg"]
    assert cv2.imread(str(finished / "pictures" / "epoch_002.jpg")).shape[1] > 1200
    info = read_info(finished / "best.safetensors")
    assert info is not None
    assert info.thermal_policy is not None
    assert info.trained_on == "16 synthetic samples of seed 0, drawn at 64x96"


def test_best_weights_are_the_average_not_the_last_step(tmp_path: Path, scenes: Path) -> None:
    run = options(tmp_path / "run", scenes, epochs=1)
    train(run)
    state, saved = read_snapshot(run.out / "last.pt"), load_file(run.out / "best.safetensors")
    average = state["average"]["values"]
    assert all(torch.equal(saved[name], average[name]) for name in average)
    assert not all(torch.equal(saved[name], state["model"][name]) for name in average)


def same_state(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)  # type: ignore[arg-type]
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)  # type: ignore
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_state, a, b))  # type: ignore[arg-type]
    return a == b


def assert_same_run(resumed: Path, whole: Path) -> None:
    assert (resumed / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    one, other = read_snapshot(resumed / "last.pt"), read_snapshot(whole / "last.pt")
    for state in (one, other):
        for line in state["position"]["history"]:
            line.pop("images_per_s")  # wall time
    for part in ("model", "average", "optimizer", "random", "position"):
        assert same_state(one[part], other[part]), part


def wait_for_snapshots(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until a run has written its snapshot this often.

    Looks at the file's identity only: reading it would take longer than some steps.
    """
    seen: set[tuple[int, int]] = set()
    deadline_s = time.monotonic() + 240
    while time.monotonic() < deadline_s:
        if (run / "last.pt").exists():
            found = (run / "last.pt").stat()
            seen.add((found.st_ino, found.st_mtime_ns))
        if len(seen) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    pytest.fail("the run made no progress")


def start(run: TrainOptions) -> subprocess.Popen[str]:
    return subprocess.Popen(
        as_command(run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip


def test_killed_run_resumes_bit_by_bit(tmp_path: Path, scenes: Path, finished: Path) -> None:
    run = options(tmp_path / "killed", scenes, snapshot_minutes=0.0)
    process = start(run)
    wait_for_snapshots(run.out, 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < read_snapshot(run.out / "last.pt")["position"]["step"] < 8
    assert train(run)["completed"]
    assert_same_run(run.out, finished)


def children(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of a run's workers (Linux)."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.mark.parametrize("whom", ["group", "every process"])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    tmp_path: Path, scenes: Path, finished: Path, whom: str
) -> None:
    run = options(tmp_path / "stopped", scenes, snapshot_minutes=0.0, workers=1)
    process = start(run)
    wait_for_snapshots(run.out, 1, process)
    if whom == "group":  # Ctrl-C in a terminal
        os.killpg(process.pid, signal.SIGINT)
    else:  # a batch system or a service manager
        for number in (process.pid, *children(process)):
            os.kill(number, signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, err
    assert f"go on with: {resume_command(run)}" in out
    assert not err
    assert read_snapshot(run.out / "last.pt")["position"]["step"] < 8
    assert train(run)["completed"]
    assert_same_run(run.out, finished)


def test_a_process_that_leaves_mid_epoch_takes_its_workers_along() -> None:
    code = (
        "from differseg import create_model\n"
        "from differseg.data.loader import make_loader\n"
        "from differseg.data.synthetic_dataset import SyntheticDataset\n"
        "spec = create_model('differseg-edge').spec\n"
        "samples = SyntheticDataset(32, size_hw=(64, 96))\n"
        "batches = iter(make_loader(samples, spec, (64, 96), 2, 0, 0, True, 1))\n"
        "next(batches)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_a_stop_during_validation_loses_nothing(
    tmp_path: Path, scenes: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = options(tmp_path / "run", scenes)
    from differseg.training.samples import TrainingData

    plain = TrainingData.held_out_batches

    def interrupting(data: TrainingData) -> Iterator[dict[str, torch.Tensor]]:
        for batch in plain(data):
            os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(TrainingData, "held_out_batches", interrupting)
    summary = train(run)
    assert (summary["completed"], summary["epochs"], summary["steps"]) == (False, 0, 4)
    monkeypatch.undo()
    assert train(run)["completed"]
    assert_same_run(run.out, finished)


def test_finished_run_is_left_alone(finished: Path, scenes: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    before = (finished / "last.pt").stat().st_mtime_ns
    argv = [*resume_command(options(finished, scenes)).split()[2:], "--json"]
    assert main(argv) == 0
    assert (finished / "last.pt").stat().st_mtime_ns == before
    out = capsys.readouterr().out
    assert "already complete" in out
    summary = json.loads(out.splitlines()[-1])
    assert summary["completed"]
    assert summary["weights"] == str(finished / "best.safetensors")


def test_other_configuration_is_refused_and_restart_begins_anew(
    tmp_path: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = options(tmp_path / "run", scenes, epochs=1)
    train(run)
    other = dataclasses.replace(run, lr=1e-3, seed=3)
    assert run_main(main, resume_command(other).split()[2:]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "lr (was 0.005, now 0.001)" in error[0]
    assert "seed (was 0, now 3)" in error[0]
    train(dataclasses.replace(other, restart=True))
    assert json.loads((run.out / "config.json").read_text())["seed"] == 3


def test_init_starts_from_a_checkpoint(tmp_path: Path, scenes: Path, finished: Path) -> None:
    weights = finished / "best.safetensors"
    run = options(tmp_path / "run", scenes, init=weights, lr=1e-12, ema=0.0, epochs=1)
    train(run)
    start, end = load_file(weights), load_file(run.out / "best.safetensors")
    for name, tensor in load_checkpoint(weights).named_parameters():
        torch.testing.assert_close(end[name], start[name], atol=1e-7, rtol=1e-5)
        assert tensor.shape == end[name].shape


def write_folder(root: Path) -> None:
    """Write 8 pairs in two runs of frame numbers, MFNet ids, one size."""
    random = np.random.default_rng(0)
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir(parents=True)
    for number in (*range(4), *range(100, 104)):
        stem, label = f"{number:05d}D.png", np.zeros((48, 64), np.uint8)
        y, x = random.integers(0, 24, 2)
        label[y : y + 20, x : x + 30] = 2
        label[:4] = 6
        cv2.imwrite(str(root / "rgb" / stem), random.integers(0, 255, (48, 64, 3), np.uint8))
        cv2.imwrite(str(root / "thermal" / stem), (label == 2).astype(np.uint8) * 90 + 40)
        cv2.imwrite(str(root / "labels" / stem), label)


def test_a_folder_is_split_by_sequence(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    run = TrainOptions(
        out=tmp_path / "run", data=str(tmp_path / "data"), size=SIZE_HW, epochs=1, batch=2,
        workers=0, holdout=0.5, device="cpu",
    )  # fmt: skip
    summary = train(run)
    assert summary["last"]["images"] == 4
    info = read_info(run.out / "best.safetensors")
    assert info is not None
    assert info.trained_on is not None
    assert info.trained_on.startswith("4 samples of folder data, labels by rule 'auto: mfnet'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (64, 90)}, "--size 64x90: differseg-edge needs multiples of 32"),
        ({"ema": 1.0}, "--ema 1.0"),
        ({"lr": 0.0}, "--lr 0.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"epochs": 0}, "--epochs 0: expected 1 or more"),
        ({"model": "differseg-edgy"}, "did you mean 'differseg-edge'"),
        ({"model": "differseg-rgbd-edge"}, "needs depth; give a folder"),
        ({"data": "nowhere"}, "nowhere: there is no such folder"),
        ({"device": "toaster"}, "--device toaster: expected auto, cpu, cuda"),
        ({"precision": "amp"}, "mixed precision needs a GPU"),
        ({"resume": True}, "--resume: there is no snapshot"),
        ({"init": Path("none.safetensors")}, "none.safetensors: there is no such file"),
        ({"resume": True, "restart": True}, "--resume and --restart exclude each other"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_one_line(
    tmp_path: Path, scenes: Path, changes: dict[str, object], message: str
) -> None:
    run = options(tmp_path / "run", scenes, **changes)
    with pytest.raises(DifferSegError) as caught:
        train(run)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not run.out.exists()


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    (tmp_path / "data" / "thermal" / "00102D.png").write_bytes(b"not an image")
    run = TrainOptions(
        out=tmp_path / "run", data=str(tmp_path / "data"), size=SIZE_HW, epochs=1, batch=4,
        workers=1, holdout=0.5, device="cpu",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"00102D\.png") as caught:
        train(run)
    assert "\n" not in str(caught.value)
