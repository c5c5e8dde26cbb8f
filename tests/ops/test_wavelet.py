"""Wavelet operators in PyTorch against PyWavelets in float64."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pywt
import torch
import wavelet_oracle as oracle
from maps_under_test import (
    BATCHES_AND_LAYOUTS,
    EVEN_ODD_PRIME_POWER,
    LIMITS,
    random_map,
    real_map,
    relative_error,
)
from torch import Tensor, nn

from differseg.errors import InputError, MissingComponentError
from differseg.ops import filter_banks
from differseg.ops.filter_banks import HAAR, FilterBank, filter_bank
from differseg.ops.wavelet import MODES, dwt2, idwt2, wavedec2, waverec2

pytestmark = pytest.mark.usefixtures("one_thread")
WAVELETS = ["haar", "db2", "db4", "bior2.2", "rbio1.3", "coif1", "sym5"]
TINY = [(1, 2), (2, 3), (3, 5), (4, 7), (5, 5), (9, 1), (1, 1)]
# Where the tables of PyWavelets end; float64 does not reconstruct better than they do.
TABLES = 1e-10


def _possible(mode: str, size_hw: tuple[int, int]) -> bool:
    return mode != "reflect" or 1 not in size_hw


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize("size_hw", EVEN_ODD_PRIME_POWER)
def test_against_pywavelets(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    name = str(dtype).removeprefix("torch.")
    limit = 1e-6 if dtype == torch.float32 else LIMITS[dtype]
    for mode in MODES:
        x = random_map(size_hw, batch=batch, dtype=dtype, layout=layout)
        for wavelet in ("haar", "bior2.2", "sym5"):  # one pass, either, two
            bands, expected = dwt2(x, wavelet, mode), oracle.dwt2(x, wavelet, mode)
            assert bands.dtype == dtype
            assert bands.is_contiguous()
            error = relative_error(bands, expected)
            measured("dwt2", form="torch", dtype=name, error=error, limit=limit)
            noise = torch.randn(expected.shape).to(dtype)
            error = relative_error(
                idwt2(noise, wavelet, mode, size_hw), oracle.idwt2(noise, wavelet, mode, size_hw)
            )
            measured("idwt2", form="torch", dtype=name, error=error, limit=limit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    x, name = real_map(sample_data, dtype), str(dtype).removeprefix("torch.")
    size_hw = tuple(x.shape[2:])
    for mode in MODES:
        bands = dwt2(x, "db2", mode)
        error = relative_error(bands, oracle.dwt2(x, "db2", mode))
        measured("dwt2", form="torch", dtype=name, error=error, limit=LIMITS[dtype])
        expected = oracle.idwt2(bands, "db2", mode, size_hw)
        error = relative_error(idwt2(bands, "db2", mode, size_hw), expected)
        measured("idwt2", form="torch", dtype=name, error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", [*WAVELETS, "db11", "bior3.1"])
def test_maps_smaller_than_the_filters(wavelet: str, mode: str) -> None:
    for size_hw in TINY:
        if not _possible(mode, size_hw):
            continue
        x = random_map(size_hw, dtype=torch.float64)
        bands = dwt2(x, wavelet, mode)
        expected = oracle.dwt2(x, wavelet, mode)
        assert bands.shape == expected.shape
        assert (bands - expected).abs().max() < 1e-12 * 100
        assert relative_error(idwt2(bands, wavelet, mode, size_hw), x) < TABLES
        noise = torch.randn_like(bands)
        expected = oracle.idwt2(noise, wavelet, mode)
        assert (idwt2(noise, wavelet, mode) - expected).abs().max() < 1e-12 * 10


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_perfect_reconstruction(wavelet: str, mode: str) -> None:
    for size_hw in EVEN_ODD_PRIME_POWER:
        x = random_map(size_hw)
        assert relative_error(idwt2(dwt2(x, wavelet, mode), wavelet, mode, size_hw), x) < 1e-6
        average, details = wavedec2(x, wavelet, mode, levels=3)
        assert relative_error(waverec2(average, details, wavelet, mode, size_hw), x) < 2e-6


@pytest.mark.parametrize("wavelet", pywt.wavelist(kind="discrete"))
def test_every_wavelet_of_pywavelets(wavelet: str) -> None:
    x = random_map((13, 20), batch=1, channels=1, dtype=torch.float64)
    for mode in ("symmetric", "periodization"):
        bands = dwt2(x, wavelet, mode)
        assert relative_error(bands, oracle.dwt2(x, wavelet, mode)) < 1e-12
    if pywt.Wavelet(wavelet).orthogonal and wavelet != "dmey":
        ours = FilterBank.orthogonal(filter_bank(wavelet).decomposition_low)
        theirs = pywt.Wavelet(wavelet).filter_bank
        for mine, other in zip(ours.filters, theirs, strict=True):
            assert mine == pytest.approx(other, abs=1e-15)


def test_levels_are_those_of_pywavelets() -> None:
    x = random_map((45, 52), dtype=torch.float64)
    for mode in MODES:
        average, details = wavedec2(x, "db2", mode, levels=3)
        expected_average, *expected_details = pywt.wavedec2(x.numpy(), "db2", mode, level=3)
        assert relative_error(average, expected_average) < 1e-12
        for level, expected in zip(details, expected_details, strict=True):
            assert relative_error(level, np.stack(expected, 2)) < 1e-12


def test_bands_lie_where_the_convention_says() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(4)
    across = stripes[:, None].expand(8, 8)[None, None]  # changes along H: horizontal edges
    for x, index in ((across, 1), (across.mT, 2), (across * across.mT, 3), (across.abs(), 0)):
        energy = dwt2(x).square().sum((0, 1, 3, 4))
        assert energy[index] == pytest.approx(64, rel=1e-6)
        assert energy.sum() == pytest.approx(64, rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", ["haar", "db2", "db3", "bior2.2"])
def test_gradients(wavelet: str, mode: str) -> None:
    for size_hw in ((5, 4), (2, 3)):
        x = torch.randn(1, 1, *size_hw, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda a: dwt2(a, wavelet, mode), x)
        bands = dwt2(x, wavelet, mode).detach().requires_grad_()
        assert torch.autograd.gradcheck(lambda a: idwt2(a, wavelet, mode), bands)
        assert torch.autograd.gradcheck(
            lambda a, size=size_hw: idwt2(a, wavelet, mode, size), bands
        )
    assert torch.autograd.gradgradcheck(lambda a: dwt2(a, wavelet, mode), x)
    assert torch.autograd.gradgradcheck(lambda a: idwt2(a, wavelet, mode), bands)


def test_gradient_in_float16() -> None:
    x = random_map((24, 31), dtype=torch.float16)
    weights = torch.randn_like(dwt2(x, "db2", "symmetric"))
    grads = []
    for dtype in (torch.float16, torch.float64):
        leaf = x.to(dtype).clone().requires_grad_()
        (dwt2(leaf, "db2", "symmetric") * weights.to(dtype)).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].dtype == torch.float16
    assert relative_error(*grads) < LIMITS[torch.float16]


class _Levels(nn.Module):
    def __init__(self, wavelet: str | FilterBank, mode: str) -> None:
        super().__init__()
        self.wavelet, self.mode = wavelet, mode

    def forward(self, x: Tensor) -> Tensor:
        average, details = wavedec2(x, self.wavelet, self.mode, levels=2)
        return waverec2(2 * average, details, self.wavelet, self.mode, tuple(x.shape[2:]))


def test_registered_operators_are_well_formed() -> None:
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    bank = filter_bank("db2")
    low, high, back_low, back_high = (list(taps) for taps in bank.filters)
    for mode in ("symmetric", "periodization"):
        torch.library.opcheck(torch.ops.differseg.dwt2.default, (x, low, high, mode))
        bands = dwt2(x, "db2", mode).detach().requires_grad_()
        arguments = (bands, back_low, back_high, mode, 6, 7)
        torch.library.opcheck(torch.ops.differseg.idwt2.default, arguments)


@pytest.mark.parametrize(
    "wavelet", ["haar", "db2", filter_bank("bior2.2")], ids=["haar", "db2", "bank"]
)
def test_compile_and_export(wavelet: str | FilterBank) -> None:
    x = random_map((14, 17), mean=0)
    for mode in ("zero", "reflect", "periodization"):
        model = _Levels(wavelet, mode)
        eager, compiled = x.clone().requires_grad_(), x.clone().requires_grad_()
        model(eager).square().sum().backward()
        torch._dynamo.reset()
        again = torch.compile(model, backend="aot_eager", fullgraph=True)
        again(compiled).square().sum().backward()
        assert torch.allclose(eager.grad, compiled.grad, atol=1e-5)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (x,), dynamic_shapes=batch)
    nodes = [str(node.target) for node in program.graph.nodes]
    assert nodes.count("differseg.dwt2.default") == 2
    assert nodes.count("differseg.idwt2.default") == 2
    other = random_map((14, 17), batch=5)
    assert torch.equal(program.module()(other), model(other))


def test_levels_of_maps_of_any_size_are_traced() -> None:
    class Levels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return wavedec2(x, levels=2)[0]

    sizes = {"x": {axis: torch.export.Dim(f"n{axis}", min=16, max=64) for axis in (2, 3)}}
    program = torch.export.export(Levels(), (torch.randn(1, 2, 32, 48),), dynamic_shapes=sizes)
    other = torch.randn(1, 2, 22, 17)
    assert torch.equal(program.module()(other), Levels()(other))


REFUSED = [
    (lambda x: dwt2(x[0]), "dwt2: x has 3 axes, shape (3, 6, 7), expected (N, C, H, W); "),
    (lambda x: dwt2(x.long()), "dwt2: x has torch.int64, expected torch.float32"),
    (lambda x: dwt2(torch.complex(x, x)), "dwt2: x has torch.complex64, expected"),
    (lambda x: dwt2(x, mode="periodisation"), "did you mean 'periodization'?"),
    (lambda x: dwt2(x, "db02"), "wavelet 'db02' is unknown, expected 'haar' or a discrete"),
    (lambda x: dwt2(x, "haarr"), "did you mean 'haar'?"),
    (lambda x: dwt2(x[:, :, :1], mode="reflect"), "at least 2 samples along H and W for mode"),
    (lambda x: dwt2(x[:0]), "shape (0, 3, 6, 7), expected at least 1 along every axis"),
    (lambda x: idwt2(x), "idwt2: bands has 4 axes"),
    (lambda x: idwt2(x[:, :, None]), "shape (2, 3, 1, 6, 7), expected (N, C, 4, h, w)"),
    (lambda x: idwt2(dwt2(x, "haar"), "db4", "zero"), "expected at least 4 coefficients along h"),
    (lambda x: idwt2(dwt2(x), size_hw=(6, 9)), "size_hw is (6, 9), expected 6 or 5 by 8 or 7"),
    (lambda x: idwt2(dwt2(x), size_hw=(4, 7)), "size_hw is (4, 7), expected 6 or 5 by 8 or 7"),
    (lambda x: idwt2(dwt2(x), size_hw=(6,)), "size_hw is (6,), expected height and width of"),
    (lambda x: idwt2(dwt2(x), size_hw=(6.0, 7.0)), "size_hw is (6.0, 7.0), expected height and"),
    (lambda x: idwt2(dwt2(x), size_hw=5), "size_hw is 5, expected height and width of a map, two"),
    (lambda x: dwt2(x, ["db2"]), "wavelet is list, expected a name such as 'haar' or 'db2', or a"),
    (lambda x: dwt2(x, np.ones(2)), "wavelet is ndarray, expected a name such as"),
    (lambda x: dwt2(x, pywt.Wavelet("db2")), "FilterBank(w.name, *w.filter_bank)"),
    (lambda x: dwt2(x, "DB2"), "did you mean 'db2'"),
    (lambda x: wavedec2(x, levels=True), "levels is True, expected a whole number from 1"),
    (lambda x: wavedec2(x, levels=10**9), "levels is 1000000000, expected a whole number"),
    (lambda x: waverec2(x, dwt2(x)[:, :, 1:]), "details are no list, expected a list of one"),
    (lambda x: wavedec2(x[:, :, :1, :1], levels=1), "at most 0 for maps of (1, 1)"),
    (lambda x: wavedec2(x, levels=0), "levels is 0, expected a whole number from 1"),
    (
        lambda x: wavedec2(x, levels=4),
        "levels is 4, expected a whole number from 1 and at most 3 for",
    ),
    (lambda x: waverec2(x, []), "details are empty"),
    (lambda x: waverec2(x, [dwt2(x)[:, :, 1:]]), "(2, 3, 3, 3, 4), expected (2, 3, 3, 6, 7) for"),
    (lambda x: waverec2(x, [dwt2(x)]), "details[0] has shape (2, 3, 4, 3, 4), expected (N, C, 3,"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: Callable[[Tensor], Tensor], text: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    x = torch.randn(2, 3, 6, 7)
    for attempt in (lambda: call(x), lambda: torch.export.export(Wrong(), (x,))):
        with pytest.raises(InputError) as caught:
            attempt()
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unknown_wavelet_is_named_by_torch_compile_too() -> None:
    compiled = torch.compile(lambda x: dwt2(x, "db222"), backend="aot_eager")
    with pytest.raises(InputError, match=r"did you mean 'db22', 'db2'.*\?"):
        compiled(torch.randn(1, 1, 4, 4))


def test_haar_is_built_in_and_the_rest_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filter_banks._read_bank.cache_clear()
    monkeypatch.setitem(sys.modules, "pywt", None)
    assert filter_bank("haar") is HAAR
    assert filter_bank(HAAR) is HAAR
    with pytest.raises(MissingComponentError, match=r"pip install 'differseg\[export\]'"):
        filter_bank("db17")


def test_own_banks() -> None:
    angle = torch.rand(()).item() * 2 * math.pi  # every angle is an orthogonal filter of four taps
    c, s, scale = math.cos(angle), math.sin(angle), 1 / (2 * math.sqrt(2))
    low = [scale * tap for tap in (1 - c + s, 1 + c + s, 1 + c - s, 1 - c - s)]
    bank = FilterBank.orthogonal(low, name="lattice")
    x = random_map((11, 16), dtype=torch.float64)
    for mode in MODES:
        bands = dwt2(x, bank, mode)
        assert relative_error(bands, oracle.dwt2(x, bank, mode)) < 1e-12
        assert relative_error(idwt2(bands, bank, mode, (11, 16)), x) < 1e-12
    even = random_map((12, 16), dtype=torch.float64)
    assert dwt2(even, bank).square().sum() == pytest.approx(even.square().sum().item())


def test_wrong_banks() -> None:
    taps = (0.5, 0.5)
    low, high, back_low, back_high = filter_bank("bior2.2").filters
    scaled = tuple(1.02 * tap for tap in HAAR.decomposition_low)
    for build, text in (
        (lambda: FilterBank("a", taps, taps, taps, taps), "differ from the identity by"),
        (lambda: FilterBank("b", low, back_low, high, back_high), "in the order dec_lo, dec_hi"),
        (lambda: FilterBank("c", low[:-1], high, back_low, back_high), "have [5, 6, 6, 6] taps"),
        (lambda: FilterBank("e", *HAAR.filters[:2], scaled, HAAR.filters[3]), "identity by 0.01"),
        (lambda: FilterBank.orthogonal(scaled), "misses orthonormality by 0.04"),
        (lambda: FilterBank("d", (math.nan, 1.0), taps, taps, taps), "is not a finite number"),
        (lambda: FilterBank.orthogonal([0.5, 0.5]), "misses orthonormality by"),
        (lambda: FilterBank.orthogonal([1.0, 0.4, 0.1]), "has shape (3,), expected an even number"),
    ):
        with pytest.raises(InputError) as caught:
            build()
        assert text in str(caught.value)
