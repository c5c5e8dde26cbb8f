"""Events of zones as lines, and what results say of areas."""

import json

import numpy as np
import pytest
from sink_results import result

from differseg.errors import InputError
from differseg.runtime.sinks.events import EventSink
from differseg.runtime.sinks.masks import MaskSink
from differseg.runtime.zones import ZoneEvent, ZoneState


def test_events_are_lines_that_are_kept(tmp_path):
    on = ZoneEvent("zone_on", "door", 1.23456789, 4, 77)
    off = ZoneEvent("zone_off", "gate", 1.3, 5, 0, lasted_s=2.0)
    path = tmp_path / "new/events.jsonl"
    for _ in range(2):
        sink = EventSink(path)
        sink.write(result(1.0))
        sink.write(result(1.3, zone_events=[on, off]))
        lines = path.read_text().splitlines()
        sink.close()
        sink.close()
    assert len(lines) == 4, "a second run adds to the first, and each line is there at once"
    assert [json.loads(line) for line in lines] == [on.document(), off.document()] * 2
    assert json.loads(lines[0])["time_s"] == 1.234568
    assert sink.files == [str(path)]


def test_events_that_cannot_be_written(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match=r"d: cannot be written \(Is a directory"):
        EventSink(tmp_path / "d")


def test_lines_have_areas_in_pixels_and_by_zone(tmp_path):
    mask = np.zeros((37, 53), np.uint8)
    mask[:7, :11] = 1
    mask[20, 3] = 2
    parts = {"object": 77 / mask.size, "other": 1 / mask.size}
    sink = MaskSink(tmp_path / "m")
    zones = {"door": ZoneState(True, {"object": 12}), "gate": ZoneState(False, {})}
    sink.write(result(0.0, mask=mask, area_fraction=parts, zones=zones))
    sink.write(result(0.1, status="hold", area_fraction=parts))
    sink.close()
    first, second = map(json.loads, (tmp_path / "m/results.jsonl").read_text().splitlines())
    assert first["area_px"] == {"object": 77, "other": 1}
    assert first["zones"] == {
        "door": {"on": True, "area_px": {"object": 12}},
        "gate": {"on": False, "area_px": {}},
    }
    assert second["area_px"] == second["zones"] == {}


def test_areas_in_pixels_are_exact():
    mask = np.zeros((37, 53), np.uint8)
    for area in range(mask.size + 1):
        given = result(0.0, size_hw=(1, 1), mask=mask, area_fraction={"object": area / mask.size})
        assert given.area_px == {"object": area}
