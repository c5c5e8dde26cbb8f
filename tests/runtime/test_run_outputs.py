"""What a run writes: never over what it reads, never half, and closed whatever happens."""

import subprocess
import sys

import pytest
from recordings import folder, record

from differseg.errors import InputError
from differseg.options import run_main
from differseg.runtime.run_camera import main, run_camera

SOURCE = "synthetic:seed=3,size=128x96,paced=0,seconds=2"

CLASHES = [
    ("--rgb victim.mp4 --thermal victim.mp4 --video victim.mp4", "--video", "--thermal"),
    ("--rgb victim.mp4 --thermal C/thermal --video D/../link.mp4", "--video", "--rgb"),
    ("--rgb C/rgb,fps=9 --thermal C/thermal --masks C/rgb", "--masks", "--rgb"),
    ("--rgb C/rgb --thermal C/masks --out C", "--out", "--thermal"),
    ("--rgb C/rgb --thermal C/thermal --out dd --video dd/overlay.mp4", "--out", "--video"),
    ("--rgb C/rgb --thermal C/thermal --out dd --masks dd/masks", "--out", "--masks"),
    ("--rgb C/rgb --thermal C/thermal --out dd --masks dd", "--out", "--masks"),
]


@pytest.mark.parametrize(("arguments", "output", "other"), CLASHES)
def test_no_output_is_an_input_or_another_output(
    tiny_model, tmp_path, monkeypatch, capfd, arguments, output, other
):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "C/rgb", 3)
    for name in ("thermal", "masks"):
        folder(tmp_path / "C" / name, 3, thermal=True)
    record(tmp_path / "victim.mp4", 3)
    (tmp_path / "D").mkdir()
    (tmp_path / "link.mp4").hardlink_to("victim.mp4")
    before = contents(tmp_path)
    assert run_main(main, [f"--model={tiny_model}", "--headless", *arguments.split()]) == 2
    line = [x for x in capfd.readouterr().err.splitlines() if not x.startswith("note: ")]
    assert len(line) == 1
    assert f"{output} would write " in line[0]
    assert f"but {other} names the same" in line[0]
    assert contents(tmp_path) == before


def contents(place):
    return {p: p.read_bytes() if p.is_file() else None for p in place.rglob("*")}


def test_outputs_beside_the_inputs_are_fine(tiny_model, tmp_path):
    rgb = folder(tmp_path / "C/rgb", 3)
    thermal = folder(tmp_path / "C/thermal", 3, thermal=True)
    run_camera(tiny_model, rgb, thermal, headless=True, out=tmp_path / "C")
    again = run_camera(tiny_model, rgb, thermal, headless=True, out=tmp_path / "C")
    assert again.frames == len(list((tmp_path / "C/masks").glob("*.png"))) == 3


def test_a_full_disk_is_an_error_of_one_line(tiny_model, tmp_path):
    """With a limit to the size of files, which the check of the free space cannot see."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from differseg.options import run_main\n"
        "from differseg.runtime.run_camera import main\n"
        "sys.exit(run_main(main))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"--model={tiny_model}", f"--rgb={SOURCE}",
         f"--thermal={SOURCE}", "--headless", f"--video={tmp_path / 'a.mp4'}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, done.stderr
    assert "a.mp4: is not a whole video" in lines[0]
    assert "wrote" not in done.stdout


@pytest.mark.parametrize("fails", ["segmenter.Segmenter.warmup", "pipeline.FrameProcessor"])
def test_a_run_that_cannot_begin_leaves_nothing_open(tiny_model, tmp_path, monkeypatch, fails):
    closed = []

    def broken(*_, **__):
        raise InputError("no memory left")

    monkeypatch.setattr(f"differseg.runtime.{fails}", broken)
    for part in ("sources.files.FolderSource", "sinks.masks.MaskSink", "sinks.video.VideoSink"):
        name = part.rpartition(".")[2]
        monkeypatch.setattr(
            f"differseg.runtime.{part}.close", lambda _, name=name: closed.append(name)
        )
    rgb = folder(tmp_path / "rgb", 2)
    thermal = folder(tmp_path / "thermal", 2, thermal=True)
    with pytest.raises(InputError, match="no memory left"):
        run_camera(tiny_model, rgb, thermal, headless=True, out=tmp_path / "out")
    if fails.startswith("segmenter"):
        assert closed == ["FolderSource"] * 2
        assert not (tmp_path / "out").exists()
    else:
        assert sorted(closed) == ["FolderSource", "FolderSource", "MaskSink", "VideoSink"]
