"""What a camera run needs of a board's memory, stage by stage, and how each figure is known.

A Jetson has one memory for processor and GPU, so all of it counts together.  What runs on the
processor was measured on a PC (``benchmarks/memory_stages.py``), what the graph needs is computed,
and what CUDA, TensorRT and the system take are reports of others, from other boards and releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from differseg.fit.lifetimes import TensorMemory

How = Literal["measured", "computed", "reported", "unknown"]

MIB = 1 << 20
_COPIES = 4
"""Two slots of buffers (:mod:`differseg.runtime.backends.tensorrt`), each on both sides."""


@dataclass(frozen=True)
class Stage:
    """One part of the memory.

    Attributes:
        name: What takes it.
        low_mib, high_mib: Range; None where nothing is known.
        how: How it is known.
        source: Where it is from.
    """

    name: str
    low_mib: float | None
    high_mib: float | None
    how: How
    source: str


@dataclass(frozen=True)
class Budget:
    """All parts; the sums leave out what is unknown.

    Attributes:
        fixed: What every network takes.
        own: What this one does.
    """

    fixed: tuple[Stage, ...]
    own: tuple[Stage, ...]

    @property
    def low_mib(self) -> float:
        """Sum of the low ends."""
        return sum(stage.low_mib or 0.0 for stage in (*self.fixed, *self.own))

    @property
    def high_mib(self) -> float:
        """Sum of the high ends."""
        return sum(stage.high_mib or 0.0 for stage in (*self.fixed, *self.own))


_HERE = "benchmarks/memory_stages.py, differseg-edge at 480x640 on x86-64"
_SYSTEM = Stage(
    "Linux: without a desktop, with one", 300, 1500, "reported",
    "Jetson Nano, JetPack 4.4 (microsoft/onnxruntime issue 4259); JetPack 6: unknown",
)  # fmt: skip
_CUDA = Stage(
    "CUDA context and TensorRT's libraries", 229, 1233, "reported",
    "CUDA alone, board not named: NVIDIA/TensorRT issue 2217; 800 on the processor's and 433 on "
    "the GPU's side, engine and cuDNN included, Xavier NX: issue 1558; JetPack 6: unknown",
)  # fmt: skip
HOST = (
    Stage("Python, numpy, OpenCV and the runtime", 48, 48, "measured", _HERE),
    Stage("two cameras, pairs and queues", 71, 77, "measured", _HERE),
    Stage("a video and masks", 25, 27, "measured", _HERE),
    Stage("the preview, watched", 9, 20, "measured", _HERE),
)
"""The low and the high one of the runs with ONNX Runtime and OpenVINO, each without what it had
before.  What those engines themselves take is not in it: on a board TensorRT stands there."""


_WORKSPACE = Stage(
    "workspace and layouts of kernels", None, None, "unknown",
    "TensorRT chooses; differseg build --workspace-mib limits it",
)  # fmt: skip


def budget_of(needed: TensorMemory) -> Budget:
    """Return the memory of a run with two cameras, a video, masks and a preview on a board.

    Args:
        needed: What the graph needs.
    """
    parts = {
        "weights": (needed.weights, "constants of the graph"),
        "tensors": (needed.activations, f"those that live at once, at {needed.peak_layer}"),
        "buffers": (_COPIES * needed.inputs_outputs, "inputs and outputs, two slots, both sides"),
    }
    own = [Stage(n, b / MIB, b / MIB, "computed", source) for n, (b, source) in parts.items()]
    return Budget((_SYSTEM, *HOST, _CUDA, _WORKSPACE), tuple(own))
