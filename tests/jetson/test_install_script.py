"""What jetson/install.sh decides and says on made-up boards."""

import pytest
from boards import (
    DESKTOP,
    ORIN_60,
    ORIN_62,
    ORIN_72,
    ORIN_513,
    THOR_71,
    THOR_72,
    WHOLE,
    problems,
    verbs,
    warnings,
)


@pytest.mark.parametrize(
    ("board", "line", "target", "sm"),
    [
        (ORIN_62, "6.1, 6.2", "jetpack6", "87"),
        (ORIN_62.but(l4t="36.5.0", package="36.5.0-1"), "6.1, 6.2", "jetpack6", "87"),
        (ORIN_72, "7.2", "jetpack7", "87"),
        (THOR_71, "7.0, 7.1", "jetpack7.0", "110"),
        (THOR_72, "7.2", "jetpack7", "110"),
    ],
)
def test_a_complete_board_is_installed_and_measured(place, board, line, target, sm):
    at = place(board)
    run = at.install(at.model)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"JetPack {line}; " in run.stdout
    assert f"decided: the engine is built for {target}\n" in run.stdout
    assert warnings(run) == []
    assert verbs(at) == WHOLE
    calls = {words[1]: words for words in at.calls() if words[0] == "differseg"}
    assert calls["build"][calls["build"].index("--target") + 1] == target
    plugins = next(words for words in at.calls() if "differseg.export.plugin_library" in words)
    assert plugins[plugins.index("--arch") + 1] == sm
    assert calls["run"][calls["run"].index("--seconds") + 1] == "60"
    report = at.report()
    assert (report["result"], report["facts"]["jetpack"]) == ("done", line)
    assert report["parity"]["passed"] is True
    assert report["benchmark"]["fps"] == 29.9
    text = (at.prefix / "report" / "report.txt").read_text()
    assert "29.9 results per second for 60 s" in text
    assert (at.prefix / "log" / "install.log").stat().st_size > 0


def test_jetpack_60_leaves_the_plugins_out(place):
    at = place(ORIN_60)
    run = at.install(at.model)
    assert run.returncode == 0, run.stderr
    assert "built for jetpack6.0\n" in run.stdout
    assert "plugins" not in verbs(at)
    assert at.report()["steps"]["plugins"].startswith("left out: ")


def test_a_model_with_plugins_is_refused_where_they_cannot_be_built(place):
    at = place(ORIN_60)
    at.model.write_bytes(b"plugins")
    run = at.install(at.model)
    assert run.returncode == 3
    assert "export it again with --ops portable" in problems(run)[0]
    assert at.report()["status"] == 3


def test_a_model_with_plugins_gets_the_library(place):
    at = place(ORIN_62)
    at.model.write_bytes(b"plugins")
    assert at.install(at.model).returncode == 0
    build = next(words for words in at.calls() if words[:2] == ["differseg", "build"])
    assert build[build.index("--plugin") + 1].endswith("/lib/libdifferseg_plugins.so")


def test_differseg_understands_what_it_is_called_with(place):
    from differseg.export.build_engine import BuildOptions
    from differseg.export.parity import ParityOptions
    from differseg.export.plugin_library import PluginLibraryOptions
    from differseg.options import parse
    from differseg.runtime.run_camera import RunOptions

    at = place(ORIN_62)
    at.model.write_bytes(b"plugins")
    at.install(at.model)
    known = {"build": BuildOptions, "parity": ParityOptions, "run": RunOptions}
    for name, *words in at.calls():
        if name == "differseg":
            parse(known.pop(words[0]), words[1:], words[0])
        elif "differseg.export.plugin_library" in words:
            words = words[words.index("differseg.export.plugin_library") + 1 :]
            assert parse(PluginLibraryOptions, words, "plugins").arch == ("87",)
    assert not known


def test_a_small_board_builds_with_little_scratch_memory(place):
    at = place(ORIN_62)
    at.install(at.model)
    assert any("--workspace-mib" in words for words in at.calls())


def test_a_large_board_does_not(place):
    at = place(THOR_71)
    at.install(at.model)
    assert not any("--workspace-mib" in words for words in at.calls())


def test_jetpack_5_is_refused_with_the_way_out(place):
    at = place(ORIN_513)
    run = at.install(at.model)
    assert run.returncode == 3
    (line,) = problems(run)
    assert "JetPack 5.1 (L4T 35.5.0) has Python 3.8 and TensorRT 8.5" in line
    assert "--print-trtexec --target jetpack5" in line
    assert not at.prefix.exists()


@pytest.mark.parametrize(
    ("board", "status", "said"),
    [
        (DESKTOP, 2, "this is no Jetson: x86_64"),
        (ORIN_62.but(l4t="40.1.0", package=None), 3, "L4T 40.1.0 is none of the JetPacks known"),
        (ORIN_62.but(l4t="32.7.1", package=None), 3, "L4T 32.7.1 is none of the JetPacks known"),
        (ORIN_62.but(disk_mib=900), 3, "900 MiB are free, expected 3072"),
        (ORIN_62.but(available_mib=700, swap_mib=0), 3, "end other programs"),
        (ORIN_62.but(python=None), 3, "there is no Python that runs"),
        (ORIN_62.but(python="3.13.1"), 3, "is Python 3.13.1, expected 3.10 to 3.12"),
        (ORIN_62.but(tensorrt="broken: libnvinfer.so.10: no"), 3, "libnvinfer.so.10: no"),
        (ORIN_62.but(tensorrt="absent"), 3, "nvidia-tensorrt-dev python3-libnvinfer"),
        (ORIN_62.but(opencv="absent"), 3, "sudo apt install python3-opencv"),
        (ORIN_62.but(venv=False), 3, "sudo apt install python3-venv"),
    ],
)
def test_what_is_missing_is_one_line_and_nothing_is_touched(place, board, status, said):
    at = place(board)
    run = at.install(at.model)
    assert run.returncode == status, run.stdout + run.stderr
    (line,) = problems(run)
    assert said in line
    assert not at.prefix.exists()
    assert verbs(at) == []


def test_all_problems_are_named_at_once(place):
    run = (at := place(ORIN_62.but(disk_mib=10, tensorrt="absent"))).install("absent.onnx")
    assert run.returncode == 2  # that of the first
    assert [("absent.onnx" in p, "MiB" in p, "apt" in p) for p in problems(run)] == [
        (True, False, False),
        (False, True, True),  # "sudo apt clean" makes room
        (False, False, True),
    ]
    assert not at.prefix.exists()


@pytest.mark.parametrize(
    ("board", "said"),
    [
        (ORIN_62.but(swap_mib=0), "no swap: the engine's builder may be killed"),
        (
            ORIN_62.but(power_mode="15W"),
            "the power mode is 15W, and the benchmark measures that; the fastest is MAXN_SUPER: "
            "sudo nvpmodel -m 2",
        ),
        (THOR_71.but(power_mode="120W"), "the fastest is MAXN: sudo nvpmodel -m 0"),
        (ORIN_62.but(gstreamer=False), "OpenCV 4.8.0 has no GStreamer"),
        (ORIN_62.but(nvcc=False), "missing: nvcc; only models exported with --ops plugin need it"),
        (ORIN_62.but(headers=None), "missing: TensorRT's headers"),
        (ORIN_62.but(headers="10.7"), "the headers of TensorRT are 10.7 and its library is 10.3"),
        (ORIN_62.but(tensorrt="10.7.0", headers="10.7"), "for what is installed (target trt10.7)"),
        (ORIN_72.but(tensorrt="11.4.1", headers="11.4"), "(target trt11.4)"),
        (ORIN_62.but(l4t="36.6.1", package=None), "treated as JetPack 6.1, 6.2"),
        (ORIN_62.but(package="36.4.4-2025"), "an upgrade was not finished"),
    ],
)  # fmt: skip
def test_what_is_not_ideal_is_a_warning(place, board, said):
    at = place(board)
    run = at.install(at.model)
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = warnings(run)
    assert said in line
    assert line.removeprefix("warning: ") in at.report()["warnings"]


def test_the_l4t_comes_from_the_package_where_the_file_is_missing(place):
    at = place(ORIN_62.but(l4t=None))
    assert "L4T 36.4.3; JetPack 6.1, 6.2" in at.install(at.model).stdout


def test_an_unknown_l4t_can_be_named(place):
    at = place(ORIN_72.but(l4t="40.1.0", package=None))
    run = at.install(at.model, "--jetpack", "7.2")
    assert run.returncode == 0, run.stderr
    assert "built for jetpack7\n" in run.stdout
    refused = at.install(at.model, "--jetpack", "9.9")
    assert refused.returncode == 2
    assert "known: 5.1; 6.0; 6.1, 6.2; " in problems(refused)[0]


def test_missing_packages_are_installed_with_yes_and_named_first(place):
    at = place(ORIN_62.but(tensorrt="absent", opencv="absent", venv=False))
    run = at.install(at.model, "--yes")
    assert run.returncode == 0, run.stdout + run.stderr
    named = run.stdout.index("missing: python3-venv python3-opencv nvidia-tensorrt-dev")
    assert named < run.stdout.index("apt: python3-venv")
    apt = [words[1] for words in at.calls() if words[0] == "apt-get"]
    assert apt == ["update", "install"]
    assert verbs(at) == WHOLE
    gone = at.install("--uninstall")
    assert "apt packages stay; this script installed: nvidia-tensorrt-dev" in gone.stdout


def test_software_only_needs_no_board(place):
    at = place(DESKTOP)
    run = at.install(at.model, "--software-only")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "decided: --software-only: no plugin library, engine or parity" in run.stdout
    assert verbs(at) == ["venv", "pip", "pip", "run"]
    pip = next(words for words in at.calls() if "pip" in words)
    assert "opencv-python-headless" in pip  # the system has none
    assert not any("requirements-tensorrt" in word for word in pip)
    measured = next(words for words in at.calls() if words[:2] == ["differseg", "run"])
    assert measured[measured.index("--model") + 1].endswith("model.onnx")


def test_software_only_keeps_the_systems_opencv(place):
    at = place(DESKTOP.but(opencv="4.6.0"))
    at.install("--software-only")
    assert not any("opencv-python-headless" in words for words in at.calls())


def test_a_folder_with_other_files_is_refused(place, tmp_path):
    at = place(ORIN_62)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    run = at.install(at.model, "--prefix", tmp_path / "full")
    assert run.returncode == 2
    assert "the folder holds other files" in problems(run)[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prefx", "/x"], "unknown option --prefx"),
        (["--prefix"], "--prefix: a value is missing"),
        (["--key"], "--key: a value is missing"),
        (["--bench-s", "a"], "--bench-s: expected whole seconds"),
        (["a.onnx", "b.onnx"], "one model at a time"),
        (["model.engine"], "there is no such file"),
    ],
)
def test_wrong_arguments_are_one_line(place, arguments, said):
    run = place(ORIN_62).install(*arguments)
    assert run.returncode == 2
    assert said in problems(run)[0]


def test_an_engine_is_no_model(place):
    at = place(ORIN_62)
    engine = at.model.with_suffix(".engine")
    engine.touch()
    run = at.install(engine)
    assert run.returncode == 2
    assert "engines are built here" in problems(run)[0]
