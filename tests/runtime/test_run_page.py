"""``differseg run --preview`` as a user meets it: the page's address, its figures, a clean end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from differseg.errors import InputError
from differseg.options import parse, run_main
from differseg.runtime.run_camera import main, run_camera
from differseg.runtime.run_options import RunOptions
from differseg.runtime.run_setup import keep_token

pytest.importorskip("starlette", reason="the extra web is not installed")


def start(model, address, *more, **environment):
    command = [
        sys.executable, "-m", "differseg.cli", "run", "--model", str(model), "--headless",
        "--rgb", "synthetic:size=96x64", "--thermal", "synthetic:size=96x64",
        "--preview", address, "--json", *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def told_url(process):
    """Return the address that the run prints."""
    for line in process.stderr:
        found = re.search(r"preview: (http://\S+)", line)
        if found:
            return found[1]
    raise AssertionError(f"no address was printed: {process.communicate()}")


def get(url, path):
    """Return status and text of an address, asked for with the token of the page's address."""
    base, _, query = url.partition("?")
    try:
        with urllib.request.urlopen(base.rstrip("/") + path + "?" + query, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_until_healthy(url):
    end_s = time.monotonic() + 60
    while get(url, "/healthz")[0] != 200:
        assert time.monotonic() < end_s
        time.sleep(0.05)


def end(process):
    start_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return json.loads(said.splitlines()[-1]), time.monotonic() - start_s, said + errors


def test_the_page_of_a_run(tiny_model):
    with start(tiny_model, "127.0.0.1:0") as process:
        url = told_url(process)
        assert url.startswith("http://127.0.0.1:")
        assert "?" not in url
        wait_until_healthy(url)
        assert "<title>" in get(url, "/")[1]
        metrics = get(url, "/metrics")[1]
        state = json.loads(get(url, "/api/state")[1])
        summary, seconds, _ = end(process)
    assert 'differseg_results_total{status="ok"}' in metrics
    assert 'differseg_camera_state{camera="thermal",state="online"} 1.0' in metrics
    assert 'differseg_board_throttled{kind="thermal"} 0.0' in metrics
    assert {camera["name"] for camera in state["cameras"]} == {"rgb", "thermal"}
    assert state["board"]["source"] == "sysfs"
    assert summary["stages_ms"]["publish"]["count"] == summary["frames"]
    assert seconds < 4


def test_a_supervised_run_keeps_one_token_for_all_its_starts(tiny_model):
    token = "a token of sixteen or more characters".replace(" ", "-")
    with start(tiny_model, "0.0.0.0:0", "--supervise", DIFFERSEG_PREVIEW_TOKEN=token) as process:
        url = told_url(process)
        assert url.endswith(f"?token={token}")
        local = url.replace("//" + url.split("/")[2].rsplit(":", 1)[0], "//127.0.0.1")
        wait_until_healthy(local)
        assert get(local.partition("?")[0], "/metrics")[0] == 401
        end(process)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", ":8080:9"])
def test_a_wrong_address_is_one_line(tiny_model, address):
    text = "synthetic:size=96x64"
    with pytest.raises(InputError, match="--preview: expected"):
        run_camera(tiny_model, text, text, headless=True, preview=address, frames=1)


OPEN = ("--model", "m.onnx", "--rgb", "0", "--preview", "0.0.0.0:0")


def test_a_token_is_made_before_the_first_start(monkeypatch):
    monkeypatch.setenv("DIFFERSEG_PREVIEW_TOKEN", "")
    for words, made in ((OPEN, True), ((*OPEN[:-1], ":0"), False)):
        monkeypatch.delenv("DIFFERSEG_PREVIEW_TOKEN")
        keep_token(parse(RunOptions, words, "differseg run"))
        token = os.environ.get("DIFFERSEG_PREVIEW_TOKEN", "")
        assert (len(token) >= 16) == made
        monkeypatch.setenv("DIFFERSEG_PREVIEW_TOKEN", token)


def test_a_log_needs_a_token_that_somebody_knows(monkeypatch, capsys):
    monkeypatch.delenv("DIFFERSEG_PREVIEW_TOKEN", raising=False)
    assert run_main(main, [*OPEN, "--log", "json"]) == 2
    assert (
        "put one of 16 characters or more into DIFFERSEG_PREVIEW_TOKEN" in capsys.readouterr().err
    )
