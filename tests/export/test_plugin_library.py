"""Building the plugin library, and what happens with a library that cannot be loaded."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess

import pytest
from plugin_nodes import NODES, graph

from differseg.errors import InputError, MissingComponentError
from differseg.export import plugin_library as building
from differseg.export import rtx
from differseg.export.check import check, main
from differseg.options import run_main

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(graph(NODES["rfft2"]).SerializeToString())
    return path


@pytest.fixture
def headers(tmp_path):
    """Make a folder that looks like a TensorRT of this version."""

    def make(version, folder="include"):
        place = tmp_path / "tensorrt" / folder
        place.mkdir(parents=True)
        major, minor = version.split(".")
        (place / "NvInferRuntime.h").touch()
        (place / "NvInferVersion.h").write_text(
            f"#define NV_TENSORRT_MAJOR {major} //!< major\n#define NV_TENSORRT_MINOR {minor}\n"
        )
        return tmp_path / "tensorrt"

    return make


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A path with nothing but an nvcc that runs this shell script, and a g++."""

    def make(script):
        for name, text in (("nvcc", script), ("g++", "exit 0")):
            tool = tmp_path / "bin" / name
            tool.parent.mkdir(exist_ok=True)
            tool.write_text(f"#!/bin/sh\n{text}\n")
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return str(tmp_path / "bin" / "nvcc")

    return make


def test_the_default_gpus_are_those_that_nvcc_knows(tools):
    nvcc = tools("echo sm_72; echo sm_75; echo sm_87")
    assert building.choose_architectures(nvcc) == ("75", "87")
    assert building.choose_architectures(nvcc, ["72"]) == ("72",)
    with pytest.raises(InputError, match=r"--arch 120: this nvcc .* builds for 72, 75, 87"):
        building.choose_architectures(nvcc, ["120"])


def test_a_compiler_that_knows_no_gpu_of_ours_is_named(tools):
    nvcc = tools("echo sm_35; echo sm_50")
    with pytest.raises(MissingComponentError, match=r"builds for 35, 50, expected one of 75, 80"):
        building.choose_architectures(nvcc)


def test_cmake_builds_for_the_same_gpus():
    text = (building.SOURCES / "CMakeLists.txt").read_text(encoding="utf-8")
    (wanted,) = re.findall(r"set\(wanted ([\d ]+)\)", text)
    assert tuple(wanted.split()) == building.ARCHITECTURES


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(building, "CUDA_BIN", str(tmp_path))
    with pytest.raises(MissingComponentError, match=r"nvcc is not installed.*install the CUDA"):
        building.find_nvcc()


def test_a_compiler_among_pythons_packages_is_found(tmp_path, monkeypatch):
    """As pip installs nvidia-cuda-nvcc; the tests that compile and the builder find the same."""
    nvcc = tmp_path / "nvidia" / "cu13" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    for tool in (nvcc, tmp_path / "g++"):
        tool.write_text("#!/bin/sh\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(building, "CUDA_BIN", str(tmp_path))
    monkeypatch.setattr(building.sysconfig, "get_path", lambda name: str(tmp_path))
    assert building.find_nvcc() == str(nvcc)


def test_a_missing_host_compiler_is_named(tools, tmp_path):
    nvcc = tools("exit 0")
    (tmp_path / "bin" / "g++").unlink()
    with pytest.raises(MissingComponentError, match=r"g\+\+, the host compiler"):
        building.find_nvcc()
    assert nvcc


def test_missing_headers_are_named(tmp_path, monkeypatch):
    with pytest.raises(MissingComponentError, match=r"include: TensorRT's headers .* not there"):
        building.find_headers(tmp_path)
    monkeypatch.setenv("TENSORRT_ROOT", str(tmp_path))
    with pytest.raises(MissingComponentError, match=str(tmp_path)):
        building.find_headers()


def test_headers_without_the_plugin_interface_are_refused(headers):
    with pytest.raises(MissingComponentError, match=r"TensorRT 8\.6, the plugins need 10\.0"):
        building.find_headers(headers("8.6"))


def test_headers_are_found_where_packages_put_them(headers, monkeypatch):
    monkeypatch.setattr(building.platform, "machine", lambda: "aarch64")
    root = headers("10.3", "include/aarch64-linux-gnu")
    found = building.find_headers(root)
    assert found.version == (10, 3)
    assert found.folder == root / "include" / "aarch64-linux-gnu"


def test_a_failing_compiler_is_one_line_and_leaves_nothing(tools, headers, tmp_path, capsys):
    tools("case $1 in --list*) echo sm_87;; *) echo 'a.h(3): error: too new'; exit 2;; esac")
    output = tmp_path / "out" / "lib.so"
    argv = ["-o", str(output), "--tensorrt-root", str(headers("10.3"))]
    assert run_main(building.main, argv) == 3
    said = capsys.readouterr()
    assert "GPUs: 87" in said.out
    assert said.err.startswith("error[E_MISSING]: nvcc failed with exit status 2: a.h(3): error:")
    assert len(said.err.splitlines()) == 1
    assert not list(output.parent.iterdir())


def test_an_output_that_is_a_folder_is_refused_before_the_work(tools, headers, tmp_path):
    tools(f"echo sm_87; touch {tmp_path}/ran")
    with pytest.raises(InputError, match=r"is a folder; name the file to write, such as .*lib\.so"):
        building.build_library(tmp_path, tensorrt_root=headers("10.3"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "end", ["kill -9 $$", "echo \"nvcc error   : 'cicc' died due to signal 9 \"; exit 9"]
)
def test_a_compiler_out_of_memory_is_one_line(tools, tmp_path, capsys, end):
    tools(f"case $1 in --list*) echo sm_87;; *) {end};; esac")
    assert run_main(building.main, ["-o", str(tmp_path / "lib.so"), "--kernels-only"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "nvcc was ended by SIGKILL, as where memory runs out; free some, or build for" in line


def test_an_output_that_cannot_be_written_is_refused(tools, headers, tmp_path):
    tools("echo sm_87")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        building.build_library(
            tmp_path / "file" / "lib.so", tensorrt_root=headers("10.3"), say=lambda line: None
        )


@needs_rtx
def test_a_plugin_that_is_no_library_is_one_line(model_file, tmp_path, capfd):
    text = tmp_path / "text.so"
    text.write_text("not a library")
    assert run_main(main, [str(model_file), "--real", "--plugin", str(text)]) == 2
    error = capfd.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"{text}: NVIDIA's parser and builder cannot load this plugin library" in error
    assert "python -m differseg.export.plugin_library" in error


@needs_rtx
def test_a_library_of_something_else_is_one_line(model_file):
    with pytest.raises(InputError, match="exports no getCreators, so it is no TensorRT plugin"):
        rtx.build(model_file, plugins=[rtx.find_libraries().parser])


@needs_rtx
def test_a_library_that_crashes_is_one_line(model_file, monkeypatch):
    crash = (
        "import os; print('{\"stage\": \"plugin\", \"plugin\": \"bad.so\", \"version\": \"1\"}',"
        " flush=True); os.kill(os.getpid(), 11)"
    )  # fmt: skip
    monkeypatch.setattr(rtx, "_COMMAND", ("-c", crash))
    with pytest.raises(InputError, match=r"bad\.so: .*in stage plugin with SIGSEGV"):
        rtx.build(model_file, plugins=[model_file])


@needs_rtx
def test_the_parser_finds_the_core_library_by_its_short_name(model_file, monkeypatch):
    """It opens the core library anew when it meets a plugin, and aborts when it cannot."""
    code = (
        "import json, os; first = os.environ['LD_LIBRARY_PATH'].split(':')[0];"
        "found = os.path.realpath(first + '/libtensorrt_rtx.so');"
        "print(json.dumps({'status': 'build_failed', 'version': '1.7.1', 'reason': found}))"
    )
    monkeypatch.setattr(rtx, "_COMMAND", ("-c", code))
    assert rtx.build(model_file).reason == str(rtx.find_libraries().core.resolve())


@needs_rtx
def test_a_missing_library_is_the_callers_mistake(model_file, tmp_path):
    with pytest.raises(InputError, match=r"none\.so: there is no such file"):
        rtx.build(model_file, plugins=[tmp_path / "none.so"])


def test_a_library_without_real_is_the_callers_mistake(model_file):
    with pytest.raises(InputError, match="add --real"):
        check(model_file, plugins=["lib.so"])


@needs_rtx
def test_the_check_loads_the_library(model_file, plugin_library, capsys):
    argv = [str(model_file), "--target", "rtx1", "--real"]
    assert main(argv) == 1
    assert main([*argv, "--plugin", str(plugin_library)]) == 0
    assert "engine built" in capsys.readouterr().out


@pytest.mark.parametrize("is_named", [True, False])
def test_cmake_refuses_headers_without_the_plugin_interface(tools, headers, tmp_path, is_named):
    """Those that were named; where it found them itself, it builds the kernels alone."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    path, nvcc = os.environ["PATH"], tools("echo sm_87")
    root = headers("8.6")
    given = [f"-DTENSORRT_ROOT={root}"] if is_named else [f"-DTENSORRT_INCLUDE_DIR={root}/include"]
    command = [cmake, "-S", str(building.SOURCES), "-B", str(tmp_path / "build")]
    done = subprocess.run(
        [*command, f"-DCMAKE_CUDA_COMPILER={nvcc}", *given],
        capture_output=True, text=True, env=without_root(path),
    )  # fmt: skip
    said = " ".join((done.stdout + done.stderr).split())
    assert "these are the headers of TensorRT 8.6, the plugins need 10.1 or later" in said
    assert ("only libdifferseg_kernels.so is built" in said) is not is_named


def without_root(path):
    """Return an environment with this path, in which no TensorRT is named."""
    return {k: v for k, v in os.environ.items() if k != "TENSORRT_ROOT"} | {"PATH": path}


@pytest.mark.slow
def test_cmake_builds_both_libraries(plugin_library, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    gpu = building.choose_architectures(building.find_nvcc())[0]
    configure = [
        "cmake",
        "-S",
        str(building.SOURCES),
        "-B",
        str(tmp_path),
        f"-DCMAKE_CUDA_ARCHITECTURES={gpu}",
    ]
    subprocess.run(configure, check=True, capture_output=True)
    done = subprocess.run(
        ["cmake", "--build", str(tmp_path), "-j2"], check=True, capture_output=True, text=True
    )
    assert "warning" not in (done.stdout + done.stderr).lower()
    assert (tmp_path / "libdifferseg_plugins.so").is_file()
    assert (tmp_path / "libdifferseg_kernels.so").is_file()
