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
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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
from differseg.options import parse, run_main
from differseg.runtime.run_options import AUTO, RunOptions

if TYPE_CHECKING:
    from differseg.runtime.pipeline import Pipeline
    from differseg.runtime.run_listener import RunListener
    from differseg.runtime.service.notify import Notifier
    from differseg.runtime.service.watchdog import ProgressWatch, Watchdog
    from differseg.runtime.summary import LiveStatus, RunSummary


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
    from differseg.runtime.run_listener import RunListener

    chosen = RunOptions(Path(model), rgb, thermal, **options)  # type: ignore[arg-type]
    summary, error = execute(chosen, RunListener(on_status), stop=stop)
    if error is not None:
        raise error
    return summary


def execute(
    options: RunOptions,
    listener: RunListener,
    *,
    stop: threading.Event | None = None,
    guard: Callable[[Pipeline, ProgressWatch], AbstractContextManager[object]] | None = None,
) -> tuple[RunSummary, DifferSegError | None]:
    """Run; returns the summary also where the run broke off, and the error that did it.

    Args:
        options: What to run.
        listener: Hears how it goes.
        stop: Set from anywhere to end the run cleanly.
        guard: Gives the context in which the pipeline runs, such as a watchdog.

    Raises:
        DifferSegError: The run could not begin.
    """
    from differseg.runtime.power.run_power import RunPower
    from differseg.runtime.run_setup import assemble, check_modalities, open_model
    from differseg.runtime.service.restarts import restarts_so_far
    from differseg.runtime.service.watchdog import ProgressWatch

    models = [path for path in (options.model, options.step_down) if path is not None]
    with ExitStack() as opened:
        first = opened.enter_context(open_model(options, options.model))
        check_modalities(first, options)
        power = opened.enter_context(
            RunPower(first, models, partial(open_model, options), listener.note)
        )
        watch = ProgressWatch()
        run = assemble(options, power, listener, stop, watch)
        power.start(run.pipeline.late_and_done)
        with guard(run.pipeline, watch) if guard is not None else nullcontext():
            try:
                summary, error = run.pipeline.run()
            finally:
                recorded = None
                if run.recorder is not None:
                    pairer = run.feed.pairer
                    offset_ms = None if pairer is None else pairer.offset_ms
                    recorded = run.recorder.close("the run ended", offset_ms)
        notes = [*listener.notes, *summary.notes, *first.warnings, *_advice(summary, options)]
        return replace(
            summary,
            model=str(options.model),
            backend=f"{first.backend.name}: {first.backend.reason}",
            recording=recorded,
            restarts=restarts_so_far(),
            board=power.summary(),
            notes=notes,
        ), error


def _advice(summary: RunSummary, options: RunOptions) -> list[str]:
    """Return what a user should know about a run that went badly."""
    rgb = summary.cameras["rgb"]
    if options.thermal is not None and rgb.captured and not summary.pairs:
        return [
            f"no pair was within {options.tolerance_ms:g} ms: are both sources on one clock? "
            "--thermal-offset-ms corrects a constant lateness, and "
            f"'--thermal-offset-ms {AUTO}' finds it from what moves"
        ]
    return []


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
    from differseg.runtime.run_listener import ConsoleListener, LogListener
    from differseg.runtime.run_setup import keep_token
    from differseg.runtime.service.notify import Notifier

    if options.log is not None:
        from differseg.runtime.service.logs import log_to_stderr

        log_to_stderr(options.log)
    else:
        logging.basicConfig(format="warning: %(message)s", level=logging.ERROR)
    keep_token(options)
    notifier = Notifier.from_environment()
    if options.supervise:
        from differseg.runtime.service.restarts import Supervisor, child_command

        arguments = sys.argv[1:] if argv is None else argv
        return Supervisor(child_command(arguments), notifier=notifier).run()
    stop = threading.Event()
    try:
        with stop_on_signals(stop), RunConsole(live=options.log is None) as console:
            listener: RunListener
            if options.log is None:
                listener = ConsoleListener(console, notifier)
            else:
                listener = LogListener(notifier)
            guard = partial(_watchdog, notifier, stop)
            summary, error = execute(options, listener, stop=stop, guard=guard)
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
