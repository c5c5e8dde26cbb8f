"""Path templates: what they find, lists of names, and how fast."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from differseg.data.datasets.layout import Layout, read_names, scan
from differseg.errors import InputError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_suffix_and_folders_of_any_name(tmp_path: Path) -> None:
    touch(tmp_path, "gt/b/2_ids.png", "gt/a/1_ids.png", "gt/a/1_color.png", "gt/a/1_ids.json")
    found = scan(tmp_path, "gt/*/{name}_ids")
    assert found is not None
    assert found == {"a/1": tmp_path / "gt/a/1_ids.png", "b/2": tmp_path / "gt/b/2_ids.png"}
    assert list(found) == ["a/1", "b/2"]


def test_hidden_files_and_other_endings_are_no_images(tmp_path: Path) -> None:
    touch(tmp_path, "rgb/._a.png", "rgb/Thumbs.db", "rgb/a.JPG", "rgb/.hidden/b.png")
    assert list(scan(tmp_path, "rgb/{name}") or {}) == ["a"]


def test_case_of_folders_plays_no_part(tmp_path: Path) -> None:
    touch(tmp_path, "TRAIN/Rgb/a.png")
    assert list(scan(tmp_path, "Train/RGB/{name}") or {}) == ["a"]
    touch(tmp_path, "Train/RGB/exact.png")
    assert list(scan(tmp_path, "Train/RGB/{name}") or {}) == ["exact"]


def test_absent_and_empty_are_told_apart(tmp_path: Path) -> None:
    assert scan(tmp_path, "rgb/{name}") is None
    (tmp_path / "rgb").mkdir()
    assert scan(tmp_path, "rgb/{name}") == {}
    assert scan(tmp_path, "rgb/*/{name}") is None


def test_two_files_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "rgb/a.png", "rgb/a.jpg")
    with pytest.raises(InputError, match=r"'a\.jpg' and 'a\.png' have the same stem"):
        scan(tmp_path, "rgb/{name}")


def test_list_of_names(tmp_path: Path) -> None:
    text = "\ufeff00001D\n\n00002D.png 00002D_label.png\nRGB/00003D.jpg\n00001D\nv1.5\n"
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    assert read_names(tmp_path, "train.txt") == ["00001D", "00002D", "00003D", "v1.5"]
    assert read_names(tmp_path, "val.txt") is None
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match=r"val\.txt: cannot be read as a list of names"):
        read_names(tmp_path, "val.txt")


def test_tree_in_short() -> None:
    layout = Layout(
        {"rgb": ("{split}/*/RGB/{name}", "{split}/*/Frame/{name}"), "labels": ("GT/{name}_id",)},
        {"train": ("Train",)},
        names="{split}.txt",
    )
    assert layout.tree() == [
        ("SPLIT/FOLDER/RGB|Frame/NAME", "rgb"),
        ("GT/NAME_id", "labels"),
        ("SPLIT.txt", "names of the samples"),
    ]
    assert layout.tree("train")[0][0] == "Train/FOLDER/RGB|Frame/NAME"


def test_ten_thousand_files_in_a_second(tmp_path: Path) -> None:
    for folder in ("a", "b", "c", "d"):
        (tmp_path / folder).mkdir()
        for number in range(2500):
            (tmp_path / folder / f"{number:05d}.png").touch()
    start = time.process_time()
    found = scan(tmp_path, "*/{name}")
    assert found is not None
    assert len(found) == 10_000
    assert time.process_time() - start < 1  # about 0.05 s
