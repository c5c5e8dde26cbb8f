"""The audit: every planted fault gives its finding, at its level, with the file named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_data import (
    COUNT,
    SIZE_WH,
    get,
    inputs_of,
    picture,
    put,
    rgb_picture,
    thermal_picture,
    write_mfnet,
    write_pairs,
)
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.calibration.audit import main
from differseg.calibration.audit_report import AuditReport, Finding
from differseg.calibration.audit_run import audit, plain_inputs
from differseg.errors import CheckFailedError, InputError
from differseg.manifest import ThermalPolicy
from differseg.options import run_main

INPUTS = plain_inputs(["rgb", "thermal"])
HW = SIZE_WH[::-1]
FULL_RANGE = np.linspace(0, 1, HW[1])


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


def found(report: AuditReport, check: str) -> Finding:
    matches = [finding for finding in report.findings if finding.check == check]
    assert len(matches) == 1, report.findings
    return matches[0]


def checks_of(report: AuditReport, *levels: str) -> set[str]:
    return {finding.check for finding in report.findings if finding.level in levels}


def test_a_clean_set_is_usable_and_small(clean: Path) -> None:
    report = audit(clean, INPUTS)
    assert report.passed
    report.require_passed()
    assert checks_of(report, "error", "warning") == {"count"}
    assert (report.images, report.distinct, report.bright, report.dark) == (COUNT, COUNT, 3, 3)
    rgb, thermal = report.inputs
    assert (rgb.dtypes, thermal.dtypes) == (("uint8",), ("uint16",))
    assert rgb.sizes == thermal.sizes == (f"{HW[1]}x{HW[0]}",)
    assert thermal.seen_share > 0.99
    assert thermal.percentiles["p0.1"] < 0.02 < 0.98 < thermal.percentiles["p99.9"]


def noise_u8(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*HW, *shape)).astype(np.uint8)


def _grey_of(rgb: Path) -> np.ndarray:
    return cv2.cvtColor(np.asarray(get(rgb), np.uint8), cv2.COLOR_BGR2GRAY)


def _saturated() -> np.ndarray:
    image = rgb_picture(77)
    image[: HW[0] * 4 // 5] = 255
    return image


def _overexposed() -> np.ndarray:
    image = rgb_picture(77)
    image[: HW[0] // 3] = 255
    return image


PLANTED: dict[str, tuple[str, str, str, Callable[[Path], object]]] = {
    "constant rgb": (
        "error",
        "constant",
        "rgb/s2.png",
        lambda d: put(d / "rgb/s2.png", np.full((*HW, 3), 90, np.uint8)),
    ),
    "constant thermal": (
        "error",
        "constant",
        "thermal/s3.png",
        lambda d: put(d / "thermal/s3.png", np.full(HW, 29000, np.uint16)),
    ),
    "dead thermal": (
        "error",
        "constant",
        "thermal/s3.png",
        lambda d: put(d / "thermal/s3.png", np.zeros(HW, np.uint16)),
    ),
    "black rgb": (
        "warning",
        "black",
        "rgb/s1.png",
        lambda d: put(d / "rgb/s1.png", noise_u8(1, 3) // 128),
    ),
    "noise in rgb": (
        "error",
        "noise",
        "rgb/s2.png",
        lambda d: put(d / "rgb/s2.png", noise_u8(2, 3)),
    ),
    "noise in thermal": (
        "error",
        "noise",
        "thermal/s4.png",
        lambda d: put(d / "thermal/s4.png", (noise_u8(3) + 29000.0).astype(np.uint16)),
    ),
    "saturated": (
        "error",
        "saturated",
        "rgb/s2.png",
        lambda d: put(d / "rgb/s2.png", _saturated()),
    ),
    "overexposed": (
        "warning",
        "saturated",
        "rgb/s2.png",
        lambda d: put(d / "rgb/s2.png", _overexposed()),
    ),
    "no partner": (
        "error",
        "pairs",
        "rgb/s5.png",
        lambda d: (d / "thermal/s5.png").unlink(),
    ),
    "no modality": (
        "error",
        "pairs",
        "thermal/",
        lambda d: shutil.rmtree(d / "thermal"),
    ),
    "thermal is RGB in grey": (
        "error",
        "modality",
        "thermal/s0.png",
        lambda d: put(d / "thermal/s0.png", _grey_of(d / "rgb/s0.png")),
    ),
    "thermal is RGB inverted": (
        "error",
        "modality",
        "thermal/s0.png",
        lambda d: put(d / "thermal/s0.png", 255 - _grey_of(d / "rgb/s0.png")),
    ),
    "thermal in rgb/": (
        "error",
        "modality",
        "rgb/s0.png",
        lambda d: put(d / "rgb/s0.png", thermal_picture(0)),
    ),
    "rgb in thermal/": (
        "error",
        "modality",
        "thermal/s0.png",
        lambda d: put(d / "thermal/s0.png", rgb_picture(0)),
    ),
    "not an image": (
        "error",
        "unreadable",
        "rgb/s4.png",
        lambda d: (d / "rgb/s4.png").write_bytes(b"cut off"),
    ),
    "another size": (
        "error",
        "size",
        "s4",
        lambda d: put(d / "thermal/s4.png", thermal_picture(4, (80, 64))),
    ),
    "copy": (
        "warning",
        "duplicates",
        "s9 = s1",
        lambda d: [shutil.copy(d / n / "s1.png", d / n / "s9.png") for n in ("rgb", "thermal")],
    ),
    "another bit depth": (
        "warning",
        "format",
        "thermal/s5.png",
        lambda d: put(d / "thermal/s5.png", (thermal_picture(5) // 128 - 100).astype(np.uint8)),
    ),
    "grey rgb": (
        "warning",
        "grey",
        "rgb/s0.png",
        lambda d: put(d / "rgb/s0.png", np.repeat(rgb_picture(0)[:, :, :1], 3, axis=2)),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(fault: str, folder: Path) -> None:
    level, check, where, plant = PLANTED[fault]
    plant(folder)
    report = audit(folder, INPUTS)
    finding = found(report, check)
    assert finding.level == level
    assert finding.where == (where,)
    assert finding.todo
    assert report.passed == (level != "error")
    assert "\n" not in finding.line()
    if level == "error":
        assert checks_of(report, "error") == {check}
        with pytest.raises(CheckFailedError, match=check):
            report.require_passed()


def rewrite(folder: Path, make: Callable[[int], np.ndarray], name: str = "rgb") -> None:
    for index in range(COUNT):
        put(folder / name / f"s{index}.png", make(index))


def test_a_frozen_camera_in_a_folder(folder: Path) -> None:
    for index in range(1, 3):
        shutil.copy(folder / "thermal/s0.png", folder / f"thermal/s{index}.png")
    finding = found(audit(folder, INPUTS), "frozen")
    assert finding.level == "error"
    assert finding.where == ("thermal/s0.png", "thermal/s1.png", "thermal/s2.png")
    shutil.copy(folder / "thermal/s3.png", folder / "thermal/s2.png")
    assert found(audit(folder, INPUTS), "frozen").level == "warning"


def test_equal_frames_are_refused(folder: Path) -> None:
    rewrite(folder, lambda _: rgb_picture(0))
    rewrite(folder, lambda _: thermal_picture(0), "thermal")
    report = audit(folder, INPUTS)
    finding = found(report, "equal")
    assert finding.level == "error"
    assert len(finding.where) == COUNT
    assert report.distinct == 1


def test_nearly_equal_frames_count_once(folder: Path) -> None:
    rng = np.random.default_rng(0)

    def shaken(index: int) -> np.ndarray:
        noise = rng.normal(0, 2, (*HW, 3))
        return np.clip(np.roll(rgb_picture(1), index % 2, axis=1) + noise, 0, 255).astype(np.uint8)

    rewrite(folder, shaken)
    rewrite(folder, lambda index: thermal_picture(1) + index, "thermal")
    report = audit(folder, INPUTS)
    assert report.distinct == 1
    finding = found(report, "duplicates")
    assert finding.level == "warning"
    assert finding.where[0] == "s1 ~ s0"
    # The same RGB view beside another thermal view is no repetition.
    rewrite(folder, thermal_picture, "thermal")
    assert audit(folder, INPUTS).distinct == COUNT


def test_faint_scenes_are_told_apart(folder: Path) -> None:
    rewrite(folder, lambda i: np.repeat((90 + 4 * picture(i))[:, :, None], 3, 2).astype(np.uint8))
    assert audit(folder, plain_inputs(["rgb"])).distinct == COUNT


def test_one_view_in_other_light_is_told_apart(folder: Path) -> None:
    rewrite(folder, lambda index: rgb_picture(1, mean=120 - 15 * index))
    assert audit(folder, plain_inputs(["rgb"])).distinct == COUNT


def test_a_channel_that_never_changes(folder: Path) -> None:
    def without_blue(index: int) -> np.ndarray:
        image = rgb_picture(index)
        image[:, :, 0] = 7  # files are written in BGR order
        return image

    rewrite(folder, without_blue)
    finding = found(audit(folder, INPUTS), "channel")
    assert finding.level == "error"
    assert "channel B of rgb is 7" in finding.what


def test_every_image_black_is_an_error(folder: Path) -> None:
    rewrite(folder, lambda index: noise_u8(index, 3) // 128)
    finding = found(audit(folder, INPUTS), "black")
    assert finding.level == "error"
    assert len(finding.where) == COUNT


def test_one_light_is_a_warning_with_thermal_alone(folder: Path) -> None:
    rewrite(folder, rgb_picture)
    assert found(audit(folder, INPUTS), "light").level == "warning"
    assert found(audit(folder, plain_inputs(["rgb"])), "light").level == "note"


def test_narrow_values_are_a_warning(folder: Path) -> None:
    rewrite(folder, lambda i: (100 + rgb_picture(i).astype(float) / 8).astype(np.uint8))
    finding = found(audit(folder, INPUTS), "range")
    assert finding.level == "warning"
    assert finding.what.startswith("rgb covers 0.39..")


@pytest.mark.parametrize(
    ("kind", "dtype", "flagged"),
    [("fixed", "uint8", True), ("full", "uint16", True), ("full", "uint8", False)],
)
def test_a_policy_that_the_images_do_not_go_with(
    kind: str, dtype: str, flagged: bool, folder: Path
) -> None:
    if dtype == "uint8":
        rewrite(folder, lambda i: np.clip(120 + 40 * picture(i + 99), 1, 254).astype(np.uint8),
                "thermal")  # fmt: skip
    inputs = inputs_of((64, 80), ThermalPolicy(kind=kind))  # type: ignore[arg-type]
    assert ("format" in checks_of(audit(folder, inputs), "warning")) == flagged


def test_depth_with_nan_and_with_holes(folder: Path) -> None:
    (folder / "depth").mkdir()
    for index in range(COUNT):
        depth = np.clip(0.5 + picture(40 + index) / 8, 0, 1).astype(np.float32)
        if index == 2:
            depth[3, 4] = np.nan
        if index == 3:
            depth[: HW[0] * 2 // 3] = 0
        if index == 4:
            depth = depth * 900
        put(folder / "depth" / f"s{index}.tiff", depth)
    report = audit(folder, plain_inputs(["rgb", "depth"]))
    assert found(report, "nan").where == ("depth/s2.tiff",)
    assert found(report, "missing").where == ("depth/s3.tiff",)
    assert found(report, "values").where == ("depth/s4.tiff",)
    assert checks_of(report, "error") == {"nan", "values"}


def test_flow_without_motion_is_no_error(folder: Path) -> None:
    (folder / "flow").mkdir()
    for index in range(COUNT):
        flow = rgb_picture(60 + index) if index else np.full((*HW, 3), 255, np.uint8)
        put(folder / "flow" / f"s{index}.png", flow)
    report = audit(folder, plain_inputs(["rgb", "flow"]))
    assert report.passed
    assert found(report, "constant").where == ("flow/s0.png",)


@pytest.mark.parametrize(("count", "said"), [(1, "with 4 images"), (70, "with 32 images")])
def test_few_images_say_what_it_costs(count: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "thermal").mkdir()
    for index in range(count):
        put(tmp_path / "thermal" / f"t{index:02d}.png", thermal_picture(index, (64, 48)))
    text = found(audit(tmp_path, plain_inputs(["thermal"])), "count").what
    assert text.startswith(f"{count} distinct image")
    assert said in text


def test_a_limit_spreads(clean: Path) -> None:
    report = audit(clean, INPUTS, 2)
    assert report.images == 2
    assert "2 of 6 images" in report.data
    with pytest.raises(InputError, match="at least 1"):
        audit(clean, INPUTS, 0)


def test_the_verb(clean: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(clean), "--json"]) == 0
    text = capsys.readouterr().out
    assert "usable: 0 errors, 1 warning" in text
    assert json.loads(text.splitlines()[-1])["passed"] is True
    put(folder / "rgb/s2.png", noise_u8(2, 3))
    sheet = folder / "sheet.png"
    assert main(["--data", str(folder), "--json", "--pictures", str(sheet)]) == 1
    text = capsys.readouterr().out
    assert "not usable: 1 error" in text
    document = json.loads(text.splitlines()[-1])
    assert document["findings"][0]["check"] == "noise"
    assert document["findings"][0]["where"] == ["rgb/s2.png"]
    assert framed(sheet) > 0


def test_a_published_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"mfnet:{write_mfnet(tmp_path)}"
    assert main(["--data", data, "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["data"] == f"4 images of mfnet, split train, in {tmp_path}"
    assert [row["name"] for row in document["inputs"]] == ["rgb", "thermal"]
    black = get(tmp_path / "images/00004D.png").copy()
    black[:, :, 3] = 7
    put(tmp_path / "images/00004D.png", black)
    put(tmp_path / "images/00005D.png", black[:, :, :3])
    assert audit(data, INPUTS).passed
    report = audit(data, INPUTS, split="test")
    assert found(report, "constant").where == ("images/00004D.png (thermal)",)
    broken = found(report, "unreadable")
    assert broken.where == ("images/00005D.png",)
    assert broken.what.startswith("rgb, thermal: expected 8-bit red, green, blue and thermal")


def framed(sheet: Path) -> int:
    """Count the pixels in the colour of an error's frame."""
    return int((get(sheet) == np.array([52, 64, 235], np.uint8)).all(axis=2).sum())


def test_only_flagged_pictures_are_framed(clean: Path, tmp_path: Path) -> None:
    audit(clean, INPUTS, pictures=tmp_path / "sheet.png")
    assert framed(tmp_path / "sheet.png") < 200  # the legend's word alone


def test_the_model_says_what_it_takes(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_model(tmp_path / "tiny.onnx", tiny_onnx(), tiny_manifest())
    assert main(["--data", str(clean), "--model", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    # Its policy is a fixed range, of which these images see a part.
    assert document["inputs"][1]["percentiles"]["p0.1"] == 0.0


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "give --data DIR, or --rgb SRC"),
        (["--rgb", "x", "--split", "test"], "--split test: a session has no splits"),
        (["--data", "DIR", "--split", "test"], "is a plain folder, which has no splits"),
        (["--data", "mfnet:DIR"], "expected MFNet, RGB-thermal urban scenes"),
        (["--data", "DIR", "--rgb", "x"], "give --data DIR, or --rgb SRC"),
        (["--data", "DIR", "--thermal", "x"], "--thermal goes with --rgb"),
        (["--data", "DIR/none"], "holds none of rgb/"),
        (["--data", "DIR/none", "--inputs", "rgb"], "there is no such folder"),
        (["--data", "DIR", "--inputs", "rgb,heat"], "expected some of rgb, "),
        (["--data", "DIR", "--inputs", "rgb,rgb"], "each once"),
        (["--data", "DIR", "--inputs", "depth,flow"], "holds no images"),
        (["--data", "DIR", "--inputs", "rgb", "--model", "x.onnx"], "leave out --inputs"),
        (["--data", "DIR", "--pictures", "DIR/none/a.png"], "cannot be written"),
        (["--data", "DIR", "--pictures", "sheet.docx"], "cannot be written"),
        (["--dta", "DIR"], "did you mean --data"),
    ],
)
def test_wrong_usage_is_one_line(
    argv: list[str], text: str, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(main, [word.replace("DIR", str(clean)) for word in argv]) == 2
    message = capsys.readouterr().err
    assert text in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "source", ["mfnet", "roadscene", "wrd_road", "pothole_rgbd", "crackforest"]
)
def test_real_sets_are_usable(source: str, sample_data: Path) -> None:
    names = [name for name in ("rgb", "thermal", "depth") if (sample_data / source / name).is_dir()]
    report = audit(sample_data / source, plain_inputs(names), 3)
    assert checks_of(report, "error", "warning") <= {"count", "light", "range"}
