"""RGB-depth salient objects: NJU2K, NLPR, STERE, SIP, DES, LFSD, SSD and DUT-RGBD.

Layout: taozh2017/SPNet (``Data/TrainDataset/{RGB,depth,GT}``, ``Data/TestDataset/NAME/{RGB,depth,
GT}``) and zyjwuyan/BBS-Net (``RGBD_for_train``, ``RGBD_for_test``, ``test_in_train``): one
collection to learn from, NJU2K and NLPR together, and a folder for each set to judge on.  Copies
of one set alone hold ``RGB/`` or ``Image/``, ``depth/``, and ``GT/`` or ``Mask/``; DUT-RGBD has
``Train/`` and ``Test/`` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from differseg.data.datasets.decoders import decode_salient
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.spec import BINARY_CLASSES

_FACTS = "taozh2017/SPNet, zyjwuyan/BBS-Net, kingkung2016/RGBD-SOD-tools"
_NEAR = "Copies differ in whether near is dark or light; learn and judge with depth of one sense."

_SETS = {
    "nju2k": (
        ("NJU2K", "NJUD"), 500,
        "Ju et al., Depth Saliency Based on Anisotropic Center-Surround Difference, ICIP 2014",
    ),
    "nlpr": (
        ("NLPR",), 300,
        "Peng et al., RGBD Salient Object Detection: A Benchmark and Algorithms, ECCV 2014",
    ),
    "stere": (
        ("STERE", "STEREO"), 1000,
        "Niu et al., Leveraging Stereopsis for Saliency Analysis, CVPR 2012",
    ),
    "sip": (
        ("SIP",), 929,
        "Fan et al., Rethinking RGB-D Salient Object Detection: Models, Data Sets, and "
        "Large-Scale Benchmarks, IEEE TNNLS 2020",
    ),
    "des": (
        ("DES", "RGBD135"), 135,
        "Cheng et al., Depth Enhanced Saliency Detection Method, ICIMCS 2014",
    ),
    "lfsd": (("LFSD",), 100, "Li et al., Saliency Detection on Light Field, CVPR 2014"),
    "ssd": (
        ("SSD",), 80,
        "Zhu and Li, A Three-Pathway Psychobiological Framework of Salient Object Detection "
        "Using Stereoscopic Technology, ICCV Workshops 2017",
    ),
    "dut-rgbd": (
        ("DUT-RGBD", "DUT"), 400,
        "Piao et al., Depth-Induced Multi-Scale Recurrent Attention Network for Saliency "
        "Detection, ICCV 2019",
    ),
}  # fmt: skip
"""Name to its folders in collections, its number of test samples, and its paper."""


def _layout(before: str, splits: Mapping[str, tuple[str, ...]]) -> Layout:
    return Layout(
        {
            "rgb": (f"{before}RGB/{{name}}", f"{before}Image/{{name}}"),
            "depth": (f"{before}depth/{{name}}",),
            "labels": (f"{before}GT/{{name}}", f"{before}Mask/{{name}}"),
        },
        splits,
        decode=decode_salient,
    )


def _info(name: str, folders: tuple[str, ...], count: int, citation: str) -> DatasetInfo:
    collected = tuple(
        _layout("{split}/", {"test": (f"{collection}/{folder}",)})
        for folder in folders
        for collection in ("TestDataset", "RGBD_for_test")
    )
    own = _layout("", {"test": ("",)})
    halves = _layout("{split}/", {"train": ("Train",), "test": ("Test",)})
    dut = name == "dut-rgbd"
    return DatasetInfo(
        name=name,
        title=f"{folders[0]}, RGB-depth salient objects",
        modalities=("rgb", "depth"),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(*((halves,) if dut else ()), *collected, own),
        citation=citation,
        licence="no terms in the sources read",
        facts=_FACTS,
        counts={"train": 800, "test": count} if dut else {"test": count},
        notes=_NEAR,
    )


DATASETS = (
    DatasetInfo(
        name="rgbd-sod",
        title="NJU2K and NLPR together, RGB-depth salient objects to learn from",
        modalities=("rgb", "depth"),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(
            _layout("{split}/", {"train": ("TrainDataset",)}),
            _layout("{split}/", {"train": ("RGBD_for_train",)}),
        ),
        citation="the papers of nju2k and nlpr; the split is that of Zhou et al., Specificity-"
        "preserving RGB-D Saliency Detection, ICCV 2021, and others",
        licence="no terms in the sources read",
        facts=_FACTS,
        counts={"train": 2185},
        judged=None,
        tests=tuple(_SETS),
        notes=_NEAR,
    ),
    *(_info(name, *stated) for name, stated in _SETS.items()),
)
