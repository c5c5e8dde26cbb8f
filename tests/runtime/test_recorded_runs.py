"""Runs that record, replays, zones, smoothing and videos in pieces, as a user meets them."""

import json

import pytest
from recordings import frames_of

from differseg.errors import InputError
from differseg.runtime.run_camera import run_camera
from differseg.runtime.session_file import load_record
from differseg.runtime.sources.session import SessionSource

SOURCE = "synthetic:seed=3,size=128x96,seconds=1"
LONGER = "synthetic:seed=3,size=128x96,seconds=3"


def lines_of(folder):
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [{**line, "stage_ms": None} for line in lines]


def frames_in(folder, modality):
    with SessionSource(folder, modality) as source:
        return list(iter(source.read, None))


def test_a_recorded_run_and_its_replays_are_equal(tiny_model, tmp_path):
    rgb, thermal = SOURCE + ",paced=0", LONGER + ",paced=0,fps=9"
    first = run_camera(
        tiny_model, rgb, thermal, headless=True, masks=tmp_path / "a", record=tmp_path / "s"
    )
    assert first.recording.frames["rgb"] == first.frames == 30
    assert first.recording.frames["thermal"] == first.cameras["thermal"].captured
    assert first.recording.dropped == {"rgb": 0, "thermal": 0}
    assert load_record(tmp_path / "s").end.reason == "the run ended"
    session = f"session:{tmp_path / 's'}"
    for name in ("b", "c"):
        again = run_camera(tiny_model, session, session, headless=True, masks=tmp_path / name)
        assert (again.pairs, again.frames) == (first.pairs, first.frames)
        assert lines_of(tmp_path / name) == lines_of(tmp_path / "a")
        for mask in (tmp_path / "a").glob("*.png"):
            assert mask.read_bytes() == (tmp_path / name / mask.name).read_bytes()
    assert any(line["area_px"]["object"] for line in lines_of(tmp_path / "a"))


def test_a_live_run_records_what_it_captured(tiny_model, tmp_path):
    summary = run_camera(
        tiny_model, SOURCE, SOURCE + ",fps=9", headless=True, record=tmp_path / "s"
    )
    for name in ("rgb", "thermal"):
        assert summary.recording.frames[name] == summary.cameras[name].captured > 5
        assert len(frames_in(tmp_path / "s", name)) == summary.recording.frames[name]


def test_a_recording_that_ends_early_does_not_end_the_run(tiny_model, tmp_path):
    summary = run_camera(
        tiny_model, SOURCE + ",paced=0", LONGER + ",paced=0", headless=True,
        record=tmp_path / "s", record_limit_gb=1e-4,
    )  # fmt: skip
    assert summary.frames == 30
    assert "limit" in summary.recording.ended
    assert any("RECORDING ENDED" in note for note in summary.notes)
    assert 0 < summary.recording.bytes <= 100_000
    assert summary.recording.frames["rgb"] < 30


def test_zones_and_smoothing_and_pieces(tiny_model, tmp_path):
    zone = {"name": "all", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}
    (tmp_path / "z.json").write_text(json.dumps({"units": "fraction", "zones": [zone]}))
    source = "synthetic:seed=3,size=128x96,seconds=3,paced=0"
    summary = run_camera(
        tiny_model, source, source, headless=True, masks=tmp_path / "m", smooth=3,
        zones=tmp_path / "z.json", video=tmp_path / "v/run.mkv", segment_s=1.0,
    )  # fmt: skip
    events = [json.loads(x) for x in (tmp_path / "m/events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "zone_on"
    assert str(tmp_path / "m/events.jsonl") in summary.files
    for line in lines_of(tmp_path / "m"):
        assert line["zones"]["all"]["area_px"].get("object", 0) == line["area_px"]["object"]
    assert {"zones", "smooth"} <= set(summary.stages_ms)
    pieces = sorted((tmp_path / "v").iterdir())
    assert [piece.name for piece in pieces] == [f"run-{k:06d}.mkv" for k in range(3)]
    assert sum(map(frames_of, pieces)) == 90


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"record_limit_gb": 1.0}, "--record-limit-gb: goes with --record"),
        ({"segment_s": 5.0}, "--segment-s: goes with --video"),
        ({"zones": "z.json"}, "--zones: the events need a place"),
        ({"smooth": 1}, "--smooth: expected 2 to 60"),
        ({"smooth": 0}, "--smooth: expected 2 to 60"),
    ],
)
def test_options_that_do_not_go_alone(tiny_model, options, text):
    with pytest.raises(InputError, match=text):
        run_camera(tiny_model, SOURCE, SOURCE, headless=True, **options)


def test_a_session_is_not_recorded_into_itself(tiny_model, tmp_path):
    run_camera(
        tiny_model, SOURCE + ",paced=0", SOURCE + ",paced=0", headless=True, record=tmp_path / "s"
    )
    session = f"session:{tmp_path / 's'}"
    with pytest.raises(InputError, match=r"--record would write .* but --"):
        run_camera(tiny_model, session, session, headless=True, record=tmp_path / "s")
