"""``differseg run`` on a board: what it says of itself, and a smaller model while it is late."""

import json

import pytest
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.errors import InputError
from differseg.runtime.power import stepdown
from differseg.runtime.run_camera import run_camera

SYNTHETIC = "synthetic:seed=3,size=96x64,fps=30"


@pytest.fixture
def small_model(tmp_path):
    return write_model(tmp_path / "small.onnx", tiny_onnx((8, 12)), tiny_manifest((8, 12)))


def test_the_board_is_in_the_summary_and_in_every_line(tiny_model, tmp_path):
    summary = run_camera(
        tiny_model, SYNTHETIC, SYNTHETIC, headless=True, frames=5, masks=tmp_path / "out"
    )
    lines = [json.loads(x) for x in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [line["board"] for line in lines] == [[]] * 5
    assert summary.board.source == "sysfs"
    assert summary.board.throttle_events == {}


def test_late_results_bring_the_smaller_model(tiny_model, small_model, tmp_path, monkeypatch):
    """No frame can meet this deadline, so the smaller model is asked for as soon as it may be."""
    rules = stepdown.StepRules(late_s=0.5)
    monkeypatch.setattr(stepdown, "LEAST_S", 1.0)
    monkeypatch.setattr(stepdown, "StepRules", lambda: rules)
    summary = run_camera(
        tiny_model,
        SYNTHETIC,
        SYNTHETIC,
        headless=True,
        deadline_ms=0.01,
        step_down=small_model,
        seconds=6,
    )
    assert any("NOW RUNS" in note and "small.onnx" in note for note in summary.notes)
    drops = summary.cameras["rgb"].drops
    assert summary.frames + sum(drops.values()) == summary.cameras["rgb"].captured


def test_without_a_deadline_it_is_said_that_heat_alone_decides(tiny_model, small_model):
    summary = run_camera(
        tiny_model, SYNTHETIC, SYNTHETIC, headless=True, frames=2, step_down=small_model
    )
    assert any("heat alone decides" in note for note in summary.notes)


def test_a_model_of_other_classes_is_refused_before_the_cameras(tiny_model, classes_model):
    with pytest.raises(InputError, match=r"--step-down .*its classes are"):
        run_camera(tiny_model, "/dev/none", "/dev/none", headless=True, step_down=classes_model)
