"""Polyps in colonoscopy: Kvasir-SEG, CVC-ClinicDB, CVC-ColonDB, ETIS and CVC-300.

Layout: DengPingFan/PraNet (``MyTrain.py``, ``MyTest.py``: ``TrainDataset/{images,masks}``, Kvasir
and CVC-ClinicDB together, and ``TestDataset/NAME/{images,masks}``).  In copies of
``TrainDataset`` the singular ``image/`` and ``mask/`` occur.
"""

from __future__ import annotations

from collections.abc import Mapping

from differseg.data.datasets.decoders import decode_salient
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.spec import BINARY_CLASSES

_FACTS = "DengPingFan/PraNet"
_SETS = {
    "kvasir": (
        "Kvasir", 100, "open access, by its paper",
        "Jha et al., Kvasir-SEG: A Segmented Polyp Dataset, MMM 2020",
    ),
    "cvc-clinicdb": (
        "CVC-ClinicDB", 62, "no terms in the sources read",
        "Bernal et al., WM-DOVA Maps for Accurate Polyp Highlighting in Colonoscopy, CMIG 2015",
    ),
    "cvc-colondb": (
        "CVC-ColonDB", 380, "no terms in the sources read",
        "Tajbakhsh et al., Automated Polyp Detection in Colonoscopy Videos Using Shape and "
        "Context Information, IEEE TMI 2015",
    ),
    "etis": (
        "ETIS-LaribPolypDB", 196, "no terms in the sources read",
        "Silva et al., Toward Embedded Detection of Polyps in WCE Images for Early Diagnosis of "
        "Colorectal Cancer, IJCARS 2014",
    ),
    "cvc-300": (
        "CVC-300", 60, "no terms in the sources read",
        "Vazquez et al., A Benchmark for Endoluminal Scene Segmentation of Colonoscopy Images, "
        "Journal of Healthcare Engineering 2017",
    ),
}  # fmt: skip
"""Name to its folder, its number of test samples, its terms, and its paper."""


def _layout(before: str, splits: Mapping[str, tuple[str, ...]]) -> Layout:
    return Layout(
        {
            "rgb": (f"{before}images/{{name}}", f"{before}image/{{name}}"),
            "labels": (f"{before}masks/{{name}}", f"{before}mask/{{name}}"),
        },
        splits,
        decode=decode_salient,
    )


def _info(name: str, folder: str, count: int, licence: str, citation: str) -> DatasetInfo:
    collected = _layout("{split}/", {"test": (f"TestDataset/{folder}",)})
    own = _layout("", {"test": ("",)})
    return DatasetInfo(
        name=name,
        title=f"{folder}, polyps in colonoscopy",
        modalities=("rgb",),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(collected, own),
        citation=citation,
        licence=licence,
        facts=_FACTS,
        counts={"test": count},
    )


DATASETS = (
    DatasetInfo(
        name="polyps",
        title="Kvasir-SEG and CVC-ClinicDB together, polyps to learn from",
        modalities=("rgb",),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(_layout("{split}/", {"train": ("TrainDataset",)}),),
        citation="the papers of kvasir and cvc-clinicdb; the split is that of Fan et al., PraNet: "
        "Parallel Reverse Attention Network for Polyp Segmentation, MICCAI 2020",
        licence="no terms in the sources read",
        facts=_FACTS,
        counts={"train": 1450},
        judged=None,
        tests=tuple(_SETS),
        unit="runs",
        notes="Frames of CVC-ClinicDB are of videos, so neighbours are held out together.",
    ),
    *(_info(name, *stated) for name, stated in _SETS.items()),
)
