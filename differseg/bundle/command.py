"""``differseg bundle``: write a bundle; ``bundle verify`` and ``bundle unpack``: take one."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differseg.bundle.index import BundleIndex
from differseg.options import option, parse, run_main, unwinding_on_sigterm
from differseg.signing import Key, load_key


@dataclass(frozen=True)
class BundleOptions:
    """Write one file to copy to a board: model, manifest, plugins, records, checksums, signature.

    'differseg bundle verify FILE.dsb' checks every byte of one, and 'differseg bundle unpack
    FILE.dsb -o DIR' verifies it and writes its files.
    """

    model: Path = option(positional=True, metavar="F.onnx")
    """The exported file."""
    out: Path = option(short="-o", metavar="F.dsb")
    """The bundle to write."""
    plugin_sources: bool | None = None
    """Put the sources of the TensorRT plugin library in; by default where the graph has plugin
    nodes."""
    plugin: tuple[Path, ...] = option((), metavar="LIB.so")
    """A built plugin library to put in (may be repeated)."""
    calibration: Path | None = option(None, metavar="F.json")
    """What 'differseg quantize --json' said of the model, to go along."""
    parity: Path | None = option(None, metavar="F.json")
    """What 'differseg parity --json' said of the model, to go along."""
    key: Path | None = option(None, metavar="FILE")
    """Private key (Ed25519, PEM) or shared secret to sign with."""
    json: bool = False
    """Print the result as one JSON document on the last line."""


@dataclass(frozen=True)
class VerifyOptions:
    """Check every byte of a bundle and, with a key, who signed it."""

    bundle: Path = option(positional=True, metavar="F.dsb")
    """The bundle."""
    key: Path | None = option(None, metavar="FILE")
    """Public key (Ed25519, PEM) or shared secret of who must have signed it."""
    json: bool = False
    """Print the result as one JSON document on the last line."""


@dataclass(frozen=True)
class UnpackOptions:
    """Verify a bundle and write its files into a folder, all or none."""

    bundle: Path = option(positional=True, metavar="F.dsb")
    """The bundle."""
    out: Path = option(short="-o", metavar="DIR")
    """The folder to write; it does not exist yet, or is empty."""
    key: Path | None = option(None, metavar="FILE")
    """Public key (Ed25519, PEM) or shared secret of who must have signed it."""
    json: bool = False
    """Print the result as one JSON document on the last line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with unwinding_on_sigterm():
        if arguments[:1] == ["verify"]:
            return _verify(parse(VerifyOptions, arguments[1:], "differseg bundle verify"))
        if arguments[:1] == ["unpack"]:
            return _unpack(parse(UnpackOptions, arguments[1:], "differseg bundle unpack"))
        return _write(parse(BundleOptions, arguments, "differseg bundle"))


def _write(options: BundleOptions) -> int:
    from differseg.bundle.writing import write_bundle

    key = None if options.key is None else load_key(options.key)
    written = write_bundle(
        options.model,
        options.out,
        plugin_sources=options.plugin_sources,
        plugins=options.plugin,
        calibration=options.calibration,
        parity=options.parity,
        key=key,
    )
    for note in written.notes:
        print(f"warning: {note}", file=sys.stderr)
    _print_index(written.index, key)
    print(f"written: {written.path} ({written.bytes / 1e6:.2f} MB)")
    if options.json:
        _print_json(written.path, written.index, key, written.bytes, written.notes)
    return 0


def _verify(options: VerifyOptions) -> int:
    from differseg.bundle.reading import opened, verify

    key = None if options.key is None else load_key(options.key)
    with opened(options.bundle) as bundle:
        verify(bundle, key)
    _print_index(bundle.index, key)
    print(f"verified: {options.bundle}")
    if options.json:
        _print_json(options.bundle, bundle.index, key, options.bundle.stat().st_size)
    return 0


def _unpack(options: UnpackOptions) -> int:
    from differseg.bundle.unpacking import unpack_bundle

    key = None if options.key is None else load_key(options.key)
    index = unpack_bundle(options.bundle, options.out, key)
    _print_index(index, key)
    print(f"verified and unpacked: {options.out}")
    if options.json:
        _print_json(options.out, index, key, sum(member.bytes for member in index.members))
    return 0


def _print_index(index: BundleIndex, key: Key | None) -> None:
    print(f"{index.model}, {len(index.members)} files, differseg {index.differseg}")
    for member in index.members:
        print(f"  {member.sha256[:12]}  {member.bytes:>12,}  {member.name}")
    print(_signed(index, key))


def _signed(index: BundleIndex, key: Key | None) -> str:
    signature = index.signature
    if signature is None:
        return "not signed: checksums show damage, and do not show who wrote it"
    who = f"{signature.algorithm}, key {signature.key}"
    return f"signed: {who}" if key is not None else f"signed by {who}: not checked, give --key"


def _print_json(
    path: Path, index: BundleIndex, key: Key | None, size: int, notes: Sequence[str] = ()
) -> None:
    from differseg.schema import to_plain

    document: dict[str, Any] = {
        "path": str(path),
        "bytes": size,
        **to_plain(index),
        "signature_checked": key is not None,
        "notes": list(notes),
    }
    print(json_module.dumps(document))


if __name__ == "__main__":
    sys.exit(run_main(main))
