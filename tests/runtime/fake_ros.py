"""The part of ROS 2's Python interface that the node uses, as its documentation states it.

From the sources of ros2/rclpy (node, publisher, qos, executors), ros2/message_filters and the
message definitions of ros2/common_interfaces.  What a real installation refuses is refused here:
wrong types in messages, unknown fields, undeclared types of QoS, a second shutdown.
"""

from __future__ import annotations

import array
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import ClassVar


class Message:
    """A message: typed fields, set by keyword or by name; nothing else may be set."""

    FIELDS: ClassVar = {}

    def __init__(self, **values):
        for name, (_, default) in self.FIELDS.items():
            object.__setattr__(self, name, default())
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name, value):
        kind = self.FIELDS[name][0]
        assert isinstance(value, kind), f"{name}: {type(value).__name__} is not {kind.__name__}"
        if kind is int:
            assert not isinstance(value, bool)
            assert 0 <= value < 2**32
        if kind is array.array:
            # Anything but array('B') is taken too, but value by value: too slow for images.
            assert value.typecode == "B"
        if kind is bytes:
            assert len(value) == 1
        object.__setattr__(self, name, value)


class Time(Message):
    FIELDS: ClassVar = {"sec": (int, int), "nanosec": (int, int)}


class Header(Message):
    FIELDS: ClassVar = {"stamp": (Time, Time), "frame_id": (str, str)}


class Image(Message):
    FIELDS: ClassVar = {
        "header": (Header, Header),
        "height": (int, int),
        "width": (int, int),
        "encoding": (str, str),
        "is_bigendian": (int, int),
        "step": (int, int),
        "data": (array.array, lambda: array.array("B")),
    }


class String(Message):
    FIELDS: ClassVar = {"data": (str, str)}


class KeyValue(Message):
    FIELDS: ClassVar = {"key": (str, str), "value": (str, str)}


class DiagnosticStatus(Message):
    OK, WARN, ERROR, STALE = b"\x00", b"\x01", b"\x02", b"\x03"
    FIELDS: ClassVar = {
        "level": (bytes, lambda: b"\x00"),
        "name": (str, str),
        "message": (str, str),
        "hardware_id": (str, str),
        "values": (list, list),
    }


class DiagnosticArray(Message):
    FIELDS: ClassVar = {"header": (Header, Header), "status": (list, list)}


class ParameterDescriptor(Message):
    FIELDS: ClassVar = {
        "name": (str, str),
        "type": (int, int),
        "description": (str, str),
        "additional_constraints": (str, str),
        "read_only": (bool, bool),
        "dynamic_typing": (bool, bool),
    }


class QoSProfile:
    def __init__(self, *, depth, reliability):
        self.depth, self.reliability = depth, reliability


SENSOR_DATA = QoSProfile(depth=5, reliability="best effort")


class Publisher:
    def __init__(self, kind, topic, qos):
        self.kind, self.topic, self.qos = kind, topic, qos
        self.messages = []
        self.subscribers = 0

    def publish(self, message):
        if not isinstance(message, self.kind):
            raise TypeError(f"Expected {self.kind}, got {type(message)}")
        self.messages.append(message)

    def get_subscription_count(self):
        return self.subscribers


class Logger:
    def __init__(self):
        self.lines = []

    def info(self, text, **options):
        self._log("info", text, options)

    def error(self, text, **options):
        self._log("error", text, options)

    def _log(self, level, text, options):
        assert set(options) <= {"throttle_duration_sec", "skip_first", "once"}
        self.lines.append((level, text))


class Node:
    def __init__(self, name, given):
        self.name, self._given = name, dict(given)
        self.parameters, self.publishers, self.subscriptions, self.timers = {}, {}, {}, []
        self.logger, self.now_s, self.destroyed = Logger(), 0.0, False

    def get_name(self):
        return self.name

    def get_logger(self):
        return self.logger

    def declare_parameter(self, name, value=None, descriptor=None):
        assert name not in self.parameters, f"{name} is declared twice"
        given = self._given.get(name, value)
        if type(given) is not type(value) and not descriptor.dynamic_typing:
            raise TypeError("InvalidParameterTypeException")
        self.parameters[name] = (given, descriptor)
        return SimpleNamespace(name=name, value=given)

    def create_publisher(self, msg_type, topic, qos_profile):
        assert isinstance(qos_profile, (int, QoSProfile))
        self.publishers[topic] = Publisher(msg_type, topic, qos_profile)
        return self.publishers[topic]

    def create_subscription(self, msg_type, topic, callback, qos_profile):
        assert isinstance(qos_profile, (int, QoSProfile))
        self.subscriptions[topic] = SimpleNamespace(
            kind=msg_type, callback=callback, qos=qos_profile
        )
        return self.subscriptions[topic]

    def create_timer(self, timer_period_sec, callback):
        self.timers.append(SimpleNamespace(period_s=timer_period_sec, callback=callback))
        return self.timers[-1]

    def destroy_timer(self, timer):
        self.timers.remove(timer)

    def get_clock(self):
        nanoseconds = round(self.now_s * 1e9)
        stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        now = SimpleNamespace(nanoseconds=nanoseconds, to_msg=lambda: stamp)
        return SimpleNamespace(now=lambda: now)

    def destroy_node(self):
        assert not self.destroyed
        self.destroyed = True

    def receive(self, topic, message):
        """What an executor does with a message that came."""
        subscription = self.subscriptions[topic]
        assert isinstance(message, subscription.kind)
        subscription.callback(message)


class SimpleFilter:
    def __init__(self):
        self.callbacks = {}

    def registerCallback(self, cb, *args):
        self.callbacks[len(self.callbacks)] = (cb, args)
        return len(self.callbacks) - 1

    def signalMessage(self, *messages):
        for cb, args in self.callbacks.values():
            cb(*messages, *args)


class Subscriber(SimpleFilter):
    def __init__(self, node, msg_type, topic, *, qos_profile=10):
        super().__init__()
        self.sub = node.create_subscription(
            msg_type, topic, self.signalMessage, qos_profile=qos_profile
        )


class ApproximateTimeSynchronizer(SimpleFilter):
    """Keeps the latest stamps of each input; calls back under a lock that an error never frees."""

    def __init__(self, fs, queue_size, slop, allow_headerless=False):
        super().__init__()
        self.queues = [{} for _ in fs]
        self._size, self._slop_ns, self._lock = queue_size, round(slop * 1e9), threading.Lock()
        for place, each in enumerate(fs):
            each.registerCallback(self._add, place)

    def _add(self, message, place):
        assert self._lock.acquire(timeout=5), "the synchroniser is locked for ever"
        own = stamp_ns(message)
        queue = self.queues[place]
        queue[own] = message
        while len(queue) > self._size:
            del queue[min(queue)]
        (other,) = (each for k, each in enumerate(self.queues) if k != place)
        near = sorted((abs(t - own), t) for t in other if abs(t - own) < self._slop_ns)
        if near and own in queue:
            partner = near[0][1]
            pair = (queue[own], other[partner])
            self.signalMessage(*(pair if place == 0 else pair[::-1]))
            del queue[own], other[partner]
        self._lock.release()


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


class ExternalShutdownException(Exception):
    pass


class FakeRos:
    """A ROS installation; ``parameters`` are what the command line gave.

    ``during_spin`` is called with the node by ``rclpy.spin``.
    """

    def __init__(self, **parameters):
        self.parameters, self.node, self.is_up = parameters, None, False
        self.during_spin = lambda node: None

    def init(self, args=None):
        assert not self.is_up
        self.is_up = True

    def create_node(self, name):
        assert self.is_up
        self.node = Node(name, self.parameters)
        return self.node

    def spin(self, node):
        self.during_spin(node)

    def shutdown(self):
        assert self.is_up, "shut down twice"
        self.is_up = False

    def install(self, monkeypatch):
        """Put the modules where ``import`` finds them."""
        contents = {
            "rclpy": {
                "init": self.init,
                "create_node": self.create_node,
                "spin": self.spin,
                "ok": lambda: self.is_up,
                "shutdown": self.shutdown,
            },
            "rclpy.executors": {"ExternalShutdownException": ExternalShutdownException},
            "rclpy.qos": {"qos_profile_sensor_data": SENSOR_DATA},
            "message_filters": {
                "SimpleFilter": SimpleFilter,
                "Subscriber": Subscriber,
                "ApproximateTimeSynchronizer": ApproximateTimeSynchronizer,
            },
            "sensor_msgs": {},
            "sensor_msgs.msg": {"Image": Image},
            "std_msgs": {},
            "std_msgs.msg": {"String": String},
            "diagnostic_msgs": {},
            "diagnostic_msgs.msg": {
                "DiagnosticArray": DiagnosticArray,
                "DiagnosticStatus": DiagnosticStatus,
                "KeyValue": KeyValue,
            },
            "rcl_interfaces": {},
            "rcl_interfaces.msg": {"ParameterDescriptor": ParameterDescriptor},
        }
        for name, members in contents.items():
            module = ModuleType(name)
            vars(module).update(members)
            monkeypatch.setitem(sys.modules, name, module)
        return self


def image(pixels, encoding, stamp_s, *, padding=0, bigendian=False, frame_id="camera"):
    """Return a message of (H, W) or (H, W, C) pixels, with padding bytes at the end of each row."""
    if pixels.dtype.itemsize == 2:
        pixels = pixels.astype(">u2" if bigendian else "<u2")
    height, width = pixels.shape[:2]
    rows = [pixels[y].tobytes() + b"\xaa" * padding for y in range(height)]
    nanoseconds = round(stamp_s * 1e9)
    stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return Image(
        header=Header(stamp=stamp, frame_id=frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(bigendian),
        step=len(rows[0]),
        data=array.array("B", b"".join(rows)),
    )
