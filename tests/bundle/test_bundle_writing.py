"""What a bundle holds, how it is signed, and that its bytes follow from its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from made_bundles import small_model
from tiny_network import tiny_manifest

from differseg.bundle.command import main
from differseg.bundle.index import BundleIndex
from differseg.bundle.reading import opened, verify
from differseg.bundle.unpacking import unpack_bundle
from differseg.bundle.writing import write_bundle
from differseg.errors import CheckFailedError, DifferSegError, InputError, ModelFileError
from differseg.export.plugin_library import SOURCES
from differseg.manifest import Manifest
from differseg.options import run_main
from differseg.signing import load_key


def key_files(folder: Path, name: str = "key") -> tuple[Path, Path]:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives import serialization as form

    private = ed25519.Ed25519PrivateKey.generate()
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    paths[0].write_bytes(
        private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    paths[1].write_bytes(
        private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return paths


def names_in(path: Path) -> list[str]:
    return zipfile.ZipFile(path).namelist()


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    library, record = tmp_path / "libmine.so", tmp_path / "record.json"
    library.write_bytes(b"\x7fELF")
    record.write_text('{"passed": true}')
    written = write_bundle(
        model, tmp_path / "a.dsb", plugin_sources=True, plugins=[library],
        calibration=record, parity=record,
    )  # fmt: skip
    index = unpack_bundle(written.path, tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    assert (out / "model.onnx").read_bytes() == model.read_bytes()
    assert Manifest.from_json((out / "manifest.json").read_text()) == tiny_manifest()
    assert (out / "lib" / "libmine.so").read_bytes() == b"\x7fELF"
    assert (out / "calibration.json").read_text() == (out / "parity.json").read_text()
    for path in SOURCES.iterdir():
        if path.is_file():
            assert (out / "plugins" / path.name).read_bytes() == path.read_bytes()
    for member in index.members:
        assert hashlib.sha256((out / member.name).read_bytes()).hexdigest() == member.sha256
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {"bundle.json", *(member.name for member in index.members)}
    assert BundleIndex.from_json((out / "bundle.json").read_text()) == index
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out"]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    private, _ = key_files(tmp_path)
    first = write_bundle(model, tmp_path / "a.dsb", key=load_key(private)).path.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    moved = Path(shutil.copy(model, other / "renamed.onnx"))
    os.utime(moved, (0, 0))
    again = write_bundle(moved, other / "b.dsb", key=load_key(private)).path.read_bytes()
    assert first == again


def test_other_tools_can_read_it(tmp_path: Path) -> None:
    """A board of JetPack 5 has no differseg: unzip and sha256sum do."""
    written = write_bundle(small_model(tmp_path), tmp_path / "a.dsb", plugin_sources=True)
    with zipfile.ZipFile(written.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["bundle.json", *(m.name for m in written.index.members)]
        assert all(stat.S_ISREG(info.external_attr >> 16) for info in archive.infolist())
        archive.extractall(tmp_path / "out")
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tq", written.path], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count(": OK\n") == len(written.index.members) - 1


@pytest.mark.parametrize(
    ("form", "asked", "inside"),
    [("portable", None, False), ("plugin", None, True), ("portable", True, True),
     ("plugin", False, False)],
)  # fmt: skip
def test_sources_are_in_where_the_graph_needs_them(
    tmp_path: Path, form: str, asked: bool | None, inside: bool
) -> None:
    model = small_model(tmp_path, operator_form=form)
    written = write_bundle(model, tmp_path / "a.dsb", plugin_sources=asked)
    assert any(name.startswith("plugins/") for name in names_in(written.path)) == inside
    assert bool(written.notes) == (form == "plugin" and not inside)


def test_a_signature_is_of_everything(tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    stranger = key_files(tmp_path, "stranger")[1]
    written = write_bundle(small_model(tmp_path), tmp_path / "a.dsb", key=load_key(private))
    with opened(written.path) as bundle:
        verify(bundle, load_key(public))
        with pytest.raises(CheckFailedError, match="not of this key"):
            verify(bundle, load_key(stranger))
    with pytest.raises(CheckFailedError, match="not of this key"):
        unpack_bundle(written.path, tmp_path / "out", load_key(stranger))
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_was_made_anew_has_not_the_signature(tmp_path: Path) -> None:
    """All checksums of it agree; only the signature is of another model."""
    from made_bundles import contents_of, forged, with_sums

    private, public = key_files(tmp_path)
    model = small_model(tmp_path)
    signed = write_bundle(model, tmp_path / "a.dsb", key=load_key(private)).index.signature
    assert signed is not None
    files = contents_of(model) | {"plugins/evil.cu": b"evil"}
    path = forged(tmp_path / "b.dsb", with_sums(files), signature=vars(signed))
    with opened(path) as bundle:
        verify(bundle)
        with pytest.raises(CheckFailedError, match="changed"):
            verify(bundle, load_key(public))


def test_an_unsigned_bundle_is_refused_where_a_key_is_asked_for(tmp_path: Path) -> None:
    _, public = key_files(tmp_path)
    written = write_bundle(small_model(tmp_path), tmp_path / "a.dsb")
    with opened(written.path) as bundle, pytest.raises(CheckFailedError, match="not signed"):
        verify(bundle, load_key(public))


def test_a_public_key_cannot_sign(tmp_path: Path) -> None:
    _, public = key_files(tmp_path)
    with pytest.raises(InputError, match="cannot sign"):
        write_bundle(small_model(tmp_path), tmp_path / "a.dsb", key=load_key(public))
    assert not (tmp_path / "a.dsb").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"), ("table\n{}", "tail -n 1"), ("[1]", "not one JSON"),
        ("{" * 9999, "not one"), ("[" * 99999, "not one"),
    ],
)  # fmt: skip
def test_a_record_that_is_no_document_is_refused(
    tmp_path: Path, content: str | None, said: str
) -> None:
    record = tmp_path / "record.json"
    if content is not None:
        record.write_text(content)
    with pytest.raises(InputError, match=said):
        write_bundle(small_model(tmp_path), tmp_path / "a.dsb", parity=record)


def test_the_record_of_another_calibration_is_refused(tmp_path: Path) -> None:
    model, record = small_model(tmp_path), tmp_path / "record.json"
    record.write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(InputError, match="of another file"):
        write_bundle(model, tmp_path / "a.dsb", calibration=record)
    record.write_text(json.dumps({"sha256": hashlib.sha256(model.read_bytes()).hexdigest()}))
    write_bundle(model, tmp_path / "a.dsb", calibration=record)


def test_a_comparison_that_failed_is_told(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"passed": false}')
    written = write_bundle(small_model(tmp_path), tmp_path / "a.dsb", parity=record)
    assert "failed" in written.notes[0]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"out": "a.zip"}, InputError),
        ({"out": "none/a.dsb"}, InputError),
        ({"out": "folder.dsb"}, InputError),
        ({"model": "none.onnx"}, ModelFileError),
        ({"model": "model.engine"}, ModelFileError),
        ({"plugins": ["none.so"]}, InputError),
        ({"plugins": ["tiny.onnx"]}, InputError),
        ({"plugins": ["bad name.so"]}, InputError),
        ({"plugins": ["a.so", "other/a.so"]}, InputError),
    ],
)
def test_what_cannot_be_put_in_is_refused(
    tmp_path: Path, changes: dict[str, object], kind: type[DifferSegError]
) -> None:
    small_model(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "folder.dsb").mkdir()
    for name in ("a.so", "other/a.so", "bad name.so", "model.engine"):
        (tmp_path / name).write_bytes(b"x")
    plugins = [tmp_path / str(name) for name in changes.get("plugins", [])]  # type: ignore[attr-defined]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind):
        write_bundle(
            tmp_path / str(changes.get("model", "tiny.onnx")),
            tmp_path / str(changes.get("out", "a.dsb")),
            plugins=plugins,
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_that_changes_while_it_is_bundled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import differseg.bundle.writing as writing

    model, write = small_model(tmp_path), writing._write

    def change_and_write(*arguments: object) -> int:
        data = bytearray(model.read_bytes())
        data[100] ^= 1
        model.write_bytes(data)
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_write", change_and_write)
    with pytest.raises(ModelFileError, match="SHA-256"):
        write_bundle(model, tmp_path / "a.dsb")
    assert [entry.name for entry in tmp_path.iterdir()] == [model.name]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private, public = key_files(tmp_path)
    bundle, out = tmp_path / "a.dsb", tmp_path / "out"
    model = small_model(tmp_path)
    key = ["--key", str(public)]
    assert run_main(main, [str(model), "-o", str(bundle), "--key", str(private), "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["bytes"] == bundle.stat().st_size
    assert [m["name"] for m in document["members"]] == ["SHA256SUMS", "manifest.json", "model.onnx"]
    assert run_main(main, ["verify", str(bundle)]) == 0
    assert "not checked, give --key" in capsys.readouterr().out
    assert run_main(main, ["verify", str(bundle), *key]) == 0
    assert run_main(main, ["unpack", str(bundle), "-o", str(out), *key]) == 0
    assert (out / "model.onnx").read_bytes() == model.read_bytes()
    assert (out.stat().st_mode & 0o777) == 0o777 & ~_umask()
    assert run_main(main, ["verify", str(bundle), "--key", str(key_files(tmp_path, "x")[1])]) == 1
    assert run_main(main, ["verify"]) == 2
    assert run_main(main, ["unpack", str(bundle)]) == 2


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
