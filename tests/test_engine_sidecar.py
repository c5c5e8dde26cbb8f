"""The sidecar's document: round trip, and every change of its text answered by a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_files import BYTES, sidecar_of

from differseg.engine_sidecar import EngineSidecar, PluginFile, sidecar_path
from differseg.errors import ManifestError
from differseg.signing import load_key


def test_round_trip_is_exact() -> None:
    sidecar = sidecar_of(BYTES, plugins=(PluginFile("libp.so", "a" * 64),))
    text = sidecar.to_json()
    assert EngineSidecar.from_json(text) == sidecar
    assert "Gebäude" in text  # people read it


def test_whole_numbers_in_fields_of_fractions_do_no_harm() -> None:
    sidecar = sidecar_of(BYTES, build_s=3)
    spec = replace(sidecar.manifest.inputs[1], mean=(0,), std=(1,))
    inputs = (sidecar.manifest.inputs[0], spec)
    sidecar = replace(sidecar, manifest=replace(sidecar.manifest, inputs=inputs))
    again = EngineSidecar.from_json(sidecar.to_json())
    assert again == sidecar


def test_it_lies_beside_the_engine() -> None:
    assert sidecar_path("a/b/model.engine") == Path("a/b/model.engine.json")


def test_the_signature_is_of_everything_but_itself(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"s" * 40)
    key = load_key(tmp_path / "k")
    signed = sidecar_of(BYTES).signed(key)
    assert signed.signature is not None
    again = EngineSidecar.from_json(signed.to_json())
    assert key.verifies(again.payload(), signed.signature)
    assert signed.payload() == sidecar_of(BYTES).payload()
    for change in (
        {"engine_sha256": "b" * 64},
        {"build_s": 12.6},
        {"tools": {}},
        {"manifest": replace(signed.manifest, threshold=0.4)},
    ):
        assert not key.verifies(replace(signed, **change).payload(), signed.signature)


def edited(path: tuple[Any, ...], value: Any) -> str:
    """Return a sidecar's text with one value changed and everything else left."""
    document = json.loads(sidecar_of(BYTES).to_json())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("schema",), 2, "schema: this differseg reads schema 1, got 2"),
        (("engine_sha256",), "xyz", "engine_sha256: expected 64 hexadecimal digits"),
        (("engine_bytes",), 0, "engine_bytes: expected at least 1"),
        (("engine_bytes",), "many", "engine_bytes: expected int"),
        (("built_for", "version"), "new", "built_for.version: expected such as 10.3.0"),
        (("built_for", "sm"), "87", "built_for.sm: expected such as 8.7"),
        (("built_for", "library"), "other", "built_for.library: expected one of"),
        (("plugins",), [{"name": "../x.so", "sha256": "a" * 64}], "without folder"),
        (("plugins",), [{"name": "..", "sha256": "a" * 64}], "without folder"),
        (("manifest", "threshold"), 2.0, "threshold"),
        (("extra",), 1, "unknown key 'extra'"),
        (("build_s",), 12.6, "checksum"),
        (("checksum",), "0" * 64, "checksum"),
        (("tools", "differseg"), "9.9", "checksum"),
        (("tools", "differseg"), "\ud800", "checksum"),
    ],
)
def test_every_edit_is_named(path: tuple[Any, ...], value: Any, expected: str) -> None:
    with pytest.raises(ManifestError) as refusal:
        EngineSidecar.from_json(edited(path, value))
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "{}", '{"schema": 1}', "[" * 100_000])
def test_what_is_no_sidecar_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        EngineSidecar.from_json(text)


def test_another_layout_of_the_same_values_is_refused() -> None:
    """Nothing about the text is left unguarded, so a copy that differs is a damaged one."""
    text = sidecar_of(BYTES).to_json()
    for other in (text + "\n", text.replace(" ", "", 1), json.dumps(json.loads(text))):
        with pytest.raises(ManifestError, match="checksum"):
            EngineSidecar.from_json(other)
