"""From the text of ``--data`` to a data set or a plain folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from published_trees import MFNET, plant

from differseg.data.datasets.published import PublishedDataset
from differseg.data.datasets.registry import (
    find_dataset,
    list_datasets,
    open_dataset,
    parse_data,
    resolved_data,
)
from differseg.data.folder import FolderDataset
from differseg.errors import InputError


def test_name_and_folder(tmp_path: Path) -> None:
    info, root = parse_data(f"MFNet:{tmp_path}")
    assert info is find_dataset("mfnet")
    assert root == tmp_path


@pytest.mark.parametrize("text", ["my_folder", "/data/a:b", "C:\\data", "./x:y"])
def test_plain_folders(text: str) -> None:
    assert parse_data(text) == (None, Path(text))


def test_a_folder_with_a_colon_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mfnet:old").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_data("mfnet:old") == (None, Path("mfnet:old"))


def test_plain_folder_stays_a_folder_data_set(tmp_path: Path) -> None:
    plant(tmp_path, {"rgb/a.png": "rgb", "thermal/a.png": "grey", "labels/a.png": "mask"})
    data = open_dataset(str(tmp_path))
    assert type(data) is FolderDataset
    with pytest.raises(InputError, match=r"--split test: .* is a plain folder"):
        open_dataset(str(tmp_path), "test")


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no data set 'mfnett'; did you mean 'mfnet'\?"):
        open_dataset(f"mfnett:{tmp_path}")
    with pytest.raises(InputError, match="name the folder of the data set: mfnet:DIR"):
        open_dataset("mfnet:")


def test_records_have_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolved_data("MFNet:here") == f"mfnet:{tmp_path / 'here'}"
    assert resolved_data("here") == str(tmp_path / "here")


def test_the_split_to_judge_on(tmp_path: Path) -> None:
    data = open_dataset(f"mfnet:{plant(tmp_path, MFNET)}")
    assert isinstance(data, PublishedDataset)
    assert data.split == "test"
    with pytest.raises(InputError, match="judge on cod10k, camo, chameleon, nc4k, or give --split"):
        open_dataset(f"cod:{tmp_path}")


@pytest.mark.parametrize("info", list_datasets(), ids=lambda info: info.name)
def test_statements_hang_together(info: object) -> None:
    assert set(info.counts) <= set(info.splits)
    assert info.judged in (*info.splits, None)
    assert set(info.tests) <= {other.name for other in list_datasets()}
    assert len(info.classes) in info.label_rules
    assert all({*info.modalities, "labels"} <= set(layout.files) for layout in info.layouts)
    for layout in info.layouts:
        for templates in layout.files.values():
            assert all(template.count("{name}") == 1 for template in templates)
    for count in info.label_rules:
        if count > 2:
            info.label_rule(info.classes[-count:])


def test_listing_loads_no_torch() -> None:
    code = "import sys, differseg.data.datasets.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
