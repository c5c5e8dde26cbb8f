"""Camouflaged objects: COD10K, CAMO, CHAMELEON and NC4K.

Layout: the collection of GewelsJI/SINet-V2 (``Dataset/TrainValDataset/{Imgs,GT}``, COD10K and CAMO
together, ``Dataset/TestDataset/NAME/{Imgs,GT}``), called ``TrainDataset`` in other copies.  COD10K
alone as released (v3): ``Train/{Image,GT_Object}``, ``Test/...``, of which the samples named
``COD10K-CAM-`` show a camouflaged object.  CAMO alone (CAMO-V.1.0-CVIU2019): ``Images/{Train,
Test}`` and one ``GT/``.
"""

from __future__ import annotations

from collections.abc import Mapping

from differseg.data.datasets.decoders import decode_salient
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.spec import BINARY_CLASSES

_FACTS = "GewelsJI/SINet-V2, DengPingFan/SINet"


def _layout(
    rgb: str, labels: str, splits: Mapping[str, tuple[str, ...]], prefix: str = ""
) -> Layout:
    files = {"rgb": (f"{rgb}/{{name}}",), "labels": (f"{labels}/{{name}}",)}
    return Layout(files, splits, prefix=prefix, decode=decode_salient)


def _info(
    name: str, counts: Mapping[str, int], citation: str, licence: str, *released: Layout
) -> DatasetInfo:
    upper = name.upper()
    collected = _layout("{split}/Imgs", "{split}/GT", {"test": (f"TestDataset/{upper}",)})
    own = _layout("Imgs", "GT", {"test": ("",)})
    return DatasetInfo(
        name=name,
        title=f"{upper}, camouflaged objects",
        modalities=("rgb",),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(*released, collected, own),
        citation=citation,
        licence=licence,
        facts=_FACTS,
        counts=counts,
    )


_HALVES = {"train": ("Train",), "test": ("Test",)}

DATASETS = (
    DatasetInfo(
        name="cod",
        title="COD10K and CAMO together, camouflaged objects to learn from",
        modalities=("rgb",),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(
            _layout("{split}/Imgs", "{split}/GT", {"train": ("TrainDataset",)}),
            _layout("{split}/Imgs", "{split}/GT", {"train": ("TrainValDataset",)}),
        ),
        citation="the papers of cod10k and camo; Fan et al., Concealed Object Detection, IEEE "
        "TPAMI 2021",
        licence="no terms in the sources read",
        facts=_FACTS,
        counts={"train": 4040},
        judged=None,
        tests=("cod10k", "camo", "chameleon", "nc4k"),
    ),
    _info(
        "cod10k",
        {"train": 3040, "test": 2026},
        "Fan et al., Camouflaged Object Detection, CVPR 2020",
        "no terms in the sources read",
        _layout("{split}/Image", "{split}/GT_Object", _HALVES, prefix="COD10K-CAM-"),
    ),
    _info(
        "camo",
        {"train": 1000, "test": 250},
        "Le et al., Anabranch Network for Camouflaged Object Segmentation, CVIU 2019",
        "no terms in the sources read",
        _layout("Images/{split}", "GT", _HALVES),
    ),
    _info(
        "chameleon",
        {"test": 76},
        "Skurowski et al., Animal Camouflage Analysis: Chameleon Database, 2018 (unpublished)",
        "no terms in the sources read",
    ),
    _info(
        "nc4k",
        {"test": 4121},
        "Lyu et al., Simultaneously Localize, Segment and Rank the Camouflaged Objects, CVPR 2021",
        "none stated in the repository",
    ),
)
