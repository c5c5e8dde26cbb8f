"""Salient objects in video, with optical flow as pictures: DAVIS, DAVSOD, FBMS, SegTrack-v2, ViSal.

Layout, in which public repositories differ:

* a folder for each sequence: ``Train/DAVSOD/SEQUENCE/{RGB,GT,Flow}`` and
  ``Test/DAVIS16/SEQUENCE/{Frame,GT,OF_FlowNet2}`` in Sssssuperior/VSCode; GewelsJI/FSNet reads the
  latter; luyukang/DCTNet adds ``depth``;
* all sequences in one folder: ``Test/DAVIS/{RGB,GT,Flow}``, in loaders after SPNet's.

One set alone has ``Train/`` and ``Test/`` of its own; without these it is one to judge on.  Upper
and lower case differ too and play no part.  The last frame of a video has no flow, and FBMS has
masks of some frames only: samples that lack a file are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from differseg.data.datasets.decoders import decode_salient
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import Layout
from differseg.models.spec import BINARY_CLASSES

_FOLDERS = {
    "rgb": ("RGB", "Frame", "Imgs"),
    "flow": ("Flow", "OF_FlowNet2"),
    "depth": ("depth",),
    "labels": ("GT",),
}

_SETS = {
    "davis": (
        ("DAVIS", "DAVIS16"), True,
        "Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object "
        "Segmentation, CVPR 2016",
    ),
    "davsod": (
        ("DAVSOD",), True,
        "Fan et al., Shifting More Attention to Video Salient Object Detection, CVPR 2019",
    ),
    "fbms": (
        ("FBMS", "FBMS-59"), True,
        "Ochs, Malik and Brox, Segmentation of Moving Objects by Long Term Video Analysis, IEEE "
        "TPAMI 2014",
    ),
    "segtrack-v2": (
        ("SegTrack-V2", "SegV2"), False,
        "Li et al., Video Segmentation by Tracking Many Figure-Ground Segments, ICCV 2013",
    ),
    "visal": (
        ("ViSal",), False,
        "Wang, Shen and Shao, Consistent Video Saliency Using Local Gradient Flow Optimization "
        "and Global Refinement, IEEE TIP 2015",
    ),
}  # fmt: skip
"""Name to its folders, whether it has a train split, and its paper."""


def _layout(before: str, splits: Mapping[str, tuple[str, ...]]) -> Layout:
    files = {
        what: tuple(f"{before}{folder}/{{name}}" for folder in folders)
        for what, folders in _FOLDERS.items()
    }
    return Layout(files, splits, complete=False, decode=decode_salient)


def _info(name: str, folders: tuple[str, ...], learnt: bool, citation: str) -> DatasetInfo:
    collected = []
    for folder in folders:
        splits = {"test": (f"Test/{folder}",)}
        if learnt:
            splits = {"train": (f"Train/{folder}",), **splits}
        collected += [_layout("{split}/*/", splits), _layout("{split}/", splits)]
    if learnt:  # before the layouts of one set without splits, which would take both for sequences
        halves = {"train": ("Train",), "test": ("Test",)}
        collected += [_layout("{split}/*/", halves), _layout("{split}/", halves)]
    own = [_layout(before, {"test": ("",)}) for before in ("*/", "")]
    return DatasetInfo(
        name=name,
        title=f"{folders[0]}, salient objects in video",
        modalities=("rgb", "flow"),
        classes=BINARY_CLASSES,
        label_rules={2: "binary255"},
        layouts=(*collected, *own),
        citation=citation,
        licence="no terms in the sources read",
        facts="Sssssuperior/VSCode, GewelsJI/FSNet, luyukang/DCTNet",
        more_modalities=("depth",),
        unit="folders",
        notes="Flow is given as pictures, as RAFT's or FlowNet2's colour code has it.",
    )


DATASETS = tuple(_info(name, *stated) for name, stated in _SETS.items())
