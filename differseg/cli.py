"""``differseg VERB``: a table from verb to module, each with ``main(argv) -> exit status``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from differseg.errors import InputError
from differseg.extras import naming_the_extra
from differseg.options import run_main

VERBS: dict[str, tuple[str, str]] = {
    "models": ("differseg.models.listing", "list the networks with inputs, parameters and GMACs"),
    "datasets": ("differseg.data.datasets.command", "list the data sets that are read as released"),
    "train": ("differseg.train", "train a network on a folder or on synthetic scenes"),
    "evaluate": ("differseg.evaluate", "score a checkpoint or an ONNX file on labelled data"),
    "robustness": ("differseg.robustness.command", "judge networks on images that get worse"),
    "convert": ("differseg.convert", "turn a checkpoint of a network's authors into one of ours"),
    "export": ("differseg.export.to_onnx", "write a self-describing ONNX file and check it"),
    "audit": ("differseg.calibration.audit", "say whether images are fit to calibrate INT8 on"),
    "quantize": (
        "differseg.calibration.quantize",
        "write an ONNX file as INT8 and judge its masks",
    ),
    "masks": ("differseg.export.masks", "write a file that gives masks and no probabilities"),
    "build": ("differseg.export.build_engine", "build a TensorRT engine with its sidecar"),
    "check": ("differseg.export.check", "say whether a target accepts an ONNX file"),
    "parity": ("differseg.export.parity", "compare two forms of a model in task terms"),
    "register": ("differseg.runtime.register", "find how the thermal view lies in the RGB view"),
    "run": ("differseg.runtime.run_camera", "segment two cameras, videos or folders"),
    "power": ("differseg.runtime.power", "show the board's power, heat and clocks"),
    "bench": ("differseg.bench.command", "measure a model file, stage by stage, against its peers"),
    "fit": ("differseg.fit.command", "estimate what fits a board at a frame rate"),
    "bundle": ("differseg.bundle.command", "write, verify or unpack one file for a board"),
    "triton": ("differseg.export.triton", "write a model repository for Triton Inference Server"),
    "doctor": ("differseg.doctor", "say what is installed and what would be used"),
}
"""Verb -> (module, one line for the help page)."""


def help_text() -> str:
    """Return the overview page."""
    lines = [f"  {verb:<10} {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(
        ["usage: differseg VERB [options]   (differseg VERB --help)", "", "verbs:", *lines]
    )


def _main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if arguments[0] in ("-V", "--version"):
        from differseg import __version__

        print(f"differseg {__version__}")
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"verbs: {', '.join(VERBS)}"
        raise InputError(f"differseg: there is no verb '{verb}'; {hint}")
    with naming_the_extra(f"differseg {verb}"):  # also of what only a part of its work needs
        return int(import_module(VERBS[verb][0]).main(arguments[1:]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status (0 done, 1 check failed, 2 input, 3 missing)."""
    return run_main(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
