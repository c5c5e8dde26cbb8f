"""A ROS 2 node that segments image topics.

python -m differseg.runtime.ros2_node --ros-args -p model:=F.onnx

ROS 2 is not a dependency: rclpy and the message packages come from a sourced ROS installation and
are imported when the node starts.  Images are paired by message_filters; the newest pair waits in
a slot of one for a thread that segments and publishes, so that no callback ever takes long.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, InputError
from differseg.options import run_main
from differseg.runtime.ros2_options import NodeOptions, declared_options, load_ros
from differseg.runtime.ros2_pairing import StampPairing, stamp_of

if TYPE_CHECKING:
    from differseg.runtime.registration import Registration
    from differseg.runtime.segmenter import Segmenter
    from differseg.runtime.service.watchdog import ProgressWatch

SILENT_S = 2.0
"""Without a result for this long, the diagnostics warn."""

_DIAGNOSE_EVERY_S = 1.0
_IDLE_S = 0.2
_THROTTLE_S = 60.0


class SegmentationNode:
    """Subscribes, segments in a thread of its own, and publishes.

    Args:
        ros: From :func:`load_ros`.
        node: An rclpy node.
        segmenter: Takes frames in BGR order; used by nobody else meanwhile.
        options: The node's.
        registration: Brings the second camera into the view of the first; None where it is.
        watch: Told of progress; None for nobody.
    """

    def __init__(
        self,
        ros: SimpleNamespace,
        node: Any,
        segmenter: Segmenter,
        options: NodeOptions,
        registration: Registration | None = None,
        watch: ProgressWatch | None = None,
    ) -> None:
        from differseg.runtime.overlay import OverlayPainter
        from differseg.runtime.service.watchdog import ProgressWatch
        from differseg.runtime.timing import StageTimes

        self._ros, self._node, self._segmenter = ros, node, segmenter
        self._registration, self._watch = registration, watch or ProgressWatch()
        self._modalities = taken_modalities(segmenter, registration)
        self._painter = OverlayPainter(segmenter.manifest.classes)
        self._counts: Counter[str] = Counter()
        self._times = StageTimes()
        self._problem: str | None = None
        self._warped: npt.NDArray[Any] = np.empty((0, 0), np.uint8)
        self._last: dict[str, float] = {}
        self._result_s = self._report_s = time.monotonic()
        self._reported: list[int] = [0] * (len(self._modalities) + 1)
        self._condition = threading.Condition()
        self._waiting: tuple[Any, ...] | None = None
        self._closed = False

        sensor_data, image = ros.qos.qos_profile_sensor_data, ros.sensor.Image
        self._mask = node.create_publisher(image, "~/mask", sensor_data)
        self._overlay = (
            node.create_publisher(image, "~/overlay", sensor_data) if options.overlay else None
        )
        self._areas = node.create_publisher(ros.text.String, "~/areas", 10)
        self._diagnostics = node.create_publisher(
            ros.diagnostic.DiagnosticArray, "/diagnostics", 10
        )
        self._thread = threading.Thread(target=self._work, name="segmentation", daemon=True)
        self._thread.start()
        self._timer = node.create_timer(_DIAGNOSE_EVERY_S, self.diagnose)
        subscribers = [
            ros.filters.Subscriber(node, image, modality, qos_profile=sensor_data)
            for modality in self._modalities
        ]
        self._pairing = StampPairing(
            ros, subscribers, options.queue_size, options.slop_s, self._came
        )

    def __enter__(self) -> SegmentationNode:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread after the images in work."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join()
        self._node.destroy_timer(self._timer)

    def _came(self, *messages: Any) -> None:
        """Keep the newest pair; called under the synchroniser's lock."""
        with self._condition:
            self._counts["pairs"] += 1
            self._counts["replaced"] += self._waiting is not None
            self._waiting = messages
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                if self._waiting is None and not self._closed:
                    self._condition.wait(_IDLE_S)
                messages, self._waiting = self._waiting, None
                if self._closed:
                    return
            if messages is None:
                self._watch.idle()
                continue
            self._watch.taken()
            try:
                self._segment(messages)
                self._problem = None
            except Exception as error:  # whatever it is, the next images may do
                self._failed(error)
            finally:
                self._watch.finished()

    def _segment(self, messages: tuple[Any, ...]) -> None:
        from differseg.runtime.buffers import fitting_buffer
        from differseg.runtime.ros2_images import fill_message, to_array

        frames = {
            modality: to_array(message, modality)
            for modality, message in zip(self._modalities, messages, strict=True)
        }
        first, last = messages[0], messages[-1]
        if self._registration is not None:
            height, width = frames["rgb"].shape[:2]
            moving = self._modalities[-1]
            self._warped = fitting_buffer(self._warped, (height, width), frames[moving].dtype)
            frames[moving] = self._registration.warp(
                frames[moving], (width, height), out=self._warped
            )
        result = self._segmenter(timestamp_s=stamp_of(last), **frames)
        with self._condition:
            for stage, duration_ms in result.timings_ms.items():
                self._times.add(stage, duration_ms)
        message = self._ros.sensor.Image(header=first.header)
        self._mask.publish(fill_message(message, result.mask, "mono8"))
        now_s = self._node.get_clock().now().nanoseconds * 1e-9
        self._last = {
            "age_ms": (now_s - stamp_of(first)) * 1e3,
            "skew_ms": (stamp_of(last) - stamp_of(first)) * 1e3,
        }
        self._areas.publish(self._ros.text.String(data=self._document(first, result)))
        if self._overlay is not None and self._overlay.get_subscription_count() > 0:
            thermal = frames.get("thermal")
            picture = self._painter.draw(
                frames["rgb"], result.mask, thermal=thermal, timestamp_s=stamp_of(first)
            )
            message = self._ros.sensor.Image(header=first.header)
            self._overlay.publish(fill_message(message, picture, "bgr8"))
        self._counts["results"] += 1
        self._result_s = time.monotonic()

    def _document(self, first: Any, result: Any) -> str:
        """Return the areas as JSON text."""
        document: dict[str, Any] = {
            "stamp": {"sec": first.header.stamp.sec, "nanosec": first.header.stamp.nanosec},
            "frame_id": first.header.frame_id,
            "area_fraction": {k: round(v, 6) for k, v in result.class_coverage.items()},
        }
        if len(self._modalities) > 1:
            document["skew_ms"] = round(self._last["skew_ms"], 3)
        return json.dumps(document)

    def _failed(self, error: Exception) -> None:
        self._counts["failed"] += 1
        kind = "" if isinstance(error, DifferSegError) else f"{type(error).__name__}: "
        self._problem = " ".join(f"{kind}{error}".split())
        self._node.get_logger().error(self._problem, throttle_duration_sec=_THROTTLE_S)

    def diagnose(self) -> None:
        """Publish how it goes; called by the node's timer."""
        diagnostic = self._ros.diagnostic
        now_s = time.monotonic()
        span_s, self._report_s = now_s - self._report_s, now_s
        counts = [*self._pairing.counts, self._counts["results"]]
        rates = [(new - old) / span_s for new, old in zip(counts, self._reported, strict=True)]
        self._reported = counts
        level, text = self._judge(now_s)
        values = {
            f"{name} images per s": rate
            for name, rate in zip(self._modalities, rates[:-1], strict=True)
        }
        values |= {"results per s": rates[-1], **self._last}
        with self._condition:
            stages = self._times.summary()
        values |= {f"{stage} p50 ms": row.p50 for stage, row in stages.items()}
        texts = {name: f"{value:.1f}" for name, value in values.items()}
        texts |= {name: str(self._counts[name]) for name in ("results", "replaced", "failed")}
        texts["clock restarts"] = str(self._pairing.restarts)
        texts["backend"] = f"{self._segmenter.backend.name}: {self._segmenter.backend.reason}"
        status = diagnostic.DiagnosticStatus(
            level=level,
            name=f"{self._node.get_name()}: segmentation",
            message=text,
            hardware_id=self._segmenter.manifest.model,
            values=[diagnostic.KeyValue(key=key, value=value) for key, value in texts.items()],
        )
        array = diagnostic.DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _judge(self, now_s: float) -> tuple[bytes, str]:
        """Return the level, and why it is not OK."""
        status = self._ros.diagnostic.DiagnosticStatus
        if self._problem is not None:
            return status.ERROR, self._problem
        silent_s = now_s - self._result_s
        if silent_s <= SILENT_S:
            return status.OK, "segmenting"
        missing = [
            name
            for name, count in zip(self._modalities, self._pairing.counts, strict=True)
            if not count
        ]
        if missing:
            return status.WARN, f"no image ever came on {' and '.join(missing)}"
        return status.WARN, f"no pair for {silent_s:.0f} s: look at the rates and the stamps"


def taken_modalities(segmenter: Segmenter, registration: Registration | None) -> tuple[str, ...]:
    """Return the topics that a model needs, rgb first.

    Raises:
        InputError: The model takes something that is no image topic, or the registration has no
            second camera to move.
    """
    names = segmenter.modalities
    if "rgb" not in names or set(names) - {"rgb", "thermal", "depth"} or len(names) > 2:
        raise InputError(
            f"{segmenter.manifest.model} takes {' and '.join(names)}; the node gives rgb alone, or "
            "rgb with thermal or depth"
        )
    if registration is not None and len(names) == 1:
        raise InputError("parameter registration: the model takes rgb alone; leave it out")
    return ("rgb", *(name for name in names if name != "rgb"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until it is stopped; returns the exit status."""
    return run_main(_main, argv)


def _main(argv: Sequence[str] | None) -> int:
    ros = load_ros()
    from differseg.runtime.service.logs import log_to_stderr
    from differseg.runtime.service.notify import Notifier
    from differseg.runtime.service.watchdog import ProgressWatch, Watchdog

    log_to_stderr("text")
    ros.rclpy.init(args=argv)
    node = None
    try:
        node = ros.rclpy.create_node("differseg")
        options = declared_options(ros, node)
        with _segmenter(options) as segmenter:
            registration = _registration(options)
            segmenter.warmup()
            watch = ProgressWatch()
            with (
                Watchdog(watch, Notifier.from_environment()),
                SegmentationNode(ros, node, segmenter, options, registration, watch),
            ):
                node.get_logger().info(f"{options.model}: {segmenter.backend.reason}")
                ros.rclpy.spin(node)
    except (KeyboardInterrupt, ros.executors.ExternalShutdownException):
        pass
    except DifferSegError:
        raise
    except Exception:
        # A signal takes the context away from under the executor, which may say so in other ways.
        if ros.rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        if ros.rclpy.ok():
            ros.rclpy.shutdown()
    return 0


def _segmenter(options: NodeOptions) -> Segmenter:
    from differseg.runtime.segmenter import Segmenter

    return Segmenter(
        options.model,
        options.backend,  # type: ignore[arg-type]  # checked by NodeOptions
        options.threads or None,
        "BGR",
        engine_key=options.engine_key or None,
    )


def _registration(options: NodeOptions) -> Registration | None:
    from differseg.runtime.registration import Registration

    return Registration.load(Path(options.registration)) if options.registration else None


if __name__ == "__main__":
    sys.exit(main())
