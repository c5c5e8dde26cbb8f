"""The synthetic camera pair: one world, two cameras, real time."""

import subprocess
import sys
import time

import numpy as np
import pytest

from differseg.runtime.sources import PaceClock, open_source
from differseg.runtime.sources.synthetic import same_scene

SMALL = "size=128x96"


def test_frames_are_those_of_the_scene():
    from differseg.data.synthetic import SyntheticScene

    scene = SyntheticScene(3, size_wh=(128, 96), night=True)
    text = f"synthetic:seed=3,night=1,paced=0,fps=10,seconds=0.3,{SMALL}"
    for modality in ("rgb", "thermal"):
        with open_source(text, modality) as source:
            frames = []
            while (frame := source.read()) is not None:
                frames.append(frame)
        assert [f.timestamp_s for f in frames] == pytest.approx([0.0, 0.1, 0.2])
        assert not source.live
        truth = scene.rgb(0.1)[:, :, ::-1] if modality == "rgb" else scene.thermal(0.1)
        assert (frames[1].image == truth).all()
        assert frames[1].image.dtype == (np.uint8 if modality == "rgb" else np.uint16)


def test_paced_frames_come_in_time_and_late_ones_are_skipped():
    with open_source(f"synthetic:fps=20,{SMALL}", "rgb") as source:
        first = source.read()
        second = source.read()
        assert second.timestamp_s - first.timestamp_s == pytest.approx(0.05)
        time.sleep(0.3)
        late = source.read()
    assert late.index >= 6, "a camera does not wait for its reader"
    assert late.timestamp_s - first.timestamp_s == pytest.approx(0.05 * late.index)
    assert time.monotonic() - late.timestamp_s < 0.5


def test_only_equal_scenes_are_one_pair():
    clock = PaceClock()

    def pair(a, b):
        rgb, thermal = (
            open_source(f"synthetic:{text},{SMALL}", modality, clock=clock)
            for text, modality in ((a, "rgb"), (b, "thermal"))
        )
        return same_scene(rgb, thermal)

    scene = pair("seed=3,fps=30", "seed=3,fps=9")
    assert scene.thermal_to_rgb.shape == (3, 3)
    assert pair("seed=3", "seed=4") is None
    assert pair("seed=3,night=1", "seed=3") is None


def test_opening_one_loads_no_training_package():
    code = (
        "import sys; from differseg.runtime.sources import open_source; "
        f"open_source('synthetic:{SMALL}', 'rgb').close(); "
        "print([m for m in ('torch', 'onnx', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
