"""PST900: artefacts of a subterranean search, RGB with thermal and depth projected onto it.

Layout: ShreyasSkandanS/pst900_thermal_rgb (``README.md``); with other folder names
warren-wzw/DiFusionSeg (``vi``, ``ir``, ``Segmentation_labels``).
"""

from __future__ import annotations

import dataclasses

from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.configs.class_sets import CLASS_SETS

_SPLITS = {"train": ("train",), "test": ("test",)}
_FILES = {
    "rgb": ("{split}/rgb/{name}", "{split}/vi/{name}"),
    "thermal": ("{split}/thermal/{name}", "{split}/ir/{name}"),
    "depth": ("{split}/depth/{name}",),
    "labels": ("{split}/labels/{name}", "{split}/Segmentation_labels/{name}"),
}

_PST900 = DatasetInfo(
    name="pst900",
    title="PST900, RGB-thermal subterranean scenes, thermal as 8 bits",
    modalities=("rgb", "thermal"),
    classes=CLASS_SETS["pst900"],
    label_rules={5: "ids", 2: "1,2,3,4"},
    layouts=(Layout(_FILES, _SPLITS),),
    citation=(
        "Shivakumar et al., PST900: RGB-Thermal Calibration, Dataset and Segmentation Network, "
        "ICRA 2020"
    ),
    licence="none stated in the repository",
    facts="ShreyasSkandanS/pst900_thermal_rgb",
    more_modalities=("depth",),
    counts={"train": 606, "test": 288},
    unit="runs",
    notes=(
        "Thermal is projected onto RGB, and 0 where no ray fell. Two classes are any of the four "
        "artefacts and the rest."
    ),
)

DATASETS = (
    _PST900,
    dataclasses.replace(
        _PST900,
        name="pst900-raw",
        title="PST900 with thermal as the camera's 16 bits",
        layouts=(Layout({**_FILES, "thermal": ("{split}/thermal_raw/{name}",)}, _SPLITS),),
    ),
)
