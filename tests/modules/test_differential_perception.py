from __future__ import annotations

import numpy as np
import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.modules.differential_perception import DifferentialPerceptionFusion


def correlate_by_loop(x, kernel):
    """Each channel of (N, C, H, W) with one 3x3 kernel, zero padded, pixel by pixel."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(x)
    for n, c, row, column in np.ndindex(*x.shape):
        out[n, c, row, column] = (padded[n, c, row : row + 3, column : column + 3] * kernel).sum()
    return out


def test_fusion_equals_the_formula_with_a_loop_per_channel():
    fusion = DifferentialPerceptionFusion(3)
    s, rgb, second = randomise(fusion), noise(2, 3, 5, 7), noise(2, 3, 5, 7, seed=2)

    r, m = conv(s, "rgb_proj", rgb), conv(s, "depth_proj", second)
    y = norm(
        s,
        "complementarity_net.1",
        conv(s, "complementarity_net.0", torch.cat([r, m], 1), padding=1),
    )
    weight = torch.softmax(conv(s, "complementarity_net.3", F.relu(y)), 1).numpy()
    w_r, w_m, r_np, m_np = weight[:, :1], weight[:, 1:], r.numpy(), m.numpy()
    differences = [
        w_r * correlate_by_loop(r_np, s[name][0, 0].numpy())
        + w_m * correlate_by_loop(m_np, s[name][0, 0].numpy())
        for name in ("learnable_diff_x", "learnable_diff_y", "learnable_laplacian")
    ]
    f = conv(s, "fusion_net.0", torch.from_numpy(np.concatenate(differences, 1)), padding=1)
    f = conv(s, "fusion_net.3", F.relu(norm(s, "fusion_net.1", f)), padding=1)
    f = norm(s, "fusion_net.4", f)
    ninth = np.full((3, 3), 1 / 9)
    low = correlate_by_loop(w_r, ninth) * correlate_by_loop(r_np, ninth)
    low = low + correlate_by_loop(w_m, ninth) * correlate_by_loop(m_np, ninth)
    y = conv(s, "integration_net.0", torch.cat([f, torch.from_numpy(low)], 1), padding=1)
    y = conv(s, "integration_net.3", F.relu(norm(s, "integration_net.1", y)))
    expected = norm(s, "integration_net.4", y) + r + m

    torch.testing.assert_close(fusion(rgb, second), expected)


def test_kernels_start_as_sobel_and_laplacian():
    fusion = DifferentialPerceptionFusion(8)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    assert torch.equal(fusion.learnable_diff_x[0, 0], sobel)
    assert torch.equal(fusion.learnable_diff_y[0, 0], sobel.t())
    assert fusion.learnable_laplacian.sum() == 0
    assert fusion.learnable_laplacian[0, 0, 1, 1] == 4


@pytest.mark.parametrize("width", [64, 512])
def test_authors_widths_have_44_entries(width):
    with torch.device("meta"):
        assert len(DifferentialPerceptionFusion(width).state_dict()) == 44
