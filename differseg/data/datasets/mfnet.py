"""MFNet: urban scenes by day and night, RGB and thermal in one PNG of four channels.

Layout: haqishen/MFNet-pytorch and yuxiangsun/RTFNet (``util/MF_dataset.py``: ``images/`` and
``labels/``, and a list of names for each split); copies with colour and thermal in files of their
own: lab-sun/Temporal-Consistent-RGBT-Segmentation (``RGB/``, ``Thermal/``, ``Label/``) and the
``rgb/``, ``thermal/``, ``labels/`` of this project's folders.
"""

from __future__ import annotations

from differseg.data.datasets.decoders import decode_rgb_thermal
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.configs.class_sets import CLASS_SETS

_SPLITS = {name: (name,) for name in ("train", "val", "test", "test_day", "test_night")}

DATASETS = (
    DatasetInfo(
        name="mfnet",
        title="MFNet, RGB-thermal urban scenes",
        modalities=("rgb", "thermal"),
        classes=CLASS_SETS["mfnet"],
        label_rules={9: "ids", 2: "mfnet"},
        layouts=(
            Layout(
                {
                    "rgb": ("images/{name}",),
                    "thermal": ("images/{name}",),
                    "labels": ("labels/{name}",),
                },
                _SPLITS,
                names="{split}.txt",
                decode=decode_rgb_thermal,
            ),
            Layout(
                {
                    "rgb": ("RGB/{name}",),
                    "thermal": ("Thermal/{name}",),
                    "labels": ("labels/{name}", "Label/{name}"),
                },
                _SPLITS,
                names="{split}.txt",
            ),
        ),
        citation=(
            "Ha et al., MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles "
            "with Multi-Spectral Scenes, IROS 2017"
        ),
        licence="none stated: research use only",
        facts="haqishen/MFNet-pytorch, yuxiangsun/RTFNet",
        counts={"train": 784, "val": 392, "test": 393},
        unit="runs",
        notes=(
            "Two classes are object (car, person, bike) and the rest. Some authors choose the "
            "epoch on test; here it is val."
        ),
    ),
)
