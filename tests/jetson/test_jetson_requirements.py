"""What a board installs is what the runtime and its web page need."""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

JETSON = Path(__file__).resolve().parents[2] / "jetson"


def listed(name):
    lines = (JETSON / name).read_text().splitlines()
    return {canonical(re.split("[ =;<>]", x)[0]) for x in lines if x and not x.startswith("#")}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_of_runtime_and_page_is_installed_and_pinned():
    wanted = set()
    for text in requires("differseg"):
        requirement = Requirement(text)
        marker = requirement.marker
        for extra in ("", "runtime", "web", "signing"):
            if marker is None or marker.evaluate({"extra": extra}):
                wanted.add(canonical(requirement.name))
    wanted.remove("opencv-python-headless")  # the system's; install.sh adds it where there is none
    given = listed("requirements.txt")
    assert wanted <= given
    assert given <= listed("constraints.txt")
