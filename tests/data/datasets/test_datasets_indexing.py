"""Folders that do not hold what was asked for: one line with what was expected and what lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_trees import CAMO, CITYSCAPES, DIS5K, MFNET, PST900, VIDEO, plant

from differseg.data.datasets.registry import open_dataset
from differseg.errors import InputError


def refusal(data: str, split: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        open_dataset(data, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_folder(tmp_path: Path) -> None:
    text = refusal(f"mfnet:{tmp_path}/none")
    assert "there is no such folder" in text
    assert "images/NAME (rgb, thermal), labels/NAME (labels), test.txt" in text


def test_another_layout(tmp_path: Path) -> None:
    plant(tmp_path, {"pictures/a.png": "rgb", "images/a.png": "rgb"})
    text = refusal(f"mfnet:{tmp_path}")
    assert "expected MFNet, RGB-thermal urban scenes (mfnet), split test: images/NAME" in text
    assert "or another layout that is read" in text
    assert "missing: labels/, test.txt;" in text
    assert "'differseg datasets mfnet' shows" in text


def test_the_nearest_layout_is_named(tmp_path: Path) -> None:
    plant(tmp_path, {"RGB/a.png": "rgb", "Thermal/a.png": "grey", "test.txt": "a"})
    text = refusal(f"mfnet:{tmp_path}")
    assert "Thermal/NAME (thermal)" in text
    assert "missing: labels/ or Label/;" in text


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    (tmp_path / "labels/00004N.png").unlink()
    (tmp_path / "test.txt").write_text("00003D\n00004N\n00005N\n")
    text = refusal(f"mfnet:{tmp_path}")
    assert "mfnet, split test: 2 of 3 samples lack a file" in text
    assert "rgb 1 (00005N); thermal 1 (00005N); labels 2 (00004N, 00005N)" in text
    assert "labels/NAME (labels)" in text


def test_many_missing_files_are_cut_short(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    (tmp_path / "test.txt").write_text("".join(f"1{k}\n" for k in range(9)))
    assert "labels 9 (10, 11, 12, ...)" in refusal(f"mfnet:{tmp_path}")


def test_a_file_without_partner_where_no_list_says(tmp_path: Path) -> None:
    plant(tmp_path, PST900, 5)
    (tmp_path / "test/thermal/extra.png").touch()
    assert "1 of 2 samples lack a file: rgb 1 (extra); labels 1" in refusal(f"pst900:{tmp_path}")


def test_a_shared_folder_of_masks_may_hold_more(tmp_path: Path) -> None:
    plant(tmp_path, CAMO)
    assert open_dataset(f"camo:{tmp_path}", "train").stems == ["camourflage_00001"]
    (tmp_path / "GT/camourflage_00001.png").unlink()
    assert "labels 1 (camourflage_00001)" in refusal(f"camo:{tmp_path}", "train")


def test_empty_folders(tmp_path: Path) -> None:
    for folder in ("rgb", "thermal", "labels"):
        (tmp_path / "test" / folder).mkdir(parents=True)
    assert "there are no samples in test/rgb|vi/NAME (rgb)" in refusal(f"pst900:{tmp_path}")


def test_a_city_without_labels(tmp_path: Path) -> None:
    plant(tmp_path, CITYSCAPES, 34)
    (tmp_path / "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png").unlink()
    assert "labels 1 (munster/munster_000000_000019)" in refusal(f"cityscapes:{tmp_path}")


def test_one_of_several_folders_of_a_split(tmp_path: Path) -> None:
    files = {path: kind for path, kind in DIS5K.items() if "DIS-TE4" not in path}
    plant(tmp_path, files)
    assert "missing: DIS-TE4/im/, DIS-TE4/gt/;" in refusal(f"dis5k:{tmp_path}")
    assert open_dataset(f"dis5k:{tmp_path}", "te1").stems == ["1#C"]


def test_a_split_that_lacks_every_flow(tmp_path: Path) -> None:
    files = {path: kind for path, kind in VIDEO.items() if "FlowNet2" not in path}
    plant(tmp_path, files)
    (tmp_path / "Test/DAVIS16/camel/OF_FlowNet2").mkdir()
    text = refusal(f"davis:{tmp_path}")
    assert "3 of 3 samples lack a file: flow 3 (blackswan/00000, blackswan/00001" in text


def test_split_that_is_not_there(tmp_path: Path) -> None:
    plant(tmp_path, MFNET)
    text = refusal(f"mfnet:{tmp_path}", "validation")
    assert text == (
        "mfnet: there is no split 'validation'; it has train, val, test, test_day, test_night"
    )


@pytest.mark.parametrize("given", ["", "MFNet/images"])
def test_the_folder_inside_or_around_is_named(given: str, tmp_path: Path) -> None:
    plant(tmp_path / "MFNet", MFNET)
    assert f"give --data mfnet:{tmp_path / 'MFNet'}" in refusal(f"mfnet:{tmp_path / given}")
