"""The ROS 2 node against a stand-in for ROS that holds to the documented interface."""

import json
import re
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_ros import SENSOR_DATA, DiagnosticStatus, FakeRos, image
from tiny_network import tiny_probability

from differseg.errors import InputError
from differseg.options import run_main
from differseg.runtime import ros2_node
from differseg.runtime.registration import Registration
from differseg.runtime.ros2_images import fill_message, to_array
from differseg.runtime.ros2_options import NodeOptions, declared_options, load_ros
from differseg.runtime.ros2_pairing import StampPairing, stamp_of
from differseg.runtime.segmenter import Segmenter

SIZE_HW = (16, 24)
RNG = np.random.default_rng(5)


@pytest.fixture
def ros(monkeypatch, tiny_model):
    return FakeRos(model=str(tiny_model)).install(monkeypatch)


def run(ros, during_spin):
    """Run the node's program; returns its exit status."""
    problems = []

    def spin(node):
        try:
            during_spin(node)
        except BaseException as problem:
            problems.append(problem)

    ros.during_spin = spin
    status = run_main(ros2_node.main)
    if problems:
        raise problems[0]
    assert not ros.is_up
    return status


@pytest.fixture(autouse=True)
def _no_logging_set_up(monkeypatch):
    monkeypatch.setattr("differseg.runtime.service.logs.log_to_stderr", lambda kind: None)


def scene(red=200, centikelvin=30500):
    """Return an RGB and a thermal picture, the left half bright and hot."""
    rgb = RNG.integers(0, 40, (*SIZE_HW, 3), np.uint8)
    thermal = np.full(SIZE_HW, 29000, np.uint16)
    rgb[:, :12, 0] = red
    thermal[:, :12] = centikelvin
    return rgb, thermal


def pair_comes(node, stamp_s, skew_s=0.02, **changes):
    rgb, thermal = scene(**changes)
    node.now_s = stamp_s + 0.1
    node.receive("rgb", image(rgb, "rgb8", stamp_s, frame_id="rgb_optical"))
    node.receive("thermal", image(thermal, "16UC1", stamp_s + skew_s))
    return rgb, thermal


def wait_for(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen within 30 s")


def published(node, topic, count=1):
    messages = node.publishers[topic].messages
    wait_for(lambda: len(messages) >= count)
    return messages


def diagnosis(node):
    node.timers[0].callback()
    return node.publishers["/diagnostics"].messages[-1].status[0]


def test_a_pair_becomes_a_mask_with_the_stamp_of_the_rgb_image(ros):
    def during_spin(node):
        rgb, thermal = pair_comes(node, 12.25)
        (mask,) = published(node, "~/mask")
        expected = tiny_probability(rgb, thermal) > 0.5
        pixels = np.frombuffer(mask.data, np.uint8).reshape(SIZE_HW)
        assert (pixels.astype(bool) == expected).all()
        assert expected.any()
        assert not expected.all()
        assert (mask.encoding, mask.step, mask.is_bigendian) == ("mono8", 24, 0)
        assert stamp_of(mask) == 12.25
        assert mask.header.frame_id == "rgb_optical"
        (areas,) = published(node, "~/areas")
        document = json.loads(areas.data)
        assert document["stamp"] == {"sec": 12, "nanosec": 250_000_000}
        assert document["skew_ms"] == pytest.approx(20.0, abs=0.01)
        assert document["area_fraction"]["object"] == pytest.approx(expected.mean(), abs=1e-6)
        assert node.publishers["~/mask"].qos is SENSOR_DATA
        assert node.subscriptions["rgb"].qos is node.subscriptions["thermal"].qos is SENSOR_DATA

    assert run(ros, during_spin) == 0
    assert ros.node.destroyed
    assert not [t for t in threading.enumerate() if t.name in ("segmentation", "watchdog")]


def test_the_overlay_is_painted_only_while_somebody_looks(ros):
    def during_spin(node):
        pair_comes(node, 1.0)
        wait_for(lambda: dict_of(diagnosis(node))["results"] == "1")
        node.publishers["~/overlay"].subscribers = 1
        rgb, _ = pair_comes(node, 2.0)
        (overlay,) = published(node, "~/overlay")
        pixels = np.frombuffer(overlay.data, np.uint8).reshape(*SIZE_HW, 3)
        assert overlay.encoding == "bgr8"
        assert stamp_of(overlay) == 2.0
        assert (pixels[10:, 18:] == rgb[10:, 18:, ::-1]).all()  # nothing is painted there
        assert (pixels[:, 2:10] != rgb[:, 2:10, ::-1]).any()

    assert run(ros, during_spin) == 0


def test_without_the_overlay_there_is_no_topic(ros):
    ros.parameters["overlay"] = False
    assert run(ros, lambda node: None) == 0
    assert set(ros.node.publishers) == {"~/mask", "~/areas", "/diagnostics"}


def test_a_pair_outside_the_slop_gives_nothing(ros):
    def during_spin(node):
        pair_comes(node, 1.0, skew_s=0.07)
        pair_comes(node, 2.0, skew_s=0.05)
        assert stamp_of(published(node, "~/mask")[0]) == 2.0

    assert run(ros, during_spin) == 0


def test_a_clock_that_goes_back_does_not_stop_the_pairs(ros):
    """The synchroniser keeps the latest stamps, and would let everything older go."""

    def during_spin(node):
        for k in range(12):  # the queue of ten is full of rgb images that found no partner
            node.receive("rgb", image(scene()[0], "rgb8", 1000.0 + k))
            node.receive("thermal", image(scene()[1], "16UC1", 1000.5 + k))
        for k in range(3):
            pair_comes(node, 5.0 + k)
            published(node, "~/mask", k + 1)
        assert diagnosis(node).level == DiagnosticStatus.OK
        assert dict_of(diagnosis(node))["clock restarts"] == "1"

    assert run(ros, during_spin) == 0


def dict_of(status):
    return {each.key: each.value for each in status.values}


def test_the_newest_pair_is_taken_and_the_others_are_counted(ros, monkeypatch):
    entered, release = threading.Event(), threading.Event()
    call = Segmenter.__call__

    def slow(self, **frames):
        entered.set()
        assert release.wait(30)
        return call(self, **frames)

    monkeypatch.setattr(Segmenter, "__call__", slow)

    def during_spin(node):
        pair_comes(node, 1.0)
        assert entered.wait(30)
        for k in range(4):
            pair_comes(node, 2.0 + k)
        release.set()
        masks = published(node, "~/mask", 2)
        assert [stamp_of(mask) for mask in masks] == [1.0, 5.0]
        wait_for(lambda: dict_of(diagnosis(node))["results"] == "2")
        assert dict_of(diagnosis(node))["replaced"] == "3"

    assert run(ros, during_spin) == 0


def test_a_picture_that_cannot_be_used_is_said_and_the_next_one_is_segmented(ros):
    def during_spin(node):
        rgb, thermal = scene()
        node.receive("rgb", image(rgb[:, :, 0], "bayer_rggb8", 1.0))
        node.receive("thermal", image(thermal, "16UC1", 1.0))
        wait_for(lambda: node.logger.lines[1:])
        (level, text) = node.logger.lines[1]
        assert level == "error"
        assert text.startswith("rgb image: the encoding is 'bayer_rggb8', expected bgr8, rgb8")
        status = diagnosis(node)
        assert (status.level, status.message) == (DiagnosticStatus.ERROR, text)
        pair_comes(node, 2.0)
        published(node, "~/areas")
        wait_for(lambda: diagnosis(node).level == DiagnosticStatus.OK)
        assert dict_of(diagnosis(node))["failed"] == "1"

    assert run(ros, during_spin) == 0


def test_the_diagnostics_say_what_is_missing(ros, monkeypatch):
    monkeypatch.setattr(ros2_node, "SILENT_S", -1.0)
    ros.parameters["backend"] = "onnxruntime"

    def during_spin(node):
        assert diagnosis(node).level == DiagnosticStatus.WARN
        assert diagnosis(node).message == "no image ever came on rgb and thermal"
        node.receive("rgb", image(scene()[0], "rgb8", 1.0))
        assert diagnosis(node).message == "no image ever came on thermal"
        node.receive("thermal", image(scene()[1], "16UC1", 3.0))
        assert diagnosis(node).message.startswith("no pair for 0 s: look at the rates")
        assert diagnosis(node).name == "differseg: segmentation"
        assert dict_of(diagnosis(node))["backend"].startswith("onnxruntime")

    assert run(ros, during_spin) == 0


def test_a_registration_moves_the_thermal_image(ros, tmp_path):
    """The thermal camera sees everything four pixels further left."""
    shift = np.array([[1, 0, 4], [0, 1, 0], [0, 0, 1]], np.float64)
    Registration(shift, SIZE_HW[::-1], SIZE_HW[::-1]).save(tmp_path / "r.json")
    ros.parameters["registration"] = str(tmp_path / "r.json")

    def during_spin(node):
        rgb, thermal = pair_comes(node, 1.0)
        moved = np.concatenate([np.repeat(thermal[:, :1], 4, axis=1), thermal[:, :-4]], axis=1)
        (mask,) = published(node, "~/mask")
        pixels = np.frombuffer(mask.data, np.uint8).reshape(SIZE_HW)
        assert (pixels.astype(bool) == (tiny_probability(rgb, moved) > 0.5)).all()

    assert run(ros, during_spin) == 0


def test_all_parameters_are_described_and_read_only(ros):
    assert run(ros, lambda node: None) == 0
    assert set(ros.node.parameters) == {
        "model", "backend", "threads", "engine_key", "registration", "slop_s", "queue_size",
        "overlay",
    }  # fmt: skip
    for _, descriptor in ros.node.parameters.values():
        assert descriptor.description
        assert descriptor.read_only


def test_a_whole_number_does_for_a_number(ros):
    ros.parameters["slop_s"] = 1
    ros.init()
    options = declared_options(load_ros(), ros.create_node("n"))
    assert options == NodeOptions(model=ros.parameters["model"], slop_s=1.0)
    assert type(options.slop_s) is float


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("model", "", "parameter model: no file is given; add -p model:=F.onnx"),
        ("model", "gone.onnx", "gone.onnx"),
        ("backend", "cuda", "expected one of auto, tensorrt"),
        ("slop_s", 0.0, "parameter slop_s: expected more than 0, to 10, got 0.0"),
        ("slop_s", "60 ms", "parameter slop_s: expected float, got '60 ms'"),
        ("queue_size", 0, "parameter queue_size: expected 1 to 1000, got 0"),
        ("overlay", 1, "parameter overlay: expected bool, got 1"),
        ("threads", -1, "parameter threads: expected 0 or more, got -1"),
        ("registration", "gone.json", "registration gone.json: cannot be read"),
    ],
)
def test_a_wrong_parameter_is_one_line(ros, capsys, name, value, text):
    ros.parameters[name] = value
    assert run(ros, lambda node: None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error[E_")
    assert text in line


def test_ctrl_c_and_an_outer_shutdown_end_cleanly(ros):
    for error in (KeyboardInterrupt, load_ros().executors.ExternalShutdownException):

        def during_spin(node, error=error):
            raise error

        ros.during_spin = during_spin
        assert run_main(ros2_node.main) == 0
        assert not ros.is_up


def test_without_ros_it_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "differseg.runtime.ros2_node"], capture_output=True, text=True,
        timeout=50,
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("error[E_MISSING]: the ROS 2 node needs 'rclpy': source the ROS")


def test_the_page_has_every_parameter_and_its_files_parse():
    page = (Path(__file__).parents[2] / "docs/ros2.md").read_text(encoding="utf-8")
    for field in fields(NodeOptions):
        default = str(field.default).lower()
        (row,) = re.findall(rf"^\| `{field.name}` \| (.*?) ?\|", page, re.MULTILINE)
        assert row.strip("`") == default
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["xml", "python", "python"]
    assert ElementTree.fromstring(blocks[0][1]).find("name").text == "differseg_ros"
    for _, code in blocks[1:]:
        compile(code, "page", "exec")


def test_a_picture_survives_the_way_there_and_back(ros):
    pixels = RNG.integers(0, 256, (5, 7, 6), np.uint8)[:, :, ::2]  # not contiguous
    message = fill_message(load_ros().sensor.Image(), pixels, "bgr8")
    assert message.step == 21
    assert (to_array(message, "rgb") == pixels).all()


def test_a_model_that_takes_something_else_is_refused():
    manifest = SimpleNamespace(model="m")
    for names in (("rgb", "flow"), ("thermal",), ("rgb", "thermal", "depth")):
        with pytest.raises(InputError, match="m takes"):
            ros2_node.taken_modalities(SimpleNamespace(modalities=names, manifest=manifest), None)
    both = SimpleNamespace(modalities=("thermal", "rgb"), manifest=manifest)
    assert ros2_node.taken_modalities(both, None) == ("rgb", "thermal")
    alone = SimpleNamespace(modalities=("rgb",), manifest=manifest)
    assert ros2_node.taken_modalities(alone, None) == ("rgb",)
    with pytest.raises(InputError, match="leave it out"):
        ros2_node.taken_modalities(alone, Registration.identity((4, 4)))


def test_one_topic_needs_no_partner(ros):
    from fake_ros import SimpleFilter

    came, subscriber = [], SimpleFilter()
    pairing = StampPairing(load_ros(), [subscriber], 10, 0.05, came.append)
    messages = [image(np.zeros((2, 2), np.uint8), "mono8", s) for s in (10.0, 11.0, 1.0, 2.0)]
    for message in messages:
        subscriber.signalMessage(message)
    assert came == messages
    assert (pairing.counts, pairing.restarts) == ([4], 1)
