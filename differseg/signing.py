"""Sign a document and verify it: HMAC-SHA256 with a shared secret, or Ed25519 with a key pair.

A key is a file.  One that starts with ``-----BEGIN`` is an Ed25519 key in PEM (RFC 8410), private
to sign and verify, public to verify only; any other is the secret of HMAC (RFC 2104), at least 32
bytes.  The algorithm follows from the key and never from the signature, so a public key cannot be
passed off as a secret.  Ed25519 needs the ``cryptography`` package (extra ``signing``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from differseg.errors import InputError, MissingComponentError

Algorithm = Literal["hmac-sha256", "ed25519"]

_PEM = b"-----BEGIN"
_SECRET_BYTES = 32
_SIGNATURE_BYTES = {"hmac-sha256": 32, "ed25519": 64}
_LARGEST_KEY = 1 << 16


@dataclass(frozen=True)
class Signature:
    """Who vouches for a document.

    Attributes:
        algorithm: How it was made.
        key: First 16 hexadecimal digits of the SHA-256 of the secret, or of the public key's 32
            bytes: tells keys apart and gives nothing away.
        value: The signature's bytes in base64.
    """

    algorithm: Algorithm
    key: str
    value: str


class Key(Protocol):
    """A loaded key.

    Attributes:
        algorithm: What it signs with.
        name: As :attr:`Signature.key`.
    """

    algorithm: Algorithm
    name: str

    def sign(self, payload: bytes) -> Signature:
        """Return the signature of a payload.

        Raises:
            InputError: The key can only verify.
        """

    def verifies(self, payload: bytes, signature: Signature) -> bool:
        """Whether this key made the signature for exactly this payload."""


def load_key(path: Path | str) -> Key:
    """Read a key file.

    Raises:
        InputError: It is missing, cannot be read, is too short, or is another kind of key.
        MissingComponentError: It is an Ed25519 key and ``cryptography`` is not installed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise InputError(f"key {path}: cannot be read ({error.strerror})") from None
    if len(data) > _LARGEST_KEY:
        raise InputError(f"key {path}: larger than {_LARGEST_KEY} bytes, so it is no key file")
    if data.lstrip().startswith(_PEM):
        return _Ed25519Key(data, path)
    return _HmacKey(data.strip(), path)


def _fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _bytes_of(signature: Signature, algorithm: Algorithm) -> bytes | None:
    """Return a signature's bytes, None where it cannot be one of this algorithm."""
    if signature.algorithm != algorithm:
        return None
    try:
        value = base64.b64decode(signature.value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == _SIGNATURE_BYTES[algorithm] else None


class _HmacKey:
    algorithm: Algorithm = "hmac-sha256"

    def __init__(self, secret: bytes, path: Path) -> None:
        if len(secret) < _SECRET_BYTES:
            raise InputError(
                f"key {path}: {len(secret)} bytes, expected at least {_SECRET_BYTES}; make one "
                f"with: openssl rand -hex 32 > {path}"
            )
        self._secret = secret
        self.name = _fingerprint(secret)

    def sign(self, payload: bytes) -> Signature:
        value = hmac.new(self._secret, payload, hashlib.sha256).digest()
        return Signature(self.algorithm, self.name, base64.b64encode(value).decode())

    def verifies(self, payload: bytes, signature: Signature) -> bool:
        value = _bytes_of(signature, self.algorithm)
        expected = hmac.new(self._secret, payload, hashlib.sha256).digest()
        return value is not None and hmac.compare_digest(value, expected)


class _Ed25519Key:
    algorithm: Algorithm = "ed25519"

    def __init__(self, pem: bytes, path: Path) -> None:
        private, public = _read_pem(pem, path)
        self._private, self._public, self._path = private, public, path
        self.name = _fingerprint(public.public_bytes_raw())

    def sign(self, payload: bytes) -> Signature:
        if self._private is None:
            raise InputError(
                f"key {self._path}: a public key verifies and cannot sign; give the private one"
            )
        value = base64.b64encode(self._private.sign(payload)).decode()
        return Signature(self.algorithm, self.name, value)

    def verifies(self, payload: bytes, signature: Signature) -> bool:
        from cryptography.exceptions import InvalidSignature

        value = _bytes_of(signature, self.algorithm)
        if value is None:
            return False
        try:
            self._public.verify(value, payload)
        except InvalidSignature:
            return False
        return True


def _read_pem(pem: bytes, path: Path) -> tuple[Any, Any]:
    """Return the private key, None where the file holds a public one, and the public key."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (
            Ed25519PrivateKey,
            Ed25519PublicKey,
        )
        from cryptography.hazmat.primitives.serialization import (
            load_pem_private_key,
            load_pem_public_key,
        )
    except ImportError:
        raise MissingComponentError(
            f"key {path}: Ed25519 needs the package 'cryptography', which is not installed; "
            "install it with: pip install 'differseg[signing]'"
        ) from None
    try:
        if b"PUBLIC KEY" in pem:
            key: Any = load_pem_public_key(pem)
        else:
            key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"key {path}: not a PEM key without password ({text:.120}); make one with: openssl "
            "genpkey -algorithm ed25519 -out FILE"
        ) from None
    if isinstance(key, Ed25519PublicKey):
        return None, key
    if isinstance(key, Ed25519PrivateKey):
        return key, key.public_key()
    raise InputError(f"key {path}: expected an Ed25519 key, got {type(key).__name__.strip('_')}")
