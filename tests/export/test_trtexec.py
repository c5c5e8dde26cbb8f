"""trtexec lines: only flags that the release knows, and its output read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from differseg.errors import InputError
from differseg.export.build_engine import BuildOptions, main
from differseg.export.build_run import trtexec_line
from differseg.export.engine_plan import EnginePlan
from differseg.export.targets import TARGETS
from differseg.export.trtexec import (
    as_line,
    banner_version,
    complaint,
    said_of_gpu,
    trtexec_arguments,
)
from differseg.export.trtexec_flags import FLAGS, has_flag

EVERYTHING = EnginePlan(
    strongly_typed=False,
    flags=("FP16", "INT8"),
    pins=("a/MatMul", "b"),
    profiles={"rgb": [[1, 64, 64, 3], [1, 96, 96, 3], [1, 128, 128, 3]]},
    level=4,
    workspace_mib=512,
    version_compatible=True,
    hardware="ampere+",
    plugins=("/x/libp.so",),
    plugins_inside=True,
)
RELEASES = [t for t in TARGETS.values() if t.engine == "tensorrt" and t.name != "rtx1"]


def plan_for(version: tuple[int, int]) -> EnginePlan:
    """Everything that a plan may ask of a release."""
    plan = EVERYTHING
    if version >= (10, 0):
        plan = replace(plan, strongly_typed=True, flags=(), pins=())
    if version < (8, 6):
        plan = replace(plan, level=None, version_compatible=False, hardware="none")
        plan = replace(plan, plugins_inside=False)
    return plan


def flags_of(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words]


@pytest.mark.parametrize("target", RELEASES, ids=lambda target: target.name)
def test_a_line_holds_only_flags_of_its_release(target) -> None:
    words = trtexec_arguments(
        Path("m.onnx"), Path("m.engine"), plan_for(target.version), target.version, Path("t.cache")
    )
    for flag in flags_of(words):
        assert has_flag(flag, target.version), flag
    assert len(set(flags_of(words))) >= 9


def test_every_flag_of_the_table_is_used_somewhere() -> None:
    used = set()
    for target in RELEASES:
        for plan in (plan_for(target.version), replace(plan_for(target.version), plugins=())):
            words = trtexec_arguments(
                Path("m.onnx"), Path("m.engine"), plan, target.version, Path("t.cache")
            )
            used.update(flags_of(words))
    assert used == set(FLAGS)


def test_the_lines_of_three_generations() -> None:
    def words(version: tuple[int, int]) -> str:
        return " ".join(
            trtexec_arguments(Path("m.onnx"), Path("m.engine"), plan_for(version), version)
        )

    old, middle, new = words((8, 5)), words((10, 3)), words((11, 4))
    assert "--plugins=/x/libp.so" in old
    assert "--buildOnly" in old
    assert "--fp16 --int8 --noTF32 --precisionConstraints=obey" in old
    assert "--layerPrecisions=a/MatMul:fp32,b:fp32" in old
    assert "--stronglyTyped" in middle
    assert "--dynamicPlugins=/x/libp.so --setPluginsToSerialize=/x/libp.so" in middle
    assert "--hardwareCompatibilityLevel=ampere+" in middle
    assert "--minShapes=rgb:1x64x64x3" in middle
    assert "--stronglyTyped" not in new  # every network is
    assert "--fp16" not in new
    assert "--skipInference" in new


@pytest.mark.parametrize("name", ["a,b", "it's"])
def test_names_that_its_lists_cannot_hold_are_refused(name: str) -> None:
    plan = replace(plan_for((8, 6)), pins=(name,))
    with pytest.raises(InputError, match="TensorRT's Python API"):
        trtexec_arguments(Path("m.onnx"), Path("m.engine"), plan, (8, 6))


def test_a_line_that_no_system_takes_is_refused() -> None:
    plan = replace(plan_for((8, 6)), pins=tuple(f"{'x' * 200}{n}" for n in range(300)))
    with pytest.raises(InputError, match="more than a command line holds"):
        trtexec_arguments(Path("m.onnx"), Path("m.engine"), plan, (8, 6))


def test_a_line_is_for_a_shell() -> None:
    assert as_line("trtexec", ["--onnx=a b.onnx", "--fp16"]) == (
        "trtexec \\\n    '--onnx=a b.onnx' \\\n    --fp16"
    )


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8503] # trtexec --help", "8.5.3"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8602] # trtexec --help", "8.6.2"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec", "10.3.0"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec", "10.13.3"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v110401] [b2] # trtexec", "11.4.1"),
        ("bash: trtexec: not found", None),
    ],
)
def test_the_release_is_read_from_the_banner(line: str, version: str | None) -> None:
    assert banner_version(line) == version


def test_the_gpu_and_the_first_error_are_read_from_the_output() -> None:
    output = (
        "[I] === Device Information ===\n[11/21/2026-10:00:00] [I] Selected Device: Orin\n"
        "[11/21/2026-10:00:00] [I] Compute Capability: 8.7\n"
        "[11/21/2026-10:00:01] [E] [TRT] first\n[11/21/2026-10:00:01] [E] second\n&&&& FAILED\n"
    )
    assert said_of_gpu(output) == {"device": "Orin", "sm": "8.7"}
    assert complaint(output) == "[TRT] first"
    assert complaint("Killed\n") == "Killed"
    assert complaint("") == "it printed nothing"


def test_the_command_prints_the_line_and_builds_nothing(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.engine"
    arguments = [str(model_file), "-o", str(out), "--print-trtexec", "--target", "jetpack6"]
    assert main(arguments) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"trtexec \\\n    --onnx={model_file}")
    assert "--stronglyTyped" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--print-trtexec"], "add --target NAME"),
        (["--print-trtexec", "--target", "rtx1"], "has no trtexec; build it here"),
        (["--target", "onnxruntime"], "it runs the .onnx file itself"),
        (["--target", "jetpak6"], "did you mean 'jetpack6'"),
        (["-o", "m.onnx"], "an engine is no ONNX file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    model_file: Path, arguments: list[str], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        main([str(model_file), *arguments])


def test_the_line_of_a_plugin_is_that_of_the_user(model_file: Path, tmp_path: Path) -> None:
    """Its path is for another machine: it stays as it was given."""
    library = tmp_path / "libp.so"
    library.write_bytes(b"x")
    options = BuildOptions(
        model=model_file, target="jetpack7", print_trtexec=True, plugin=(library,)
    )
    assert f"--dynamicPlugins={library}" in trtexec_line(options)
