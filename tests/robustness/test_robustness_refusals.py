"""What ``differseg robustness`` refuses, each in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from robustness_runs import QUIET, SIZE_HW, options, refused
from tiny_network import tiny_classes_manifest, tiny_classes_onnx, write_model

from differseg.errors import DifferSegError
from differseg.robustness.command import robustness


def test_refuses_what_cannot_be_judged(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (model, "--data", folder, "--label-rule", "nonzero", "-o", tmp_path / "o")
    for extra, said in (
        (("--corruptions", "nigt"), "did you mean night?"),
        (("--corruptions", "depth-lost"), "the network takes rgb and thermal"),
        (("--limit", "0"), "--limit 0: expected 1 or more"),
        (("--holdout", "1"), "--holdout 1.0"),
        (("--tolerance-px", "nan"), "finite"),
        (("--corruption", "fog"), "did you mean --corruptions?"),
        (("--also", model), "two models are called 'tiny'"),
        (("--name", "a", "--name", "b"), "2 names for 1 models"),
        (("--data", tmp_path / "nowhere"), "no such folder"),
        (("--label-rule", "none"), "nothing to judge against"),
    ):
        assert said in refused(*given, *extra, capsys=capsys)
    assert "--out" in refused(model, capsys=capsys)


def test_refuses_a_corruption_that_is_not_before_anything_is_drawn(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    said = refused(model, "--corruptions", "fog,jepg", "-o", out, capsys=capsys)
    assert "did you mean jpeg?" in said
    assert not out.exists()


def test_refuses_options_of_a_folder_with_synthetic_scenes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--synthetic-count" in refused(model, "--limit", 3, "-o", tmp_path, capsys=capsys)
    assert "NAME:DIR" in refused(model, "--split", "test", "-o", tmp_path, capsys=capsys)


def test_refuses_models_of_other_classes_side_by_side(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_model(
        tmp_path / "classes.onnx", tiny_classes_onnx(SIZE_HW), tiny_classes_manifest(SIZE_HW)
    )
    said = refused(model, other, "--data", folder, "-o", tmp_path / "o", capsys=capsys)
    assert "cannot be compared" in said


def test_refuses_a_folder_without_labels_and_rows_of_another_program(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "rgb", tmp_path / "p" / "rgb")
    shutil.copytree(folder / "thermal", tmp_path / "p" / "thermal")
    said = refused(model, "--data", tmp_path / "p", "-o", tmp_path / "o", capsys=capsys)
    assert "no labels/ folder" in said
    (tmp_path / "o").mkdir(exist_ok=True)
    texts = (
        b"{",
        b"[]",
        b'{"schema": 1, "rows": {"a": {}}}',
        b'{"schema": 9, "rows": {}}',
        b"\xff",
    )
    for text in texts:
        (tmp_path / "o" / "rows.json").write_bytes(text)
        said = refused(model, "--data", folder, "-o", tmp_path / "o", capsys=capsys)
        assert "rows.json is not one" in said


def test_refuses_a_tolerance_of_boundaries_with_several_classes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_model(
        tmp_path / "classes.onnx", tiny_classes_onnx(SIZE_HW), tiny_classes_manifest(SIZE_HW)
    )
    given = (path, "--data", folder, "--tolerance-px", 3, "-o", tmp_path / "o")
    assert "is a figure of two" in refused(*given, capsys=capsys)


def test_from_python_a_mistake_is_one_error(model: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DifferSegError, match="worst"):
        robustness(options(model, folder, tmp_path, worst=-1), QUIET)
