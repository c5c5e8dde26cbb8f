"""Small trees in the layouts of published data sets: every path is written out, none is computed.

A tree is a dict from path to what lies there: a text for a list of names, else one of the kinds
``rgb``, ``grey``, ``raw`` (16 bit), ``rgbt`` (four channels), ``flow``, ``mask`` and ``ids``.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

SIZE_HW = (12, 16)


@dataclass(frozen=True)
class Tree:
    """A data set on disk, and the samples that a split of it has."""

    dataset: str
    split: str
    files: dict[str, str]
    stems: list[str]
    modalities: tuple[str, ...] = ()


def image(path: str, kind: str, values: int = 9) -> npt.NDArray[np.generic]:
    """Return what is planted at a path, RGB: random, and another for each path."""
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    if kind in ("rgb", "flow", "rgbt"):
        return rng.integers(0, 256, (*SIZE_HW, 4 if kind == "rgbt" else 3), np.uint8)
    if kind == "raw":
        return rng.integers(20000, 40000, SIZE_HW, np.uint16)
    if kind == "mask":
        return rng.integers(0, 2, SIZE_HW, np.uint8) * np.uint8(255)
    return rng.integers(0, values if kind == "ids" else 256, SIZE_HW, np.uint8)


def plant(root: Path, files: dict[str, str], values: int = 9) -> Path:
    """Write a tree; ids are 0 to ``values - 1``."""
    for name, kind in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text(kind, encoding="utf-8")
            continue
        planted = image(name, kind, values)
        if kind in ("rgb", "flow"):
            planted = planted[:, :, ::-1]
        elif kind == "rgbt":
            planted = planted[:, :, [2, 1, 0, 3]]
        assert cv2.imwrite(str(path), planted)
    return root


_LISTS = {"train.txt": "00001D\n", "val.txt": "00002D\n", "test.txt": "00003D\n00004N\n"}
_LISTS |= {"test_day.txt": "00003D\n", "test_night.txt": "00004N\n"}
_NAMES = ("00001D", "00002D", "00003D", "00004N")

MFNET = {
    **{f"images/{name}.png": "rgbt" for name in _NAMES},
    **{f"labels/{name}.png": "ids" for name in _NAMES},
    **_LISTS,
}
MFNET_APART = {
    **{f"RGB/{name}.png": "rgb" for name in _NAMES},
    **{f"Thermal/{name}.png": "grey" for name in _NAMES},
    **{f"Label/{name}.png": "ids" for name in _NAMES},
    **_LISTS,
}
PST900 = {
    "train/rgb/1_bag_frame0000000001.png": "rgb",
    "train/thermal/1_bag_frame0000000001.png": "grey",
    "train/thermal_raw/1_bag_frame0000000001.png": "raw",
    "train/depth/1_bag_frame0000000001.png": "raw",
    "train/labels/1_bag_frame0000000001.png": "ids",
    "test/rgb/2_bag_frame0000000007.png": "rgb",
    "test/thermal/2_bag_frame0000000007.png": "grey",
    "test/thermal_raw/2_bag_frame0000000007.png": "raw",
    "test/depth/2_bag_frame0000000007.png": "raw",
    "test/labels/2_bag_frame0000000007.png": "ids",
}
FMB = {
    "train/Visible/00001.png": "rgb",
    "train/Infrared/00001.png": "grey",
    "train/Label/00001.png": "ids",
    "train/color/00001.png": "rgb",
    "test/Visible/00002.png": "rgb",
    "test/Infrared/00002.png": "grey",
    "test/Label/00002.png": "ids",
}
DIS5K = {
    "DIS-TR/im/1#A#1.png": "rgb",
    "DIS-TR/gt/1#A#1.png": "mask",
    "DIS-VD/im/2#B.png": "rgb",
    "DIS-VD/gt/2#B.png": "mask",
    **{f"DIS-TE{k}/im/{k}#C.png": "rgb" for k in (1, 2, 3, 4)},
    **{f"DIS-TE{k}/gt/{k}#C.png": "mask" for k in (1, 2, 3, 4)},
}
COD10K = {
    "Train/Image/COD10K-CAM-1-Aquatic-1-BatFish-1.png": "rgb",
    "Train/GT_Object/COD10K-CAM-1-Aquatic-1-BatFish-1.png": "mask",
    "Train/GT_Instance/COD10K-CAM-1-Aquatic-1-BatFish-1.png": "rgb",
    "Train/Image/COD10K-NonCAM-1-Aquatic-1-BatFish-2.png": "rgb",
    "Test/Image/COD10K-CAM-2-Terrestrial-22-Bug-3.png": "rgb",
    "Test/GT_Object/COD10K-CAM-2-Terrestrial-22-Bug-3.png": "mask",
}
CAMO = {
    "Images/Train/camourflage_00001.png": "rgb",
    "Images/Test/camourflage_00012.png": "rgb",
    "GT/camourflage_00001.png": "mask",
    "GT/camourflage_00012.png": "mask",
}
VIDEO = {
    "Test/DAVIS16/blackswan/Frame/00000.png": "rgb",
    "Test/DAVIS16/blackswan/Frame/00001.png": "rgb",
    "Test/DAVIS16/blackswan/GT/00000.png": "mask",
    "Test/DAVIS16/blackswan/GT/00001.png": "mask",
    "Test/DAVIS16/blackswan/OF_FlowNet2/00000.png": "flow",
    "Test/DAVIS16/camel/Frame/00000.png": "rgb",
    "Test/DAVIS16/camel/GT/00000.png": "mask",
    "Test/DAVIS16/camel/OF_FlowNet2/00000.png": "flow",
}
CITYSCAPES = {
    "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png": "rgb",
    "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png": "rgb",
    "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png": "ids",
    "gtFine/val/lindau/lindau_000000_000019_gtFine_instanceIds.png": "raw",
    "gtFine/val/lindau/lindau_000000_000019_gtFine_color.png": "rgb",
    "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png": "ids",
}


def salient(dataset: str, before: str, split: str, second: str | None, folder: str = "") -> Tree:
    """Return a tree of ``RGB``, ``GT`` and a second modality."""
    files = {f"{before}RGB/7.png": "rgb", f"{before}GT/7.png": "mask"}
    if second is not None:
        files[f"{before}{folder}/7.png"] = "flow" if second == "flow" else "grey"
    return Tree(dataset, split, files, ["7"])


def plain(dataset: str, images: str, masks: str, split: str = "test") -> Tree:
    """Return a tree of photographs and masks."""
    return Tree(dataset, split, {f"{images}/a.png": "rgb", f"{masks}/a.png": "mask"}, ["a"])


TREES = [
    Tree("mfnet", "train", MFNET, ["00001D"]),
    Tree("mfnet", "val", MFNET, ["00002D"]),
    Tree("mfnet", "test", MFNET, ["00003D", "00004N"]),
    Tree("mfnet", "test_day", MFNET, ["00003D"]),
    Tree("mfnet", "test_night", MFNET_APART, ["00004N"]),
    Tree("pst900", "train", PST900, ["1_bag_frame0000000001"]),
    Tree("pst900", "test", PST900, ["2_bag_frame0000000007"], ("rgb", "thermal", "depth")),
    Tree("pst900-raw", "test", PST900, ["2_bag_frame0000000007"]),
    Tree("fmb", "train", FMB, ["00001"]),
    Tree("fmb", "test", FMB, ["00002"]),
    Tree(
        "fmb",
        "test",
        {
            "Visible/00001.png": "rgb",
            "Visible/00002.png": "rgb",
            "Infrared/00001.png": "grey",
            "Infrared/00002.png": "grey",
            "Label/00001.png": "ids",
            "Label/00002.png": "ids",
            "train.txt": "00001\n",
            "test.txt": "00002\n",
        },
        ["00002"],
    ),
    salient("vt821", "", "test", "thermal", "T"),
    salient("vt821", "", "test", "thermal", "thermal"),
    salient("vt1000", "", "test", "thermal", "T"),
    salient("vt5000", "Train/", "train", "thermal", "T"),
    salient("vt5000", "Test/", "test", "thermal", "T"),
    salient("rgbd-sod", "TrainDataset/", "train", "depth", "depth"),
    salient("rgbd-sod", "RGBD_for_train/", "train", "depth", "depth"),
    salient("nju2k", "TestDataset/NJU2K/", "test", "depth", "depth"),
    salient("nju2k", "RGBD_for_test/NJU2K/", "test", "depth", "depth"),
    salient("nlpr", "TestDataset/NLPR/", "test", "depth", "depth"),
    salient("stere", "TestDataset/STERE/", "test", "depth", "depth"),
    salient("sip", "", "test", "depth", "Depth"),
    salient("des", "RGBD_for_test/DES/", "test", "depth", "depth"),
    salient("lfsd", "", "test", "depth", "depth"),
    salient("ssd", "TestDataset/SSD/", "test", "depth", "depth"),
    salient("dut-rgbd", "Train/", "train", "depth", "depth"),
    salient("dut-rgbd", "Test/", "test", "depth", "depth"),
    Tree("dis5k", "train", DIS5K, ["1#A#1"]),
    Tree("dis5k", "val", DIS5K, ["2#B"]),
    Tree("dis5k", "te3", DIS5K, ["3#C"]),
    Tree("dis5k", "test", DIS5K, [f"DIS-TE{k}/{k}#C" for k in (1, 2, 3, 4)]),
    plain("dis5k", "TestDataset/DIS-VD/Imgs", "TestDataset/DIS-VD/GT", "val"),
    plain("cod", "TrainDataset/Imgs", "TrainDataset/GT", "train"),
    plain("cod", "TrainValDataset/Imgs", "TrainValDataset/GT", "train"),
    Tree("cod10k", "train", COD10K, ["COD10K-CAM-1-Aquatic-1-BatFish-1"]),
    Tree("cod10k", "test", COD10K, ["COD10K-CAM-2-Terrestrial-22-Bug-3"]),
    plain("cod10k", "TestDataset/COD10K/Imgs", "TestDataset/COD10K/GT"),
    Tree("camo", "train", CAMO, ["camourflage_00001"]),
    Tree("camo", "test", CAMO, ["camourflage_00012"]),
    plain("camo", "TestDataset/CAMO/Imgs", "TestDataset/CAMO/GT"),
    plain("chameleon", "TestDataset/CHAMELEON/Imgs", "TestDataset/CHAMELEON/GT"),
    plain("nc4k", "Imgs", "GT"),
    plain("polyps", "TrainDataset/images", "TrainDataset/masks", "train"),
    plain("polyps", "TrainDataset/image", "TrainDataset/mask", "train"),
    plain("kvasir", "TestDataset/Kvasir/images", "TestDataset/Kvasir/masks"),
    plain("cvc-clinicdb", "TestDataset/CVC-ClinicDB/images", "TestDataset/CVC-ClinicDB/masks"),
    plain("cvc-colondb", "TestDataset/CVC-ColonDB/images", "TestDataset/CVC-ColonDB/masks"),
    plain("etis", "TestDataset/ETIS-LaribPolypDB/images", "TestDataset/ETIS-LaribPolypDB/masks"),
    plain("cvc-300", "images", "masks"),
    Tree("davis", "test", VIDEO, ["blackswan/00000", "camel/00000"]),
    salient("davis", "", "test", "flow", "FLOW"),
    salient("davsod", "Train/DAVSOD/select_0043/", "train", "flow", "Flow"),
    salient("fbms", "train/FBMS/", "train", "flow", "flow"),
    salient("segtrack-v2", "Test/SegTrack-V2/", "test", "flow", "Flow"),
    salient("visal", "Test/ViSal/", "test", "flow", "Flow"),
    Tree(
        "cityscapes",
        "val",
        CITYSCAPES,
        ["lindau/lindau_000000_000019", "munster/munster_000000_000019"],
    ),
    Tree(
        "ade20k",
        "val",
        {
            "images/training/ADE_train_00000001.png": "rgb",
            "annotations/training/ADE_train_00000001.png": "ids",
            "images/validation/ADE_val_00000001.png": "rgb",
            "annotations/validation/ADE_val_00000001.png": "ids",
        },
        ["ADE_val_00000001"],
    ),
]
TREES[[tree.dataset for tree in TREES].index("davsod")].stems[:] = ["select_0043/7"]
