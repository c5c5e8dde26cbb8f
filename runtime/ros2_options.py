"""What the ROS 2 node takes of ROS, and its parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

from differseg.errors import InputError, MissingComponentError
from differseg.options import attribute_docs
from differseg.runtime.backends import BackendName


@dataclass(frozen=True)
class NodeOptions:
    """Parameters of the node; all are read once, when it starts."""

    model: str = ""
    """The model file, .onnx or .engine."""
    backend: str = "auto"
    """Inference engine; auto takes the fastest that is installed."""
    threads: int = 0
    """Processor threads of the engine; 0 takes one per usable core."""
    engine_key: str = ""
    """Run only engines that this key signed."""
    registration: str = ""
    """Homography file that brings the second camera into the view of the first."""
    slop_s: float = 0.06
    """Largest difference of the stamps within a pair, in seconds."""
    queue_size: int = 10
    """Images of each topic that wait for their partner."""
    overlay: bool = True
    """Offer the painted picture; it is painted only while somebody subscribes."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: One cannot be used.
        """
        if not self.model:
            raise InputError("parameter model: no file is given; add -p model:=F.onnx")
        if self.backend not in get_args(BackendName):
            names = ", ".join(get_args(BackendName))
            raise InputError(f"parameter backend: expected one of {names}, got '{self.backend}'")
        if not 0 < self.slop_s <= 10:
            raise InputError(f"parameter slop_s: expected more than 0, to 10, got {self.slop_s}")
        if not 1 <= self.queue_size <= 1000:
            raise InputError(f"parameter queue_size: expected 1 to 1000, got {self.queue_size}")
        if self.threads < 0:
            raise InputError(f"parameter threads: expected 0 or more, got {self.threads}")


def load_ros() -> SimpleNamespace:
    """Import what the node needs of ROS 2.

    Raises:
        MissingComponentError: It is not installed, or not sourced.
    """
    names = {
        "rclpy": "rclpy",
        "executors": "rclpy.executors",
        "qos": "rclpy.qos",
        "filters": "message_filters",
        "sensor": "sensor_msgs.msg",
        "text": "std_msgs.msg",
        "diagnostic": "diagnostic_msgs.msg",
        "interfaces": "rcl_interfaces.msg",
    }
    try:
        return SimpleNamespace(**{key: import_module(name) for key, name in names.items()})
    except ImportError as error:
        raise MissingComponentError(
            f"the ROS 2 node needs '{error.name}': source the ROS installation first, for example "
            "'. /opt/ros/humble/setup.bash', and install differseg for the Python of that "
            "installation (docs/ros2.md)"
        ) from None


def declared_options(ros: SimpleNamespace, node: Any) -> NodeOptions:
    """Declare the parameters and read them.

    Raises:
        InputError: A value of a wrong type, or one that cannot be used.
    """
    docs, kinds = attribute_docs(NodeOptions), get_type_hints(NodeOptions)
    values = {}
    for field in fields(NodeOptions):
        # Dynamic, so that a wrong type is our one line, and 1 does for 1.0.
        about = ros.interfaces.ParameterDescriptor(
            description=docs[field.name], read_only=True, dynamic_typing=True
        )
        value = node.declare_parameter(field.name, field.default, about).value
        kind = kinds[field.name]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InputError(f"parameter {field.name}: expected {kind.__name__}, got {value!r}")
        values[field.name] = value
    return NodeOptions(**values)
