"""ADE20K as SceneParse150: 150 classes of indoor and outdoor scenes.

Layout: open-mmlab/mmsegmentation (``ADEChallengeData2016``: ``images/training``,
``annotations/training``, and ``validation``); value 0 is no class (``reduce_zero_label``).
"""

from __future__ import annotations

from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.configs.class_sets import CLASS_SETS

DATASETS = (
    DatasetInfo(
        name="ade20k",
        title="ADE20K (SceneParse150), scenes",
        modalities=("rgb",),
        classes=CLASS_SETS["ade20k"],
        label_rules={150: "0=255,1-150=0-149"},
        layouts=(
            Layout(
                {"rgb": ("images/{split}/{name}",), "labels": ("annotations/{split}/{name}",)},
                {"train": ("training",), "val": ("validation",)},
            ),
        ),
        citation="Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017",
        licence="its own, non-commercial: on the page of the data set",
        facts="open-mmlab/mmsegmentation",
        counts={"train": 20210, "val": 2000},
        judged="val",
        notes=(
            "The labels of test are not public; figures are reported on val, which is also where "
            "the epoch is chosen."
        ),
    ),
)
