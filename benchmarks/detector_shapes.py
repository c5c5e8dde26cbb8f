"""Two detectors by their shapes alone, for a second look at the estimate of ``differseg bench``.

YOLOX-S (arXiv 2107.08430) and YOLOv8n, as their papers and documentation describe them: the sizes
of every layer, with random weights, without training, decoding or anything else.  Times of both on
Jetsons are public, which is all that they are here for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvAct(nn.Sequential):
    """A convolution (its normalisation folded) and its activation."""

    def __init__(
        self, c_in: int, c_out: int, side: int, stride: int = 1, act: type[nn.Module] = nn.SiLU
    ) -> None:
        super().__init__(nn.Conv2d(c_in, c_out, side, stride, side // 2), act())


class Bottleneck(nn.Module):
    """Two convolutions and a sum."""

    def __init__(self, channels: int, first_side: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvAct(channels, channels, first_side, act=act),
            ConvAct(channels, channels, 3, act=act),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return x + self.convs(x)


class CspBlock(nn.Module):
    """YOLOX's block: two branches, one with bottlenecks, joined."""

    def __init__(self, c_in: int, c_out: int, count: int) -> None:
        super().__init__()
        half, act = c_out // 2, nn.LeakyReLU
        self.left, self.right = (ConvAct(c_in, half, 1, act=act) for _ in range(2))
        self.blocks = nn.Sequential(*(Bottleneck(half, 1, act) for _ in range(count)))
        self.join = ConvAct(c_out, c_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return self.join(torch.cat([self.blocks(self.left(x)), self.right(x)], 1))


class C2fBlock(nn.Module):
    """YOLOv8's block: every bottleneck's output is kept and joined."""

    def __init__(self, c_in: int, c_out: int, count: int) -> None:
        super().__init__()
        self.half = c_out // 2
        self.split = ConvAct(c_in, c_out, 1)
        self.blocks = nn.ModuleList(Bottleneck(self.half, 3, nn.SiLU) for _ in range(count))
        self.join = ConvAct((2 + count) * self.half, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        parts = list(self.split(x).split(self.half, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, 1))


class Pooled(nn.Module):
    """Pooling of several sizes between two convolutions."""

    def __init__(self, channels: int, sides: Sequence[int], act: type[nn.Module]) -> None:
        super().__init__()
        half = channels // 2
        self.first = ConvAct(channels, half, 1, act=act)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in sides)
        self.last = ConvAct(half * (1 + len(sides)), channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        x = self.first(x)
        return self.last(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class Detector(nn.Module):
    """Trunk, a path down and up again, and a head at three scales.

    Args:
        trunk: Stages whose outputs have these strides.
        narrow: Two 1x1 convolutions on the way down, or none.
        merge: Blocks at strides 16, 8, 16 and 32.
        down: The two convolutions on the way up.
        heads: One head a scale; each returns a list of maps.
    """

    def __init__(
        self,
        trunk: Sequence[nn.Module],
        narrow: Sequence[nn.Module],
        merge: Sequence[nn.Module],
        down: Sequence[nn.Module],
        heads: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.trunk, self.narrow = nn.ModuleList(trunk), nn.ModuleList(narrow)
        self.merge, self.down = nn.ModuleList(merge), nn.ModuleList(down)
        self.heads, self.up = nn.ModuleList(heads), nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        features = []
        for stage in self.trunk:
            x = stage(x)
            features.append(x)
        at8, at16, at32 = features
        low = self.narrow[0](at32)
        mid = self.narrow[1](self.merge[0](torch.cat([self.up(low), at16], 1)))
        p3 = self.merge[1](torch.cat([self.up(mid), at8], 1))
        p4 = self.merge[2](torch.cat([self.down[0](p3), mid], 1))
        p5 = self.merge[3](torch.cat([self.down[1](p4), low], 1))
        maps = [head(p).flatten(2) for head, p in zip(self.heads, (p3, p4, p5), strict=True)]
        return torch.cat(maps, 2)


class Head(nn.Module):
    """Branches of one scale side by side."""

    def __init__(self, stem: nn.Module, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stem, self.branches = stem, nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        x = self.stem(x)
        return torch.cat([branch(x) for branch in self.branches], 1)


def yolox_s() -> nn.Module:
    """Return YOLOX-S with LeakyReLU; its papers' 26.8 GFLOPs at 640x640 are a check."""
    act = nn.LeakyReLU

    def stage(c_in: int, c_out: int, count: int) -> list[nn.Module]:
        return [ConvAct(c_in, c_out, 3, 2, act), CspBlock(c_out, c_out, count)]

    def head(c_in: int) -> nn.Module:
        def tower(*c_out: int) -> nn.Module:
            convs = [ConvAct(128, 128, 3, act=act) for _ in range(2)]
            return nn.Sequential(*convs, nn.Conv2d(128, sum(c_out), 1))

        return Head(ConvAct(c_in, 128, 1, act=act), [tower(80), tower(4, 1)])

    focus = [nn.PixelUnshuffle(2), ConvAct(12, 32, 3, act=act)]
    return Detector(
        trunk=[
            nn.Sequential(*focus, *stage(32, 64, 1), *stage(64, 128, 3)),
            nn.Sequential(*stage(128, 256, 3)),
            nn.Sequential(
                ConvAct(256, 512, 3, 2, act), Pooled(512, (5, 9, 13), act), CspBlock(512, 512, 1)
            ),
        ],
        narrow=[ConvAct(512, 256, 1, act=act), ConvAct(256, 128, 1, act=act)],
        merge=[
            CspBlock(512, 256, 1), CspBlock(256, 128, 1), CspBlock(256, 256, 1),
            CspBlock(512, 512, 1),
        ],
        down=[ConvAct(128, 128, 3, 2, act), ConvAct(256, 256, 3, 2, act)],
        heads=[head(128), head(256), head(512)],
    )  # fmt: skip


def yolov8n() -> nn.Module:
    """Return YOLOv8n; its documentation's 8.7 GFLOPs at 640x640 are a check."""

    def stage(c_in: int, c_out: int, count: int) -> list[nn.Module]:
        return [ConvAct(c_in, c_out, 3, 2), C2fBlock(c_out, c_out, count)]

    def head(c_in: int) -> nn.Module:
        def tower(c: int) -> nn.Module:
            return nn.Sequential(ConvAct(c_in, c, 3), ConvAct(c, c, 3), nn.Conv2d(c, c, 1))

        return Head(nn.Identity(), [tower(64), tower(80)])

    return Detector(
        trunk=[
            nn.Sequential(ConvAct(3, 16, 3, 2), *stage(16, 32, 1), *stage(32, 64, 2)),
            nn.Sequential(*stage(64, 128, 2)),
            nn.Sequential(*stage(128, 256, 1), Pooled(256, (5, 9, 13), nn.SiLU)),
        ],
        narrow=[nn.Identity(), nn.Identity()],
        merge=[
            C2fBlock(384, 128, 1), C2fBlock(192, 64, 1), C2fBlock(192, 128, 1),
            C2fBlock(384, 256, 1),
        ],
        down=[ConvAct(64, 64, 3, 2), ConvAct(128, 128, 3, 2)],
        heads=[head(64), head(128), head(256)],
    )  # fmt: skip
