"""Reassembly in ONNX Runtime, every spelling, against its definition in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
import reassembly_oracle as oracle
import torch
from maps_under_test import random_map, real_map
from onnx_forms import FORMS, Trial, try_form, try_form_with_any_batch
from operator_networks import Apply
from torch import Tensor

from differseg.export import export_onnx, rtx
from differseg.export.lowering.framework import DOMAIN, Call
from differseg.export.lowering.reassembly import LowerReassemble
from differseg.export.lowering.reassembly_plan import Reassembly
from differseg.ops.reassembly import reassemble

pytestmark = pytest.mark.usefixtures("one_thread")
Options = dict[str, Any]
MANY, FEW = 36, 4
"""Channels that are reassembled by products of matrices, and at scale 1 by shifted maps."""

TRIALS: list[tuple[int, tuple[int, int], Options]] = [
    (MANY, (16, 15), {"kernel_size": 5, "scale": 2, "normalize": "hamming"}),
    (FEW, (13, 17), {"kernel_size": 5, "scale": 2, "border": "edge", "dilation": 2}),
    (MANY, (23, 16), {"kernel_size": 3, "normalize": "softmax"}),
    (FEW, (13, 16), {"kernel_size": 3, "normalize": "hamming"}),
    (MANY, (24, 31), {"kernel_size": 3, "border": "edge", "dilation": 7}),
    (FEW, (11, 13), {"kernel_size": 3, "border": "edge", "dilation": 16, "normalize": "softmax"}),
    (FEW, (11, 13), {"kernel_size": 3, "dilation": 64}),
    (MANY, (6, 13), {"kernel_size": 3, "scale": 2, "dilation": 64}),
    (2 * MANY, (13, 16), {"kernel_size": 3, "groups": 2, "normalize": "softmax"}),
    (FEW, (13, 16), {"kernel_size": 5, "groups": 4, "border": "edge"}),
    (FEW, (8, 9), {"kernel_size": 3, "scale": 3, "groups": 2, "normalize": "hamming"}),
    (MANY, (7, 5), {"kernel_size": 3, "scale": 4, "border": "edge"}),
    (FEW, (9, 8), {"kernel_size": 1, "scale": 4}),
    (MANY, (9, 8), {"kernel_size": 1}),
    (FEW, (14, 12), {"kernel_size": 9, "scale": 2, "normalize": "softmax"}),
    (MANY, (20, 24), {"kernel_size": 7, "border": "edge"}),
]


def _trial(x: Tensor, options: Options) -> Trial:
    """Pair a call with the oracle; kernels that are not normalised sum to 1 before."""
    taps, groups = options["kernel_size"] ** 2, options.get("groups", 1)
    scale = options.get("scale", 1)
    kernels = torch.randn(x.shape[0], groups * taps, scale * x.shape[2], scale * x.shape[3])
    if options.get("normalize", "none") == "none":
        kernels = kernels.unflatten(1, (groups, taps)).softmax(2).flatten(1, 2)
    kernels = kernels.to(x.dtype)
    expected = torch.from_numpy(oracle.reassemble(x, kernels, **options))
    return Trial("reassemble", partial(reassemble, **options), (x, kernels), expected)


def _file(path: Path, x: Tensor, options: Options) -> Path:
    """Export one call."""
    trial = _trial(x, options)
    inputs = dict(zip(("x", "kernels"), trial.inputs, strict=True))
    export_onnx(Apply(trial.call), inputs, path, verify=False)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_portable(
    batch: int, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    chosen = TRIALS if batch == 1 else TRIALS[:5] + TRIALS[8:11]
    trials = [
        _trial(random_map(size, batch=batch, channels=channels, dtype=dtype), options)
        for channels, size, options in chosen
    ]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_a_batch_that_varies(
    form: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    def trials(batch: int) -> list[Trial]:
        return [
            _trial(random_map(size, batch=batch, channels=channels, dtype=dtype), options)
            for channels, size, options in (TRIALS[0], TRIALS[3], TRIALS[8], TRIALS[9])
        ]

    try_form_with_any_batch(trials, tmp_path, form, measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_photograph(
    dtype: torch.dtype, sample_data: Path, tmp_path: Path, measured: Callable[..., None]
) -> None:
    x = real_map(sample_data, dtype)[..., 200:247, 300:341]
    options = {"kernel_size": 5, "scale": 2, "normalize": "hamming"}
    try_form([_trial(x, options)], tmp_path, "portable", measured)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 64, 64, 64), {"kernel_size": 5, "scale": 2, "normalize": "softmax"}),
        ((1, 64, 61, 53), {"kernel_size": 5, "scale": 2}),
        ((1, 64, 96, 80), {"kernel_size": 3}),
        ((1, 64, 64, 64), {"kernel_size": 5, "border": "edge"}),
        ((1, 64, 64, 64), {"kernel_size": 3, "dilation": 16, "border": "edge"}),
        ((1, 64, 64, 64), {"kernel_size": 3, "dilation": 40}),
        ((1, 9, 64, 64), {"kernel_size": 3, "dilation": 16}),
        ((2, 160, 32, 32), {"kernel_size": 5, "scale": 2, "groups": 4}),
        ((1, 104, 16, 24), {"kernel_size": 3, "scale": 3}),
        ((1, 2, 32, 32), {"kernel_size": 7, "scale": 2}),
    ],
    ids=str,
)
def test_no_tensor_is_larger_than_result_or_kernels(
    shape: tuple[int, ...], options: Options, tmp_path: Path
) -> None:
    groups, scale = options.get("groups", 1), options.get("scale", 1)
    taps = groups * options["kernel_size"] ** 2
    x, size_hw = torch.zeros(shape), [scale * extent for extent in shape[2:]]
    kernels = torch.zeros(shape[0], taps, *size_hw)
    path = tmp_path / "f.onnx"
    call = partial(reassemble, **options)
    export_onnx(Apply(call), {"x": x, "kernels": kernels}, path, verify=False)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True)
    known = {value.name: value.type.tensor_type.shape for value in model.graph.value_info}
    computed = [
        math.prod(axis.dim_value for axis in known[name].dim)
        for node in model.graph.node[:-1]
        for name in node.output
    ]
    assert min(computed) > 0, "a shape is not known"
    assert max(computed) <= max(shape[0] * shape[1] * math.prod(size_hw), kernels.numel())


def test_few_channels_at_scale_1_are_shifted_maps(tmp_path: Path) -> None:
    path = _file(tmp_path / "f.onnx", random_map((12, 16), channels=9), {"kernel_size": 3})
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("Mul") == 9
    assert "MatMul" not in operators


def test_many_channels_are_products_of_matrices(tmp_path: Path) -> None:
    path = _file(tmp_path / "f.onnx", random_map((12, 16), channels=64), {"kernel_size": 3})
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("MatMul") >= 2
    assert "Mul" not in operators


def test_the_form_is_in_the_manifest(tmp_path: Path) -> None:
    x, kernels = torch.zeros(1, 64, 24, 24), torch.zeros(1, 25, 48, 48)
    call = partial(reassemble, kernel_size=5, scale=2)
    result = export_onnx(
        Apply(call), {"x": x, "kernels": kernels}, tmp_path / "f.onnx", verify=False
    )
    values = {decision.what: decision.value for decision in result.decisions}
    assert values["reassembly of 64x24x24, kernel 5, scale 2"].startswith("products of matrices")


@pytest.mark.parametrize(
    ("size_hw", "kernel_size", "dilation", "shifts"),
    [
        ((64, 64), 3, 26, False),
        ((64, 64), 3, 28, True),
        ((64, 96), 3, 30, True),
        ((64, 64), 5, 15, False),
        ((120, 160), 3, 58, True),
        ((96, 64), 3, 32, True),
        ((480, 640), 3, 1, False),
    ],
)
def test_taps_far_away_are_shifted_maps(
    size_hw: tuple[int, int], kernel_size: int, dilation: int, shifts: bool
) -> None:
    work = Reassembly(1, 1, 64, *size_hw, kernel_size, 1, dilation, "zeros")
    assert (work.why_shifts is not None) == shifts


def test_the_manifest_says_why_maps_are_shifted(tmp_path: Path) -> None:
    x, kernels = torch.zeros(1, 64, 20, 24), torch.zeros(1, 9, 20, 24)
    call = partial(reassemble, kernel_size=3, dilation=9)
    inputs = {"x": x, "kernels": kernels}
    result = export_onnx(Apply(call), inputs, tmp_path / "f.onnx", verify=False)
    (reason,) = (d.reason for d in result.decisions if d.value == "shifted maps")
    assert reason == "taps 9 px away leave too little for products of matrices"


def test_kernels_of_another_size_are_refused() -> None:
    shapes = {"x": (1, 8, 12, 12), "kernels": (1, 25, 12, 24)}
    operands = [
        ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        for name, shape in shapes.items()
    ]
    attributes = {
        "kernel_size": 5, "scale": 2, "dilation": 1, "groups": 1,
        "border": "zeros", "normalize": "none",
    }  # fmt: skip
    node = ir.node("DiffersegReassemble", operands, attributes=attributes, domain=DOMAIN)
    reason = LowerReassemble().check(Call(node))
    assert reason == "kernels have the axes (25, 12, 24) behind the batch, expected (25, 24, 24)"


@pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("channels", "size_hw", "options"),
    [
        (64, (32, 32), {"kernel_size": 5, "scale": 2, "normalize": "hamming"}),
        (64, (24, 30), {"kernel_size": 3, "groups": 2, "border": "edge", "dilation": 5}),
        (9, (24, 30), {"kernel_size": 3, "border": "edge", "dilation": 16}),
        (9, (24, 31), {"kernel_size": 3, "normalize": "softmax"}),
        (64, (17, 19), {"kernel_size": 3, "normalize": "softmax"}),
    ],
    ids=str,
)
def test_nvidia_builds_it(
    channels: int, size_hw: tuple[int, int], options: Options, dtype: torch.dtype, tmp_path: Path
) -> None:
    x = random_map(size_hw, batch=1, channels=channels, dtype=dtype)
    report = rtx.build(_file(tmp_path / "f.onnx", x, options), threads=1)
    assert report.passed, report.reason or report.errors
