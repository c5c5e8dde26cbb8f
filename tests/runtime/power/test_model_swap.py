"""Changing the model of a run between two frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_cameras import SIZE_HW, FakeSegmenter, FakeSource, ListSink
from tiny_network import tiny_classes_manifest, tiny_manifest

from differseg.errors import InputError, ModelFileError
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.power.swap import SwappingSegmenter, SwapReport, check_models, difference
from differseg.runtime.segmenter import Segmenter


class Model(FakeSegmenter):
    """Fills its masks with its number, has some slots, and knows what was done with it."""

    def __init__(self, number, slots=1, manifest=None, seconds=0.0):
        super().__init__(seconds)
        self.number, self.slots = number, slots
        self.manifest = manifest or tiny_manifest()
        self.warm = self.closed = 0
        self.under_way = deque()

    def warmup(self):
        self.warm += 1

    def begin(self, *, timestamp_s=None, **frames):
        assert not self.closed, "a closed model was used"
        assert len(self.under_way) < self.slots, "more frames than slots"
        begun = (self.number, frames["rgb"].flat[0])
        self.under_way.append(begun)
        return begun

    def end(self, begun):
        assert not self.closed, "a closed model was used"
        assert self.under_way.popleft() == begun, "ended with another model, or out of order"
        result = super().end(begun)
        result.mask[:] = self.number
        return result

    def close(self):
        assert not self.under_way, "closed with a frame under way"
        self.closed += 1


FRAME = {
    "rgb": np.zeros((*SIZE_HW, 3), np.uint8),
    "thermal": np.full(SIZE_HW, 30000, np.uint16),
}


def wait_for(condition, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.002)


def number_of(swapping):
    """Run one frame; returns the number of the model that segmented it."""
    return int(swapping.end(swapping.begin(**FRAME)).mask[0, 0])


def test_the_next_model_takes_over_between_two_frames():
    first, second, allowed = Model(0), Model(1), threading.Event()

    def open_model(index):
        allowed.wait(10)
        return [first, second][index]

    swapping = SwappingSegmenter(first, open_model)
    assert swapping.request(1)
    assert [number_of(swapping) for _ in range(50)] == [0] * 50  # it goes on meanwhile
    assert swapping.busy
    assert not swapping.request(1)
    assert swapping.take_report() is None
    allowed.set()
    wait_for(lambda: second.warm)
    wait_for(lambda: number_of(swapping) == 1)
    assert swapping.index == 1
    assert swapping.take_report() == SwapReport(1, None)
    assert swapping.take_report() is None
    assert not swapping.busy
    wait_for(lambda: first.closed)
    assert second.warm == 1
    swapping.close()
    assert second.closed >= 1


def test_frames_under_way_are_ended_by_the_model_they_were_begun_with():
    first, second = Model(0, slots=2), Model(1, slots=2)
    swapping = SwappingSegmenter(first, lambda index: second)
    begun = [swapping.begin(**FRAME), swapping.begin(**FRAME)]
    swapping.request(1)
    wait_for(lambda: swapping._ready is not None)
    assert int(swapping.end(begun[0]).mask[0, 0]) == 0
    third = swapping.begin(**FRAME)
    assert int(swapping.end(begun[1]).mask[0, 0]) == 0
    assert not first.closed  # its last result is still being read
    assert int(swapping.end(third).mask[0, 0]) == 1
    wait_for(lambda: first.closed)
    swapping.close()


def test_there_and_back_opens_the_model_anew():
    opened = []

    def open_model(index):
        opened.append(Model(index))
        return opened[-1]

    swapping = SwappingSegmenter(Model(0), open_model)
    for wanted in (1, 0, 1):
        assert swapping.request(wanted)
        wait_for(lambda wanted=wanted: number_of(swapping) == wanted)
        assert swapping.take_report() == SwapReport(wanted, None)
    assert [model.number for model in opened] == [1, 0, 1]
    wait_for(lambda: [bool(model.closed) for model in opened] == [True, True, False])
    assert not swapping.request(1)  # it runs already
    swapping.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ModelFileError("small.onnx: there is no such file"), "small.onnx: there is no such file"),
        (MemoryError("out of memory"), "MemoryError: out of memory"),
    ],
)
def test_a_model_that_does_not_open_leaves_the_present_one(error, text):
    def open_model(index):
        raise error

    swapping = SwappingSegmenter(Model(0), open_model)
    swapping.request(1)
    reports = []
    wait_for(lambda: reports.append(swapping.take_report()) or reports[-1])
    assert reports[-1] == SwapReport(1, text)
    assert number_of(swapping) == 0
    assert not swapping.busy
    swapping.close()


def test_a_model_with_other_classes_or_fewer_slots_is_refused_and_closed():
    for model, text in (
        (Model(1, slots=2, manifest=tiny_classes_manifest()), "its classes are"),
        (Model(1, slots=1), "its engine has room for 1 frame, 2 needed"),
    ):
        swapping = SwappingSegmenter(Model(0, slots=2), lambda index, model=model: model)
        swapping.request(1)
        wait_for(lambda model=model: model.closed)
        wait_for(lambda swapping=swapping: swapping._report is not None)
        assert text in swapping.take_report().refused
        assert model.warm == 0
        assert number_of(swapping) == 0
        swapping.close()


def test_a_run_that_ends_while_a_model_opens_closes_it():
    allowed, second = threading.Event(), Model(1)

    def open_model(index):
        allowed.wait(10)
        return second

    swapping = SwappingSegmenter(Model(0), open_model)
    swapping.request(1)
    threading.Timer(0.05, allowed.set).start()
    swapping.close()
    assert second.closed == 1
    assert not swapping.request(1)
    swapping.close()


def test_a_frame_that_cannot_be_taken_leaves_the_order_as_it_was():
    class Picky(Model):
        def begin(self, *, timestamp_s=None, **frames):
            if "thermal" not in frames:
                raise InputError("no thermal")
            return super().begin(timestamp_s=timestamp_s, **frames)

    swapping = SwappingSegmenter(Picky(0), lambda index: Model(1))
    with pytest.raises(InputError):
        swapping.begin(rgb=FRAME["rgb"])
    assert number_of(swapping) == 0
    swapping.close()


def recorded_feed(count):
    rgb = FakeSource(live=False, fps=100, count=count).open()
    thermal = FakeSource("thermal", live=False, fps=100, count=count).open()
    return open_feed(rgb, thermal, Pairer(30, live=False), ThermalWatch(0.2))


@pytest.mark.parametrize("slots", [1, 2])
def test_a_run_loses_no_frame_and_its_masks_change_once(slots):
    """A whole run, with an engine of one and of two slots; swapped there and back."""
    sink = ListSink()
    swapping = SwappingSegmenter(
        Model(0, slots, seconds=0.001), lambda index: Model(index, slots, seconds=0.001)
    )
    done = threading.Event()

    def swap_twice():
        for index, frames in ((1, 40), (0, 120)):
            while len(sink.results) < frames and not done.is_set():
                time.sleep(0.001)
            swapping.request(index)
            while swapping.take_report() is None and not done.is_set():
                time.sleep(0.001)

    thread = threading.Thread(target=swap_twice)
    thread.start()
    summary, error = Pipeline(swapping, recorded_feed(300), [sink]).run()
    done.set()
    thread.join()
    swapping.close()
    assert error is None
    assert summary.frames == 300
    assert [result.index for result in sink.results] == list(range(300))
    numbers = [int(result.mask[0, 0]) for result in sink.results]
    changes = [k for k in range(1, 300) if numbers[k] != numbers[k - 1]]
    assert (numbers[0], numbers[-1], len(changes)) == (0, 0, 2)
    assert all((result.mask == result.mask[0, 0]).all() for result in sink.results)


def test_real_models_swap_and_the_masks_are_those_of_each(tiny_model, tmp_path):
    """Two files of one network; the second is another file, opened beside the first."""
    copy = tmp_path / "small.onnx"
    copy.write_bytes(tiny_model.read_bytes())
    files = [tiny_model, copy]

    def open_model(index):
        threshold = 0.5 if index == 0 else 0.999
        return Segmenter(files[index], "onnxruntime", threads=1, threshold=threshold)

    rng = np.random.default_rng(7)
    frames = {
        "rgb": rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
        "thermal": rng.integers(29000, 31000, (48, 64), dtype=np.uint16),
    }
    expected = []
    for index in range(2):
        with open_model(index) as segmenter:
            expected.append(segmenter(**frames).mask.copy())
    assert (expected[0] != expected[1]).any()
    swapping = SwappingSegmenter(open_model(0), open_model)
    masks = [swapping.end(swapping.begin(**frames)).mask.copy()]
    swapping.request(1)
    end_s = time.monotonic() + 20
    while swapping.take_report() is None:
        assert time.monotonic() < end_s, "it never came"
        masks.append(swapping.end(swapping.begin(**frames)).mask.copy())
    swapping.close()
    assert (masks[0] == expected[0]).all()
    assert (masks[-1] == expected[1]).all()


def test_models_that_cannot_replace_each_other_are_refused_before_the_run():
    one, files = tiny_manifest(), [Path("large.onnx"), Path("small.onnx")]
    check_models(files, [one, tiny_manifest((32, 48))])  # another size is what it is for
    recoloured = replace(
        one, classes=(one.classes[0], replace(one.classes[1], color_rgb=(1, 2, 3)))
    )
    blind = replace(one, inputs=one.inputs[:1])
    policy = replace(one.input("thermal").thermal_policy, low_ck=20000.0)
    hot = replace(one, inputs=(one.inputs[0], replace(one.input("thermal"), thermal_policy=policy)))
    for other, text in (
        (tiny_classes_manifest(), "its classes are "),
        (recoloured, "with other ids or colours"),
        (blind, "it takes rgb; the first model rgb and thermal"),
        (hot, "its thermal range is 20000 to "),
    ):
        with pytest.raises(InputError, match=f"--step-down small.onnx: .*{text}"):
            check_models(files, [one, other])
    assert difference(one, one) is None
