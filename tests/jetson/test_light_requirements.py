"""The packages for boards: every version has its wheels, and their own needs are among them.

pip judges markers by the Python that runs it, also where it is told to resolve for another one.  So
the markers are judged here, for the board's Python, and pip only looks for the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import NamedTuple

import pytest
from boards import REPOSITORY
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

JETSON = REPOSITORY / "jetson"
NEWEST_GLIBC = 35
"""Minor version of glibc 2 in Ubuntu 22.04, which JetPack 6 is; 24.04 has a later one."""

WHEELS = frozenset(
    """
    anyio-4.16.0-py3-none-any.whl
    cffi-2.1.1-cp310-cp310-manylinux2014_aarch64.manylinux_2_17_aarch64.whl
    cffi-2.1.1-cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
    cffi-2.1.1-cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.whl
    cffi-2.1.1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
    click-8.5.1-py3-none-any.whl
    coloredlogs-15.0.1-py2.py3-none-any.whl
    cryptography-46.0.3-cp311-abi3-manylinux_2_34_aarch64.whl
    cryptography-46.0.3-cp311-abi3-manylinux_2_34_x86_64.whl
    cryptography-46.0.3-cp38-abi3-manylinux_2_34_aarch64.whl
    cryptography-46.0.3-cp38-abi3-manylinux_2_34_x86_64.whl
    cuda_bindings-12.9.10-cp310-cp310-manylinux_2_24_aarch64.manylinux_2_28_aarch64.whl
    cuda_bindings-12.9.10-cp310-cp310-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl
    cuda_bindings-13.0.3-cp312-cp312-manylinux_2_24_aarch64.manylinux_2_28_aarch64.whl
    cuda_bindings-13.0.3-cp312-cp312-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl
    cuda_pathfinder-1.8.3-py3-none-any.whl
    cuda_python-12.9.4-py3-none-any.whl
    cuda_python-13.0.3-py3-none-any.whl
    exceptiongroup-1.3.1-py3-none-any.whl
    flatbuffers-25.12.19-py2.py3-none-any.whl
    h11-0.16.0-py3-none-any.whl
    humanfriendly-10.0-py2.py3-none-any.whl
    idna-3.20-py3-none-any.whl
    markdown_it_py-4.3.0-py3-none-any.whl
    mdurl-0.1.2-py3-none-any.whl
    ml_dtypes-0.5.4-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl
    ml_dtypes-0.5.4-cp310-cp310-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
    ml_dtypes-0.5.4-cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl
    ml_dtypes-0.5.4-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
    mpmath-1.3.0-py3-none-any.whl
    numpy-1.26.4-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64.whl
    numpy-1.26.4-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
    numpy-1.26.4-cp312-cp312-manylinux_2_17_aarch64.manylinux2014_aarch64.whl
    numpy-1.26.4-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
    onnx-1.19.1-cp310-cp310-manylinux2014_aarch64.manylinux_2_17_aarch64.whl
    onnx-1.19.1-cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
    onnx-1.19.1-cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.whl
    onnx-1.19.1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
    onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl
    onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
    onnxruntime-1.23.2-cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl
    onnxruntime-1.23.2-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
    opencv_python_headless-4.11.0.86-cp37-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl
    opencv_python_headless-4.11.0.86-cp37-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
    packaging-26.3-py3-none-any.whl
    prometheus_client-0.26.0-py3-none-any.whl
    protobuf-6.33.0-cp39-abi3-manylinux2014_aarch64.whl
    protobuf-6.33.0-cp39-abi3-manylinux2014_x86_64.whl
    pycparser-3.11-py3-none-any.whl
    pygments-2.21.0-py3-none-any.whl
    rich-15.0.0-py3-none-any.whl
    setuptools-84.2.1-py3-none-any.whl
    starlette-1.7.0-py3-none-any.whl
    sympy-1.14.0-py3-none-any.whl
    typing_extensions-4.16.0-py3-none-any.whl
    uvicorn-0.54.0-py3-none-any.whl
    websockets-16.1.1-cp310-cp310-manylinux1_x86_64.manylinux_2_28_x86_64.manylinux_2_5_x86_64.whl
    websockets-16.1.1-cp310-cp310-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl
    websockets-16.1.1-cp312-cp312-manylinux1_x86_64.manylinux_2_28_x86_64.manylinux_2_5_x86_64.whl
    websockets-16.1.1-cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl
    wheel-0.48.0-py3-none-any.whl
    """.split()
)
"""The package index's files of the versions in constraints.txt: for Python 3.10 and 3.12, on
aarch64 and x86-64.  A new version needs its files here; the test with the index names them."""


class Board(NamedTuple):
    """What a wheel is chosen for."""

    python: tuple[int, int]
    machine: str

    def __str__(self) -> str:
        return f"{self.version}-{self.machine}"

    @property
    def version(self) -> str:
        return "{}.{}".format(*self.python)

    @property
    def platforms(self) -> list[str]:
        named = [f"manylinux_2_{minor}" for minor in range(NEWEST_GLIBC, 4, -1)]
        named += ["manylinux2014", "manylinux2010", "manylinux1"]
        return [f"{name}_{self.machine}" for name in named]

    @property
    def tags(self) -> set[Tag]:
        major_minor = "cp{}{}".format(*self.python)
        return {
            *cpython_tags(self.python, platforms=self.platforms),
            *compatible_tags(self.python, major_minor, self.platforms),
        }

    def wants(self, requirement: Requirement) -> bool:
        """Judge the marker as this board's pip would."""
        environment = {
            "python_version": self.version,
            "python_full_version": f"{self.version}.12",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
            "extra": "",
        }
        return requirement.marker is None or requirement.marker.evaluate(environment)


BOARDS = [
    Board(python, machine) for python in ((3, 10), (3, 12)) for machine in ("aarch64", "x86_64")
]
on_every_board = pytest.mark.parametrize("board", BOARDS, ids=str)


def requirements(name):
    lines = (JETSON / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins(board):
    """Return name -> version of what constraints.txt says to this board."""
    found = {}
    for each in requirements("constraints.txt"):
        (only,) = each.specifier
        assert only.operator == "==", each
        if board.wants(each):
            name = canonicalize_name(each.name)
            assert name not in found, f"{name} is pinned twice for {board}"
            found[name] = Version(only.version)
    return found


def without_wheel(board, files):
    tags = board.tags
    fits = {
        (name, version)
        for name, version, _, wheel_tags in map(parse_wheel_filename, files)
        if wheel_tags & tags
    }
    return sorted(f"{name}=={version}" for name, version in pins(board).items() - fits)


@on_every_board
def test_every_version_has_its_wheel(board):
    assert without_wheel(board, WHEELS) == []


def test_a_missing_wheel_is_seen():
    """ONNX Runtime 1.23.2 is the last version with a wheel for Python 3.10."""
    files = {name for name in WHEELS if not name.startswith("onnxruntime-1.23.2-cp310")}
    found = [without_wheel(board, files) for board in BOARDS]
    assert found == [["onnxruntime==1.23.2"], ["onnxruntime==1.23.2"], [], []]


def test_a_wheel_for_a_later_system_is_none():
    """A wheel for glibc 2.36 does not load on Ubuntu 22.04."""
    files = {name.replace("_2_34_", "_2_36_") for name in WHEELS}
    assert all(without_wheel(board, files) == ["cryptography==46.0.3"] for board in BOARDS)


def test_the_table_holds_no_other_versions():
    pinned = {each for board in BOARDS for each in pins(board).items()}
    assert {parse_wheel_filename(name)[:2] for name in WHEELS} == pinned


def test_markers_are_judged_for_the_board_and_not_for_the_python_that_runs():
    found = {board: pins(board)["cuda-python"].major for board in BOARDS}
    assert {board.version: major for board, major in found.items()} == {"3.10": 12, "3.12": 13}


def unmet(board, needs_of):
    """Return what a requirement of a pinned package lacks: absent, or another version."""
    pinned, wrong = pins(board), []
    for owner, needs in needs_of.items():
        for need in map(Requirement, needs):
            version = pinned.get(canonicalize_name(need.name))
            if board.wants(need) and (version is None or version not in need.specifier):
                wrong.append(f"{owner}: {need}, pinned: {version}")
    return wrong


def test_unmet_needs_are_seen():
    board = BOARDS[0]
    needs = [
        "numpy>=2",
        "absent",
        'absent; python_version >= "3.11"',
        "rich>=13",
        'x; extra == "a"',
    ]
    assert unmet(board, {"owner": needs}) == [
        "owner: numpy>=2, pinned: 1.26.4",
        "owner: absent, pinned: None",
    ]


@pytest.fixture(scope="module")
def package_index():
    address = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    if os.environ.get("PIP_NO_INDEX") or not address.startswith("http"):
        pytest.skip("needs a package index on the network")
    try:
        urllib.request.urlopen(f"{address}/wheel/", timeout=5).close()
    except (OSError, urllib.error.URLError) as error:
        pytest.skip(f"needs the package index: {address}: {error}")
    return address


@pytest.mark.slow
@on_every_board
def test_the_index_has_them_and_their_needs_are_met(board, package_index, tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet"]
    command += ["--ignore-installed", "--only-binary=:all:", "--report", str(report)]
    command += ["--target", str(tmp_path / "none"), "--index-url", package_index]
    command += ["--implementation", "cp", "--python-version", board.version]
    command += [part for name in board.platforms for part in ("--platform", name)]
    command += [f"{name}=={version}" for name, version in pins(board).items()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    found = json.loads(report.read_text())["install"]
    files = {each["download_info"]["url"].rsplit("/", 1)[1] for each in found}
    assert files <= WHEELS, f"add to WHEELS: {sorted(files - WHEELS)}"
    assert len(found) == len(pins(board))
    needs = {each["metadata"]["name"]: each["metadata"].get("requires_dist", []) for each in found}
    wanted = [str(each) for each in requirements("requirements.txt")]
    assert unmet(board, {**needs, "requirements.txt": wanted}) == []
