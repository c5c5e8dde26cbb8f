"""Operators from outside the package: what is refused, and that the names are found."""

from __future__ import annotations

import pytest
import torch

from differseg.errors import InputError
from differseg.export import register_lowering
from differseg.export.lowering import registry
from differseg.export.lowering.framework import Lowering


def lowering(name: str) -> Lowering:
    class Mine(Lowering):
        op_type = name

        def rewrite(self, op, call):
            return op.Mul(call.inputs[0], op.constant(2.0, "two", call.dtype))

    return Mine()


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch):
    monkeypatch.setattr(registry, "LOWERINGS", dict(registry.LOWERINGS))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SoftEdge", "expected a name such as DiffersegSoftEdge"),
        ("Differseg", "expected a name such as DiffersegSoftEdge"),
        ("DiffersegRfft2", "there is one for DiffersegRfft2 already"),
        ("DiffersegNowhere", r"there is no operator torch.ops.differseg.nowhere; define it first"),
    ],
)
def test_what_is_refused(name, said):
    before = dict(registry.LOWERINGS)
    with pytest.raises(InputError, match=said):
        register_lowering(lowering(name))
    assert before == registry.LOWERINGS


def test_nodes_of_a_new_operator_are_known_by_name():
    torch.library.define("differseg::twice_for_test", "(Tensor x) -> Tensor")
    assert registry.operator_in("head/twice_for_test/Mul") == ""
    register_lowering(lowering("DiffersegTwiceForTest"))
    assert registry.operator_in("head/twice_for_test/Mul") == "twice_for_test"
    assert registry.operator_in("rfft2/MatMul_1") == "rfft2"
