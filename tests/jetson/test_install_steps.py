"""What jetson/install.sh runs: in order, once, after an interruption, and backwards."""

import fcntl
import os
import signal
import subprocess
import time

import pytest
from boards import ORIN_62, WHOLE, Place, problems, verbs


def test_dry_run_changes_nothing(place):
    at = place(ORIN_62.but(opencv="absent"))
    run = at.install(at.model, "--dry-run")
    assert run.returncode == 0, run.stderr
    assert "nothing was changed (--dry-run)" in run.stdout
    for verb in ("apt-get", "'-m' 'venv'", "'-m' 'pip'", "'build'", "'parity'", "'run'"):
        assert verb in run.stdout
    assert not at.prefix.exists()
    assert [words for words in at.calls() if not words[-1].endswith("probe.py")] == []


def test_a_second_run_does_nothing_again(place):
    at = place(ORIN_62)
    at.install(at.model)
    before = len(verbs(at))
    again = at.install(at.model)
    assert again.returncode == 0
    assert verbs(at)[before:] == []
    assert again.stdout.count("done before") == len(at.report()["steps"])
    assert at.report()["benchmark"]["fps"] == 29.9


def test_another_model_is_built_and_the_software_stays(place):
    at = place(ORIN_62)
    at.install(at.model)
    before = len(verbs(at))
    at.model.write_bytes(b"another model")
    at.install(at.model)
    assert verbs(at)[before:] == ["build", "parity", "run"]


def test_a_step_that_was_begun_for_another_model_is_not_taken_for_done(place):
    at = place(ORIN_62)
    at.install(at.model)
    again = Place(at.root.parent, ORIN_62.but(fails={"build": 1}))
    again.model.write_bytes(b"another model")
    assert again.install(again.model).returncode == 1
    back = Place(at.root.parent, ORIN_62)  # with the first model
    before = len(verbs(back))
    assert back.install(back.model).returncode == 0
    assert "build" in verbs(back)[before:]


def test_other_build_options_build_again(place):
    at = place(ORIN_62)
    at.install(at.model)
    before = len(verbs(at))
    at.install(at.model, "--", "--level", "5")
    assert verbs(at)[before:] == ["build", "parity", "run"]
    build = [words for words in at.calls() if words[:2] == ["differseg", "build"]][-1]
    assert build[-2:] == ["--level", "5"]


def test_what_is_gone_is_made_again(place):
    at = place(ORIN_62)
    at.install(at.model)
    before = len(verbs(at))
    (at.prefix / "models" / "model.engine").unlink()
    at.install(at.model)
    assert verbs(at)[before:] == ["build"]


@pytest.mark.parametrize(
    ("word", "status", "said"),
    [
        ("venv", 3, "the environment could not be made: error[E_TEST]: venv went wrong"),
        ("pip", 3, "pip could not install the packages: error[E_TEST]"),
        ("differseg.export.plugin_library", 3, "the plugin library could not be built"),
        ("build", 1, "the engine could not be built: error[E_TEST]: build went wrong"),
        ("parity", 1, "parity of the engine with its file: error[E_TEST]"),
        ("run", 2, "the benchmark broke off"),
    ],
)
def test_a_step_that_fails_is_one_line_and_the_next_run_goes_on_there(place, word, status, said):
    at = place(ORIN_62.but(fails={word: status}))
    run = at.install(at.model)
    assert run.returncode == status, run.stdout + run.stderr
    (line,) = problems(run)
    assert said in line
    assert at.report()["status"] == status
    assert at.report()["problems"] == [line.removeprefix("problem: ")]
    done = verbs(at)[:-1]  # the last one failed

    again = Place(at.root.parent, ORIN_62)
    assert again.install(again.model).returncode == 0
    finished = verbs(again)
    for verb in ("venv", "plugins", "build", "parity"):
        if verb in done:  # done before the failure: not done again
            assert finished.count(verb) == 1, verb


def test_another_version_of_differseg_is_installed_and_builds_again(place):
    at = place(ORIN_62)
    at.install(at.model)
    before = len(verbs(at))
    (at.checkout / "runtime" / "new.py").write_text("changed = True\n")
    at.install(at.model)
    assert verbs(at)[before:] == ["pip", "plugins", "build", "parity", "run"]


def test_a_foreign_file_is_refused_in_the_words_of_differseg(place):
    at = place(ORIN_62)
    at.model.write_bytes(b"foreign")
    run = at.install(at.model)
    assert run.returncode == 2
    assert "error[E_MODEL]: model: it holds no differseg manifest" in problems(run)[0]


def test_a_bundle_is_unpacked_and_its_key_is_asked_for(place, tmp_path):
    at = place(ORIN_62)
    bundle = tmp_path / "F.dsb"
    bundle.write_bytes(b"portable")
    run = at.install(bundle, "--key", "verify.pem")
    assert run.returncode == 0, run.stderr
    unpack = next(words for words in at.calls() if words[:2] == ["differseg", "bundle"])
    assert unpack[-2:] == ["--key", "verify.pem"]
    assert verbs(at) == ["venv", "pip", "pip", "bundle", "plugins", "build", "parity", "run"]
    assert (at.prefix / "models" / "given" / "model.onnx").read_bytes() == b"portable"


def test_a_bundle_that_is_refused_leaves_the_model_before(place, tmp_path):
    at = place(ORIN_62)
    at.install(at.model)
    bundle = tmp_path / "F.dsb"
    bundle.write_bytes(b"changed")
    again = Place(tmp_path, ORIN_62.but(fails={"unpack": 2}))
    run = again.install(bundle)
    assert run.returncode == 2
    assert "unpack went wrong" in problems(run)[0]
    assert (at.prefix / "models" / "given" / "model.onnx").read_bytes() == b"a model"


def wait_for_call(place, word):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(word in words for words in place.calls()):
            return
        time.sleep(0.02)
    raise AssertionError(f"{word} was not run")


def started(place, *arguments):
    return subprocess.Popen(
        place.arguments(*map(str, arguments)), env=place.environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
        # What a shell starts in the background ignores SIGINT, and so would bash.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_and_the_next_run_goes_on(place, number):
    at = place(ORIN_62.but(hangs_at="build"))
    run = started(at, at.model)
    wait_for_call(at, "build")
    run.send_signal(number)
    output, errors = run.communicate(timeout=20)
    assert run.returncode == 128 + number
    assert "run the same command again" in errors
    assert "report: " in output
    again = Place(at.root.parent, ORIN_62)
    before = len(verbs(again))
    assert again.install(again.model).returncode == 0
    assert verbs(again)[before:] == ["build", "parity", "run"]


def test_a_run_that_is_killed_is_gone_on_with(place):
    at = place(ORIN_62.but(hangs_at="pip"))
    run = started(at, at.model)
    wait_for_call(at, "pip")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=20)
    again = Place(at.root.parent, ORIN_62)
    before = len(verbs(again))
    assert again.install(again.model).returncode == 0
    assert verbs(again)[before:] == WHOLE[1:]  # the environment was finished


def test_two_runs_at_once_are_refused(place):
    at = place(ORIN_62)
    at.install("--software-only")
    with open(at.prefix / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused = at.install(at.model)
        assert refused.returncode == 2
        assert "another run of this script is at work" in problems(refused)[0]
        assert at.install("--uninstall").returncode == 2
    assert at.install(at.model).returncode == 0


def test_uninstall_takes_what_it_made_and_nothing_else(place):
    at = place(ORIN_62)
    at.install(at.model)
    kept = at.prefix / "notes.txt"
    kept.write_text("mine")
    run = at.install("--uninstall")
    assert run.returncode == 0
    assert [path.name for path in at.prefix.iterdir()] == ["notes.txt"]
    assert "it holds files that are not of this script" in run.stdout
    assert at.install("--uninstall").returncode == 2


def test_uninstall_waits_for_the_service(place):
    at = place(ORIN_62)
    at.install(at.model)
    at.write("etc/systemd/system/differseg.service", "")
    refused = at.install("--uninstall")
    assert refused.returncode == 2
    assert "differseg-service uninstall" in problems(refused)[0]
