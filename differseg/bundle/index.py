"""The index of a bundle: its first member, which names every other one with size and hash.

Nothing is in a bundle that its index does not name, and the index is the exact text that
:meth:`BundleIndex.to_json` writes, with a checksum of its own, so that any damage shows.  A
signature is of the index, and through the hashes of every byte.  Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from differseg.errors import ManifestError
from differseg.schema import from_plain, parse_json, to_plain
from differseg.signing import Key, Signature

BUNDLE_SCHEMA = 1
"""Version of the document's layout; a reader refuses any other."""

INDEX_NAME = "bundle.json"
MODEL_NAME = "model.onnx"
MANIFEST_NAME = "manifest.json"
CALIBRATION_NAME = "calibration.json"
PARITY_NAME = "parity.json"
SUMS_NAME = "SHA256SUMS"
"""The hashes once more, for ``sha256sum -c`` where there is no differseg."""
SOURCES_FOLDER = "plugins"
LIBRARIES_FOLDER = "lib"

_REQUIRED = (MANIFEST_NAME, MODEL_NAME, SUMS_NAME)
_SINGLE = (*_REQUIRED, CALIBRATION_NAME, PARITY_NAME)
_IN_FOLDER = re.compile(
    rf"(?:{SOURCES_FOLDER}/[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,99}}"
    rf"|{LIBRARIES_FOLDER}/[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,95}}\.so)"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_MEMBERS = 256


@dataclass(frozen=True)
class Member:
    """One file in a bundle.

    Attributes:
        name: One of the fixed names, ``plugins/NAME`` or ``lib/NAME.so``.
        bytes: Its size.
        sha256: Hash of its bytes.
    """

    name: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse any other name: none leads out of the folder that a bundle is unpacked to."""
        if self.name not in _SINGLE and not _IN_FOLDER.fullmatch(self.name):
            raise ManifestError(f"name: no bundle has a member {self.name!r:.120}")
        if self.bytes < 0:
            raise ManifestError(f"bytes: expected at least 0, got {self.bytes}")
        if not _SHA256.fullmatch(self.sha256):
            raise ManifestError(f"sha256: expected 64 hexadecimal digits, got {self.sha256!r:.80}")


@dataclass(frozen=True)
class BundleIndex:
    """The whole document; see the module's docstring.

    Attributes:
        model: Name of the network, as its manifest says.
        differseg: Version that wrote the bundle.
        members: Every other file, in the order of their names.
        signature: Of everything above; None where no key was used.
    """

    model: str
    differseg: str
    members: tuple[Member, ...]
    schema: int = BUNDLE_SCHEMA
    signature: Signature | None = None

    def __post_init__(self) -> None:
        """Check that there is one way to write these members, and that none is missing."""
        names = [member.name for member in self.members]
        if len(names) > _MOST_MEMBERS:
            raise ManifestError(f"members: more than {_MOST_MEMBERS}")
        if names != sorted(names) or len({name.lower() for name in names}) < len(names):
            raise ManifestError("members: expected every name once, in order")
        missing = [name for name in _REQUIRED if name not in names]
        if missing:
            raise ManifestError(f"members: {missing[0]} is missing")
        sums = sums_text(self.members).encode()
        if self.member(SUMS_NAME) != sums_member(sums):
            raise ManifestError(f"members: {SUMS_NAME} is not of these members")

    def member(self, name: str) -> Member | None:
        """Return the member of this name, or None."""
        return next((member for member in self.members if member.name == name), None)

    def payload(self) -> bytes:
        """Return what a signature is of: the document without signature, in one fixed form."""
        document = to_plain(replace(self, signature=None))
        text = json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return b"differseg bundle\n" + text.encode()

    def signed(self, key: Key) -> BundleIndex:
        """Return a copy that carries this key's signature.

        Raises:
            InputError: The key can only verify.
        """
        return replace(self, signature=key.sign(self.payload()))

    def to_json(self) -> str:
        """Write the document with its checksum; equal indexes give equal text."""
        document = to_plain(self)
        body = json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False)
        document["checksum"] = hashlib.sha256(body.encode()).hexdigest()
        return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> BundleIndex:
        """Read a document.

        Raises:
            ManifestError: Not JSON, another schema, a wrong field by name, or a text that is not
                what :meth:`to_json` wrote.
        """
        document = parse_json(text, "index")
        if not isinstance(document, dict):
            raise ManifestError("index: expected an object")
        if document.get("schema") != BUNDLE_SCHEMA:
            raise ManifestError(
                f"schema: this differseg reads bundles of schema {BUNDLE_SCHEMA}, got "
                f"{document.get('schema')!r:.40}"
            )
        document.pop("checksum", None)
        index = from_plain(cls, document)
        if index.to_json() != text:
            raise ManifestError("checksum: the index is not the one that was written")
        return index


def sums_text(members: Iterable[Member]) -> str:
    """Return what ``sha256sum`` would print for these members, itself left out."""
    return "".join(f"{m.sha256}  {m.name}\n" for m in members if m.name != SUMS_NAME)


def sums_member(data: bytes) -> Member:
    """Return the member that holds this text of hashes."""
    return Member(SUMS_NAME, len(data), hashlib.sha256(data).hexdigest())
