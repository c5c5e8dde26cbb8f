"""DIS5K: objects of fine detail in photographs of 2K to 4K.

Layout: xuebinqin/DIS (``IS-Net/train_valid_inference_main.py``: ``DIS-TR/im``, ``DIS-TR/gt`` and
so on); chasecjg/FSANet reads ``TrainDataset/{Imgs,GT}`` and ``TestDataset/DIS-VD/{Imgs,GT}``.
"""

from __future__ import annotations

from differseg.data.datasets.decoders import decode_salient
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.spec import BINARY_CLASSES


def _splits(train: str, before: str) -> dict[str, tuple[str, ...]]:
    tests = tuple(f"{before}DIS-TE{k}" for k in range(1, 5))
    each = {f"te{k}": (test,) for k, test in enumerate(tests, 1)}
    return {"train": (train,), "val": (f"{before}DIS-VD",), "test": tests, **each}


DATASETS = (
    DatasetInfo(
        name="dis5k",
        title="DIS5K, dichotomous image segmentation",
        modalities=("rgb",),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(
            Layout(
                {"rgb": ("{split}/im/{name}",), "labels": ("{split}/gt/{name}",)},
                _splits("DIS-TR", ""),
                decode=decode_salient,
            ),
            Layout(
                {"rgb": ("{split}/Imgs/{name}",), "labels": ("{split}/GT/{name}",)},
                _splits("TrainDataset", "TestDataset/"),
                decode=decode_salient,
            ),
        ),
        citation="Qin et al., Highly Accurate Dichotomous Image Segmentation, ECCV 2022",
        licence="DIS5K-Dataset-Terms-of-Use.pdf in xuebinqin/DIS",
        facts="xuebinqin/DIS, chasecjg/FSANet",
        counts={"train": 3000, "val": 470, "test": 2000, **{f"te{k}": 500 for k in range(1, 5)}},
        notes="test is te1 to te4 together, from simple shapes to intricate ones.",
    ),
)
