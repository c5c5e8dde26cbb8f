"""What a camera run is made of, by its options: sources, registration, pairing, page, window."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from differseg.errors import InputError
from differseg.runtime.run_options import RunOptions

if TYPE_CHECKING:
    from differseg.manifest import Manifest
    from differseg.runtime.feed import Feed
    from differseg.runtime.pipeline import Pipeline
    from differseg.runtime.power.run_power import RunPower
    from differseg.runtime.preview import PreviewServer
    from differseg.runtime.recorder import Recorder
    from differseg.runtime.registration import Registration
    from differseg.runtime.run_listener import RunListener
    from differseg.runtime.segmenter import Segmenter
    from differseg.runtime.service.watchdog import ProgressWatch
    from differseg.runtime.sinks.window import WindowSink
    from differseg.runtime.sources import Source
    from differseg.runtime.thermal_correction import ThermalCorrector

TOKEN_VARIABLE = "DIFFERSEG_PREVIEW_TOKEN"
"""Environment variable with the secret of the web page."""

Note = Callable[[str], None]


def open_model(options: RunOptions, path: Path) -> Segmenter:
    """Open a model file of a run.

    Raises:
        ModelFileError, ManifestError, MissingComponentError: It cannot be used.
    """
    from differseg.runtime.segmenter import Segmenter

    return Segmenter(
        path,
        options.backend,
        options.threads,
        "BGR",
        cpu_precision=options.cpu_precision,
        engine_key=options.engine_key,
    )


def check_modalities(segmenter: Segmenter, options: RunOptions) -> None:
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


def open_sources(options: RunOptions) -> list[Source]:
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


def inputs_of(options: RunOptions) -> list[tuple[str, Path]]:
    """Return every file and folder that the run reads, with the option that names it."""
    from differseg.runtime.sinks.outputs import source_path

    inputs = {
        "--model": options.model,
        "--step-down": options.step_down,
        "--registration": options.registration,
        "--zones": options.zones,
        "--rgb": source_path(options.rgb),
        "--thermal": source_path(options.thermal or ""),
    }
    return [(name, path) for name, path in inputs.items() if path is not None]


def given_registration(options: RunOptions, note: Note) -> Registration | None:
    """Return the registration of ``--registration``, with a note where it covers little."""
    from differseg.runtime.registration import Registration

    if options.registration is None:
        return None
    registration = Registration.load(options.registration)
    text = registration.coverage_note()
    if text is not None:
        note(text)
    return registration


def known_registration(sources: list[Source], note: Note) -> Registration | None:
    """Return the registration that a synthetic pair brings; None, with a note, for others."""
    from differseg.runtime.registration import Registration
    from differseg.runtime.sources.session import one_session, session_registration
    from differseg.runtime.sources.synthetic import same_scene

    if len(sources) < 2:
        return None
    scene = same_scene(*sources)
    if scene is not None:
        note("registration: the synthetic pair's own homography is used (no --registration)")
        return Registration(scene.thermal_to_rgb, scene.thermal_size_wh, scene.size_wh)
    session = one_session(*sources)
    recorded = None if session is None else session_registration(session)
    if recorded is not None:
        note("registration: the recorded session's own is used (no --registration)")
        return recorded
    note(
        "registration: none given, so the thermal frames are stretched onto the RGB frames as if "
        "both cameras had one view; give --registration F.json where they have not"
    )
    return None


def feed_of(options: RunOptions, sources: list[Source], note: Note) -> Feed:
    """Return the feed of one or two open sources."""
    from differseg.runtime.clock_offset import ClockOffset
    from differseg.runtime.feed import ThermalWatch, open_feed
    from differseg.runtime.pairing import Pairer
    from differseg.runtime.sources.session import one_session
    from differseg.runtime.sources.synthetic import same_scene

    watch = ThermalWatch(options.thermal_timeout_ms / 1000.0)
    if len(sources) < 2:
        return open_feed(sources[0], None, None, watch, on_rgb_loss=options.on_rgb_loss)
    clock, offset_ms = None, options.known_offset_ms
    if options.finds_offset:
        # All sources are on this machine's clock, or on that of one recording.
        clock, offset_ms = ClockOffset(), 0.0
    scene = same_scene(*sources)
    if offset_ms is None and scene is not None:
        offset_ms = 1000.0 * scene.thermal_offset_s
        note(f"thermal offset: the synthetic pair's own {offset_ms:.1f} ms is used")
    session = one_session(*sources)
    if offset_ms is None and session is not None:
        offset_ms = session.thermal_offset_ms
        note(f"thermal offset: the recorded session's own {offset_ms:.1f} ms is used")
    pairer = Pairer(
        options.tolerance_ms,
        offset_ms or 0.0,
        reuse_thermal=options.reuse_thermal,
        live=sources[0].live,
        clock=clock,
    )
    return open_feed(sources[0], sources[1], pairer, watch, on_rgb_loss=options.on_rgb_loss)


def open_window(options: RunOptions, note: Note) -> WindowSink | None:
    """Return a window, or None with the reason."""
    from differseg.runtime.sinks.window import WindowSink, why_no_window

    if options.headless:
        return None
    reason = why_no_window()
    if reason is not None:
        note(f"no window: {reason}")
        return None
    return WindowSink()


def corrector_of(options: RunOptions) -> ThermalCorrector | None:
    """Return what corrects the thermal frames; None where nothing was asked for."""
    from differseg.runtime.thermal_correction import CorrectionOptions, ThermalCorrector

    wanted = options.thermal_correction or options.thermal_stripes or options.thermal_unit == "0.1K"
    if options.thermal is None or not wanted:
        return None
    corrections = CorrectionOptions(
        unit=options.thermal_unit,
        dead_pixels=options.thermal_correction,
        stripes=options.thermal_stripes,
        jump_smoothing_s=5.0 if options.thermal_correction else 0.0,
    )
    return ThermalCorrector(corrections)


def keep_token(options: RunOptions) -> None:
    """Make the web page's secret now, so that a run that is started again has the same.

    Raises:
        InputError: A log shows no secret, so nobody would learn the one that is made.
    """
    if options.preview is None or TOKEN_VARIABLE in os.environ:
        return
    from differseg.runtime.preview.access import new_token
    from differseg.runtime.preview.address import parse_address

    if parse_address(options.preview).is_loopback:
        return
    if options.log is not None:
        raise InputError(
            f"--preview {options.preview}: others can reach it, and with --log nobody would see "
            f"the token that is made; put one of 16 characters or more into {TOKEN_VARIABLE}"
        )
    os.environ[TOKEN_VARIABLE] = new_token()


def open_page(
    options: RunOptions, manifest: Manifest, feed: Feed, board: RunPower
) -> PreviewServer | None:
    """Return the web page, serving; None where none was asked for.

    Raises:
        InputError: The address or the token cannot be used.
        MissingComponentError: A package of the extra ``web`` is not installed.
    """
    if options.preview is None:
        return None
    from differseg.runtime.metrics import RunMetrics
    from differseg.runtime.preview import PreviewServer
    from differseg.runtime.service.restarts import restarts_so_far

    metrics = RunMetrics(feed, restarts=restarts_so_far() or 0)
    page = PreviewServer(
        options.preview,
        manifest.classes,
        metrics,
        model=manifest.model,
        token=os.environ.get(TOKEN_VARIABLE),
        board=board,
    )
    page.start()
    return page


@dataclass(frozen=True)
class Assembled:
    """A run that is ready to begin.

    Attributes:
        pipeline: Closes everything when it has run.
        feed: Its cameras.
        recorder: Of the cameras; None without one.
    """

    pipeline: Pipeline
    feed: Feed
    recorder: Recorder | None


def assemble(
    options: RunOptions,
    power: RunPower,
    listener: RunListener,
    stop: threading.Event | None,
    watch: ProgressWatch,
) -> Assembled:
    """Open the cameras and everything that goes with them.

    Args:
        options: What to run.
        power: Watches the board; has the segmenter of a model that suits the options.
        listener: Told of every automatic choice.
        stop: Set from anywhere to end the run.
        watch: Told of every result that is owed and made.

    Raises:
        DifferSegError: Something cannot be opened; what was open is closed again.
    """
    from differseg.runtime.pipeline import Pipeline, RunLimits
    from differseg.runtime.record_run import record_run, with_recording
    from differseg.runtime.registration_watch import RegistrationWatch
    from differseg.runtime.sinks.outputs import open_sinks
    from differseg.runtime.smoothing import MaskSmoother
    from differseg.runtime.zones import ZoneMonitor

    note, segmenter = listener.note, power.segmenter
    classes = segmenter.manifest.classes
    registration = given_registration(options, note)
    with ExitStack() as opened:
        sources = open_sources(options)
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
        if options.step_down is not None and options.deadline_ms is None:
            note("--step-down: without --deadline-ms, heat alone decides, not late results")
        registration = registration or known_registration(sources, note)
        zones = ZoneMonitor.from_file(options.zones, classes) if options.zones else None
        smoother = None if options.smooth is None else MaskSmoother.of(options.smooth, classes)
        feed = feed_of(options, sources, note)
        segmenter.warmup()
        sinks = open_sinks(
            options.out,
            options.video,
            options.masks,
            inputs=inputs_of(options),
            fps=sources[0].fps,
            segment_s=options.segment_s,
            zones=options.zones is not None,
            record=options.record,
        )
        for sink in sinks:
            opened.callback(sink.close)
        page = open_page(options, segmenter.manifest, feed, power)
        if page is not None:
            opened.callback(page.close)
            listener.page(page.url)
        recorder = None
        if options.record is not None:
            recorder = record_run(
                options.record,
                feed,
                limit_gb=options.record_limit_gb,
                options=asdict(options),
                manifest=segmenter.manifest,
                registration=registration,
                note=note,
            )
            opened.callback(recorder.close, "the run could not begin")
        watched = options.thermal is not None and options.watch_registration
        pipeline = Pipeline(
            segmenter,
            feed,
            sinks,
            window=open_window(options, note),
            registration=registration,
            on_thermal_loss=options.on_thermal_loss,
            limits=RunLimits(options.frames, options.seconds),
            deadline_ms=options.deadline_ms,
            on_status=with_recording(listener.status, recorder),
            stop=stop,
            watch=watch,
            zones=zones,
            smoother=smoother,
            corrector=corrector_of(options),
            registration_watch=RegistrationWatch() if watched else None,
            page=page,
            note=note,
            on_event=listener.event,
            board_events=power.take_events,
        )
        opened.pop_all()  # from here on, the pipeline closes them
    return Assembled(pipeline, feed, recorder)
