"""Layer by layer: which node two forms of a network part at.

``differseg parity A B --layers`` and :func:`divergence`.  The tensors run in chunks of bytes, not
by bisection: an error does not grow from layer to layer (a ReLU hides it, a softmax saturates), so
that halving may end at the wrong place, and the errors of all tensors say more than one name.
Every node of a chunk also runs by itself on what the other side has for its inputs; a node whose
own error is above the limit is a suspect, and the first of them in the graph is the divergence.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from differseg.errors import InputError, ModelFileError
from differseg.export.divergence_result import (
    Divergence,
    LayerError,
    LayerLimits,
    Read,
    limits_for,
    percent,
)
from differseg.export.parity_backends import BuiltEngineRunner, OnnxRunner, runnable
from differseg.export.parity_data import Sample, load_samples
from differseg.export.parity_engine import EngineLayers, EngineRunner
from differseg.export.parity_form import Runner
from differseg.export.parity_runners import TorchRunner, open_pair
from differseg.extras import naming_the_extra

if TYPE_CHECKING:
    from differseg.export.divergence_graph import LayerGraph
    from differseg.export.divergence_match import Matched, Row
    from differseg.export.divergence_run import LayerSource, LayerSums

Feed = dict[str, npt.NDArray[Any]]

_SHOWN = 8  # suspects in the terminal


@dataclass(frozen=True)
class _Pair:
    """The side whose graph is known, the other one, and what they share.

    Attributes:
        judged: Whether the graph is B's, so that the other side is the reference.
        other_graph: Where both sides are ONNX files.
    """

    graph: LayerGraph
    other: LayerSource
    matched: Matched
    judged: bool
    other_graph: LayerGraph | None


def divergence(
    a: str | Path,
    b: str | Path,
    data: str | Path | None = None,
    *,
    limit: int = 1,
    limits: LayerLimits | None = None,
    chunk_bytes: int | None = None,
    split: str | None = None,
    label_rule: str = "auto",
) -> Divergence:
    """Compare two forms of a network tensor by tensor.

    Args:
        a: The reference: a checkpoint, an .onnx file, an engine, or a model with shipped weights;
            one of the two is an .onnx file.
        b: What is judged against it, likewise.
        data: Folder of images, or ``NAME:DIR`` of a published data set; None takes synthetic
            scenes.
        limit: Number of images, spread evenly.
        limits: From where on a node is a suspect; None goes by the precision of both.
        chunk_bytes: Bytes of tensors that are compared at once; more takes more memory, less takes
            more runs.
        split: Of a data set given by name; None takes the one that figures are reported on.
        label_rule: How label values become classes, as for parity.

    Raises:
        InputError: Forms that cannot be compared, or data that cannot be used.
        ModelFileError: A file that ONNX Runtime cannot run.
        MissingComponentError: Polygraphy is not installed.
    """
    first, second = open_pair(a, b)
    try:
        samples = load_samples(
            first.inputs, data, limit, split=split, label_rule=label_rule,
            classes=first.side.classes,
        )  # fmt: skip
        return compare_layers(first, second, samples, limits, chunk_bytes=chunk_bytes)
    finally:
        first.close()
        second.close()


def compare_layers(
    first: Runner,
    second: Runner,
    samples: Iterable[Sample],
    limits: LayerLimits | None = None,
    *,
    chunk_bytes: int | None = None,
) -> Divergence:
    """Compare two open forms tensor by tensor; see :func:`divergence`."""
    run = _tools()
    start_s = time.perf_counter()
    limits = limits or limits_for(first.side.precision, second.side.precision)
    kept = list(samples)
    if not kept:
        raise InputError("parity: --layers: there are no images; give a folder with some")
    with contextlib.ExitStack() as stack:
        pair = _pair(stack, first, second, kept[0])
        feeds = [_feeds(first, second, sample, pair.judged) for sample in kept]
        with _one_line(first, second):
            sums = run.sum_errors(
                run.OnnxLayers(pair.graph),
                pair.other,
                pair.matched.rows,
                feeds,
                other_is_reference=pair.judged,
                chunk_bytes=chunk_bytes or run.CHUNK_BYTES,
                progress=_progress,
            )
    return _result(first, second, kept, pair, sums, limits, time.perf_counter() - start_s)


def _tools() -> Any:
    """Return the module that runs, which needs Polygraphy."""
    with naming_the_extra("parity: --layers"):
        from differseg.export import divergence_run
    return divergence_run


@contextlib.contextmanager
def _one_line(first: Runner, second: Runner) -> Iterator[None]:
    """Turn what ONNX Runtime or Polygraphy raise, whose classes share no base, into one line."""
    try:
        yield
    except (ImportError, MemoryError, TypeError, KeyError, AttributeError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise ModelFileError(
            f"parity: --layers: {first.side.name} and {second.side.name} cannot run layer by "
            f"layer ({type(error).__name__}: {text}); check the files with: differseg check"
        ) from error


def _progress(chunks: list[list[Row]]) -> Iterator[list[Row]]:
    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        yield from progress.track(chunks, description="layer by layer")


def _pair(stack: contextlib.ExitStack, first: Runner, second: Runner, sample: Sample) -> _Pair:
    """Open the two sides; B's graph is taken where both have one."""
    if isinstance(second, OnnxRunner):
        return _paired(stack, second, first, sample, judged=True)
    if isinstance(first, OnnxRunner):
        return _paired(stack, first, second, sample, judged=False)
    raise InputError(
        f"parity: --layers: {first.side.name} is {first.side.kind} and {second.side.name} is "
        f"{second.side.kind}, expected one .onnx file, whose graph says what reads what; export "
        "one of them with: differseg export"
    )


def _paired(
    stack: contextlib.ExitStack,
    file: OnnxRunner,
    partner: Runner,
    sample: Sample,
    *,
    judged: bool,
) -> _Pair:
    from differseg.export.divergence_match import match_graphs, match_modules, match_tensors

    graph = _graph(stack, file)
    names = [spec.name for spec in partner.inputs]
    feed = sample.prepared_for(partner.inputs)
    if isinstance(partner, OnnxRunner):
        other = _graph(stack, partner)
        layers = _tools().OnnxLayers(other)
        return _Pair(graph, layers, match_graphs(graph, other), judged, other)
    if isinstance(partner, BuiltEngineRunner):
        raise InputError(
            f"parity: --layers: {partner.side.name} shows its outputs alone; build an engine that "
            "shows more with trtexec --markDebug or Polygraphy, and compare it without a sidecar"
        )
    if isinstance(partner, EngineRunner):
        shown = partner.tensors(feed)
        return _Pair(graph, EngineLayers(partner), match_tensors(graph, shown), judged, None)
    assert isinstance(partner, TorchRunner)
    from differseg.export.divergence_torch import TorchLayers

    network = TorchLayers(partner.module, partner.inputs[0].size_hw, names)
    matched = match_modules(graph, network.modules(feed), names)
    return _Pair(graph, network, matched, judged, None)


def _graph(stack: contextlib.ExitStack, runner: OnnxRunner) -> LayerGraph:
    from differseg.export.divergence_graph import LayerGraph
    from differseg.export.modelfile import read_model

    return LayerGraph(read_model(stack.enter_context(runnable(Path(runner.side.source)))))


def _feeds(first: Runner, second: Runner, sample: Sample, judged: bool) -> tuple[Feed, Feed]:
    """Return the inputs of the side whose graph is known, and those of the other one."""
    feeds = [sample.prepared_for(runner.inputs) for runner in (first, second)]
    return (feeds[1], feeds[0]) if judged else (feeds[0], feeds[1])


def _result(
    first: Runner,
    second: Runner,
    samples: Sequence[Sample],
    pair: _Pair,
    sums: LayerSums,
    limits: LayerLimits,
    seconds: float,
) -> Divergence:
    from differseg.export.divergence_match import read_rows

    reads = read_rows(pair.graph, pair.matched.rows)
    names = {row.tensor: pair.graph.nodes[row.index].name for row in pair.matched.rows}
    layers = []
    for row in pair.matched.rows:
        found = tuple(Read(names[name], sums.total[name].rms) for name in reads[row.tensor])
        layer = _layer(pair.graph, row, sums, found)
        if layer.exceeds(limits):
            layer = replace(layer, operands=_why(pair, row, sums, layer))
        layers.append(layer)
    return Divergence(
        a=first.side.name,
        b=second.side.name,
        images=tuple(sample.stem for sample in samples),
        layers=tuple(layers),
        limits=limits,
        runs=sums.runs,
        chunks=sums.chunks,
        seconds=round(seconds, 3),
        unmatched=tuple(dict.fromkeys(pair.matched.unmatched)),
        notes=tuple(_notes(pair, first, second)),
    )


def _layer(graph: LayerGraph, row: Row, sums: LayerSums, reads: tuple[Read, ...]) -> LayerError:
    from differseg.export.divergence_graph import FLOATS, module_of

    node, total, own = graph.nodes[row.index], sums.total[row.tensor], sums.own[row.tensor]
    return LayerError(
        node=node.name or row.tensor,
        op=node.op_type,
        module=module_of(row.of or node.name),
        of=row.of,
        shape=graph.shapes.get(row.tensor, ()),
        dtype=FLOATS[graph.types[row.tensor]],
        rms=total.rms,
        typical=total.typical,
        max_error=math.inf if total.nonfinite else total.largest,
        nonfinite=total.nonfinite,
        own_rms=None if own.unfit else own.rms,
        own_typical=None if own.unfit else own.typical,
        reads=reads,
    )


def _why(pair: _Pair, row: Row, sums: LayerSums, layer: LayerError) -> tuple[str, ...]:
    from differseg.export.divergence_operands import (
        differing_constants,
        overflow_words,
        step_words,
    )

    highest = sums.total[row.tensor].highest
    return (
        *overflow_words(layer.dtype, layer.nonfinite, highest),
        *step_words(pair.graph, row.index, highest),
        *differing_constants(pair.graph, row.index, pair.other_graph),
    )


def _notes(pair: _Pair, first: Runner, second: Runner) -> Iterator[str]:
    yield (
        "ONNX Runtime runs the graphs as they are written, without optimisation, so that an error "
        "is the file's; tensors run in chunks of bytes, three runs each: both sides, and the "
        "nodes of the chunk alone on the other side's values"
    )
    kinds = {side.side.kind for side in (first, second)}
    if "PyTorch" in kinds:
        yield (
            "PyTorch shows the results of modules: an error between two of them is that of all "
            "nodes in between; a layer is compared behind its batch normalisation"
        )
    if "TensorRT" in kinds:
        yield "an engine shows the tensors that it was built with as outputs or for debugging"


def print_divergence(found: Divergence, console: Console) -> None:
    """Print the suspects, or the largest own errors where there are none, and one closing line."""

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    ranked = sorted(found.layers, key=lambda layer: -(layer.own_rms or 0.0))
    nonzero = tuple(layer for layer in ranked if layer.own_rms)
    shown = (found.suspects or nonzero)[:_SHOWN]
    title = "suspects, in the order of the graph" if found.suspects else "largest own errors"
    if shown:
        say(f"[italic]layer by layer: {title}[/]")
    for number, layer in enumerate(shown, start=1):
        own = ["-" if v is None else percent(v) for v in (layer.own_rms, layer.own_typical)]
        say(
            f"{number:3}. {escape(layer.describe())}\n     own error {own[0]}, typical {own[1]}; "
            f"error {percent(layer.rms)}, of what it reads {percent(layer.read_rms)}"
        )
        if layer.operands:
            say(f"     [dim]{escape('; '.join(layer.operands))}[/]")
    if len(found.suspects) > _SHOWN:
        say(f"     {len(found.suspects) - _SHOWN} more in the report and in --json")
    ran = f"{found.runs} runs, {found.chunks} chunk(s), {found.seconds:.1f} s"
    missed = f", {len(found.unmatched)} not comparable" if found.unmatched else ""
    say(f"{escape(found.summary())} [dim]({ran}{missed})[/]")
