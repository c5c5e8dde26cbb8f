"""Engines are refused before they are deserialised: every case with real files, and a fuzz."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from engine_files import BYTES, ORIN, sidecar_of, write_engine

from differseg.engine_sidecar import BuiltFor, sidecar_path
from differseg.errors import CheckFailedError, DifferSegError, ManifestError, ModelFileError
from differseg.runtime.engine_file import is_engine, open_engine_file
from differseg.signing import Key, load_key


@pytest.fixture
def key(tmp_path: Path) -> Key:
    path = tmp_path / "owner.key"
    path.write_bytes(b"o" * 32)
    return load_key(path)


def test_an_engine_of_ours_is_handed_out(tmp_path: Path) -> None:
    engine = write_engine(tmp_path, plugin=b"library")
    file = open_engine_file(engine, ORIN)
    assert file.data == BYTES
    assert file.plugins == (tmp_path / "libp.so",)
    assert file.sidecar.manifest.model == "small"


def test_engine_files_are_known_by_their_ending() -> None:
    assert [is_engine(name) for name in ("a.engine", "b.PLAN", "c.rtx", "d.onnx")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_a_missing_engine_and_a_missing_sidecar_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no such file; make one with: differseg b"):
        open_engine_file(tmp_path / "no.engine", ORIN)
    engine = write_engine(tmp_path)
    sidecar_path(engine).unlink()
    with pytest.raises(ModelFileError, match=r"no sidecar model\.engine\.json beside it"):
        open_engine_file(engine, ORIN)


@pytest.mark.parametrize(
    "data",
    [BYTES[:-1], BYTES + b"\0", b"\1" + BYTES[1:], b""],
    ids="short long other empty".split(),
)
def test_other_bytes_than_the_sidecars_are_refused(tmp_path: Path, data: bytes) -> None:
    engine = write_engine(tmp_path)
    engine.write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged or exchanged"):
        open_engine_file(engine, ORIN)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": "8.6.2"}, "built by TensorRT 8.6.2, here is 10.3.0"),
        ({"version": "10.3.1"}, "built by TensorRT 10.3.1, here is 10.3.0"),
        (
            {"sm": "8.6", "device": "RTX 3060"},
            r"SM 8.6 \(RTX 3060\), the one here is SM 8.7 \(Orin",
        ),
        ({"platform": "linux-x86_64"}, "built for linux-x86_64, this is linux-aarch64"),
        ({"library": "tensorrt_rtx", "version": "1.7.1"}, "built by TensorRT-RTX 1.7.1, here is"),
        ({"sm": "9.0", "hardware_compatibility": "same_compute_capability"}, "SM 9.0"),
        ({"version": "10.9.0", "version_compatible": True}, "built by TensorRT 10.9.0"),
        ({"sm": None}, "does not say for which GPU"),
    ],
)
def test_an_engine_for_another_machine_is_refused(
    tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    built = replace(BuiltFor("tensorrt", "10.3.0", "linux-aarch64", "8.7", "Orin"), **changes)
    engine = write_engine(tmp_path, built_for=built)
    with pytest.raises(ModelFileError, match=expected) as refusal:
        open_engine_file(engine, ORIN)
    assert f"differseg build MODEL.onnx -o {engine}" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "here"),
    [
        ({"version": "8.6.1", "version_compatible": True}, {}),
        ({"version": "10.0.1", "version_compatible": True}, {}),
        ({"version": "10.9.0", "version_compatible": True}, {"version": "11.4.1"}),
        ({"sm": "8.0", "hardware_compatibility": "ampere+"}, {}),
        ({"sm": "8.0", "hardware_compatibility": "ampere+"}, {"sm": "11.0"}),
        ({"hardware_compatibility": "same_compute_capability"}, {}),
        ({"version": "10.3.0.30"}, {}),
    ],
)
def test_an_engine_that_may_move_is_taken(
    tmp_path: Path, changes: dict[str, str], here: dict[str, str]
) -> None:
    built = replace(BuiltFor("tensorrt", "10.3.0", "linux-aarch64", "8.7"), **changes)
    engine = write_engine(tmp_path, built_for=built)
    assert open_engine_file(engine, replace(ORIN, **here)).data == BYTES


def test_version_8_does_not_run_on_11(tmp_path: Path) -> None:
    built = BuiltFor("tensorrt", "8.6.1", "linux-aarch64", "8.7", version_compatible=True)
    engine = write_engine(tmp_path, built_for=built)
    with pytest.raises(ModelFileError, match=r"8\.6\.1"):
        open_engine_file(engine, replace(ORIN, version="11.4.1"))


def test_an_engine_for_every_gpu_is_that_of_tensorrt_rtx(tmp_path: Path) -> None:
    built = BuiltFor("tensorrt_rtx", "1.7.1", "linux-x86_64")
    engine = write_engine(tmp_path, built_for=built)
    here = replace(ORIN, library="tensorrt_rtx", version="1.7.1", platform="linux-x86_64", sm="8.9")
    assert open_engine_file(engine, here).data == BYTES


def test_a_changed_or_missing_plugin_is_refused(tmp_path: Path) -> None:
    engine = write_engine(tmp_path, plugin=b"library")
    (tmp_path / "libp.so").write_bytes(b"another")
    with pytest.raises(ModelFileError, match="a plugin is code"):
        open_engine_file(engine, ORIN)
    (tmp_path / "libp.so").unlink()
    with pytest.raises(ModelFileError, match=r"needs the plugin library libp\.so"):
        open_engine_file(engine, ORIN)


def test_with_a_key_only_its_engines_are_taken(tmp_path: Path, key: Key) -> None:
    assert open_engine_file(write_engine(tmp_path, key=key), ORIN, key).data == BYTES
    with pytest.raises(CheckFailedError, match="not signed, and a key is asked for"):
        open_engine_file(write_engine(tmp_path), ORIN, key)
    (tmp_path / "stranger.key").write_bytes(b"s" * 32)
    stranger = load_key(tmp_path / "stranger.key")
    with pytest.raises(CheckFailedError, match="its signature is not of this key"):
        open_engine_file(write_engine(tmp_path, key=stranger), ORIN, key)


def test_a_signature_does_not_cover_another_engine(tmp_path: Path, key: Key) -> None:
    """A sidecar written anew for other bytes has a good checksum and a signature that is none."""
    signed = sidecar_of(BYTES).signed(key)
    forged = replace(sidecar_of(b"other"), signature=signed.signature)
    engine = tmp_path / "model.engine"
    engine.write_bytes(b"other")
    sidecar_path(engine).write_text(forged.to_json())
    with pytest.raises(CheckFailedError, match="changed afterwards"):
        open_engine_file(engine, ORIN, key)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return other bytes: one changed, cut off, doubled, put in or taken out."""
    place = rng.randrange(len(data))
    cut = data[:place], data[place:]
    other = bytes([data[place] ^ (1 << rng.randrange(8))])
    kind = rng.randrange(6)
    if kind == 0:
        return cut[0] + other + cut[1][1:]
    if kind == 1:
        return cut[0]
    if kind == 2:
        return data + cut[1]
    if kind == 3:
        return cut[0] + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9))) + cut[1]
    if kind == 4:
        return cut[0] + cut[1][rng.randrange(1, 40) :]
    digits = [index for index, byte in enumerate(data) if chr(byte).isdigit()]
    at = rng.choice(digits) if digits else place
    return data[:at] + str(rng.randrange(10)).encode() + data[at + 1 :]


def test_a_thousand_mutations_are_refused_with_our_words(tmp_path: Path) -> None:
    """Of sidecar or engine; none is handed out, so none would be deserialised."""
    rng = random.Random(20)
    engine = write_engine(tmp_path, plugin=b"library")
    files = (engine, sidecar_path(engine), tmp_path / "libp.so")
    kinds: Counter[str] = Counter()
    for _ in range(1000):
        path = rng.choice(files)
        good = path.read_bytes()
        bad = mutated(good, rng)
        if bad == good:
            bad = good + b"x"
        path.write_bytes(bad)
        with pytest.raises(DifferSegError) as refusal:
            open_engine_file(engine, ORIN)
        assert "\n" not in str(refusal.value)
        kinds[type(refusal.value).__name__] += 1
        path.write_bytes(good)
    assert open_engine_file(engine, ORIN).data == BYTES
    assert kinds["ManifestError"] > 200
    assert kinds["ModelFileError"] > 400


def test_a_sidecar_that_is_no_text_is_refused(tmp_path: Path) -> None:
    engine = write_engine(tmp_path)
    sidecar_path(engine).write_bytes(b"\xff\xfe{}")
    with pytest.raises(ManifestError, match="not UTF-8"):
        open_engine_file(engine, ORIN)
