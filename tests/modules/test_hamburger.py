from __future__ import annotations

import numpy as np
import pytest
import torch

from differseg.modules.hamburger import Hamburger, NonnegativeFactorization

pytestmark = pytest.mark.usefixtures("one_thread")


def factorized(x, basis, steps):
    """Multiplicative updates in NumPy, pixels as rows, as the light Hamburger is described."""
    pixels = x.reshape(x.shape[0], -1)  # (C, P)
    scores = pixels.T @ basis
    exponents = np.exp(scores - scores.max(1, keepdims=True))
    coefficients = exponents / exponents.sum(1, keepdims=True)  # (P, R)
    for step in range(steps + 1):
        coefficients = coefficients * (pixels.T @ basis)
        coefficients /= previous(coefficients, pixels, basis) + 1e-6
        if step < steps:
            basis = (
                basis * (pixels @ coefficients) / (basis @ (coefficients.T @ coefficients) + 1e-6)
            )
    return (basis @ coefficients.T).reshape(x.shape)


def previous(product, pixels, basis):
    """The divisor of the update: what ``product`` was before it, times the basis' Gram matrix."""
    return (product / (pixels.T @ basis)) @ (basis.T @ basis)


@pytest.fixture
def features():
    return torch.rand(2, 12, 5, 7, generator=torch.Generator().manual_seed(0)).double()


def test_eval_equals_numpy(features):
    module = NonnegativeFactorization(12, rank=4).double().eval()
    got = module(features)
    for image, expected in zip(got, features, strict=True):
        wanted = factorized(expected.numpy(), module.basis.double().numpy(), 7)
        assert image.numpy() == pytest.approx(wanted, rel=1e-9)


def test_eval_is_the_same_every_time_and_in_every_network(features):
    module, other = (NonnegativeFactorization(12).double().eval() for _ in range(2))
    assert torch.equal(module(features), module(features))
    assert torch.equal(module.basis, other.basis)
    assert module.basis[0, :3].tolist() == pytest.approx([0.303325, 0.371647, 0.277109], abs=1e-6)
    assert list(module.state_dict()) == []


def test_training_starts_anew_every_time(features):
    module = NonnegativeFactorization(12).double().train()
    assert not torch.equal(module(features), module(features))
    torch.manual_seed(3)
    first = module(features)
    torch.manual_seed(3)
    assert torch.equal(module(features), first)


def test_another_basis_can_be_given(features):
    module = NonnegativeFactorization(12, rank=4).double().eval()
    basis = torch.nn.functional.normalize(torch.rand(12, 4), dim=0)
    module.basis.copy_(basis)
    wanted = factorized(features[0].numpy(), basis.double().numpy(), 7)
    assert module(features)[0].numpy() == pytest.approx(wanted, rel=1e-6)


def test_a_map_of_low_rank_is_found_again():
    generator = torch.Generator().manual_seed(0)
    basis, coefficients = (torch.rand(*s, generator=generator) for s in ((12, 2), (2, 35)))
    x = (basis @ coefficients).view(1, 12, 5, 7)
    module = NonnegativeFactorization(12, rank=8).eval()
    assert (module(x) - x).norm() < 0.1 * x.norm()


def test_zero_features_give_no_nan():
    assert NonnegativeFactorization(12).eval()(torch.zeros(1, 12, 4, 4)).isfinite().all()


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    module = Hamburger(32, rank=4, norm_groups=8)
    x = torch.randn(2, 32, 4, 6, requires_grad=True)
    module(x).square().mean().backward()
    assert [name for name, p in module.named_parameters() if not p.grad.any()] == []
    assert x.grad.any()
