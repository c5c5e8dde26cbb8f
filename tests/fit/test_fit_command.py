"""The estimate, its verdicts and its command line, on a network that is exported here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_graphs import model_of, node
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.bench.estimate import FAST, SLOW
from differseg.bench.layer_costs import totals
from differseg.errors import InputError
from differseg.fit.boards import BOARDS, modes_of
from differseg.fit.command import FitOptions, main
from differseg.fit.graphs import Graph, graphs_of, typed
from differseg.fit.judge import Fit, fits_of
from differseg.fit.memory import HOST, Budget, Stage
from differseg.fit.tables import document, summary, time_tables
from differseg.options import run_main

NETWORK = "sfm-edge"


@pytest.fixture(scope="module")
def forms() -> dict[str, Graph]:
    """A stack of convolutions in all precisions."""
    draw = np.random.default_rng(0)
    weights = {f"w{i}": draw.normal(size=(32, 32, 3, 3)).astype(np.float32) for i in range(5)}
    names = ["x", "a", "b", "c", "d", "y"]
    nodes = [
        node("Conv", f"{names[i]} w{i}", names[i + 1], pads=[1, 1, 1, 1]) for i in range(5)
    ]  # fmt: skip
    master = Graph("stack", (64, 64), "fp32", model_of(nodes, weights, (1, 32, 64, 64)))
    return {name: typed(master, name) for name in ("fp32", "fp16", "int8")}


@pytest.fixture
def fit_at(forms: dict[str, Graph]) -> Callable[..., Fit]:
    def judged(precision: str = "fp32", mode: str = "15W", fps: float = 15.0) -> Fit:
        board = BOARDS["orin-nano-8gb"]
        (found,) = fits_of(forms[precision], [(board, modes_of(board, mode)[0])], fps)
        return found

    return judged


def test_the_forms_are_typed(forms: dict[str, Graph]) -> None:
    shares = {}
    for precision, graph in forms.items():
        wide = [layer for layer in graph.layers if layer.units == "matrix"]
        flops = sum(layer.flops for layer in wide if layer.precision == precision)
        shares[precision] = flops / sum(layer.flops for layer in wide)
    assert shares["fp32"] == 1
    assert shares["fp16"] > 0.9
    assert shares["int8"] > 0.5
    sizes = [totals(forms[name].layers)[1] for name in ("fp32", "fp16", "int8")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < 0.75 * sizes[0]  # inputs and outputs stay float32


def test_memory_falls_with_the_precision(fit_at: Callable[..., Fit]) -> None:
    weights = {
        name: next(s.low_mib for s in fit_at(name).budget.own if s.name == "weights") or 0.0
        for name in ("fp32", "fp16", "int8")
    }
    assert weights["fp16"] == pytest.approx(weights["fp32"] / 2, rel=0.05)
    assert weights["int8"] < 0.75 * weights["fp16"]


def test_the_range_is_that_of_the_estimate(fit_at: Callable[..., Fit]) -> None:
    """By hand: least time over efficiency, and what each layer adds, at 625 of 1300 MHz."""
    made, layers = fit_at().estimate, len(fit_at().graph.layers)
    fast = made.ideal_ms / FAST.efficiency + layers * FAST.overhead_us / 1e3
    slow = made.ideal_ms / SLOW.efficiency + layers * SLOW.overhead_us * (1300 / 625) / 1e3
    assert made.fast_ms == pytest.approx(fast)
    assert made.slow_ms == pytest.approx(slow)


def test_the_verdict_follows_from_the_ends_of_the_range(fit_at: Callable[..., Fit]) -> None:
    made = fit_at().estimate
    for fps, verdict in (
        (0.999e3 / made.slow_ms, "yes"),
        (1.001e3 / made.slow_ms, "may"),
        (0.999e3 / made.fast_ms, "may"),
        (1.001e3 / made.fast_ms, "no"),
    ):
        assert fit_at(fps=fps).verdict == verdict


def test_a_lower_mode_is_slower(fit_at: Callable[..., Fit]) -> None:
    times = [fit_at(mode=mode).estimate.typical_ms for mode in ("7W", "15W", "25W", "MAXN_SUPER")]
    assert times == sorted(times, reverse=True)
    roofs = [fit_at(mode=mode).estimate.ideal_ms for mode in ("7W", "MAXN_SUPER")]
    assert roofs[0] > 1.4 * roofs[1]  # the bandwidths are 68 and 102 GB/s


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(10, 7000, "yes"), (10, 7700, "may"), (7700, 7800, "no")]
)
def test_memory_that_is_not_there_is_no_fit(
    fit_at: Callable[..., Fit], low: float, high: float, verdict: str
) -> None:
    stages = Stage("all", low, high, "computed", ""), Stage("more", None, None, "unknown", "")
    fit = replace(fit_at(fps=1.0), budget=Budget(stages, ()))
    assert (fit.time, fit.memory, fit.verdict) == ("yes", verdict, verdict)
    if verdict != "yes":
        assert time_tables([fit])[0][2][0][1].endswith(f"{verdict}, memory")


def test_every_stage_says_how_it_is_known(fit_at: Callable[..., Fit]) -> None:
    budget = fit_at().budget
    for stage in (*budget.fixed, *budget.own):
        assert stage.source
        assert (stage.low_mib is None) == (stage.how == "unknown")
        if stage.low_mib is not None and stage.high_mib is not None:
            assert 0 < stage.low_mib <= stage.high_mib
    assert {stage.how for stage in budget.fixed} == {"reported", "measured", "unknown"}
    assert {stage.how for stage in budget.own} == {"computed"}
    assert budget.low_mib > sum(stage.low_mib or 0 for stage in HOST)


def test_estimate_is_written_everywhere(fit_at: Callable[..., Fit]) -> None:
    fits = [fit_at()]
    assert "ESTIMATE" in summary(fits)[0]
    assert all("ESTIMATE" in title for title, _, _ in time_tables(fits))
    plain = document(fits, [])
    assert plain["estimate"] is True
    assert plain["fits"][0]["estimate"] is True
    json.dumps(plain, allow_nan=False)


def test_what_is_not_known_is_said(forms: dict[str, Graph]) -> None:
    board = BOARDS["thor-t5000"]
    lines = "\n".join(summary(fits_of(forms["fp32"], [(board, board.modes[0])], 15.0)))
    assert "no time was published" in lines
    assert "TF32" in lines


def test_a_file_is_taken_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(tmp_path / "tiny.onnx", tiny_onnx(), tiny_manifest())
    arguments = ["--device", "orin-nano", "--model", str(path), "--mode", "MAXN_SUPER", "--json"]
    assert run_main(main, [*arguments, "--memory", "--fps", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])["fits"]
    assert [fit["board"] for fit in found] == ["orin-nano-4gb", "orin-nano-8gb"]
    assert {fit["model"] for fit in found} == {"tiny.onnx"}
    assert {tuple(fit["size_hw"]) for fit in found} == {(16, 24)}
    assert {fit["verdict"] for fit in found} == {"yes"}
    assert "ESTIMATE" in lines[0]


@pytest.mark.slow
def test_networks_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """All forms of a network that is exported here, and a size that it does not take."""
    arguments = ["--device", "orin-nano-8gb", "--model", NETWORK, "--size", "97x128"]
    assert run_main(main, arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run_main(main, [*arguments, "--size", "96x128", "--json"]) == 0
    out = capsys.readouterr().out
    assert "got 97x128" in " ".join(out.split())
    assert "sfm-edge: estimated too fast, because of GridSample" in " ".join(out.split())
    found = json.loads(out.splitlines()[-1])["fits"]
    assert [fit["precision"] for fit in found[::4]] == ["fp32", "fp16", "int8"]
    assert {tuple(fit["size_hw"]) for fit in found} == {(96, 128)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--device"),
        (["--device", "orin"], "no figures"),
        (["--device", "orin-nano", "--fps", "0"], "--fps"),
        (["--device", "orin-nano", "--fps", "nan"], "--fps"),
        (["--device", "orin-nano", "--mode", "99W"], "no mode"),
        (["--device", "orin-nano", "--precision", "fp8"], "fp32, fp16 or int8"),
        (["--device", "orin-nano", "--size", "480"], "480x640"),
        (["--device", "orin-nano", "--model", "differseg-egde"], "did you mean"),
        (["--device", "orin-nano", "--model", "none.onnx"], "no such file"),
        (["--device", "orin-nano", "--model", "a.onnx", "--size", "32x32"], "a file has its own"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(main, arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert said in line


def test_options_from_python() -> None:
    with pytest.raises(InputError, match="add --device"):
        FitOptions()


@pytest.mark.slow
def test_made_forms_cost_what_the_documented_files_cost() -> None:
    """The roof of differseg-edge in docs/roofline.md, of files with calibrated scales."""
    board = BOARDS["orin-nano-8gb"]
    (mode,) = modes_of(board, "15W")
    roofs = {
        graph.precision: fits_of(graph, [(board, mode)], 15.0)[0].estimate.ideal_ms
        for graph in graphs_of("differseg-edge", (), ("fp32", "fp16", "int8"))
        if isinstance(graph, Graph)
    }
    assert roofs == pytest.approx({"fp32": 8.45, "fp16": 4.48, "int8": 3.56}, rel=0.02)
