"""Large frames in tiles: ``TiledSegmenter(model_file, tile_hw=...)(rgb=..., thermal=...)``."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import CheckFailedError, InputError
from differseg.runtime.backends import BackendName, CpuPrecision, OverlappingBackend
from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.decision import ArgmaxDecision, Decision, ThresholdDecision
from differseg.runtime.preprocess import ColorOrder, check_image
from differseg.runtime.segmenter import Begun, Result, Segmenter
from differseg.runtime.tiling import DEFAULT_OVERLAP, Tile, TileBlender, TilePlan, plan_tiles
from differseg.runtime.tiling_inputs import TiledInput
from differseg.runtime.tiling_whole import WholeView

Maps = npt.NDArray[np.float32]


class TiledSegmenter(Segmenter):
    """A segmenter that takes a large frame in overlapping tiles and blends their probabilities.

    Called like :class:`Segmenter`.  With ``whole_view`` the network sees the whole frame first,
    shrunk to its size, and then only the tiles in which that left an outline unsure.  A frame
    that is not larger than a tile is stretched, as :class:`Segmenter` does.

    Probabilities are blended, not logits: they are what a model file gives, the classes of a
    pixel still sum to 1, and one tile that is very sure of an error cannot outvote its neighbour.

    A result's ``probability`` is (H, W) float32 at the frame's size, or None for more than two
    classes, whose maps would not fit into memory.  Of its ``timings_ms``, ``infer`` holds the
    cutting, stretching and blending of tiles too.

    Args:
        model_file: As :class:`Segmenter`; a file of probabilities.
        backend: As :class:`Segmenter`.
        threads: As :class:`Segmenter`.
        color_order: As :class:`Segmenter`.
        threshold: As :class:`Segmenter`.
        cpu_precision: As :class:`Segmenter`.
        engine_key: As :class:`Segmenter`.
        tile_hw: Height and width of a tile in pixels of the frame; None takes the network's size.
            A larger tile is shrunk to that, so it shows more of the scene and less detail.
        overlap: What neighbours have in common at least: below 1 a share of the tile's side, from
            1 on pixels of the frame; at most half a tile.
        whole_view: Whether the whole frame is seen first.

    Attributes:
        on_progress: Called with the passes of the network that are done and those there are, of
            the frame under way.
        passes: How often the network ran for the last frame.

    Raises:
        DifferSegError: As :class:`Segmenter`; InputError also for a file of masks, for a tile
            without pixels, or for an overlap that is too large.

    Example:
        >>> with TiledSegmenter("model.onnx", tile_hw=(1440, 1920)) as tiled:  # doctest: +SKIP
        ...     tiled(rgb=frame, thermal=thermal).mask.shape
        (2160, 3840)
    """

    def __init__(
        self,
        model_file: str | Path,
        backend: BackendName = "auto",
        threads: int | None = None,
        color_order: ColorOrder = "RGB",
        threshold: float | None = None,
        cpu_precision: CpuPrecision | None = None,
        engine_key: str | Path | None = None,
        *,
        tile_hw: tuple[int, int] | None = None,
        overlap: float = DEFAULT_OVERLAP,
        whole_view: bool = True,
    ) -> None:
        super().__init__(
            model_file, backend, threads, color_order, threshold, cpu_precision, engine_key
        )
        try:
            self._decision = self._new_decision(threshold)
            self.tile_hw = tile_hw or self.manifest.inputs[0].size_hw
            plan_tiles(self.tile_hw, self.tile_hw, overlap)  # refuses what no frame could have
        except InputError:
            self.close()
            raise
        self.overlap, self.whole_view = overlap, whole_view
        self.on_progress: Callable[[int, int], None] | None = None
        self.passes = 0
        self._inputs = {
            modality: TiledInput(preparer) for modality, preparer in self._preparers.items()
        }
        self._free = deque((0,))
        self._plan: TilePlan | None = None
        self._whole = WholeView()
        self._blender = TileBlender()
        self._full = np.empty((0, 0), np.float32)

    def _new_decision(self, threshold: float | None) -> Decision:
        """Return what makes the mask of a whole frame."""
        manifest = self.manifest
        kind, ids = manifest.outputs[0].kind, [entry.id for entry in manifest.classes]
        if kind == "mask":
            raise InputError(
                f"{self.model_file}: it gives masks, decided in the graph, and tiles are blended "
                "by their probabilities; take the file of probabilities that it was made from"
            )
        if kind == "probability":
            limit = manifest.threshold if threshold is None else threshold
            return ThresholdDecision(ids, limit)
        return ArgmaxDecision(ids)

    @property
    def slots(self) -> int:
        """1: the engine's buffers are all taken by the tiles of one frame."""
        return 1

    def plan(self, frame_hw: tuple[int, int]) -> TilePlan:
        """Return the tiles of a frame of this height and width in pixels."""
        if self._plan is None or self._plan.frame_hw != frame_hw:
            self._plan = plan_tiles(frame_hw, self.tile_hw, self.overlap)
        return self._plan

    def begin(self, *, timestamp_s: float | None = None, **frames: npt.NDArray[Any]) -> Begun:
        """Take a frame; its tiles are computed by :meth:`end`, until which it must not change.

        Args:
            timestamp_s: As of a call.
            frames: As of a call.

        Raises:
            InputError: As a call; nothing is begun then.
            RuntimeError: Another frame is begun already.
        """
        if not self._free:
            raise RuntimeError("a frame is begun already; end it first")
        started_s = time.perf_counter()
        self._check_keywords(frames)
        first = self.modalities[0]
        height, width = check_image(first, frames[first]).shape[:2]
        for modality, taken in self._inputs.items():
            taken.take(frames[modality], timestamp_s, (height, width))
        if not self._aspect_seen:
            self._check_aspect(frames)
        return Begun(self._free.popleft(), (height, width), started_s, time.perf_counter())

    def end(self, begun: Begun) -> Result:
        """Compute the tiles of a frame and blend them; its arrays are overwritten by the next.

        Raises:
            CheckFailedError: As a call.
        """
        try:
            return self._result_of(begun)
        finally:
            self._free.append(begun.slot)

    def _result_of(self, begun: Begun) -> Result:
        frame_hw, classes = begun.size_hw, self.manifest.classes
        self._mask = fitting_buffer(self._mask, frame_hw, np.uint8)
        if len(classes) == 2:
            self._full = fitting_buffer(self._full, frame_hw, np.float32)
        deciding_s, pixels = 0.0, np.zeros(len(classes))

        def decide(rows: slice, maps: Maps) -> None:
            """Decide rows of the frame that are done."""
            nonlocal deciding_s
            started_s = time.perf_counter()
            if len(maps) == 1:
                np.copyto(self._full[rows], maps[0])
            chosen = maps[0] if len(maps) == 1 else maps
            parts = self._decision.fill(chosen, self._mask[rows])
            pixels[:] += np.multiply(parts, rows.stop - rows.start)
            deciding_s += time.perf_counter() - started_s

        started_s = time.perf_counter()
        self._compute(self.plan(frame_hw), decide)
        computing_s = time.perf_counter() - started_s - deciding_s
        coverage = (pixels / frame_hw[0]).tolist()
        parts = {spec.name: part for spec, part in zip(classes, coverage, strict=True)}
        background = 0.0 if self._background is None else parts[self._background.name]
        return Result(
            mask=self._mask,
            probability=self._full if len(classes) == 2 else None,
            timings_ms={
                "prepare": (begun.prepared_s - begun.started_s) * 1e3,
                "infer": computing_s * 1e3,
                "post": deciding_s * 1e3,
            },
            classes=classes,
            coverage=1.0 - background,
            class_coverage=parts,
        )

    def _compute(self, plan: TilePlan, decide: Callable[[slice, Maps], None]) -> None:
        """Run the network on a frame, and hand over its rows from the top, blended."""
        tiles, seen_whole = list(plan), self.whole_view and len(plan) > 1
        self.passes = 0
        if seen_whole:
            self._run([None], 1 + len(tiles), lambda _, maps: self._whole.take(maps, plan.frame_hw))
            tiles = [tile for tile in tiles if self._whole.needs(tile)]

        def hand_over(rows: slice, maps: Maps) -> None:
            if seen_whole:
                self._whole.mix(rows, maps)
            decide(rows, maps)

        self._blender.begin(plan, len(self._maps(0)), hand_over)
        self._run(tiles, self.passes + len(tiles), self._blender.add)
        self._blender.end()

    def _run(
        self,
        tiles: Sequence[Tile | None],
        total: int,
        use: Callable[[Any, Maps], None],
    ) -> None:
        """Run the network on tiles, None for the whole frame, and use their maps in order."""
        free: deque[int] = deque(range(len(self._slots)))
        under_way: deque[tuple[Tile | None, int]] = deque()

        def take_first() -> None:
            tile, slot = under_way.popleft()
            if isinstance(self.backend, OverlappingBackend):
                self.backend.finish(slot)
            else:
                self.backend.run()
            free.append(slot)
            if not self._readers[slot].is_finite():
                raise CheckFailedError(
                    f"model {self.model_file}: the network's output holds NaN or infinity for this "
                    "frame; check the file with: differseg parity"
                )
            use(tile, self._maps(slot))
            self.passes += 1
            if self.on_progress is not None:
                self.on_progress(self.passes, total)

        try:
            for tile in tiles:
                slot = free.popleft()
                self._lay_out(tile, slot)
                if isinstance(self.backend, OverlappingBackend):
                    self.backend.start(slot)
                under_way.append((tile, slot))
                if not free:
                    take_first()
            while under_way:
                take_first()
        finally:
            # Only after an error: no slot may be left computing when the next frame comes.
            for _, slot in under_way:
                if isinstance(self.backend, OverlappingBackend):
                    self.backend.finish(slot)

    def _lay_out(self, tile: Tile | None, slot: int) -> None:
        """Fill a slot's inputs from the frame under way; None is the whole frame."""
        inputs = self._slots[slot].inputs
        for modality, taken in self._inputs.items():
            if tile is None:
                taken.lay_out_whole(inputs[self._names[modality]])
            else:
                taken.lay_out(tile, inputs[self._names[modality]])

    def _maps(self, slot: int) -> Maps:
        """Return a slot's probabilities, (1 or K, H, W) float32."""
        maps = self._readers[slot].probability
        assert maps is not None  # a file of masks is refused at the start
        return maps[None] if maps.ndim == 2 else maps
