"""jetson/differseg-service on a made-up board, the unit, the camera rules and the journal."""

import configparser
import re
import shutil
import subprocess

import pytest
from boards import ORIN_62, REPOSITORY, Place, problems

SYSTEMD = REPOSITORY / "jetson" / "systemd"
UNIT = SYSTEMD / "differseg.service"


@pytest.fixture
def place(tmp_path):
    at = Place(tmp_path, ORIN_62)
    at.write("opt/differseg/venv/bin/differseg", "").chmod(0o755)
    return at


def camera(place, name, **properties):
    """Plug a camera in, as /dev/NAME."""
    place.write(f"dev/{name}", "")
    text = "".join(f"{key}={value}\n" for key, value in properties.items())
    place.write(f"udev/{name}", text)


def commands(place):
    return [
        words[:2]
        for words in place.calls()
        if words[0] == "systemctl" or words[:2] == ["useradd", "--system"]
    ]


def test_install_writes_unit_rules_and_options(place):
    run = place.service("install")
    assert run.returncode == 0, run.stderr
    unit = (place.root / "etc/systemd/system/differseg.service").read_text()
    assert unit == UNIT.read_text()
    for name in ("systemd/journald@differseg.conf", "differseg/differseg.env",
                 "udev/rules.d/99-differseg-cameras.rules"):  # fmt: skip
        assert (place.root / "etc" / name).is_file(), name
    assert commands(place) == [
        ["useradd", "--system"], ["systemctl", "daemon-reload"], ["systemctl", "enable"],
    ]  # fmt: skip


def test_install_again_keeps_the_options(place):
    place.service("install")
    options = place.root / "etc/differseg/differseg.env"
    options.write_text("MODEL=/mine\nOPTIONS=--rgb 0\n")
    place.service("install")
    assert options.read_text() == "MODEL=/mine\nOPTIONS=--rgb 0\n"


def test_install_with_software_alone_runs_the_onnx_file(place):
    place.write("opt/differseg/models/given/model.onnx", "")
    place.service("install")
    options = (place.root / "etc/differseg/differseg.env").read_text()
    assert "\nMODEL=/opt/differseg/models/given/model.onnx\n" in options


def test_another_folder_is_written_into_the_unit(place):
    place.write("data/ds/venv/bin/differseg", "").chmod(0o755)
    assert place.service("install", "--prefix", "/data/ds").returncode == 0
    unit = (place.root / "etc/systemd/system/differseg.service").read_text()
    assert "ExecStart=/data/ds/venv/bin/differseg run " in unit
    assert "/opt/differseg" not in unit
    options = (place.root / "etc/differseg/differseg.env").read_text()
    assert "MODEL=/data/ds/models/model.engine\n" in options


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["start"], 2, "the service is not installed"),
        (["status"], 2, "the service is not installed"),
        (["begin"], 2, "there is no command begin"),
        (["camera", "rgb"], 2, "expected NAME DEVICE"),
        (["camera", "RGB", "/dev/video0"], 2, "expected small letters"),
        (["camera", "rgb", "/dev/video9"], 2, "/dev/video9: there is no such device"),
        (["install", "--prefix", "/nowhere"], 3, "differseg is not installed there"),
        (["install", "--prefix"], 2, "--prefix: a value is missing"),
    ],
)
def test_wrong_calls_are_one_line(place, arguments, status, said):
    run = place.service(*arguments)
    assert run.returncode == status
    (line,) = problems(run)
    assert said in line


def test_start_needs_the_model_and_waits(place):
    place.service("install")
    missing = place.service("start")
    assert missing.returncode == 2
    assert "model.engine: the model of /etc/differseg/differseg.env is not there" in missing.stderr
    place.write("opt/differseg/models/model.engine", "")
    assert place.service("start").returncode == 0
    assert commands(place)[-1] == ["systemctl", "restart"]


def test_a_start_that_fails_shows_the_log(tmp_path):
    at = Place(tmp_path, ORIN_62.but(fails={"restart": 1}))
    at.write("opt/differseg/venv/bin/differseg", "").chmod(0o755)
    at.write("opt/differseg/models/model.engine", "")
    at.service("install")
    run = at.service("start")
    assert run.returncode == 1
    assert "the service does not start" in problems(run)[0]
    assert any(
        words[0] == "journalctl" and "--namespace=differseg" in words for words in at.calls()
    )


USB = {"ID_BUS": "usb"}


def names(place):
    return (place.root / "etc/udev/rules.d/99-differseg-names.rules").read_text().splitlines()


def test_a_camera_is_named_by_its_serial_number(place):
    camera(place, "video0", ID_SERIAL="FLIR_Boson_123", ID_SERIAL_SHORT="123", ID_PATH="p1", **USB)
    camera(place, "video2", ID_SERIAL="Cam_9", ID_SERIAL_SHORT="9", ID_PATH="p2", **USB)
    run = place.service("camera", "thermal", "/dev/video0")
    assert run.returncode == 0, run.stderr
    assert "by its serial number" in run.stdout
    (line,) = names(place)
    assert 'ENV{ID_SERIAL}=="FLIR_Boson_123", SYMLINK+="differseg/thermal"' in line


@pytest.mark.parametrize("short", [{}, {"ID_SERIAL_SHORT": "200901010001"}])
def test_twins_and_cameras_without_number_are_named_by_connector(place, short):
    camera(place, "video0", ID_SERIAL="Cam", ID_PATH="pci-usb-0:1.1:1.0", **short, **USB)
    camera(place, "video2", ID_SERIAL="Cam", ID_PATH="pci-usb-0:1.2:1.0", **short, **USB)
    run = place.service("camera", "rgb", "/dev/video0")
    assert "by its connector" in run.stdout
    assert 'ENV{ID_PATH}=="pci-usb-0:1.1:1.0"' in names(place)[0]


def test_the_second_node_of_a_camera_is_no_twin(place):
    camera(place, "video0", ID_SERIAL="Cam_1", ID_SERIAL_SHORT="1", ID_PATH="p1", **USB)
    camera(place, "video1", ID_SERIAL="Cam_1", ID_SERIAL_SHORT="1", ID_PATH="p1", **USB)
    assert "by its serial number" in place.service("camera", "rgb", "/dev/video0").stdout


def test_a_name_is_given_once(place):
    for number in (0, 2):
        serial = {"ID_SERIAL": f"Cam_{number}", "ID_SERIAL_SHORT": str(number)}
        camera(place, f"video{number}", ID_PATH=f"p{number}", **serial, **USB)
        place.service("camera", "rgb", f"/dev/video{number}")
    place.service("camera", "thermal", "/dev/video0")
    assert [re.search(r'SERIAL}=="(\w+)".*/(\w+)"$', line).groups() for line in names(place)] == [
        ("Cam_2", "rgb"),
        ("Cam_0", "thermal"),
    ]


def test_a_serial_number_cannot_write_rules(place):
    camera(place, "video0", ID_SERIAL='x", RUN+="reboot', ID_SERIAL_SHORT="1", ID_PATH="p", **USB)
    run = place.service("camera", "rgb", "/dev/video0")
    assert run.returncode == 2
    assert "cannot stand in a rule" in problems(run)[0]


def test_a_csi_camera_is_not_named(place):
    camera(place, "video0", ID_PATH="platform-tegra-capture-vi")
    assert "csi:0" in problems(place.service("camera", "rgb", "/dev/video0"))[0]


def test_uninstall_leaves_the_options(place):
    place.service("install")
    assert place.service("uninstall").returncode == 0
    left = [path.relative_to(place.root / "etc").as_posix()
            for path in (place.root / "etc").rglob("*differseg*") if path.is_file()]  # fmt: skip
    assert left == ["differseg/differseg.env"]
    assert ["systemctl", "disable"] in commands(place)


def unit_settings():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNIT)
    return {name: value for section in unit.sections() for name, value in unit[section].items()}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    program = tmp_path / "differseg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text().replace("/opt/differseg/venv/bin/differseg", str(program))

    def verified(text):
        unit = tmp_path / "differseg.service"
        unit.write_text(text)
        command = ["systemd-analyze", "verify", "--man=no", str(unit)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    good = verified(text)
    assert (good.returncode, good.stderr) == (0, "")
    wrong = verified(text.replace("WatchdogSec=30", "WatchdogSecs=30"))
    assert "WatchdogSecs" in wrong.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_the_sandbox_medium_or_better(tmp_path):
    unit = shutil.copy(UNIT, tmp_path)
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=50", unit]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "Unknown" in run.stderr or "unrecognized" in run.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert run.returncode == 0, run.stdout[-400:] + run.stderr


def test_the_watchdog_has_time_for_what_the_run_does():
    from differseg.runtime.service.watchdog import LIMIT_S, RESCUE_S, START_LIMIT_S

    unit = unit_settings()
    assert unit["Type"] == "notify"
    assert float(unit["WatchdogSec"]) > LIMIT_S + 2 * RESCUE_S  # the run ends itself first
    assert float(unit["TimeoutStartSec"]) > START_LIMIT_S + 60
    assert unit["RestartPreventExitStatus"] == "3"


def test_the_options_of_the_service_are_options_of_run():
    from differseg.options import parse
    from differseg.runtime.run_camera import RunOptions

    lines = dict(
        line.split("=", 1)
        for line in (SYSTEMD / "differseg.env").read_text().splitlines()
        if line and line[0] != "#"
    )
    start = unit_settings()["ExecStart"]
    assert start.endswith("run --model ${MODEL} $OPTIONS --headless --log json")
    words = f"--model {lines['MODEL']} {lines['OPTIONS']} --headless --log json".split()
    options = parse(RunOptions, words, "run")
    assert (options.rgb, options.on_rgb_loss) == ("/dev/differseg/rgb", "wait")


def test_camera_rules_match_pictures_alone_and_name_by_port_and_serial():
    rules = [
        line
        for line in (SYSTEMD / "99-differseg-cameras.rules").read_text().splitlines()
        if line and line[0] != "#"
    ]
    assert len(rules) == 2
    clause = re.compile(r'[A-Z_]+(\{\w+\})?(==|!=|\+=)"[^"]*"')
    for rule in rules:
        clauses = rule.split(", ")
        assert all(clause.fullmatch(each) for each in clauses), rule
        assert 'ATTR{index}=="0"' in clauses
        assert 'SUBSYSTEM=="video4linux"' in clauses
        assert clauses[-1].startswith('SYMLINK+="differseg/by-')


def test_the_journal_has_a_limit():
    journal = configparser.ConfigParser()
    journal.optionxform = str
    journal.read(SYSTEMD / "journald@differseg.conf")
    assert journal["Journal"]["SystemMaxUse"] == "200M"
    assert unit_settings()["LogNamespace"] == "differseg"
