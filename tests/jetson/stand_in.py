"""Stands in for the commands of a made-up board; notes every call.

``python3`` answers the probe, makes environments whose commands are this file again, and runs the
scripts that need no package for real.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PARITY = '{"passed": true, "images": 8}'
BENCHMARK = '{"fps": 29.9, "seconds": 60.0, "age_ms": {"p50": 9.5, "p95": 12.5}, "backend": "x"}'
MANIFEST = "model=differseg-edge\nform={form}\nprecision=fp16\ninputs=rgb thermal"


def make_environment(folder, settings_file):
    """Write an environment with python and differseg."""
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "differseg"):
        path = folder / "bin" / name
        path.write_text(
            f'#!/bin/bash\nexec "{sys.executable}" -IS "{__file__}" "{settings_file}" {name} "$@"\n'
        )
        path.chmod(0o755)


def answer_as_python(words, settings, settings_file):
    """Do what a Python of the board would."""
    script = next((word for word in words if word.endswith(".py")), "")
    if script.endswith("probe.py"):
        print("\n".join(f"{name}={value}" for name, value in settings["facts"].items()))
    elif script.endswith("model_facts.py"):
        text = Path(words[-1]).read_bytes()
        if text == b"foreign":
            sys.exit("error[E_MODEL]: model: it holds no differseg manifest")
        print(MANIFEST.format(form="plugin" if text == b"plugins" else "portable"))
    elif script:
        return subprocess.run([sys.executable, "-IS", *words], check=False).returncode
    elif words[:2] == ["-m", "venv"]:
        make_environment(Path(words[-1]), settings_file)
    elif "differseg.export.plugin_library" in words:
        Path(words[words.index("-o") + 1]).write_bytes(b"library")
    return 0


def answer_as_differseg(words):
    """Do what differseg would."""
    if words[0] == "build":
        Path(words[words.index("-o") + 1]).write_bytes(b"engine")
    elif words[:2] == ["bundle", "unpack"]:
        folder = Path(words[words.index("-o") + 1])
        folder.mkdir()
        (folder / "model.onnx").write_bytes(Path(words[2]).read_bytes())
    elif words[0] == "parity":
        print("passed: F.onnx matches the engine\n" + PARITY)
    elif words[0] == "run":
        print(BENCHMARK)
    return 0


def answer_as_apt(words, settings, settings_file):
    """Install: the next probe finds it."""
    for word in words:
        if word == "python3-opencv":
            settings["facts"].update(opencv="4.6.0", gstreamer="yes")
        elif word == "python3-venv":
            settings["facts"]["venv"] = "yes"
        elif word == "nvidia-tensorrt-dev":
            settings["facts"]["tensorrt"] = "10.3.0"
    Path(settings_file).write_text(json.dumps(settings))
    return 0


def answer_as_udevadm(words):
    """Tell the properties of two cameras, as files beside the calls hold them."""
    name = next((word[7:] for word in words if word.startswith("--name=")), "")
    path = Path(os.environ["HOME"]) / "udev" / Path(name).name
    if words[0] == "info" and path.is_file():
        print(path.read_text(), end="")
    return 0


def main(settings_file, name, words):
    """Answer one call."""
    settings = json.loads(Path(settings_file).read_text())
    with open(settings["calls"], "a") as calls:
        calls.write(json.dumps([name, *words]) + "\n")
    for word, status in settings["fails"].items():
        if word in [name, *words]:
            print(f"error[E_TEST]: {word} went wrong", flush=True)
            return status
    if settings["hangs_at"] in [name, *words]:
        time.sleep(60)
    words = [word for word in words if word != "-I"]
    if name in ("python3", "python"):
        return answer_as_python(words, settings, settings_file)
    if name == "differseg":
        return answer_as_differseg(words)
    if name == "apt-get":
        return answer_as_apt(words, settings, settings_file)
    if name == "udevadm":
        return answer_as_udevadm(words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
