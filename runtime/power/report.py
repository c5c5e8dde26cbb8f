"""A board's state for people, for JSON and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from differseg.runtime.power.monitor import BoardState, mode_text
from differseg.runtime.power.throttling import KINDS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from differseg.runtime.power.stepping import ModelStepper


def state_document(state: BoardState) -> dict[str, Any]:
    """Return a state, ready for ``json.dumps``; what is not known is null or left out."""
    reading = state.reading
    return {
        "time_s": round(reading.time_s, 3),
        "source": reading.source,
        "mode": None if reading.mode is None else mode_text(reading.mode.id, reading.mode.name),
        "power_w": _rounded(reading.power_w, 3),
        "power_of": list(reading.power_of),
        "rails_w": {name: round(watts, 3) for name, watts in reading.rails_w.items()},
        "energy_j": _rounded(state.energy_j, 1),
        "zones_c": {
            name: {
                "temperature": _rounded(zone.temperature_c, 1),
                "throttles_at": _rounded(zone.throttle_c, 1),
                "critical_at": _rounded(zone.critical_c, 1),
            }
            for name, zone in reading.zones.items()
        },
        "clocks_mhz": {
            name: {
                "now": _mhz(clock.hz),
                "limit": _mhz(clock.limit_hz),
                "top": _mhz(clock.top_hz),
                "load": _rounded(clock.load, 3),
            }
            for name, clock in reading.clocks.items()
        },
        "cooling": dict(reading.cooling),
        "counters": dict(reading.counters),
        "throttling": [event.document() for event in state.throttling],
        "throttle_events": dict(state.counts),
    }


def state_lines(state: BoardState) -> tuple[str, ...]:
    """Return what to show of a state, the troubles first; nothing where nothing is known.

    Such as ``MAXN_SUPER (2), 7.2 W`` and
    ``gpu 58.6 C, gpu 40 C below its limit, GPU 612 of 1020 MHz, 99 % busy``.
    """
    reading = state.reading
    lines = [f"THROTTLING ({event.kind}): {event.reason}" for event in state.throttling]
    first = []
    if reading.mode is not None:
        first.append(mode_text(reading.mode.id, reading.mode.name))
    if reading.power_w is not None:
        first.append(f"{reading.power_w:.1f} W")
    second = []
    if reading.hottest is not None:
        name, hottest_c = reading.hottest
        second.append(f"{name} {hottest_c:.1f} C")
    if reading.tightest is not None:
        name, left_c = reading.tightest
        second.append(f"{name} {left_c:.0f} C below its limit")
    gpu = reading.clocks.get("gpu")
    if gpu is not None and gpu.hz is not None:
        limit = "" if gpu.limit_hz is None else f" of {gpu.limit_hz / 1e6:.0f}"
        load = "" if gpu.load is None else f", {100 * gpu.load:.0f} % busy"
        second.append(f"GPU {gpu.hz / 1e6:.0f}{limit} MHz{load}")
    lines += [line for line in (", ".join(first), ", ".join(second)) if line]
    return tuple(lines)


def board_metrics(state: BoardState) -> Iterator[Metric]:
    """Yield what ``/metrics`` says of a board; what is not known is left out."""
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
    )

    reading = state.reading

    def gauges(name: str, text: str, label: str, values: dict[str, float | None]) -> Iterator[Any]:
        known = {key: value for key, value in values.items() if value is not None}
        if known:
            family = GaugeMetricFamily(name, text, labels=[label])
            for key, value in known.items():
                family.add_metric([key], value)
            yield family

    zones, clocks = reading.zones, reading.clocks
    yield from gauges(
        "differseg_board_temperature_celsius",
        "Temperature of a thermal zone",
        "zone",
        {name: zone.temperature_c for name, zone in zones.items()},
    )
    yield from gauges(
        "differseg_board_headroom_celsius",
        "Degrees left until a zone throttles or is critical",
        "zone",
        {name: zone.headroom_c for name, zone in zones.items()},
    )
    yield from gauges(
        "differseg_board_rail_power_watts", "Power of a rail", "rail", dict(reading.rails_w)
    )
    yield from gauges(
        "differseg_board_clock_hertz",
        "Frequency of a clock",
        "clock",
        {name: clock.hz for name, clock in clocks.items()},
    )
    yield from gauges(
        "differseg_board_clock_limit_hertz",
        "Highest frequency that a clock may have now",
        "clock",
        {name: clock.limit_hz for name, clock in clocks.items()},
    )
    yield from gauges(
        "differseg_board_load_ratio",
        "Part of the time that a unit was busy",
        "clock",
        {name: clock.load for name, clock in clocks.items()},
    )
    if reading.power_w is not None:
        yield GaugeMetricFamily(
            "differseg_board_power_watts", "Power of the board or module", value=reading.power_w
        )
    if state.energy_j is not None:
        yield CounterMetricFamily(
            "differseg_board_energy_joules", "Energy since the start", value=state.energy_j
        )
    if reading.mode is not None:
        mode = {"id": str(reading.mode.id), "name": reading.mode.name or ""}
        yield InfoMetricFamily("differseg_board_power_mode", "nvpmodel's mode", value=mode)
    active = {event.kind for event in state.throttling}
    throttled = GaugeMetricFamily(
        "differseg_board_throttled", "1 while the board throttles", labels=["kind"]
    )
    events = CounterMetricFamily(
        "differseg_board_throttle_events", "Times that throttling began", labels=["kind"]
    )
    for kind in KINDS:
        throttled.add_metric([kind], float(kind in active))
        events.add_metric([kind], state.counts.get(kind, 0))
    yield from (throttled, events)


def step_metrics(stepper: ModelStepper, names: tuple[str, ...]) -> Iterator[Metric]:
    """Yield what ``/metrics`` says of the model that runs.

    Args:
        stepper: Of the run.
        names: Of all models, largest first.
    """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    running = GaugeMetricFamily(
        "differseg_model_running", "1 for the model that runs", labels=["model"]
    )
    for name in names:
        running.add_metric([name], float(name == stepper.model))
    yield running
    yield CounterMetricFamily(
        "differseg_model_steps", "Changes to another model", value=stepper.steps
    )
    yield CounterMetricFamily(
        "differseg_model_step_refusals", "Changes that could not be made", value=stepper.refusals
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _mhz(hz: float | None) -> float | None:
    return None if hz is None else round(hz / 1e6, 1)
