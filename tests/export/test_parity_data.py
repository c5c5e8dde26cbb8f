"""The images of a comparison: folders, synthetic scenes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_network import SIZE_HW, samples_of, small_module, write_pair

from differseg.errors import InputError
from differseg.export.manifest_builder import build_manifest
from differseg.export.parity import compare_deployment
from differseg.export.parity_data import load_samples, prepare
from differseg.manifest import WeightsRecord
from differseg.models.deployment import DeploymentModule

pytestmark = pytest.mark.usefixtures("one_thread")


def test_synthetic_scenes_are_the_same_each_time(module: DeploymentModule) -> None:
    first, second = (next(iter(samples_of(module, None, 1))) for _ in range(2))
    assert first.stem == second.stem
    for name in ("rgb", "thermal"):
        assert np.array_equal(first.arrays[name], second.arrays[name])
    assert first.arrays["rgb"].shape == (1, *SIZE_HW, 3)
    assert first.arrays["rgb"].dtype == np.uint8
    assert first.arrays["thermal"].shape == (1, 1, *SIZE_HW)
    assert 0 < first.arrays["thermal"].max() <= 1
    assert first.label is not None
    assert set(np.unique(first.label)) == {0, 1}
    assert first.pictures["thermal"].shape == SIZE_HW


@pytest.mark.parametrize("task", ["rgb", "rgbd", "video"])
def test_synthetic_scenes_serve_every_task(task: str) -> None:
    samples = samples_of(small_module(task), None, 1)
    assert len(samples) == 1
    sample = next(iter(samples))
    assert [spec.modality for spec in sample.inputs] == list(sample.arrays)
    assert all(np.ptp(array) > 0 for array in sample.arrays.values())
    assert (sample.label is not None) == (task == "rgb")


def test_limit_spreads_over_the_folder(module: DeploymentModule, folder: Path) -> None:
    samples = samples_of(module, folder, 2)
    assert [sample.stem for sample in samples] == ["f0", "f2"]
    assert "2 of 3 images" in samples.description
    with pytest.raises(InputError, match="at least 1"):
        samples_of(module, folder, 0)


def test_label_rule_decides_what_is_foreground(module: DeploymentModule, folder: Path) -> None:
    inputs = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test")).inputs
    found = next(iter(load_samples(inputs, folder, 1))).label
    other = next(iter(load_samples(inputs, folder, 1, label_rule="7"))).label
    assert found is not None
    assert other is not None
    assert found.any()
    assert not other.any()
    with pytest.raises(InputError, match="label rule 'sevens'"):
        load_samples(inputs, folder, 1, label_rule="sevens")


def test_a_published_data_set_by_name(
    module: DeploymentModule, folder: Path, tmp_path: Path
) -> None:
    for name in ("rgb", "thermal", "labels"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "val.txt").write_text("f0\nf2\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("f1\n", encoding="utf-8")
    inputs = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test")).inputs
    data, rule = f"mfnet:{tmp_path}", "nonzero"
    assert load_samples(inputs, data, None, label_rule=rule).stems == ("f1",)
    samples = load_samples(inputs, data, 1, split="val", label_rule=rule)
    assert samples.description == (
        f"1 of 2 images of mfnet, split val, in {tmp_path}, labels by the rule nonzero"
    )
    ours, plain = next(iter(samples)), next(iter(load_samples(inputs, folder, 1)))
    assert ours.stem == plain.stem == "f0"
    assert all(np.array_equal(ours.arrays[name], plain.arrays[name]) for name in plain.arrays)
    assert np.array_equal(ours.label, plain.label)
    assert samples.files == (tmp_path / "rgb/f0.png", tmp_path / "thermal/f0.png")


@pytest.mark.parametrize(
    ("data", "split", "text"),
    [
        (None, "test", "--split test: names a split of a data set, and none is given"),
        ("DIR", "test", "--split test: .* is a plain folder, which has no splits"),
        ("mfnet:DIR", "dusk", "mfnet: there is no split 'dusk'"),
        ("mfnett:DIR", None, "--data mfnett:.*: there is no data set 'mfnett'; did you mean"),
        ("sip:DIR", None, "sip: holds rgb, depth, but thermal is asked for"),
        ("fmb:DIR", None, "networks with 14 or 15 classes, not 2"),
    ],
)
def test_data_sets_that_cannot_be_used_are_one_line(
    module: DeploymentModule, folder: Path, data: str | None, split: str | None, text: str
) -> None:
    inputs = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test")).inputs
    given = data and data.replace("DIR", str(folder))
    with pytest.raises(InputError, match=text) as caught:
        load_samples(inputs, given, None, split=split)
    assert "\n" not in str(caught.value)


def test_real_pairs(module: DeploymentModule, model_file: Path, sample_data: Path) -> None:
    samples = samples_of(module, sample_data / "mfnet", 3)
    assert "mfnet" in samples.description.split("rule")[1]
    result = compare_deployment(module, model_file, samples)
    assert result.passed
    assert result.overall.label_iou_a is not None


@pytest.mark.parametrize(
    ("stems", "shape", "text"),
    [
        (("odd", "even"), (64, 96), "odd"),
        (("same", "same"), (64, 96, 3), "thermal"),
    ],
)
def test_data_that_cannot_be_used_is_one_line(
    module: DeploymentModule,
    tmp_path: Path,
    stems: tuple[str, str],
    shape: tuple[int, ...],
    text: str,
) -> None:
    rng = np.random.default_rng(0)
    write_pair(tmp_path, stems, rng.integers(0, 256, shape, dtype=np.uint8))
    with pytest.raises(InputError, match=text) as caught:
        list(samples_of(module, tmp_path))
    assert "\n" not in str(caught.value)


def test_folder_that_is_not_there_is_one_line(module: DeploymentModule, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        samples_of(module, tmp_path / "nowhere")


def test_nan_in_an_image_names_the_image() -> None:
    manifest = build_manifest(small_module("rgbd").spec, SIZE_HW, weights=WeightsRecord("a test"))
    depth = np.full((64, 96), np.nan, np.float32)
    with pytest.raises(InputError, match="image 'odd': depth: 6144 of 6144 values are NaN"):
        prepare("odd", {"rgb": np.zeros((64, 96, 3), np.uint8), "depth": depth}, manifest.inputs)
