"""The doctor: true statements about this machine, and advice for what is missing."""

import importlib.metadata
import json

import numpy

from differseg import doctor


def test_json_report_tells_the_truth(capsys):
    status = doctor.main(["--json"])
    report = {f["part"]: f for f in json.loads(capsys.readouterr().out.splitlines()[-1])}
    assert report["numpy"]["detail"] == numpy.__version__
    assert report["inference backend"]["state"] == "ok"
    assert status == 0


def test_what_is_missing_comes_with_its_extra(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", absent)
    findings = {f.part: f for f in doctor._package_findings()}
    assert findings["torch"].state == "absent"
    assert findings["torch"].advice == "pip install 'differseg[export]'"
    assert doctor._backend_finding().state == "problem"


def test_a_broken_package_is_a_problem_with_its_message():
    ok, text = doctor._probe("raise RuntimeError('operator nms does not exist')")
    assert not ok
    assert text == "RuntimeError: operator nms does not exist"


def test_table_names_every_part(capsys):
    doctor.main([])
    text = capsys.readouterr().out
    assert "OpenCV" in text
    assert "inference backend" in text
