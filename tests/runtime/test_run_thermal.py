"""Camera runs with a thermal camera that needs care: units, dead pixels, an unknown offset."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from tiny_network import tiny_manifest, tiny_onnx, write_model
from two_views import TwoViews

from differseg.runtime.run_camera import run_camera


def two_folders(path, count, thermal):
    """Write folders of ``count`` pairs 0.1 s apart; ``thermal(k)`` gives the thermal images."""
    for name in ("rgb", "thermal"):
        (path / name).mkdir(parents=True)
        lines = ["name,timestamp_s", *(f"f{k:03d},{k / 10}" for k in range(count))]
        (path / name / "timestamps.csv").write_text("\n".join(lines) + "\n")
    for k in range(count):
        white = np.full((48, 64, 3), 255, np.uint8)
        assert cv2.imwrite(str(path / "rgb" / f"f{k:03d}.png"), white)
        assert cv2.imwrite(str(path / "thermal" / f"f{k:03d}.png"), thermal(k))
    return str(path / "rgb"), str(path / "thermal")


@pytest.mark.parametrize(("unit", "area"), [("0.1K", 0.5), ("0.01K", 0.0)])
def test_tenths_of_a_kelvin_are_what_the_model_wants(unit, area, tmp_path):
    """The left half is hot, at 310 K: a full thermal input, where 290 K is an empty one."""
    image = np.full((24, 32), 2900, np.uint16)
    image[:, :16] = 3100
    sources = two_folders(tmp_path, 3, lambda k: image)
    model = write_model(tmp_path / "m.onnx", tiny_onnx(), replace(tiny_manifest(), threshold=0.9))
    out = tmp_path / "out"
    summary = run_camera(model, *sources, headless=True, masks=out, thermal_unit=unit)
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["area_fraction"]["object"] for line in lines] == pytest.approx(
        [area] * 3, abs=0.02
    )
    assert any("0.1 K a count" in note for note in summary.notes) == (unit == "0.01K")


def test_dead_pixels_are_found_and_counted(tiny_model, tmp_path):
    """Two pixels stay as they are, while everything around them moves on."""
    rng = np.random.default_rng(3)
    wide = cv2.GaussianBlur(rng.normal(0, 4000, (24, 400)).astype(np.float32), (0, 0), 3) + 29800

    def thermal(k):
        image = wide[:, 2 * k : 2 * k + 32].astype(np.uint16)
        image[5, 7] = image[15, 20] = 35000
        return image

    sources = two_folders(tmp_path, 160, thermal)
    plain = run_camera(tiny_model, *sources, headless=True)
    assert plain.dead_pixels is None
    assert "correct" not in plain.stages_ms
    summary = run_camera(tiny_model, *sources, headless=True, thermal_correction=True)
    assert summary.dead_pixels == 2
    assert summary.thermal_jumps == 0
    assert summary.stages_ms["correct"].count == 160


def test_the_offset_of_a_head_that_turns_is_found(tiny_model, tmp_path):
    views, late_s = TwoViews(4, 40.0), 0.045
    for name, rate_hz in (("rgb", 15), ("thermal", 9)):
        (tmp_path / name).mkdir()
        lines = ["name,timestamp_s"]
        for k in range(round(30 * rate_hz)):
            time_s = k / rate_hz + 0.01 * (name == "thermal")
            image = views.rgb(time_s) if name == "rgb" else views.thermal(time_s)
            assert cv2.imwrite(str(tmp_path / name / f"f{k:04d}.png"), image)
            lines.append(f"f{k:04d},{time_s + late_s * (name == 'thermal'):.6f}")
        (tmp_path / name / "timestamps.csv").write_text("\n".join(lines) + "\n")
    sources = str(tmp_path / "rgb"), str(tmp_path / "thermal")
    summary = run_camera(tiny_model, *sources, headless=True, thermal_offset_ms="auto")
    found = summary.thermal_offset
    assert found.settled
    assert found.offset_ms == pytest.approx(1000 * late_s, abs=3)
    assert any(note.startswith("thermal offset: +4") for note in summary.notes)


def test_an_offset_that_cannot_be_told_is_not_made_up(tiny_model):
    """Walkers before a head at rest; and the synthetic pair's own delay is not used then."""
    texts = [f"synthetic:seed=4,size=96x72,fps={fps},paced=0" for fps in (15, 9)]
    summary = run_camera(tiny_model, *texts, headless=True, seconds=25, thermal_offset_ms="auto")
    assert summary.thermal_offset.offset_ms is None
    assert "0 ms is used meanwhile" in summary.thermal_offset.reason
    assert not any("synthetic pair's own" in note and "offset" in note for note in summary.notes)
