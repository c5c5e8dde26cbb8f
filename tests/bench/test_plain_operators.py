"""The peer of benchmarks/authors_export.py computes what our operators compute."""

from pathlib import Path

import pytest
import torch

from differseg import ops

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def _case(name):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    x, moves = draw(1, 8, 12, 16), draw(1, 2, 12, 16)
    places = ops.displacement_to_positions(moves)
    return {
        "reassemble": ((x, draw(1, 9, 24, 32)), {"kernel_size": 3, "scale": 2}),
        "reassemble-softmax": (
            (x, draw(1, 25, 12, 16)),
            {"kernel_size": 5, "dilation": 2, "border": "edge", "normalize": "softmax"},
        ),
        "reassemble-hamming": (
            (x, draw(1, 9, 12, 16)),
            {"kernel_size": 3, "normalize": "hamming"},
        ),
        "local_similarity": ((x,), {"kernel_size": 3, "dilation": 2}),
        "sample_offsets": ((x, draw(1, 32, 12, 16)), {"scale": 2, "groups": 4}),
        "dwt2": ((x, "haar"), {}),
        "gaussian_lowpass": ((x, 2.0, 7, "zeros"), {}),
        "saliency_displacement": ((x[:, :1].exp(),), {"radius": 5, "fwhm": 3.0}),
        "warp": ((x, places), {}),
        "invert_displacement": ((moves / 4,), {"iterations": 6}),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "reassemble",
        "reassemble-softmax",
        "reassemble-hamming",
        "local_similarity",
        "sample_offsets",
        "dwt2",
        "gaussian_lowpass",
        "saliency_displacement",
        "warp",
        "invert_displacement",
    ],
)
def test_an_operator_as_publications_write_it_gives_our_values(name):
    from plain_operators import PLAIN, plain_operators

    arguments, options = _case(name)
    operator = name.partition("-")[0]
    expected = getattr(ops, operator)(*arguments, **options)
    with plain_operators():
        assert getattr(ops, operator) is PLAIN[operator]
        found = getattr(ops, operator)(*arguments, **options)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert getattr(ops, operator) is not PLAIN[operator]


@pytest.mark.slow  # two exports
def test_both_files_of_a_network_agree_and_are_measured(tmp_path):
    from authors_export import export_both, run_both

    exports = export_both("segnext-dwt-ff", (64, 64), tmp_path)
    rows = run_both(exports.paths, exports.inputs, threads=1, runs=1)
    assert not exports.refusal
    assert set(rows) == {"differseg", "PyTorch"}
    for row in rows.values():
        assert row["nodes"] > 100
        assert row["wall_ms"] > 0
        assert row["cpu_ms"] > 0
        assert row["difference"] <= 1e-4
