"""Segment two cameras, live or recorded.

python runtime/run_camera.py --model F.onnx --rgb SRC --thermal SRC

SRC is a device index, a V4L2 path, GStreamer text, an RTSP or HTTP address, a video file, an image
folder, or ``synthetic:``; docs/cameras.md has the options of each.
"""

from __future__ import annotations

import json as json_module
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":
    # Run as a script, Python looks into this folder first; the modules live in the package.
    _HERE = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
    try:
        import differseg.runtime  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"error[E_MISSING]: the package '{error.name}' is not installed; "
            "in the repository, run: pip install -e '.[runtime]'",
            file=sys.stderr,
        )
        sys.exit(3)

from differseg.errors import DifferSegError, InputError, MissingComponentError
from differseg.options import option, parse, run_main
from differseg.runtime.backends.options import EngineOptions

if TYPE_CHECKING:
    from differseg.runtime.console import RunConsole
    from differseg.runtime.feed import Feed
    from differseg.runtime.pipeline import Pipeline
    from differseg.runtime.registration import Registration
    from differseg.runtime.segmenter import Segmenter
    from differseg.runtime.service.notify import Notifier
    from differseg.runtime.service.watchdog import ProgressWatch, Watchdog
    from differseg.runtime.sinks.window import WindowSink
    from differseg.runtime.sources import Source
    from differseg.runtime.summary import LiveStatus, RunSummary

_LOG = logging.getLogger("differseg.runtime.run")


@dataclass(frozen=True)
class RunOptions(EngineOptions):
    """Segment an RGB camera, or an RGB and a thermal camera, live or recorded."""

    model: Path = option(metavar="F.onnx")
    """The model file."""
    rgb: str = option(metavar="SRC")
    """RGB source: device index or path, GStreamer text, address, video, folder, synthetic:"""
    thermal: str | None = option(None, metavar="SRC")
    """Thermal source, for a model that takes thermal."""
    registration: Path | None = option(None, metavar="F.json")
    """Homography that brings the thermal frames into the RGB camera's view."""
    out: Path | None = option(None, metavar="DIR")
    """Write DIR/overlay.mp4, DIR/masks/ and DIR/results.jsonl."""
    video: Path | None = option(None, metavar="F.mp4")
    """Write the overlay as a video."""
    masks: Path | None = option(None, metavar="DIR")
    """Write PNG masks and results.jsonl."""
    headless: bool = False
    """Show no window."""
    seconds: float | None = option(None, metavar="S")
    """End after this much of the RGB stream."""
    frames: int | None = option(None, metavar="N")
    """End after this many results."""
    tolerance_ms: float = option(60.0, metavar="MS")
    """Largest difference in capture time within a pair; half a period of a 9 Hz camera is 56."""
    thermal_offset_ms: float | None = option(None, metavar="MS")
    """Known lateness of the thermal stamps; 0 (synthetic: the pair's own) when left out."""
    reuse_thermal: bool = True
    """Let a thermal frame serve several RGB frames (a slow thermal camera)."""
    on_thermal_loss: Literal["stop", "rgb_only", "hold"] = "stop"
    """rgb_only: constant thermal input; hold: show the last result, marked stale."""
    on_rgb_loss: Literal["stop", "wait"] = "stop"
    """stop: end when a live RGB camera is away for 10 s; wait: go on trying."""
    thermal_timeout_ms: float = option(1500.0, metavar="MS")
    """The thermal camera is lost after this long without a pair."""
    deadline_ms: float | None = option(None, metavar="MS")
    """Live: drop frames whose result would be older than this, from capture to mask."""
    live: bool = False
    """Play files and folders in real time and drop what is late."""
    supervise: bool = False
    """Start the run again when it crashes or hangs, at most 5 times a minute."""
    log: Literal["text", "json"] | None = None
    """Write events to standard error as log lines, instead of notes and a status line."""
    json: bool = False
    """Print the summary as one JSON document on the last line."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        for name in ("seconds", "frames", "thermal_timeout_ms", "deadline_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise InputError(f"--{name.replace('_', '-')}: expected more than 0, got {value}")
        if not 0 <= self.tolerance_ms <= 10_000:
            raise InputError(f"--tolerance-ms: expected 0 to 10000, got {self.tolerance_ms}")
        offset_ms = self.thermal_offset_ms
        if offset_ms is not None and not abs(offset_ms) <= 10_000:
            raise InputError(f"--thermal-offset-ms: expected -10000 to 10000, got {offset_ms}")


def run_camera(
    model: str | Path,
    rgb: str,
    thermal: str | None = None,
    *,
    on_status: Callable[[LiveStatus], None] | None = None,
    stop: threading.Event | None = None,
    **options: object,
) -> RunSummary:
    """Segment two cameras until they end, a limit is reached, or ``stop`` is set.

    Args:
        model: An .onnx file with a manifest.
        rgb: Text of the RGB source.
        thermal: Text of the thermal source, for a model that takes thermal.
        on_status: Called about four times a second.
        stop: Set from anywhere to end the run cleanly.
        options: Fields of :class:`RunOptions`.

    Raises:
        DifferSegError: The model, a source, a file or the registration cannot be used, or the
            run broke off; what was written until then is complete.
    """
    unknown = sorted(set(options) - set(RunOptions.__dataclass_fields__))
    if unknown:
        raise InputError(f"run_camera: there is no option '{unknown[0]}'")
    chosen = RunOptions(Path(model), rgb, thermal, **options)  # type: ignore[arg-type]
    summary, error = execute(chosen, on_status=on_status, stop=stop)
    if error is not None:
        raise error
    return summary


def execute(
    options: RunOptions,
    *,
    on_status: Callable[[LiveStatus], None] | None = None,
    stop: threading.Event | None = None,
    on_note: Callable[[str], None] | None = None,
    guard: Callable[[Pipeline, ProgressWatch], AbstractContextManager[object]] | None = None,
) -> tuple[RunSummary, DifferSegError | None]:
    """Run; returns the summary also where the run broke off, and the error that did it.

    Args:
        options: What to run.
        on_status: Called about four times a second.
        stop: Set from anywhere to end the run cleanly.
        on_note: Called with every automatic choice and warning.
        guard: Gives the context in which the pipeline runs, such as a watchdog.

    Raises:
        DifferSegError: The run could not begin.
    """
    from differseg.runtime.pipeline import Pipeline, RunLimits
    from differseg.runtime.segmenter import Segmenter
    from differseg.runtime.service.restarts import restarts_so_far
    from differseg.runtime.service.watchdog import ProgressWatch
    from differseg.runtime.sinks.outputs import open_sinks

    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if on_note is not None:
            on_note(text)

    with Segmenter(
        options.model,
        options.backend,
        options.threads,
        "BGR",
        cpu_precision=options.cpu_precision,
        engine_key=options.engine_key,
    ) as segmenter:
        _check_modalities(segmenter, options)
        registration = _given_registration(options, note)
        with ExitStack() as opened:
            sources = _open_sources(options)
            for source in sources:
                opened.callback(source.close)
            if options.deadline_ms is not None and not sources[0].live:
                raise InputError(
                    f"--deadline-ms: {sources[0].description} is a recording, of which every frame "
                    "is processed; leave it out, or add --live"
                )
            for source in sources:
                for text in source.notes:
                    note(text)
            registration = registration or _known_registration(sources, note)
            feed = _feed(options, sources, note)
            segmenter.warmup()
            watch = ProgressWatch()
            sinks = open_sinks(
                options.out,
                options.video,
                options.masks,
                inputs=_inputs(options),
                fps=sources[0].fps,
            )
            for sink in sinks:
                opened.callback(sink.close)
            pipeline = Pipeline(
                segmenter,
                feed,
                sinks,
                window=_window(options, note),
                registration=registration,
                on_thermal_loss=options.on_thermal_loss,
                limits=RunLimits(options.frames, options.seconds),
                deadline_ms=options.deadline_ms,
                on_status=on_status,
                stop=stop,
                watch=watch,
            )
            opened.pop_all()  # from here on, the pipeline closes them
        with guard(pipeline, watch) if guard is not None else nullcontext():
            summary, error = pipeline.run()
        backend = segmenter.backend
        return replace(
            summary,
            model=str(options.model),
            backend=f"{backend.name}: {backend.reason}",
            restarts=restarts_so_far(),
            notes=[*notes, *summary.notes, *segmenter.warnings, *_advice(summary, options)],
        ), error


def _check_modalities(segmenter: Segmenter, options: RunOptions) -> None:
    """Refuse sources that the model does not take, or lacks.

    Raises:
        InputError: Names what to add or leave out.
    """
    name, takes = segmenter.manifest.model, segmenter.modalities
    other = [modality for modality in takes if modality not in ("rgb", "thermal")]
    if other or "rgb" not in takes:
        raise InputError(
            f"{name} takes {' and '.join(takes)}; a camera run gives rgb and thermal, so use "
            "run_images for this model"
        )
    if "thermal" in takes and options.thermal is None:
        raise InputError(f"{name} takes rgb and thermal: add --thermal SRC")
    if "thermal" not in takes and options.thermal is not None:
        raise InputError(f"{name} takes rgb alone: leave out --thermal")
    if options.thermal is None and options.registration is not None:
        raise InputError("--registration moves thermal frames, but there is no --thermal")


def _open_sources(options: RunOptions) -> list[Source]:
    """Open RGB and thermal, or neither."""
    from differseg.runtime.sources import PaceClock, open_source
    from differseg.runtime.sources.files import match_folders

    clock = PaceClock()
    sources = [open_source(options.rgb, "rgb", live=options.live, clock=clock)]
    try:
        if options.thermal is not None:
            sources.append(open_source(options.thermal, "thermal", live=options.live, clock=clock))
            match_folders(*sources)
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources


def _inputs(options: RunOptions) -> list[tuple[str, Path]]:
    """Return every file and folder that the run reads, with the option that names it."""
    from differseg.runtime.sinks.outputs import source_path

    inputs = {
        "--model": options.model,
        "--registration": options.registration,
        "--rgb": source_path(options.rgb),
        "--thermal": source_path(options.thermal or ""),
    }
    return [(name, path) for name, path in inputs.items() if path is not None]


def _given_registration(options: RunOptions, note: Callable[[str], None]) -> Registration | None:
    """Return the registration of ``--registration``, with a note where it covers little."""
    from differseg.runtime.registration import Registration

    if options.registration is None:
        return None
    registration = Registration.load(options.registration)
    text = registration.coverage_note()
    if text is not None:
        note(text)
    return registration


def _known_registration(sources: list[Source], note: Callable[[str], None]) -> Registration | None:
    """Return the registration that a synthetic pair brings; None, with a note, for others."""
    from differseg.runtime.registration import Registration
    from differseg.runtime.sources.synthetic import same_scene

    if len(sources) < 2:
        return None
    scene = same_scene(*sources)
    if scene is not None:
        note("registration: the synthetic pair's own homography is used (no --registration)")
        return Registration(scene.thermal_to_rgb, scene.thermal_size_wh, scene.size_wh)
    note(
        "registration: none given, so the thermal frames are stretched onto the RGB frames as if "
        "both cameras had one view; give --registration F.json where they have not"
    )
    return None


def _feed(options: RunOptions, sources: list[Source], note: Callable[[str], None]) -> Feed:
    """Return the feed of one or two open sources."""
    from differseg.runtime.feed import ThermalWatch, open_feed
    from differseg.runtime.pairing import Pairer
    from differseg.runtime.sources.synthetic import same_scene

    watch = ThermalWatch(options.thermal_timeout_ms / 1000.0)
    if len(sources) < 2:
        return open_feed(sources[0], None, None, watch, on_rgb_loss=options.on_rgb_loss)
    offset_ms = options.thermal_offset_ms
    scene = same_scene(*sources)
    if offset_ms is None and scene is not None:
        offset_ms = 1000.0 * scene.thermal_offset_s
        note(f"thermal offset: the synthetic pair's own {offset_ms:.1f} ms is used")
    pairer = Pairer(
        options.tolerance_ms,
        offset_ms or 0.0,
        reuse_thermal=options.reuse_thermal,
        live=sources[0].live,
    )
    return open_feed(sources[0], sources[1], pairer, watch, on_rgb_loss=options.on_rgb_loss)


def _window(options: RunOptions, note: Callable[[str], None]) -> WindowSink | None:
    """Return a window, or None with the reason."""
    from differseg.runtime.sinks.window import WindowSink, why_no_window

    if options.headless:
        return None
    reason = why_no_window()
    if reason is not None:
        note(f"no window: {reason}")
        return None
    return WindowSink()


def _advice(summary: RunSummary, options: RunOptions) -> list[str]:
    """Return what a user should know about a run that went badly."""
    rgb = summary.cameras["rgb"]
    if options.thermal is not None and rgb.captured and not summary.pairs:
        return [
            f"no pair was within {options.tolerance_ms:g} ms: are both sources on one clock? "
            "--thermal-offset-ms corrects a constant lateness"
        ]
    return []


def _status_to(console: RunConsole, notifier: Notifier) -> Callable[[LiveStatus], None]:
    """Return what shows the status on the console and tells it to the service manager."""
    from differseg.runtime.console import status_text

    def show(status: LiveStatus) -> None:
        console.status(status)
        notifier.status(status_text(status))

    return show


def _watchdog(
    notifier: Notifier, stop: threading.Event, pipeline: Pipeline, watch: ProgressWatch
) -> Watchdog:
    """Return what ends this process when the run hangs."""
    from differseg.runtime.service.restarts import restarts_so_far
    from differseg.runtime.service.watchdog import Watchdog

    restarted = notifier.enabled or restarts_so_far() is not None
    return Watchdog(watch, notifier, stop=stop, rescue=pipeline.rescue, hard=restarted)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 also after SIGINT or SIGTERM)."""
    options = parse(RunOptions, argv, "differseg run")
    from differseg.runtime.console import RunConsole, stop_on_signals
    from differseg.runtime.service.notify import Notifier

    if options.log is not None:
        from differseg.runtime.service.logs import log_to_stderr

        log_to_stderr(options.log)
    else:
        logging.basicConfig(format="warning: %(message)s", level=logging.ERROR)
    notifier = Notifier.from_environment()
    if options.supervise:
        from differseg.runtime.service.restarts import Supervisor, child_command

        arguments = sys.argv[1:] if argv is None else argv
        return Supervisor(child_command(arguments), notifier=notifier).run()
    stop = threading.Event()
    try:
        with stop_on_signals(stop), RunConsole(live=options.log is None) as console:
            summary, error = execute(
                options,
                on_status=_status_to(console, notifier),
                stop=stop,
                on_note=_LOG.info if options.log is not None else console.note,
                guard=partial(_watchdog, notifier, stop),
            )
    except ModuleNotFoundError as missing:
        raise MissingComponentError(
            f"differseg run needs the package '{missing.name}', which is not installed; "
            "install it with: pip install 'differseg[runtime]'"
        ) from None
    console.summary(summary)
    if options.json:
        print(json_module.dumps(asdict(summary)))
    if error is not None:
        raise error
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
