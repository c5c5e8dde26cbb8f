"""Folders that do not hold what was asked for: one line with what was expected and what lacks."""

from __future__ import annotations

import os
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


def test_a_folder_without_splits_holds_no_more_than_the_split(tmp_path: Path) -> None:
    """Kvasir-SEG as released has a thousand images, nine hundred of which are learnt from."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(101):
            (tmp_path / folder / f"{number}.png").touch()
    text = refusal(f"kvasir:{tmp_path}")
    assert "kvasir, split test: 101 samples in images|image/NAME (rgb)" in text
    assert "and 100 were published: the others may be of what networks learn from" in text
    for folder in ("images", "masks"):
        (tmp_path / folder / "100.png").unlink()
    assert len(open_dataset(f"kvasir:{tmp_path}")) == 100


def test_one_video_set_with_splits_of_its_own(tmp_path: Path) -> None:
    folders = {"RGB": "rgb", "GT": "mask", "Flow": "flow"}
    for split, before in (("Train", "bear/"), ("Test", "camel/")):
        plant(tmp_path, {f"{split}/{before}{f}/0.png": kind for f, kind in folders.items()})
    assert open_dataset(f"davis:{tmp_path}").stems == ["camel/0"]
    assert open_dataset(f"davis:{tmp_path}", "train").stems == ["bear/0"]
    flat = tmp_path / "flat"
    for split in ("Train", "Test"):
        plant(flat, {f"{split}/{f}/{split}.png": kind for f, kind in folders.items()})
    assert open_dataset(f"davis:{flat}").stems == ["Test"]
    assert open_dataset(f"davis:{flat}", "train").stems == ["Train"]


@pytest.mark.parametrize("fault", ["twins", "locked"])
def test_a_neighbour_that_cannot_be_read_hides_nothing(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder given is wrong; ``lost+found`` of a disk, or somebody's images, lie in it."""
    plant(tmp_path, {"neighbour/images/a.png": "rgb", "neighbour/labels/a.png": "ids"})
    (tmp_path / "neighbour/images/a.jpg").touch()
    plain = os.listdir

    def refusing(place: str) -> list[str]:
        if fault == "locked" and str(place).startswith(str(tmp_path / "neighbour")):
            raise PermissionError(13, "Permission denied")
        return plain(place)

    monkeypatch.setattr(os, "listdir", refusing)
    assert "missing: images/, labels/, test.txt;" in refusal(f"mfnet:{tmp_path}")
    if fault == "locked":
        text = refusal(f"mfnet:{tmp_path / 'neighbour'}")
        assert text.endswith("neighbour/images: cannot be listed (Permission denied)")


@pytest.mark.parametrize("given", ["", "MFNet/images"])
def test_the_folder_inside_or_around_is_named(given: str, tmp_path: Path) -> None:
    plant(tmp_path / "MFNet", MFNET)
    assert f"give --data mfnet:{tmp_path / 'MFNet'}" in refusal(f"mfnet:{tmp_path / given}")
