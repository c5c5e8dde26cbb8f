"""Synthetic scenes as a data set: sample ``index`` of a seed is always the same."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from differseg.data.synthetic import SyntheticScene
from differseg.errors import InputError

LOOK = 3
"""Raised whenever scenes of a seed come out differently, so that no stale cache is read."""

SAMPLES_PER_SCENE = 8
_SCENES_KEPT = 4
_LONGEST_S = 90.0
_THERMAL_SIZES_WH = ((320, 256), (640, 512), (160, 128))
_THERMAL_SHARES = (0.6, 0.3, 0.1)


class SyntheticDataset:
    """Registered RGB-thermal samples with masks, drawn from many scenes.

    Eight neighbouring indices share a scene at eight different times; scenes differ in place,
    weather, people, and in the resolution of the thermal camera.  With ``cache_dir`` each sample
    is drawn once and kept as lossless PNG in the layout that
    :class:`differseg.data.folder.FolderDataset` reads, 1.0 to 1.5 MB a sample at 480x640.

    Samples are dicts as those of ``FolderDataset``: ``rgb`` (H, W, 3) uint8, ``thermal`` (H, W)
    uint16 centikelvin, ``mask`` (H, W) uint8 with 0 and 1, and ``stem``.

    Attributes:
        modalities: ``("rgb", "thermal")``.
        stems: Names of the samples.
        has_labels: True.
        group_size: How many neighbouring indices should be asked for together, because they
            share a scene; 1 with a cache.
        groups_mixed: How many such groups may be asked for in turn.
    """

    modalities = ("rgb", "thermal")
    has_labels = True
    groups_mixed = _SCENES_KEPT

    def __init__(
        self,
        count: int,
        seed: int = 0,
        size_hw: tuple[int, int] = (480, 640),
        *,
        cache_dir: str | Path | None = None,
    ) -> None:
        """Describe the set; nothing is drawn yet.

        Args:
            count: Number of samples.
            seed: Another seed gives other scenes throughout.
            size_hw: Height and width of the samples.
            cache_dir: Folder for finished samples; None draws them anew each time.

        Raises:
            InputError: A count below 1 or a negative seed.
        """
        if count < 1 or seed < 0:
            raise InputError(
                f"synthetic data: count {count}, seed {seed}: expected a count of at least 1 and "
                "a seed of at least 0"
            )
        self.count, self.seed, self.size_hw = count, seed, size_hw
        self.stems = [f"s{seed}-{index:06d}" for index in range(count)]
        self._scenes: OrderedDict[int, SyntheticScene] = OrderedDict()
        self._folder: Path | None = None
        self.group_size = SAMPLES_PER_SCENE if cache_dir is None else 1
        if cache_dir is not None:
            height, width = size_hw
            self._folder = Path(cache_dir) / f"look{LOOK}-seed{seed}-{height}x{width}"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return sample ``index``."""
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count}")
        if self._folder is None:
            return self._draw(index)
        sample = self._read(self._folder, index)
        if sample is None:
            self._fill(self._folder, index // SAMPLES_PER_SCENE)
            sample = self._read(self._folder, index) or self._draw(index)
        return sample

    def _draw(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, 7, index])
        scene = self._scene(index // SAMPLES_PER_SCENE)
        drawn = scene.sample(float(rng.uniform(0, _LONGEST_S)))
        return {"stem": self.stems[index], **drawn}

    def _scene(self, number: int) -> SyntheticScene:
        """Return a scene, from the few that are kept."""
        if number in self._scenes:
            self._scenes.move_to_end(number)
            return self._scenes[number]
        rng = np.random.default_rng([self.seed, 11, number])
        thermal_wh = _THERMAL_SIZES_WH[rng.choice(len(_THERMAL_SIZES_WH), p=_THERMAL_SHARES)]
        scene = SyntheticScene(
            int(rng.integers(2**48)), self.size_hw[::-1], thermal_size_wh=thermal_wh
        )
        self._scenes[number] = scene
        if len(self._scenes) > _SCENES_KEPT:
            self._scenes.popitem(last=False)
        return scene

    def _fill(self, folder: Path, group: int) -> None:
        """Draw and keep all samples of a scene, so that the scene is built once."""
        first = group * SAMPLES_PER_SCENE
        # the first sample last: where it is kept, its whole scene is
        for index in reversed(range(first, min(first + SAMPLES_PER_SCENE, self.count))):
            sample = self._draw(index)
            write_sample(folder, self.stems[index], sample)

    def _read(self, folder: Path, index: int) -> dict[str, Any] | None:
        """Return a kept sample, or None where a part is not there."""
        stem = self.stems[index]
        sample: dict[str, Any] = {"stem": stem}
        for name, place in (("rgb", "rgb"), ("thermal", "thermal"), ("mask", "labels")):
            path = folder / place / f"{stem}.png"
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
            if image is None:
                return None
            sample[name] = np.ascontiguousarray(image[:, :, ::-1]) if name == "rgb" else image
        return sample


def write_sample(folder: Path, stem: str, sample: dict[str, Any]) -> None:
    """Write a sample as ``rgb/``, ``thermal/`` and ``labels/`` PNG files.

    A file appears whole or not at all, whatever other process writes the same sample.

    Raises:
        InputError: The folder cannot be written.
    """
    for name, place in (("rgb", "rgb"), ("thermal", "thermal"), ("mask", "labels")):
        image = sample[name]
        image = image[:, :, ::-1] if image.ndim == 3 else image
        target = folder / place / f"{stem}.png"
        partial = target.with_name(f".{stem}.{os.getpid()}.png")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _, code = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            partial.write_bytes(code.tobytes())
            os.replace(partial, target)
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror or error})") from None
