"""The proof under emulation: what it compares, and what it says where something is missing."""

import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from boards import REPOSITORY

EMULATED = REPOSITORY / "jetson" / "emulated"
PROVE = EMULATED / "prove.sh"
IMPORTS = EMULATED / "imports.sh"


def compare(*arguments):
    command = [sys.executable, EMULATED / "compare_masks.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def prove(*arguments, **variables):
    command = [shutil.which("bash"), str(PROVE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **variables)


@pytest.fixture
def masks(tmp_path):
    """Write two folders of three equal masks; returns them and the first file of the second."""
    picture = np.zeros((48, 64), np.uint8)
    picture[8:40, 8:56] = 1
    folders = [tmp_path / name for name in ("x86", "arm64")]
    for folder in folders:
        folder.mkdir()
        for index in range(3):
            cv2.imwrite(str(folder / f"{index:06d}.png"), picture)
    return *folders, folders[1] / "000000.png"


def change(path, pixels):
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask[8, 8 : 8 + pixels] = 0
    cv2.imwrite(str(path), mask)


def test_equal_masks_agree(masks):
    run = compare(*masks[:2], "--expect", 3)
    assert run.returncode == 0, run.stderr
    assert "agree" in run.stdout
    assert "50.0%        0     0.0000  1.00000" in run.stdout


def test_one_pixel_is_a_difference(masks):
    x86, arm64, first = masks
    change(first, 1)
    run = compare(x86, arm64)
    assert run.returncode == 1
    assert "1 flipped pixels, limit 0" in run.stderr
    assert " 1     0.3255" in run.stdout


def test_another_shape_of_the_mask_is_named(masks):
    x86, arm64, first = masks
    change(first, 48)
    run = compare(x86, arm64)
    assert run.returncode == 1
    assert "000000.png: IoU 0.96875, limit 0.999" in run.stderr


def test_nothing_in_any_mask_proves_nothing(masks):
    for path in (*masks[0].iterdir(), *masks[1].iterdir()):
        cv2.imwrite(str(path), np.zeros((48, 64), np.uint8))
    run = compare(*masks[:2])
    assert (run.returncode, "proves nothing" in run.stderr) == (2, True)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.unlink(), "000000.png: only one of the two runs has this mask, of 1"),
        (lambda path: path.write_bytes(b"PNG"), "is no 8-bit mask"),
        (lambda path: shutil.rmtree(path.parent), "there is no mask in it"),
        (
            lambda path: cv2.imwrite(str(path), np.ones((24, 64), np.uint8)),
            "(48, 64) against (24, 64) pixels",
        ),
    ],
    ids=["gone", "broken", "empty", "size"],
)
def test_runs_that_cannot_be_compared_are_wrong_input(masks, damage, text):
    x86, arm64, first = masks
    damage(first)
    run = compare(x86, arm64)
    assert run.returncode == 2
    assert text in run.stderr


def test_fewer_masks_than_expected_are_wrong_input(masks):
    run = compare(*masks[:2], "--expect", 4)
    assert (run.returncode, "3 masks, expected 4" in run.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--frames", "0"], "--frames: expected a whole number from 1 to 9999, got 0"),
        (["--keep"], "--keep: a value is missing"),
        (["--model", "absent.onnx"], "absent.onnx: there is no such file"),
        (["--mirror", "http://localhost"], "name its --suite"),
        (["--suite", "trixie"], "--suite trixie: expected one of jammy, noble, bookworm"),
        (["F.onnx"], "unknown argument F.onnx"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, text):
    run = prove(*arguments)
    assert run.returncode == 2
    assert text in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_missing_tools_are_named_with_their_packages(tmp_path):
    for tool in ("dirname", "cat", "openssl", "proot"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "/bin/true")
    run = prove(env={"PATH": str(tmp_path)})
    assert run.returncode == 3
    assert run.stderr.splitlines() == [
        "problem: not installed: debootstrap fakeroot qemu-user-static; install with: "
        "sudo apt install debootstrap fakeroot qemu-user-static"
    ]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """Its own log folder would be emptied."""
    theirs = tmp_path / "keep" / "log" / "theirs"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("debootstrap", "fakeroot", "proot", "openssl", "qemu-aarch64-static"):
        (tools / tool).symlink_to("/bin/true")
    for tool in ("differseg", "python3"):
        (tools / tool).symlink_to("/bin/true")
    path = f"{tools}:{os.environ['PATH']}"
    run = prove("--keep", theirs.parents[1], "--python", "/bin/true", env={"PATH": path})
    assert run.returncode == 2
    assert "the folder holds other files" in run.stderr
    assert theirs.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "give the folder of prove.sh --keep"),
        (["none"], 2, "none: there is no root file system of prove.sh; run"),
        (["kept", "3.11"], 2, "version 3.11: expected 3.1"),
        (["kept"], 3, "not installed: qemu-aarch64-static; install with: sudo apt install"),
    ],
)
def test_what_the_imports_need(tmp_path, arguments, status, said):
    """Of the pythons of boards under emulation."""
    for name in ("kept/root/.complete", "kept/job/model.onnx"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    tools = ["aarch64-linux-gnu-gcc", "make", "curl", "xz", "proot", "qemu-aarch64-static"]
    for tool in tools[: 5 if status == 3 else 6]:
        (tmp_path / "bin" / tool).symlink_to("/bin/true")
    for tool in ("dirname", "cat", "mkdir", "cp"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    run = subprocess.run(
        [shutil.which("bash"), IMPORTS, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)},
    )
    assert run.returncode == status, run.stderr
    assert f"problem: {said}" in run.stderr


def test_it_says_what_it_does():
    run = prove("--help")
    assert run.returncode == 0
    assert "Exit status" in run.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("script", [PROVE, IMPORTS], ids=lambda path: path.stem)
def test_shellcheck_has_nothing_to_say_of_the_proof(script):
    run = subprocess.run(
        ["shellcheck", "--external-sources", script], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "")
