"""RGB-thermal salient objects: VT821, VT1000 and VT5000.

Layout: ``RGB/``, ``T/`` and ``GT/``, with ``Train/`` and ``Test/`` of VT5000 alone, in public
loaders of all three, with which Sssssuperior/VSCode's tree of folders agrees.  Other names of
VT821's folders: ``thermal/``; masks of VT821 and VT1000 are JPEG in some copies.
"""

from __future__ import annotations

from collections.abc import Mapping

from differseg.data.datasets.decoders import decode_salient
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.spec import BINARY_CLASSES

_FACTS = "Sssssuperior/VSCode, lz118/RGBT-Salient-Object-Detection"
_LICENCE = "no terms in the sources read"


def _layout(before: str, splits: Mapping[str, tuple[str, ...]]) -> Layout:
    return Layout(
        {
            "rgb": (f"{before}RGB/{{name}}",),
            "thermal": (f"{before}T/{{name}}", f"{before}thermal/{{name}}"),
            "labels": (f"{before}GT/{{name}}",),
        },
        splits,
        decode=decode_salient,
    )


def _judged(name: str, count: int, citation: str) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        title=f"{name.upper()}, RGB-thermal salient objects",
        modalities=("rgb", "thermal"),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(_layout("", {"test": ("",)}),),
        citation=citation,
        licence=_LICENCE,
        facts=_FACTS,
        counts={"test": count},
    )


DATASETS = (
    _judged(
        "vt821",
        821,
        "Wang et al., RGB-T Saliency Detection Benchmark: Dataset, Baselines, Analysis and a "
        "Novel Approach, IGTA 2018",
    ),
    _judged(
        "vt1000",
        1000,
        "Tu et al., RGB-T Image Saliency Detection via Collaborative Graph Learning, IEEE "
        "Transactions on Multimedia 2020",
    ),
    DatasetInfo(
        name="vt5000",
        title="VT5000, RGB-thermal salient objects",
        modalities=("rgb", "thermal"),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(_layout("{split}/", {"train": ("Train",), "test": ("Test",)}),),
        citation=(
            "Tu et al., RGBT Salient Object Detection: A Large-scale Dataset and Benchmark, "
            "arXiv 2007.03262"
        ),
        licence=_LICENCE,
        facts=_FACTS,
        counts={"train": 2500, "test": 2500},
        tests=("vt5000", "vt821", "vt1000"),
    ),
)
