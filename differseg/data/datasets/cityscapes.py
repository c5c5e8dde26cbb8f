"""Cityscapes: streets of 50 cities, 19 classes that are scored.

Layout and ids: mcordts/cityscapesScripts (``helpers/labels.py``: id to training id) and
open-mmlab/mmsegmentation (``leftImg8bit/SPLIT``, ``gtFine/SPLIT``), a folder for each city.  Read
are ``gtFine_labelIds`` as released: nothing has to be converted first.
"""

from __future__ import annotations

from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.configs.class_sets import CLASS_SETS

_RULE = "0-6=255,7-8=0-1,9-10=255,11-13=2-4,14-16=255,17=5,18=255,19-28=6-15,29-30=255,31-33=16-18"

DATASETS = (
    DatasetInfo(
        name="cityscapes",
        title="Cityscapes, streets",
        modalities=("rgb",),
        classes=CLASS_SETS["cityscapes"],
        label_rules={19: _RULE},
        layouts=(
            Layout(
                {
                    "rgb": ("leftImg8bit/{split}/*/{name}_leftImg8bit",),
                    "labels": ("gtFine/{split}/*/{name}_gtFine_labelIds",),
                },
                {split: (split,) for split in ("train", "val", "test")},
            ),
        ),
        citation=(
            "Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, "
            "CVPR 2016"
        ),
        licence="its own, non-commercial: www.cityscapes-dataset.com/license",
        facts="mcordts/cityscapesScripts, open-mmlab/mmsegmentation",
        counts={"train": 2975, "val": 500, "test": 1525},
        judged="val",
        notes=(
            "The labels of test are not public: its files hold ignored pixels alone, and figures "
            "are reported on val, which is also where the epoch is chosen."
        ),
    ),
)
