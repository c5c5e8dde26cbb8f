"""What a graph is worth in task terms: IoU and boundary F over a set of images.

Against labels where there are any; else against the masks of the float32 graph, so that a drop is
what quantisation changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from differseg.errors import DifferSegError
from differseg.export.error_spectrum import SpectrumSum
from differseg.export.parity_data import Sample, spread
from differseg.export.tensor_values import Array
from differseg.manifest import Manifest
from differseg.runtime.decision import most_probable
from differseg.scoring import open_scorer

_KEPT = 8
"""Images whose output in float32 is kept, evenly spread: a map of 150 classes takes 157 MB."""


@dataclass(frozen=True)
class TaskScore:
    """Figures of one graph.

    Attributes:
        iou: IoU of the foreground over all images, or the mean IoU of K > 2 classes; 0..1.
        boundary_f: Mean boundary F of two classes; None of more.
        error: Mean square of how far the probabilities lie from those of the float32 graph, on some
            of the images; infinite where there is NaN.
        bands: The same for each band of spatial frequency, see
            :mod:`differseg.export.error_spectrum`.
    """

    iou: float
    boundary_f: float | None
    error: float = 0.0
    bands: tuple[float, ...] = ()

    def drop_to(self, other: TaskScore) -> float:
        """Return the largest of how far the other's figures lie below these."""
        drops = [self.iou - other.iou]
        if self.boundary_f is not None and other.boundary_f is not None:
            drops.append(self.boundary_f - other.boundary_f)
        return max(drops)


class TaskJudge:
    """Scores graphs of one network on the same images.

    Args:
        manifest: The network's.
        samples: Images with or without labels; their inputs are kept in memory.
        reference: The float32 graph.
        threads: Of ONNX Runtime; 0 takes one per core.

    Attributes:
        reference: Score of the float32 graph.
        against: What it is judged against, in words.
    """

    def __init__(
        self,
        manifest: Manifest,
        samples: Iterable[Sample],
        reference: onnx.ModelProto,
        *,
        threads: int = 0,
    ) -> None:
        self._manifest, self._threads = manifest, threads
        self._feeds: list[dict[str, Array]] = []
        labels: list[npt.NDArray[np.uint8] | None] = []
        for sample in samples:
            self._feeds.append(sample.arrays)
            labels.append(sample.label)
        self._kept: dict[int, Array] = {}
        places = set(spread(len(self._feeds), _KEPT))
        masks = []
        for number, output in enumerate(self.run(reference)):
            masks.append(self._mask(output))
            if number in places:
                self._kept[number] = output
        labelled = all(label is not None for label in labels)
        self.against = "labels" if labelled else "the masks of float32"
        chosen = labels if labelled else masks
        self._labels: Sequence[npt.NDArray[np.uint8]] = [x for x in chosen if x is not None]
        self.reference = self.score(reference)

    def __len__(self) -> int:
        return len(self._feeds)

    def score(self, model: onnx.ModelProto) -> TaskScore:
        """Run a graph on all images and return its score."""
        scorer = open_scorer(self._manifest.classes, self._manifest.threshold)
        spectrum, squares = SpectrumSum(), []
        for number, output in enumerate(self.run(model)):
            exact = self._kept.get(number)
            if exact is not None:
                spectrum.add(exact[0], output[0])
                square = float(np.mean(np.square(output - exact)))
                squares.append(square if np.isfinite(square) else np.inf)
            # NaN is no class; a graph that makes it shall lose every pixel that it spoils.
            maps = np.nan_to_num(output[0], nan=0.0)
            scorer.score(maps[0] if len(maps) == 1 else maps, self._labels[number])
        figures, found = scorer.compute(), spectrum.result()
        boundary = figures.get("boundary_f")
        return TaskScore(
            float(figures[scorer.headline]),
            None if boundary is None else float(boundary),
            float(np.mean(squares)),
            () if found is None else tuple(band.error_power for band in found.bands),
        )

    def run(self, model: onnx.ModelProto) -> Iterator[Array]:
        """Yield the output of a graph on every image: (1, 1, H, W) or (1, K, H, W) float32.

        Raises:
            DifferSegError: ONNX Runtime cannot run it.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for feed in self._feeds:
                yield session.run(None, feed)[0].astype(np.float32)
        except Exception as error:  # its exceptions share no base but Exception
            text = " ".join(str(error).split())
            raise DifferSegError(f"onnxruntime: {text:.300}") from None

    def _mask(self, output: Array) -> npt.NDArray[np.uint8]:
        if output.shape[1] == 1:
            found: npt.NDArray[np.uint8] = (output[0, 0] >= self._manifest.threshold).astype(
                np.uint8
            )
            return found
        return most_probable(output[0], output.shape[2:])
