"""docs/datasets.md: names every data set with its published counts, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from published_trees import image, plant

from differseg.data.datasets.registry import DATASETS, list_datasets

_PAGE = (Path(__file__).parents[3] / "docs/datasets.md").read_text(encoding="utf-8")
_ROWS = [line for line in _PAGE.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("info", list_datasets(), ids=lambda info: info.name)
def test_table(info: object) -> None:
    row = next(line for line in _ROWS if f"`{info.name}`" in line)
    for count in info.counts.values():
        assert re.search(rf"\b{count}\b", row), count
    assert str(len(info.classes)) in row.split("|")[3]
    assert all(name in row.split("|")[2] for name in info.modalities)


def test_own_data_set(tmp_path: Path) -> None:
    files = {
        "drives_2025/d1/color/7_rgb.png": "rgb",
        "drives_2025/d1/ir/7_ir.png": "grey",
        "drives_2025/d1/label/7_id.png": "ids",
    }
    plant(tmp_path, files, 4)
    (code,) = (part for part in re.findall(r"```python\n(.*?)```", _PAGE, re.S) if "quarry" in part)
    assert len(code.splitlines()) <= 40
    found: dict[str, object] = {}
    try:
        exec(code.replace("quarry:DIR", f"quarry:{tmp_path}"), found)
        data = found["data"]
        assert data.stems == ["d1/7"]
        label = image("drives_2025/d1/label/7_id.png", "ids", 4).astype(int)
        assert np.array_equal(data[0]["mask"], np.where(label == 0, 255, label - 1))
    finally:
        DATASETS.pop("quarry", None)
