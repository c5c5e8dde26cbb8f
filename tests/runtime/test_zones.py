"""Alarm zones against a literal count, and when they switch."""

import json
import time

import cv2
import numpy as np
import pytest
from tiny_network import tiny_classes_manifest, tiny_manifest

from differseg.errors import InputError
from differseg.manifest import ClassSpec, background_of
from differseg.runtime.zone_file import Zone, ZoneFile, load_zones
from differseg.runtime.zones import ZoneMonitor, polygon_mask

CLASSES = tuple(
    ClassSpec(k, name, (0, 0, 9 * k)) for k, name in enumerate(("none", "person", "car", "dog"))
)
SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))


def random_polygons(rng, count, size_hw, corners=(3, 9)):
    """Polygons with corners at quarters of pixels, many of which cross themselves."""
    height, width = size_hw
    for _ in range(count):
        number = rng.integers(*corners)
        x = rng.integers(0, 4 * (width - 1), number) / 4
        y = rng.integers(0, 4 * (height - 1), number) / 4
        yield tuple(zip(x.tolist(), y.tolist(), strict=True))


def literally_inside(polygon, x, y):
    return cv2.pointPolygonTest(np.array(polygon, np.float32), (float(x), float(y)), False) >= 0


def convex(polygon):
    hull = cv2.convexHull(np.array(polygon, np.float32)).reshape(-1, 2)
    return tuple((float(x), float(y)) for x, y in hull)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_of_a_polygon(seed):
    rng = np.random.default_rng(seed)
    for polygon in [SQUARE, *random_polygons(rng, 30, (20, 26))]:
        got = polygon_mask(np.array(polygon), (20, 26))
        for y in range(20):
            for x in range(26):
                assert got[y, x] == literally_inside(polygon, x, y), (polygon, x, y)


@pytest.mark.parametrize(("zones", "classes"), [(1, 2), (5, 4), (12, 4), (3, 12), (9, 40)])
def test_areas_are_the_literal_count(zones, classes):
    """Overlapping zones; small numbers are counted in 8 bits and large ones in 16."""
    rng = np.random.default_rng(zones)
    specs = tuple(ClassSpec(k, f"c{k}", (k, 0, 0)) for k in range(classes))
    polygons = [convex(p) for p in random_polygons(rng, zones, (30, 40))]
    drawn = ZoneFile(tuple(Zone(f"z{k}", p) for k, p in enumerate(polygons)), "px")
    monitor = ZoneMonitor(drawn, specs)
    for frame in range(3):
        mask = rng.integers(0, classes, (30, 40), dtype=np.uint8)
        events = monitor.update(mask, frame / 30, frame)
        assert len(events) == (zones if frame == 0 else 0)
        for k, polygon in enumerate(polygons):
            expected = {}
            for y in range(30):
                for x in range(40):
                    if literally_inside(polygon, x, y) and mask[y, x] > 0:
                        name = f"c{mask[y, x]}"
                        expected[name] = expected.get(name, 0) + 1
            assert monitor.states[f"z{k}"].area_px == expected


def test_fractions_reach_from_edge_to_edge():
    whole = Zone("all", ((0, 0), (1, 0), (1, 1), (0, 1)))
    left = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
    monitor = ZoneMonitor(ZoneFile((whole, left), "fraction"), CLASSES)
    for height, width in ((10, 20), (48, 64)):  # another size is prepared anew
        monitor.update(np.ones((height, width), np.uint8), 0.0, 0)
        assert monitor.states["all"].area_px == {"person": height * width}
        assert monitor.states["left"].area_px == {"person": height * width // 2}
    pixels = ZoneFile((Zone("all", ((0, 0), (19, 0), (19, 9), (0, 9))),), "px")
    monitor = ZoneMonitor(pixels, CLASSES)
    monitor.update(np.ones((10, 20), np.uint8), 0.0, 0)
    assert monitor.states["all"].area_px == {"person": 200}


def run(zone, areas, fps=10.0, times_s=None):
    """Feed frames with so many pixels of a person; return (frame, event) of each event."""
    monitor = ZoneMonitor(ZoneFile((zone,), "px"), CLASSES)
    found = []
    for k, area in enumerate(areas):
        mask = None
        if area is not None:
            mask = np.zeros((12, 12), np.uint8)
            mask[:10, :10].flat = np.arange(100) < area
        time_s = k / fps if times_s is None else times_s[k]
        found += [(k, event.event, event.area_px) for event in monitor.update(mask, time_s, k)]
    return found


def test_least_areas():
    assert run(Zone("z", SQUARE, least_area_px=7), [6, 7, 6]) == [
        (1, "zone_on", 7),
        (2, "zone_off", 6),
    ]
    assert run(Zone("z", SQUARE, least_area=0.25), [24, 25]) == [(1, "zone_on", 25)]
    assert run(Zone("z", SQUARE, least_area_px=40, least_area=0.25), [39, 40]) == [
        (1, "zone_on", 40)
    ]
    assert run(Zone("z", SQUARE, ("car",)), [100]) == []
    assert run(Zone("z", SQUARE, ("car", "person", "person")), [3]) == [(0, "zone_on", 3)]


def test_durations():
    zone = Zone("z", SQUARE, on_s=0.3, off_s=0.5)
    flicker = [1, 1, 1, 0] * 4
    assert run(zone, flicker) == []
    assert run(zone, [1] * 5) == [(3, "zone_on", 1)]
    held = [1] * 5 + [0] * 5 + [1] + [0] * 7
    assert run(zone, held) == [(3, "zone_on", 1), (16, "zone_off", 0)]
    without = [1, None, None, 1]
    assert run(zone, without) == [(3, "zone_on", 1)], "frames without a mask change nothing"
    back = [0.0, 0.2, -5.0, -4.9, -4.7, -4.6]
    assert run(zone, [1] * 6, times_s=back) == [(4, "zone_on", 1)], "a new clock begins anew"


def test_an_event_says_how_long():
    monitor = ZoneMonitor(ZoneFile((Zone("door", SQUARE),), "px"), CLASSES)
    on, off = np.full((12, 12), 1, np.uint8), np.zeros((12, 12), np.uint8)
    (first,) = monitor.update(on, 5.0, 70)
    assert monitor.states["door"].on
    assert monitor.update(on, 6.0, 71) == []
    (second,) = monitor.update(off, 7.5, 72)
    assert first.document() == {
        "event": "zone_on", "zone": "door", "time_s": 5.0, "index": 70, "area_px": 100,
        "lasted_s": None,
    }  # fmt: skip
    assert (second.event, second.lasted_s, second.index) == ("zone_off", 2.5, 72)
    assert not monitor.states["door"].on


@pytest.mark.parametrize("manifest", [tiny_manifest(), tiny_classes_manifest()])
def test_all_classes_but_the_background_where_none_are_named(manifest):
    classes, background = manifest.classes, background_of(manifest.classes)
    monitor = ZoneMonitor(ZoneFile((Zone("z", SQUARE),), "px"), classes)
    mask = np.zeros((12, 12), np.uint8)
    mask[:10, :10].flat = np.resize([spec.id for spec in classes], 100)
    monitor.update(mask, 0.0, 0)
    counted = monitor.states["z"].area_px
    assert list(counted) == [spec.name for spec in classes if spec != background]
    for name, area_px in counted.items():
        (number,) = (spec.id for spec in classes if spec.name == name)
        assert area_px == np.count_nonzero(mask[:10, :10] == number)


def test_a_file_of_zones(tmp_path):
    path = tmp_path / "zones.json"
    door = {"name": "door", "polygon": [[0, 0], [1, 0], [1, 1]], "classes": ["person"], "on_s": 1}
    path.write_text(json.dumps({"units": "fraction", "zones": [door]}))
    (zone,) = load_zones(path).zones
    assert zone == Zone("door", ((0, 0), (1, 0), (1, 1)), ("person",), on_s=1.0)


WRONG = [
    ({"zones": []}, "there are none"),
    ({"zones": [{}, {}]}, "two are called 'a'"),
    ({"units": "mm"}, "units: expected one of 'px', 'fraction'"),
    ({"zones": [{"polygon": [[0, 0], [1, 1], [0, 0]]}]}, "three corners or more"),
    ({"zones": [{"polygon": [[0, 0], [1]]}]}, r"polygon\[1\]: expected 2 values"),
    ({"zones": [{"polygon": [[0, 0], [1, 0], [5, 1]]}]}, "corner is outside 0..1"),
    ({"zones": [{"least_area": 2}]}, "least_area: expected 0 to 1, got 2"),
    ({"zones": [{"least_area_px": 0}]}, "least_area_px: expected 1 or more"),
    ({"zones": [{"on_s": -1}]}, "on_s: expected 0 to 86400"),
    ({"zones": [{"colour": 1}]}, "colour"),
    ({"zones": [{"name": ""}]}, "expected a name"),
    ({"schema": 2}, "schema"),
]


@pytest.mark.parametrize(("change", "text"), WRONG)
def test_wrong_files(tmp_path, change, text):
    path = tmp_path / "zones.json"
    zone = {"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]]}
    change = dict(change)
    zones = [zone | other for other in change.pop("zones", [{}])]
    path.write_text(json.dumps({"units": "fraction", "zones": zones} | change))
    with pytest.raises(InputError, match=text) as caught:
        load_zones(path)
    assert str(caught.value).startswith(f"zones {path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_zones(tmp_path / "none.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="not text"):
        load_zones(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load_zones(tmp_path / "a.json")


def test_zones_that_do_not_suit_the_model_or_the_picture():
    with pytest.raises(InputError, match="no class 'persons'; did you mean 'person'"):
        ZoneMonitor(ZoneFile((Zone("z", SQUARE, ("persons",)),), "px"), CLASSES)
    with pytest.raises(InputError, match="no class 'x'; it has none, person"):
        ZoneMonitor(ZoneFile((Zone("z", SQUARE, ("x",)),), "px"), CLASSES)
    mask = np.zeros((8, 8), np.uint8)
    with pytest.raises(InputError, match=r"zone 'z' in frames of 8x8: a corner .* lies outside"):
        ZoneMonitor(ZoneFile((Zone("z", SQUARE),), "px"), CLASSES).update(mask, 0.0, 0)
    sliver = Zone("z", ((1.2, 1.2), (1.4, 1.2), (1.3, 1.4)))
    with pytest.raises(InputError, match="no pixel's centre lies in it"):
        ZoneMonitor(ZoneFile((sliver,), "px"), CLASSES).update(mask, 0.0, 0)


def test_eight_zones_are_cheap():
    """0.1 ms of a core here; the limit leaves room for slow and busy machines."""
    rng = np.random.default_rng(0)
    polygons = [convex(p) for p in random_polygons(rng, 8, (480, 640))]
    zones = ZoneFile(tuple(Zone(f"z{k}", p) for k, p in enumerate(polygons)), "px")
    monitor = ZoneMonitor(zones, CLASSES)
    mask = rng.integers(0, 4, (480, 640), dtype=np.uint8)
    costs_ms = []
    for k in range(50):
        start_s = time.thread_time()
        monitor.update(mask, k / 30, k)
        costs_ms.append(1e3 * (time.thread_time() - start_s))
    assert np.median(costs_ms[1:]) < 3.0
