"""``run_images --tile``: options, result and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import tiny_probability

from differseg.options import run_main
from differseg.runtime.run_images import main, run_images
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling_run import progress_bar

SIZE_HW = (60, 100)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """rgb/ and thermal/ with two samples larger than the tiny model."""
    rng = np.random.default_rng(0)
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
    for stem in ("one", "two"):
        rgb = rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
        thermal = rng.integers(28800, 31200, SIZE_HW).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "rgb" / f"{stem}.png"), rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / "thermal" / f"{stem}.png"), thermal)
    return tmp_path


def command(folders: Path, model: Path, *more: str) -> list[str]:
    return [
        f"--model={model}", f"--rgb={folders / 'rgb'}", f"--thermal={folders / 'thermal'}",
        f"--out={folders / 'out'}", "--threads=1", *more,
    ]  # fmt: skip


def right_pixels(folders: Path, stem: str) -> float:
    """Share of the clear pixels of a mask that are as the network gives them at full size."""
    rgb = cv2.imread(str(folders / "rgb" / f"{stem}.png"))[..., ::-1]
    thermal = cv2.imread(str(folders / "thermal" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
    exact = tiny_probability(rgb, thermal)
    mask = cv2.imread(str(folders / "out/masks" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == SIZE_HW
    clear = np.abs(exact - 0.5) > 1e-5
    return float((mask == (exact >= 0.5))[clear].mean())


def test_tiles_keep_the_detail_that_the_whole_image_loses(
    folders: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(folders, tiny_model, "--tile=16x24", "--no-whole-view", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert right_pixels(folders, "one") == right_pixels(folders, "two") == 1.0
    assert main(command(folders, tiny_model)) == 0
    assert right_pixels(folders, "one") < 0.9


def test_from_python_with_a_view_of_the_whole_image(folders: Path, tiny_model: Path) -> None:
    places = {"rgb": folders / "rgb", "thermal": folders / "thermal", "out": folders / "out"}
    summary = run_images(tiny_model, **places, tile=(16, 24), overlap=4, threads=1)
    assert summary.images == 2
    assert list(summary.stages) == ["read", "prepare", "infer", "post", "write"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--overlap=0.3"], "--overlap is about tiles: add --tile HxW"),
        (["--no-whole-view"], "--no-whole-view is about tiles"),
        (["--whole-view"], "--whole-view is about tiles"),
        (["--tile=16x24", "--overlap=0.6"], "overlap 0.6: expected a share of 0..0.5"),
        (["--tile=0x24"], "tiles of 0x24"),
        (["--tile=16"], "expected HEIGHTxWIDTH"),
    ],
)
def test_mistakes_are_one_line_each(
    folders: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert run_main(main, command(folders, tiny_model, *more)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folders / "out").exists()


def test_the_bar_moves_within_an_image(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with (
        TiledSegmenter(tiny_model, threads=1) as segmenter,
        progress_bar(4, segmenter, wanted=True) as advance,
    ):
        assert segmenter.on_progress is not None
        advance()
        segmenter.on_progress(1, 2)
    assert "38%" in terminal.getvalue()  # 1.5 of 4
    terminal.truncate(0)
    with TiledSegmenter(tiny_model, threads=1) as segmenter:
        with progress_bar(4, segmenter, wanted=False) as advance:
            advance()
        assert segmenter.on_progress is None
    assert terminal.getvalue() == ""
