"""``differseg datasets``: the table, a page for each data set, and JSON."""

from __future__ import annotations

import json

import pytest

from differseg.data.datasets.command import main, page
from differseg.data.datasets.registry import list_datasets
from differseg.errors import InputError


def test_table_fits_80_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert all(f"\n{info.name} " in printed for info in list_datasets())


def test_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["MFNet"]) == 0
    printed = capsys.readouterr().out
    for said in ("train 784", "images/NAME", "rgb, thermal", "3 bike", "Ha et al.", "none stated"):
        assert said in printed


@pytest.mark.parametrize("info", list_datasets(), ids=lambda info: info.name)
def test_page_of_each(info: object) -> None:
    text = "\n".join(page(info))
    assert info.citation in text
    assert info.licence in text
    assert "{" not in text


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == [info.name for info in list_datasets()]
    assert main(["mfnet", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one in listed
    assert one["splits"]["test"] == 393
    assert one["layouts"][0]["files"]["images/NAME"] == "rgb, thermal"


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="did you mean 'cityscapes'"):
        main(["cityscape"])
