"""The JetPack lines: the written files are those of the data, and the data fits the rest."""

import re
import shutil
import subprocess

import pytest
from boards import ORIN_60, ORIN_62, ORIN_72, ORIN_513, REPOSITORY, THOR_71

from differseg.errors import CheckFailedError, InputError
from differseg.export.jetpacks import JETPACKS, main
from differseg.export.targets import TARGETS

JETSON = REPOSITORY / "jetson"
SCRIPTS = [JETSON / "install.sh", JETSON / "differseg-service", *sorted(JETSON.glob("lib/*.sh"))]


def test_guide_and_data_of_the_script_are_those_of_the_table():
    assert main(["--check"]) == 0


def test_old_files_are_named_and_written_anew(tmp_path, capsys):
    for name in ("README.md", "jetpacks.tsv"):
        (tmp_path / "jetson").mkdir(exist_ok=True)
        shutil.copy(JETSON / name, tmp_path / "jetson")
    table = tmp_path / "jetson" / "README.md"
    table.write_text(table.read_text().replace("| `jetpack6.0` |", "| `jetpack6` |"))
    (tmp_path / "jetson" / "jetpacks.tsv").unlink()
    with pytest.raises(CheckFailedError, match=r"jetson/README.md, jetson/jetpacks.tsv: older"):
        main(["--check", "--root", str(tmp_path)])
    assert main(["--root", str(tmp_path)]) == 0
    assert table.read_text() == (JETSON / "README.md").read_text()
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_another_folder_is_no_checkout(tmp_path):
    with pytest.raises(InputError, match="run this in a checkout"):
        main(["--root", str(tmp_path)])


def test_every_jetpack_target_has_its_line():
    assert {line.target for line in JETPACKS} >= {
        name for name in TARGETS if name.startswith("jetpack")
    }
    releases = [release for line in JETPACKS for release in line.l4t]
    assert len(releases) == len(set(releases))


@pytest.mark.parametrize("board", [ORIN_513, ORIN_60, ORIN_62, ORIN_72, THOR_71])
def test_the_lines_say_what_boards_say(board):
    major, minor = map(int, board.l4t.split(".")[:2])
    (line,) = [each for each in JETPACKS if (major, minor) in each.l4t]
    assert board.python.startswith(line.python + ".")
    assert board.headers == f"{line.tensorrt[0]}.{line.tensorrt[1]}"
    assert line.runtime is (line.python != "3.8")
    assert {"tegra234": "8.7", "tegra264": "11.0"}[board.soc] in line.sm


def test_every_package_is_pinned():
    pinned = {
        re.split(r"[=;]", line)[0].strip().lower()
        for line in (JETSON / "constraints.txt").read_text().splitlines()
        if line and line[0] != "#" and "==" in line
    }
    wanted = {"setuptools", "wheel", "opencv-python-headless"}
    for name in ("requirements.txt", "requirements-tensorrt.txt"):
        lines = (JETSON / name).read_text().splitlines()
        wanted |= {line.strip().lower() for line in lines if line and line[0] != "#"}
    assert wanted <= pinned


def test_the_light_set_holds_what_the_runtime_declares():
    declared = (REPOSITORY / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[([^\]]*)\]", declared, re.MULTILINE)[1]
    light = (JETSON / "requirements.txt").read_text().split()
    for name in re.findall(r'"([\w-]+)[><=]', needed):
        assert name in light


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_has_nothing_to_say(tmp_path):
    command = ["shellcheck", "--external-sources", str(JETSON / "install.sh")]
    command.append(str(JETSON / "differseg-service"))
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "")
    planted = tmp_path / "planted.sh"
    planted.write_text("#!/bin/bash\nrm -rf $1/*\n")
    assert subprocess.run(["shellcheck", planted], capture_output=True).returncode == 1


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_hand_nothing_from_the_network_to_a_shell(path):
    code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert not re.search(r"\b(curl|wget|git clone)\b|\|\s*(ba|da)?sh\b", "\n".join(code))
