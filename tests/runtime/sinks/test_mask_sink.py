"""One mask and one line a frame; and why there is no window."""

import json
import shutil

import cv2
import numpy as np
import pytest
from sink_results import files_limited_to, noise, result

from differseg.errors import InputError
from differseg.runtime.sinks.masks import MaskSink
from differseg.runtime.sinks.window import why_no_window


def test_a_mask_that_was_cut_off_is_an_error_and_removed(tmp_path):
    sink = MaskSink(tmp_path / "m")
    with (
        files_limited_to(5_000),
        pytest.raises(InputError, match=r"000000\.png: cannot be written"),
    ):
        sink.write(next(noise(1)))
    sink.close()
    assert list(tmp_path.glob("m/*.png")) == []


def test_masks_and_lines(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[5:9, 3:20] = 1
    sink = MaskSink(tmp_path / "m")
    common = {"picture": None, "skew_ms": -3.14159, "stage_ms": {"infer": 12.34567}}
    sink.write(result(1.5, index=7, mask=mask, area_fraction={"object": 0.25}, **common))
    sink.write(result(1.6, index=8, name="img_08", mask=1 - mask, **common))
    sink.write(result(1.7, index=9, status="hold", note="stale", **common))
    lines = [json.loads(line) for line in (tmp_path / "m/results.jsonl").read_text().splitlines()]
    assert len(lines) == 3, "each line is on the disk before the run ends"
    sink.close()
    assert [line["mask"] for line in lines] == ["000007.png", "img_08.png", None]
    assert [line["status"] for line in lines] == ["ok", "ok", "hold"]
    assert lines[0]["skew_ms"] == -3.142
    assert lines[0]["area_fraction"] == {"object": 0.25}
    assert lines[0]["stage_ms"] == {"infer": 12.346}
    assert lines[2]["note"] == "stale"
    read = cv2.imread(str(tmp_path / "m/000007.png"), cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint8
    assert (read == mask).all()


def test_masks_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        MaskSink(tmp_path / "file")
    sink = MaskSink(tmp_path / "m")
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(InputError, match=r"000000\.png: cannot be written \(No such file"):
        sink.write(result(0.0, mask=np.zeros((4, 4), np.uint8)))
    sink.close()


def test_why_no_window_is_a_reason_or_none(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    reason = why_no_window()
    assert reason is not None
    assert "display" in reason or "windows" in reason
