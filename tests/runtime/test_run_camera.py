"""``differseg run`` as a user meets it: files out, one line per mistake, signals, exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import folder, frames_of, record
from tiny_network import RGB_WEIGHTS, THERMAL_WEIGHT, tiny_manifest, tiny_onnx, write_model

from differseg.errors import InputError, SourceError
from differseg.options import run_main
from differseg.runtime.registration import Registration
from differseg.runtime.run_camera import RunOptions, main, run_camera

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "runtime" / "run_camera.py"
SYNTHETIC = "synthetic:seed=3,size=128x96"


def call(*arguments):
    return run_main(main, [str(a) for a in arguments])


def test_two_folders_end_to_end(tiny_model, tmp_path, capsys):
    """Bright and hot pixels pass the threshold; bright alone do not (0.75 against 0.5 and 1)."""
    rgb = folder(tmp_path / "rgb", 12)
    thermal = folder(tmp_path / "thermal", 12, thermal=True, hot_from=6)
    assert sum(RGB_WEIGHTS) == pytest.approx(0.75)
    assert THERMAL_WEIGHT == 0.25
    model = write_model(tmp_path / "m.onnx", tiny_onnx(), replace(tiny_manifest(), threshold=0.9))
    status = call("--model", model, "--rgb", rgb, "--thermal", thermal, "--headless",
                  "--out", tmp_path / "out", "--json")  # fmt: skip
    assert status == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["frames"] == summary["pairs"] == 12
    assert summary["cameras"]["rgb"]["drops"] == {}
    assert frames_of(tmp_path / "out/overlay.mp4") == 12
    lines = [json.loads(x) for x in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [f"f{k:03d}" for k in range(12)]
    areas = [line["area_fraction"]["object"] for line in lines]
    assert areas == pytest.approx([0.0] * 6 + [0.5] * 6, abs=0.02)
    for k, line in enumerate(lines):
        mask = cv2.imread(str(tmp_path / "out/masks" / line["mask"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (48, 64)
        assert (mask[:, :30] == (k >= 6)).all()
        assert not mask[:, 32:].any()
    assert set(summary["files"]) == {
        str(tmp_path / "out" / name) for name in ("overlay.mp4", "masks", "results.jsonl")
    }


def test_runs_of_a_recording_are_equal(tiny_model, tmp_path):
    text = SYNTHETIC + ",paced=0,seconds=1,fps=30"
    thermal = SYNTHETIC + ",paced=0,seconds=1,fps=9"
    outputs = []
    for name in ("a", "b"):
        run_camera(tiny_model, text, thermal, headless=True, masks=tmp_path / name)
        lines = (tmp_path / name / "results.jsonl").read_text().splitlines()
        outputs.append([{**json.loads(x), "stage_ms": None} for x in lines])
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 20
    for path in (tmp_path / "a").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_synthetic_pair_uses_its_own_geometry_and_clock(tiny_model):
    summary = run_camera(
        tiny_model, SYNTHETIC + ",fps=30", SYNTHETIC + ",fps=9", headless=True, seconds=1.5
    )
    notes = " ".join(summary.notes)
    assert "own homography" in notes
    assert "thermal offset: the synthetic pair's own" in notes
    assert summary.skew_ms.max <= 60.001
    assert summary.frames > 8
    assert summary.end == "1.5 s were processed"
    assert summary.cameras["thermal"].fps == pytest.approx(9, rel=0.15)
    assert summary.age_ms.p50 < 400


def test_without_registration_it_is_said(tiny_model, tmp_path):
    rgb = folder(tmp_path / "rgb", 2)
    thermal = folder(tmp_path / "thermal", 2, thermal=True)
    summary = run_camera(tiny_model, rgb, thermal, headless=True)
    assert any("stretched onto the RGB" in note for note in summary.notes)


def test_video_and_live_playback(tiny_model, tmp_path):
    text = record(tmp_path / "a.mp4", 30)
    fast = run_camera(tiny_model, text, text, headless=True)
    assert fast.frames == 30
    assert fast.age_ms is None
    start_s = time.monotonic()
    live = run_camera(tiny_model, text, text, headless=True, live=True)
    assert time.monotonic() - start_s > 0.9
    assert live.frames + sum(live.cameras["rgb"].drops.values()) == 30
    assert live.age_ms is not None


def test_a_pair_that_is_never_within_tolerance_gets_advice(tiny_model, tmp_path):
    rgb = folder(tmp_path / "rgb", 3)
    thermal = folder(tmp_path / "thermal", 3, thermal=True)
    (Path(thermal) / "timestamps.csv").write_text(
        "name,timestamp_s\n" + "".join(f"f{k:03d},{1000 + k / 30}\n" for k in range(3))
    )
    summary = run_camera(tiny_model, rgb, thermal, headless=True)
    assert summary.pairs == summary.frames == 0
    assert "are both sources on one clock?" in summary.notes[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--rgb synthetic:", "takes rgb and thermal: add --thermal"),
        ("--rgb synthetic:sed=1 --thermal 0", "did you mean 'seed'?"),
        ("--rgb no/where --thermal 0", "no such file or folder"),
        ("--rgb SMALL --thermal 987", "there is no such device"),
        ("--rgb SMALL --thermal SMALL,paced=0", "is live but"),
        ("--rgb 0 --thermal 0 --frames 0", "--frames"),
        ("--rgb 0 --thermal 0 --seconds nan", "--seconds"),
        ("--rgb 0 --thermal 0 --tolerance-ms -1", "--tolerance-ms"),
        ("--rgb 0 --thermal 0 --thermal-offset-ms inf", "--thermal-offset-ms"),
        ("--rgb SMALL --thermal SMALL --video a.avi", "must end in .mp4"),
        ("--rgb 0 --thermal 0 --tolerence-ms 1", "did you mean --tolerance-ms"),
        ("--rgb 0 --thermal 0 --registration no.json", "registration no.json: cannot be read"),
        ("--rgb 0 --thermal 0 --on-thermal-loss guess", "--on-thermal-loss"),
        ("--rgb 0 --thermal 0 --backend gpu", "--backend"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(tiny_model, capfd, arguments, words):
    given = arguments.replace("SMALL", "synthetic:size=64x64").split()
    assert call("--model", tiny_model, "--headless", *given) == 2
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error[E_")
    assert words in lines[0]
    assert out == ""


def test_model_mistakes(tiny_model, tmp_path, capfd):
    broken = tmp_path / "cut.onnx"
    broken.write_bytes(tiny_model.read_bytes()[:100])
    bare = write_model(tmp_path / "bare.onnx", tiny_onnx(), None)
    for model in (tmp_path / "none.onnx", broken, bare):
        assert call("--model", model, "--rgb", "synthetic:", "--thermal", "synthetic:") == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        assert model.name in err


def test_python_call_raises_and_refuses_unknown_options(tiny_model, tmp_path):
    with pytest.raises(InputError, match="no option 'tolerance'"):
        run_camera(tiny_model, "synthetic:", "synthetic:", tolerance=3)
    rgb, thermal = tmp_path / "rgb", tmp_path / "thermal"
    folder(rgb, 5)
    folder(thermal, 5, thermal=True)
    (thermal / "f003.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"thermal camera failed .*f003\.png"):
        run_camera(
            tiny_model, str(rgb), str(thermal), headless=True, masks=tmp_path / "m", tolerance_ms=9
        )
    assert len(list((tmp_path / "m").glob("*.png"))) == 3, "what was done is kept"


def rgb_only_model(path):
    """probability = weighted rgb / 255."""
    model = tiny_onnx()
    del model.graph.input[1]
    for name in ("Mul", "Add"):
        model.graph.node.remove(next(n for n in model.graph.node if n.op_type == name))
    model.graph.node[-1].output[0] = "probability"
    model.graph.initializer.remove(
        next(i for i in model.graph.initializer if i.name == "thermal_weight")
    )
    manifest = tiny_manifest()
    return write_model(path, model, replace(manifest, task="rgb", inputs=manifest.inputs[:1]))


def test_a_model_that_takes_rgb_alone(tmp_path, capfd):
    model = rgb_only_model(tmp_path / "rgb.onnx")
    rgb = folder(tmp_path / "rgb", 4)
    summary = run_camera(model, rgb, headless=True, out=tmp_path / "out")
    assert summary.frames == 4
    assert summary.pairs == 0
    assert set(summary.cameras) == {"rgb"}
    assert frames_of(tmp_path / "out/overlay.mp4") == 4
    lines = [json.loads(x) for x in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [line["skew_ms"] for line in lines] == [None] * 4
    assert lines[0]["area_fraction"]["object"] == pytest.approx(0.5, abs=0.02)
    capfd.readouterr()
    assert call("--model", model, "--rgb", rgb, "--thermal", rgb) == 2
    assert "takes rgb alone: leave out --thermal" in capfd.readouterr().err
    assert call("--model", model, "--rgb", rgb, "--registration", "x.json") == 2
    assert "there is no --thermal" in capfd.readouterr().err


def test_a_registration_that_covers_little_gets_a_word(tiny_model, tmp_path):
    rgb = folder(tmp_path / "rgb", 2)
    thermal = folder(tmp_path / "thermal", 2, thermal=True)
    place = tmp_path / "registration.json"
    for matrix, words in (
        ([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]], None),
        ([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]], "only 6.2 % of the rgb view"),
        ([[2.0, 0, 640], [0, 2.0, 0], [0, 0, 1]], "nothing of the rgb view"),
    ):
        Registration(matrix, (32, 24), (64, 48)).save(place)
        run = partial(run_camera, tiny_model, rgb, thermal, headless=True, registration=place)
        if words and words.startswith("nothing"):
            with pytest.raises(InputError, match=f"{words} .*; is the matrix the wrong way round"):
                run(out=tmp_path / "out")
            assert not (tmp_path / "out").exists()
        else:
            said = [note for note in run().notes if note.startswith("registration")]
            assert len(said) == (words is not None)
            assert all(words in note and "it maps thermal to rgb" in note for note in said)


def test_help_is_short(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "--on-thermal-loss" in out
    assert len(out.splitlines()) <= 95
    assert set(RunOptions.__dataclass_fields__) >= {"model", "rgb", "thermal", "tolerance_ms"}


MEMORY_OF_A_RUN = """
import json, sys
from pathlib import Path
import psutil
from differseg.runtime.run_camera import run_camera

process, samples = psutil.Process(), []

def look(status):
    samples.append((status.frames, process.memory_info().rss / 2**20))

text = "synthetic:seed=3,size=64x64,paced=0,fps=30,seconds=80"
run_camera(sys.argv[1], text, text, headless=True, out=Path(sys.argv[2]), on_status=look)
print(json.dumps(samples))
"""


def test_memory_does_not_grow_over_two_thousand_frames(tiny_model, tmp_path):
    """Everything real: engine, synthetic cameras, video, masks and lines; in a process of its own,
    because what other tests left behind comes and goes."""
    command = [sys.executable, "-c", MEMORY_OF_A_RUN, str(tiny_model), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    samples = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert samples[-1, 0] >= 2000
    late = samples[samples[:, 0] > 600]
    slope = np.polyfit(late[:, 0] / 1000, late[:, 1], 1)[0]
    assert slope < 1.0, f"{slope:.3f} MB per 1,000 frames"


@pytest.mark.parametrize(
    ("number", "echoes_s"),
    [
        (signal.SIGINT, ()),
        (signal.SIGTERM, ()),
        (signal.SIGTERM, (0.0,)),
        (signal.SIGTERM, (0.005, 0.02)),
        (signal.SIGINT, (0.02, 0.3)),
    ],
)
def test_a_signal_ends_the_run_with_a_playable_file(tiny_model, tmp_path, number, echoes_s):
    """Also where it comes twice: ``timeout`` signals the child, then the child's group."""
    command = [sys.executable, str(SCRIPT), "--model", str(tiny_model), "--rgb", SYNTHETIC]
    command += ["--thermal", SYNTHETIC, "--headless", "--out", str(tmp_path / "out"), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    lines = tmp_path / "out/results.jsonl"
    deadline_s = time.monotonic() + 60
    while not (lines.exists() and lines.read_text().count("\n") > 15):
        assert time.monotonic() < deadline_s
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    start_s = time.monotonic()
    for echo_s in echoes_s:
        time.sleep(echo_s)
        process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start_s < 5
    assert process.returncode == 0, err
    assert "Traceback" not in err
    summary = json.loads(out.splitlines()[-1])
    assert summary["end"] == "a stop was asked for"
    assert summary["frames"] == lines.read_text().count("\n")
    assert frames_of(tmp_path / "out/overlay.mp4") >= summary["frames"] * 0.9
    if shutil.which("ffprobe"):
        done = subprocess.run(
            ["ffprobe", "-v", "error", str(tmp_path / "out/overlay.mp4")], capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_the_script_says_what_is_missing():
    """Without the package on the path (-S: no site-packages), one line and exit 3."""
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT)],
        capture_output=True,
        text=True,
        cwd="/",
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.returncode == 3
    assert done.stderr.startswith("error[E_MISSING]: the package 'differseg' is not installed")
    assert done.stderr.count("\n") == 1
