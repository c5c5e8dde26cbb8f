"""What is measured beside each other: the levels of one model file, and its peers.

A level is how much of the way from camera to mask is timed.  A peer is another engine or another
file, at the level of the bare engine.
"""

from __future__ import annotations

import difflib
import re
import typing
from dataclasses import dataclass, replace
from pathlib import Path

from differseg.errors import InputError
from differseg.runtime.backends import BackendName, CpuPrecision
from differseg.runtime.engine_file import is_engine

LEVELS = ("engine", "runtime", "end-to-end")
"""The bare engine on inputs prepared beforehand; preparation, engine and mask; and the whole camera
run, from captured frames to masks."""

_BACKENDS = tuple(name for name in typing.get_args(BackendName) if name != "auto")
_PRECISIONS = typing.get_args(CpuPrecision)
_NAMED = ("session", "torch")
_FORM = "session, torch, an engine such as openvino or openvino:bf16, a file, or FILE@ENGINE"


@dataclass(frozen=True)
class Peer:
    """One process of the comparison.

    Attributes:
        label: What the table calls it.
        kind: A level, ``session`` (ONNX Runtime without our backend) or ``torch``.
        model: The file.
        backend, cpu_precision: The engine of a level.
    """

    label: str
    kind: str
    model: Path
    backend: BackendName = "auto"
    cpu_precision: CpuPrecision | None = None

    @property
    def short_label(self) -> str:
        """The label without the file's folder."""
        return self.label.replace(str(self.model), self.model.name)

    def arguments(self, frames: Path) -> list[str]:
        """Return the command line of its worker."""
        arguments = ["--kind", self.kind, "--model", str(self.model.resolve())]
        arguments += ["--frames", str(frames), "--backend", self.backend]
        if self.cpu_precision is not None:
            arguments += ["--cpu-precision", self.cpu_precision]
        return arguments


def parse_peers(
    model: Path, vs: str, backend: BackendName, cpu_precision: CpuPrecision | None
) -> list[Peer]:
    """Return the levels of a model file and the peers that a text names.

    Args:
        model: The file whose levels are measured.
        vs: Peers, separated by commas; ``none`` or nothing for none.
        backend: The engine of the levels.
        cpu_precision: What OpenVINO computes in.

    Raises:
        InputError: A peer that is not known, is not there, or stands there twice.
    """
    peers = [Peer(level, level, model, backend, cpu_precision) for level in LEVELS]
    for text in (part.strip() for part in vs.split(",")):
        if text and text != "none":
            peers.append(_peer(model, text))
    short = [peer.short_label for peer in peers]
    peers = [
        replace(peer, label=name) if short.count(name) == 1 else peer
        for peer, name in zip(peers, short, strict=True)
    ]
    labels = [peer.label for peer in peers]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InputError(f"bench: --vs: '{twice}' stands there twice; name it once")
    return peers


def _peer(model: Path, text: str) -> Peer:
    if text in _NAMED:
        if is_engine(model):
            raise InputError(f"bench: --vs {text}: it runs ONNX files, and {model} is an engine")
        return Peer(text, text, model)
    file, engine = _split(text)
    if file is not None and not file.is_file():
        raise InputError(f"bench: --vs: there is no file {file}; choose from {_FORM}")
    if engine is None:
        assert file is not None
        return Peer(text, "engine", file)
    name, _, precision = engine.partition(":")
    if name not in _BACKENDS:
        near = difflib.get_close_matches(name, (*_NAMED, *_BACKENDS), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {_FORM}"
        raise InputError(f"bench: --vs: no peer '{text}'; {hint}")
    if precision and (precision not in _PRECISIONS or name != "openvino"):
        raise InputError(
            f"bench: --vs {text}: a precision ({', '.join(_PRECISIONS)}) goes with openvino alone"
        )
    return Peer(
        text,
        "engine",
        file or model,
        typing.cast(BackendName, name),
        typing.cast("CpuPrecision | None", precision or None),
    )


def _split(text: str) -> tuple[Path | None, str | None]:
    """Split ``FILE@ENGINE``; either part may be missing."""
    match = re.fullmatch(r"(.+\.(?:onnx|engine|plan|rtx))(?:@(.+))?", text, re.IGNORECASE)
    if match:
        return Path(match[1]), match[2]
    return None, text
