"""Tiles in a run over image files: the segmenter that the options ask for, and its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from differseg.errors import InputError
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling import DEFAULT_OVERLAP


def open_segmenter(
    arguments: tuple[Any, ...],
    tile_hw: tuple[int, int] | None,
    overlap: float | None,
    whole_view: bool | None,
) -> Segmenter:
    """Open a model file for whole images, or for tiles where their size is given.

    Args:
        arguments: Of :class:`Segmenter`.
        tile_hw: ``--tile``: height and width in pixels of the image.
        overlap: ``--overlap``: a share below 1, or pixels; None takes the default.
        whole_view: ``--whole-view``; None is yes.

    Raises:
        DifferSegError: As the segmenters; InputError also for options of tiles without a tile.
    """
    if tile_hw is not None:
        return TiledSegmenter(
            *arguments,
            tile_hw=tile_hw,
            overlap=DEFAULT_OVERLAP if overlap is None else overlap,
            whole_view=whole_view is not False,
        )
    if overlap is not None:
        raise InputError("--overlap is about tiles: add --tile HxW, or leave it out")
    if whole_view is not None:
        option = "--whole-view" if whole_view else "--no-whole-view"
        raise InputError(f"{option} is about tiles: add --tile HxW, or leave it out")
    return Segmenter(*arguments)


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
