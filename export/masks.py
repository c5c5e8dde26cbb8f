"""``differseg masks``: a file of ours that gives the mask itself, one byte a pixel."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape

from differseg.errors import CheckFailedError, InputError
from differseg.extras import naming_the_extra
from differseg.options import option, parse, run_main


@dataclass(frozen=True)
class MasksOptions:
    """Write a file that gives masks and no probabilities: one byte a pixel leaves the device.

    Do it last: quantise, compare and judge the file of probabilities.
    """

    model: Path = option(positional=True, metavar="F.onnx")
    """A file that differseg exported or quantised."""
    out: Path | None = option(None, short="-o", metavar="G.onnx")
    """The file to write; F.masks.onnx by default."""
    json: bool = False
    """Print the report as one JSON document on the last line."""

    def __post_init__(self) -> None:
        if self.out is not None and self.out.resolve() == self.model.resolve():
            raise InputError(f"masks: --out: {self.out} is the file itself; name another")


@dataclass(frozen=True)
class MasksReport:
    """What was written.

    Attributes:
        path: The file.
        bytes_before, bytes_after: What leaves the device with each frame.
        differing: Pixels of a synthetic scene where both files decide otherwise; ties of rounding.
    """

    path: Path
    bytes_before: int
    bytes_after: int
    differing: int


def write_masks(model: Path | str, out: Path | str | None = None) -> MasksReport:
    """Write the file and compare it with the one it is of, on a synthetic scene.

    Args:
        model: A file of probabilities.
        out: Where to; beside it by default.

    Raises:
        InputError: The file has no manifest or other outputs, or the place cannot be written.
        ModelFileError: No ONNX file, or ONNX Runtime cannot run it.
        CheckFailedError: Both decide differently.
    """
    with naming_the_extra("differseg masks"):
        from differseg.export.mask_output import MASK, with_mask_output
        from differseg.export.modelfile import manifest_of, read_model, serialize, written_whole
        from differseg.export.parity_data import Feeds, load_samples
        from differseg.runtime.decision import most_probable
    model = Path(model)
    path = model.with_suffix(".masks.onnx") if out is None else Path(out)
    before = read_model(model)
    after = with_mask_output(before)
    old, new = manifest_of(before), manifest_of(after)
    assert old is not None
    assert new is not None
    with written_whole(path) as part:
        part.write_bytes(serialize(after))
        feed = next(iter(Feeds(load_samples(old.inputs, None, 1, classes=old.classes), 1)))
        probability = _run(model, feed)[old.outputs[0].name][0].astype(np.float32)
        mask = _run(part, feed)[MASK][0, 0]
        if old.outputs[0].kind == "probability":
            expected = (probability[0] >= np.float32(old.threshold)).astype(np.uint8)
        else:
            expected = most_probable(probability)
        differing = int(np.count_nonzero(mask != expected))
        if differing > mask.size // 1000:
            raise CheckFailedError(
                f"masks: {path}: not written: {differing} of {mask.size} pixels are decided "
                f"otherwise than from the probabilities of {model}"
            )
    return MasksReport(path, _size(old.outputs), _size(new.outputs), differing)


def _run(path: Path, feed: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Run a file once in ONNX Runtime; returns copies of its outputs."""
    from differseg.runtime.backends import open_backend

    backend = open_backend(path, "onnxruntime")
    try:
        for name, array in feed.items():
            backend.inputs[name][...] = array
        backend.run()
        return {name: array.copy() for name, array in backend.outputs.items()}
    finally:
        backend.close()


def _size(outputs: Sequence[Any]) -> int:
    return sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in outputs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    options = parse(MasksOptions, argv, "differseg masks")
    report = write_masks(options.model, options.out)
    console = Console()
    console.print(
        f"[bold]{escape(str(report.path))}[/]: {report.bytes_after / 1e6:.2f} MB leave the device "
        f"with each frame, {report.bytes_before / 1e6:.2f} MB before; in a synthetic scene "
        f"{report.differing} pixels are decided otherwise",
        highlight=False,
        soft_wrap=True,
    )
    if options.json:
        plain = {**report.__dict__, "path": str(report.path)}
        print(json.dumps(plain))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
