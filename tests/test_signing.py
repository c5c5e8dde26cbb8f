"""Signatures: both kinds verify what they signed and nothing else."""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from differseg.errors import InputError, MissingComponentError
from differseg.signing import Key, Signature, load_key


def secret_file(folder: Path, content: bytes = b"k" * 32) -> Path:
    path = folder / "secret.key"
    path.write_bytes(content)
    return path


def pem_files(folder: Path, name: str = "signing") -> tuple[Path, Path]:
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


def keys(folder: Path, kind: str) -> tuple[Key, Key]:
    """Return the key that signs and the key that verifies."""
    if kind == "hmac":
        key = load_key(secret_file(folder))
        return key, key
    private, public = pem_files(folder)
    return load_key(private), load_key(public)


@pytest.mark.parametrize("kind", ["hmac", "ed25519"])
def test_a_signature_is_of_one_payload_and_one_key(tmp_path: Path, kind: str) -> None:
    signing, verifying = keys(tmp_path, kind)
    signature = signing.sign(b"payload")
    assert verifying.verifies(b"payload", signature)
    assert not verifying.verifies(b"payloae", signature)
    other = tmp_path / "other"
    other.mkdir()
    if kind == "hmac":
        stranger = load_key(secret_file(other, b"x" * 32))
    else:
        stranger = load_key(pem_files(other)[1])
    assert not stranger.verifies(b"payload", signature)
    assert stranger.name != signature.key == verifying.name


@pytest.mark.parametrize("kind", ["hmac", "ed25519"])
@pytest.mark.parametrize("value", ["", "not base64!", base64.b64encode(b"short").decode(), "é"])
def test_a_signature_that_is_none_verifies_nothing(tmp_path: Path, kind: str, value: str) -> None:
    signing, verifying = keys(tmp_path, kind)
    assert not verifying.verifies(b"p", replace(signing.sign(b"p"), value=value))


def test_the_algorithm_is_the_keys_and_not_the_signatures(tmp_path: Path) -> None:
    """A public key must not become the secret of an HMAC."""
    _, public = pem_files(tmp_path)
    import hashlib
    import hmac

    forged = hmac.new(public.read_bytes().strip(), b"p", hashlib.sha256).digest()
    signature = Signature("hmac-sha256", "0" * 16, base64.b64encode(forged).decode())
    assert not load_key(public).verifies(b"p", signature)


def test_a_public_key_cannot_sign(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the private one"):
        load_key(pem_files(tmp_path)[1]).sign(b"p")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"short", "5 bytes, expected at least 32"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a PEM key"),
        (b"-----BEGIN PUBLIC KEY-----\n", "not a PEM key"),
        (b"x" * 70_000, "no key file"),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    pytest.importorskip("cryptography")
    with pytest.raises(InputError, match=match):
        load_key(secret_file(tmp_path, content))


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization as form

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    with pytest.raises(InputError, match="expected an Ed25519 key"):
        load_key(secret_file(tmp_path, pem))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.key", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_key(path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret_file(tmp_path, b"-----BEGIN PRIVATE KEY-----\n")
    for name in ("cryptography", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingComponentError, match=r"differseg\[signing\]"):
        load_key(path)
