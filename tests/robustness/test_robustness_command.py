"""``differseg robustness`` end to end on a network that is computed by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from engine_files import BYTES, sidecar_of, small_manifest
from rich.console import Console
from robustness_runs import QUIET, SIZE_HW, STEMS, options
from tiny_network import (
    FIXED,
    THERMAL_WEIGHT,
    tiny_classes_manifest,
    tiny_classes_onnx,
    tiny_manifest,
    tiny_onnx,
    tiny_probability,
    write_model,
)

from differseg.data.folder import FolderDataset
from differseg.engine_sidecar import sidecar_path
from differseg.manifest import ThermalPolicy
from differseg.metrics import mask_iou
from differseg.provenance import TrainingRecord
from differseg.robustness import evaluation
from differseg.robustness import judged as judged_module
from differseg.robustness.command import RobustnessOptions, main, robustness
from differseg.robustness.judged import open_labelled, open_models
from differseg.robustness.result import print_table


@pytest.fixture(scope="module")
def out(model: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished evaluation with two models and everything that fits."""
    place = tmp_path_factory.mktemp("out") / "new"
    other = write_model(
        place.parent / "louder.onnx", tiny_onnx(SIZE_HW, 1.1), tiny_manifest(SIZE_HW)
    )
    robustness(options(model, folder, place, other=other, name=("tiny", "a <b>")), QUIET)
    return place


def test_lost_thermal_is_judged_with_what_the_runtime_feeds(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    result = robustness(options(model, folder, tmp_path, corruptions="thermal-lost"), QUIET)
    row = next(row for task, row in result.judged.rows.items() if task.name == "thermal-lost")
    assert FIXED.kind == "fixed"
    samples, expected = FolderDataset(folder, label_rule="nonzero"), []
    for index in range(len(samples)):
        rgb = samples[index]["rgb"]
        nothing = np.full(SIZE_HW, (FIXED.low_ck + FIXED.high_ck) / 2)
        found = tiny_probability(rgb, nothing) >= 0.5
        assert tiny_probability(rgb * 0, nothing)[0, 0] == THERMAL_WEIGHT * 0.5
        expected.append(mask_iou(found, samples[index]["mask"]))
    assert row.of_images == pytest.approx(expected, abs=1e-6)


def test_json_csv_and_table_agree(out: Path) -> None:
    document = json.loads((out / "robustness.json").read_text())
    with (out / "robustness.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(document["rows"])
    assert len(set(lines[0])) == len(lines[0])
    for line, row in zip(lines, document["rows"], strict=True):
        assert (line["model"], line["corruption"]) == (row["model"], row["corruption"])
        assert float(line["iou"]) == pytest.approx(row["figures"]["iou"], abs=1e-5)
    assert {row["model"] for row in document["rows"]} == {"tiny", "a <b>"}
    per_model = sum(len(entry["levels"]) for entry in document["corruptions"])
    cleans = 2  # of all images, and of those with frames before them
    assert len(document["rows"]) == 2 * (per_model + cleans)


def test_kept_is_the_mean_over_the_levels_by_the_clean_figure(out: Path) -> None:
    document = json.loads((out / "robustness.json").read_text())
    rows = [row for row in document["rows"] if row["model"] == "tiny"]
    clean = next(row for row in rows if row["corruption"] == "clean" and row["images"] == 7)
    fog = [row["figures"]["iou"] for row in rows if row["corruption"] == "fog"]
    kept = document["models"][0]["kept_by_corruption"]
    assert kept["fog"] == pytest.approx(np.mean(fog) / clean["figures"]["iou"])
    assert document["models"][0]["kept"] == pytest.approx(np.mean(list(kept.values())))


def test_frozen_thermal_is_compared_on_its_own_images(out: Path) -> None:
    document = json.loads((out / "robustness.json").read_text())
    frozen = [row for row in document["rows"] if row["corruption"] == "thermal-frozen"]
    assert {row["images"] for row in frozen} == {2}
    assert document["skipped"] == {}
    assert [row["level"] for row in frozen if row["model"] == "tiny"] == [1, 2, 4]


def test_page_stands_alone_and_shows_every_corruption(out: Path) -> None:
    page = (out / "report.html").read_text()
    document = json.loads((out / "robustness.json").read_text())
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "a &lt;b&gt;" in page
    assert "<b>" not in re.findall(r"<title>(.*?)</title>", page, re.S)[0]
    cards = page.split('<article class="card"')[1:]
    assert len(cards) == len(document["corruptions"])
    for card, entry in zip(cards, document["corruptions"], strict=True):
        assert entry["title"] in card
        assert card.count('<svg class="chart"') == 2  # IoU and boundary F
        # a line for each model in both charts, with a mark for the clean images and each level
        assert card.count("<polyline") == 4
        points = re.findall(r'<polyline class="curve" points="([^"]*)"', card)
        assert all(len(line.split()) == 1 + len(entry["levels"]) for line in points)
    assert "data:image/jpeg;base64," in page


def test_curves_file_is_an_svg_with_a_line_for_each_model(out: Path) -> None:
    root = ElementTree.fromstring((out / "curves.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    document = json.loads((out / "robustness.json").read_text())
    lines = root.iter(f"{space}polyline")
    assert len(list(lines)) == 2 * len(document["corruptions"]) + 2  # and the legend's
    texts = {element.text for element in root.iter(f"{space}text")}
    assert {"tiny", "a <b>", "Night", "IoU on 7 images of " + Path(root_of(out)).name} <= texts


def root_of(out: Path) -> str:
    title = json.loads((out / "robustness.json").read_text())["data"]["title"]
    return str(title.rpartition(" ")[2])


def test_worst_pictures_are_those_that_fell_most(out: Path) -> None:
    stored = json.loads((out / "rows.json").read_text())["rows"].values()
    of_all = [row for row in stored if row["images"] == len(STEMS)]
    clean = {row["model"]: row["of_images"] for row in of_all if row["corruption"] == "clean"}
    last = {row["corruption"]: row["level"] for row in sorted(of_all, key=lambda r: r["level"])}
    shown = 0
    for row in of_all:
        drops = np.array(clean[row["model"]]) - np.array(row["of_images"])
        order = [index for index in np.argsort(-drops, kind="stable") if drops[index] > 0]
        wanted = (
            [STEMS[index] for index in order[:2]] if row["level"] == last[row["corruption"]] else []
        )
        assert [picture["stem"] for picture in row["pictures"]] == wanted
        for picture in row["pictures"]:
            shown += 1
            assert all((out / name).is_file() for _, name in picture["panels"])
            assert picture["figure"] < picture["clean"]
    assert shown > 20


def test_rows_that_are_done_are_not_judged_again(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = options(model, folder, tmp_path, corruptions="fog,night")
    judged: list[str] = []
    real = evaluation._judge

    def counting(task: evaluation.Task, *rest: Any) -> Any:
        if len(judged) == 4:
            raise KeyboardInterrupt
        judged.append(f"{task.name} {task.level:g}")
        return real(task, *rest)

    monkeypatch.setattr(evaluation, "_judge", counting)
    with pytest.raises(KeyboardInterrupt):
        robustness(wanted, QUIET)
    stopped, judged[:] = list(judged), []
    monkeypatch.setattr(
        evaluation, "_judge", lambda task, *rest: judged.append(task.name) or real(task, *rest)
    )
    interrupted = robustness(wanted, QUIET)
    assert stopped == ["clean 0", "night 2", "night 4", "night 6"]
    assert judged == ["night", "fog", "fog", "fog", "fog"]
    judged.clear()
    again = robustness(wanted, QUIET)
    assert judged == []
    whole = robustness(dataclasses.replace(wanted, out=tmp_path / "whole"), QUIET)
    for one in (interrupted, again):
        assert list(one.judged.rows.values()) == list(whole.judged.rows.values())


@pytest.mark.parametrize("change", ["seed", "tolerance_px", "data", "model", "limit", "engine"])
def test_other_options_data_or_weights_are_judged_anew(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    pairs = Path(shutil.copytree(folder, tmp_path / "pairs"))
    wanted = options(model, pairs, tmp_path / "out", corruptions="thermal-lost", worst=0)
    robustness(wanted, QUIET)
    if change == "data":
        image = cv2.imread(str(pairs / "rgb" / f"{STEMS[0]}.png"))
        cv2.imwrite(str(pairs / "rgb" / f"{STEMS[0]}.png"), 255 - image)
    elif change == "model":
        path = tmp_path / "other.onnx"
        other = write_model(path, tiny_onnx(SIZE_HW, 1.2), tiny_manifest(SIZE_HW))
        wanted = dataclasses.replace(wanted, file=other)
    elif change == "engine":
        opened = judged_module.open_predictor

        def elsewhere(*arguments: Any) -> Any:
            predictor = opened(*arguments)
            predictor.runs_on = "another engine"
            return predictor

        monkeypatch.setattr(judged_module, "open_predictor", elsewhere)
    else:
        value = {"seed": 5, "tolerance_px": 4.0, "limit": 3}[change]
        wanted = dataclasses.replace(wanted, **{change: value})  # type: ignore[arg-type]
    judged: list[str] = []
    real = evaluation._judge
    monkeypatch.setattr(
        evaluation, "_judge", lambda task, *rest: judged.append(task.name) or real(task, *rest)
    )
    robustness(wanted, QUIET)
    assert judged == ["clean", "thermal-lost"]


def test_synthetic_scenes_are_drawn_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = RobustnessOptions(file=model, out=tmp_path, synthetic_count=2, corruptions="fog")
    manifest = tiny_manifest((64, 96), model_config={"size_hw": [64, 96]})
    path = write_model(tmp_path / "wide.onnx", tiny_onnx((64, 96)), manifest)
    wanted = dataclasses.replace(wanted, file=path)
    first = robustness(wanted, QUIET)
    assert first.data.title == "2 synthetic scenes"
    assert len(set(first.data.samples.stems)) == 2
    assert first.data.samples[0]["rgb"].shape == (64, 96, 3)
    monkeypatch.setattr("differseg.robustness.judged.write_sample", None)
    assert list(robustness(wanted, QUIET).judged.rows.values()) == list(first.judged.rows.values())


def test_several_classes_are_judged_by_their_mean_iou(folder: Path, tmp_path: Path) -> None:
    path = write_model(
        tmp_path / "classes.onnx", tiny_classes_onnx(SIZE_HW), tiny_classes_manifest(SIZE_HW)
    )
    wanted = options(path, folder, tmp_path / "out")
    result = robustness(dataclasses.replace(wanted, label_rule="0=0,1=4"), QUIET)
    assert result.judged.headline == "mean_iou"
    assert result.drawn_figures() == ["mean_iou"]
    assert "wrong pixels" in (tmp_path / "out" / "report.html").read_text()


def test_command_prints_a_table_and_json_last(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [model, "--data", folder, "--label-rule", "nonzero", "--limit", 2,
            "--corruptions", "fog,jpeg", "-o", tmp_path, "--json"]  # fmt: skip
    assert main([str(word) for word in argv]) == 0
    said = capsys.readouterr().out.splitlines()
    document = json.loads(said[-1])
    assert [entry["name"] for entry in document["corruptions"]] == ["fog", "jpeg"]
    assert document["data"]["images"] == 2
    assert any(re.search(r"fog +│ % veil", line) for line in said)
    assert any(re.search(r"tiny: keeps \d+ %, mean of 2 corruptions", line) for line in said)


def test_judges_a_split_of_a_published_data_set(model: Path, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "release"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    pairs = FolderDataset(folder, label_rule="nonzero")
    for sample in (pairs[index] for index in range(len(pairs))):
        thermal = np.clip((sample["thermal"] - 29000.0) / 8, 0, 255).astype(np.uint8)
        colors = (*np.dsplit(sample["rgb"], 3)[::-1], thermal)  # the file is BGR and thermal
        cv2.imwrite(str(root / "images" / f"{sample['stem']}.png"), np.dstack(colors))
        cv2.imwrite(str(root / "labels" / f"{sample['stem']}.png"), sample["mask"])
    (root / "test.txt").write_text("\n".join(STEMS[1:]))
    wanted = options(model, folder, tmp_path / "out", corruptions="thermal-frozen,fog", worst=0)
    wanted = dataclasses.replace(wanted, data=f"mfnet:{root}", label_rule="auto", limit=3)
    result = robustness(wanted, QUIET)
    assert result.data.title == "3 images of mfnet, split test"
    assert result.data.samples.stems == [STEMS[1], STEMS[3], STEMS[6]]
    frozen = next(task for task in result.judged.rows if task.name == "thermal-frozen")
    assert [result.data.samples.stems[index] for index in frozen.indices] == [STEMS[6]]


def test_models_of_one_folder_are_told_apart_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    files = []
    for name, gain in (("model.onnx", 1.0), ("model.int8.onnx", 0.9)):
        path = tmp_path / "run" / name
        files.append(write_model(path, tiny_onnx(SIZE_HW, gain), tiny_manifest(SIZE_HW)))
    assert [model.name for model in open_models(files[:1])] == ["run"]
    assert [model.name for model in open_models(files)] == ["model.onnx", "model.int8.onnx"]
    named = open_models(files, ["float"])
    assert [model.name for model in named] == ["float", "run"]
    (tmp_path / "other").mkdir()
    twin = Path(shutil.copy(files[1], tmp_path / "other" / "model.int8.onnx"))
    assert [model.name for model in open_models([files[1], twin])] == ["run", "other"]
    assert [model.name for model in open_models([files[0], twin, files[1]])] == [
        str(files[0]),
        str(twin),
        str(files[1]),
    ]


def test_an_engine_loses_thermal_as_its_own_manifest_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = ThermalPolicy(kind="fixed", low_ck=20000, high_ck=21000)
    manifest = small_manifest()
    thermal = dataclasses.replace(manifest.inputs[1], thermal_policy=policy)
    manifest = dataclasses.replace(manifest, inputs=(manifest.inputs[0], thermal))
    engine = tmp_path / "small.engine"
    engine.write_bytes(BYTES)
    sidecar_path(engine).write_text(sidecar_of(BYTES, manifest=manifest).to_json())
    opened = SimpleNamespace(classes=manifest.classes)
    monkeypatch.setattr(judged_module, "open_predictor", lambda *_: opened)
    assert open_models([engine])[0].policy == policy


def test_models_with_other_second_cameras_share_a_title(folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(folder, tmp_path / "pairs"))
    shutil.copytree(root / "thermal", root / "depth")
    everything = FolderDataset(root, ("rgb", "thermal", "depth"), label_rule="nonzero")
    data = judged_module.JudgedData("7 images", everything, everything, "")
    models: Any = [
        SimpleNamespace(predictor=SimpleNamespace(modalities=("rgb", name)), policy=ThermalPolicy())
        for name in ("thermal", "depth", "thermal")
    ]
    plan = evaluation.make_plan(models, data, "misregistration,thermal-lost,fog", 0)
    titles = [corruption.title for corruption in plan.corruptions]
    assert titles == ["Thermal lost", "Thermal misregistered / Depth misregistered", "Fog"]
    moved = [t.corruption.modality for t in plan.tasks if t.name == "misregistration"]  # type: ignore[union-attr]
    assert moved == ["thermal"] * 4 + ["depth"] * 4 + ["thermal"] * 4


def test_a_picture_that_is_gone_or_empty_is_drawn_anew(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    wanted = options(model, folder, tmp_path, corruptions="rgb-lost", worst=1)
    robustness(wanted, QUIET)
    files = sorted((tmp_path / "pictures").iterdir())
    before = [file.read_bytes() for file in files]
    files[0].unlink()
    robustness(wanted, QUIET)
    files[1].write_bytes(b"")
    robustness(wanted, QUIET)
    assert [file.read_bytes() for file in files] == before


def test_table_names_every_corruption_in_a_narrow_terminal(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    shown = Console(file=io.StringIO(), width=80)
    names = ("thermal-pattern", "misregistration")
    wanted = options(model, folder, tmp_path, corruptions=",".join(names), limit=2, worst=0)
    print_table(robustness(wanted, QUIET), shown)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert all(name in text for name in names)
    assert max(map(len, text.splitlines())) <= 80
    assert len(re.findall(r"\b[\d.]+:[01]\.\d{3}", text)) == 8  # no figure is cut
    assert "…" not in text


def test_page_says_how_many_images_and_corruptions_a_figure_is_of(out: Path) -> None:
    page = (out / "report.html").read_text()
    document = json.loads((out / "robustness.json").read_text())
    assert "IoU of 7 clean images" in page
    assert f"mean of {len(document['corruptions'])} corruptions" in page
    assert "2 pixels" in page.partition("Tolerance of boundaries")[2][:40]


def test_a_model_judged_at_another_size_than_it_learnt_at_is_named(
    model: Path, folder: Path
) -> None:
    (opened,) = open_models([model], ["mine"], None, None, "cpu")
    assert open_labelled(str(folder), [opened], label_rule="nonzero").warnings == ()
    opened.predictor.training = TrainingRecord((64, 96), ())
    (said,) = open_labelled(str(folder), [opened], label_rule="nonzero").warnings
    assert said.startswith("mine: judged at 16x24, but trained at 64x96; --size 64x96")
