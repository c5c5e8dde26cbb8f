"""Tiles in a run over image files: the segmenter that the options ask for, and its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from differseg.runtime.segmenter import Segmenter
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling_options import Tiles


def open_segmenter(
    arguments: tuple[Any, ...],
    tiles: Tiles | None,
) -> Segmenter:
    """Open a model file for whole images, or for tiles.

    Args:
        arguments: Of :class:`Segmenter`.
        tiles: How large images are taken; None takes them whole.

    Raises:
        DifferSegError: As the segmenters.
    """
    if tiles is None:
        return Segmenter(*arguments)
    return TiledSegmenter(
        *arguments, tile_hw=tiles.tile_hw, overlap=tiles.overlap, whole_view=tiles.whole_view
    )


@contextmanager
def progress_bar(images: int, segmenter: Segmenter, wanted: bool) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error, where that is a terminal; gives what to call after an image.

    The bar moves within an image whose tiles are computed.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task, done = bar.add_task("segmenting", total=images), 0

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done)

        def advance_within(passes: int, total: int) -> None:
            bar.update(task, completed=done + passes / total)

        if isinstance(segmenter, TiledSegmenter):
            segmenter.on_progress = advance_within
        yield advance
