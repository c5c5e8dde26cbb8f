"""FMB: full-time multi-modality benchmark, RGB and infrared of streets, 14 classes.

Layout: a copy whose splits are folders, LiJiahang617/Road-Former
(``configs/_base_/datasets/mmfmb.py``: ``train/Visible``, ``train/Infrared``); another with a list
of names for each split and no folders of splits, in loaders that train on FMB beside MFNet.
Classes and palette are those the loaders agree on; JinyuanLiu-CV/SegMiF publishes the archive.
"""

from __future__ import annotations

from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.configs.class_sets import CLASS_SETS

_SPLITS = {"train": ("train",), "test": ("test",)}

DATASETS = (
    DatasetInfo(
        name="fmb",
        title="FMB, RGB-infrared streets",
        modalities=("rgb", "thermal"),
        classes=CLASS_SETS["fmb"],
        label_rules={15: "ids", 14: "0=255,1-14=0-13"},
        layouts=(
            Layout(
                {
                    "rgb": ("{split}/Visible/{name}",),
                    "thermal": ("{split}/Infrared/{name}",),
                    "labels": ("{split}/Label/{name}",),
                },
                _SPLITS,
            ),
            Layout(
                {
                    "rgb": ("Visible/{name}",),
                    "thermal": ("Infrared/{name}",),
                    "labels": ("Label/{name}",),
                },
                _SPLITS,
                names="{split}.txt",
            ),
        ),
        citation=(
            "Liu et al., Multi-interactive Feature Learning and a Full-time Multi-modality "
            "Benchmark for Image Fusion and Segmentation, ICCV 2023"
        ),
        licence="none stated in the repository",
        facts="JinyuanLiu-CV/SegMiF, LiJiahang617/Road-Former",
        counts={"train": 1220, "test": 280},
        unit="runs",
        notes=(
            "Value 0 is background: a class of networks with 15 classes, ignored by networks with "
            "14. Published figures do either; say which."
        ),
    ),
)
