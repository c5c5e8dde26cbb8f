"""``differseg build`` with TensorRT-RTX, for real: files, cache, signatures, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from differseg.engine_sidecar import EngineSidecar, sidecar_path
from differseg.errors import CheckFailedError, InputError
from differseg.export import rtx
from differseg.export.build_engine import build_engine, main
from differseg.export.masks import write_masks
from differseg.export.modelfile import manifest_of, read_model
from differseg.file_hash import sha256_of
from differseg.runtime.engine_file import read_sidecar
from differseg.signing import load_key

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="NVIDIA's package is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "differseg"


def sidecar_of(engine: Path) -> EngineSidecar:
    return EngineSidecar.from_json(sidecar_path(engine).read_text())


@needs_rtx
def test_an_rtx_engine_is_built_without_a_gpu(model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "m.rtx"
    report = build_engine(model_file, out=out, target="rtx1")
    sidecar = sidecar_of(out)
    assert report.sidecar == sidecar
    assert sidecar.engine_bytes == out.stat().st_size > 10_000
    assert sidecar.engine_sha256 == sha256_of(out)
    assert sidecar.model_sha256 == sha256_of(model_file)
    assert sidecar.manifest == manifest_of(read_model(model_file))
    built = sidecar.built_for
    assert (built.library, built.sm, built.platform) == ("tensorrt_rtx", None, "linux-x86_64")
    assert built.version in rtx.TESTED_VERSIONS
    assert sidecar.build_s > 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["m.rtx", "m.rtx.json"]


@needs_rtx
def test_the_second_build_is_a_copy(model_file: Path, tmp_path: Path, cache: Path) -> None:
    first = build_engine(model_file, out=tmp_path / "a.rtx", target="rtx1")
    second = build_engine(model_file, out=tmp_path / "b.rtx", target="rtx1")
    assert (first.from_cache, second.from_cache) == (False, True)
    assert (tmp_path / "a.rtx").read_bytes() == (tmp_path / "b.rtx").read_bytes()
    assert sidecar_of(tmp_path / "a.rtx") == sidecar_of(tmp_path / "b.rtx")
    entry = next((cache / "engines").glob("*/model.engine"))
    entry.write_bytes(entry.read_bytes()[:-7])  # a damaged cache is not handed out
    third = build_engine(model_file, out=tmp_path / "c.rtx", target="rtx1")
    assert not third.from_cache
    assert read_sidecar(tmp_path / "c.rtx").engine_bytes == (tmp_path / "c.rtx").stat().st_size
    fourth = build_engine(model_file, out=tmp_path / "d.rtx", target="rtx1", cache=False)
    assert not fourth.from_cache


@needs_rtx
def test_an_engine_of_masks(model_file: Path, tmp_path: Path) -> None:
    masks = write_masks(model_file, tmp_path / "masks.onnx").path
    report = build_engine(masks, target="rtx1", cache=False)
    assert report.path == tmp_path / "masks.rtx"
    assert [output.kind for output in report.sidecar.manifest.outputs] == ["mask", "mean"]


@needs_rtx
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"level": 3}, "--level: TensorRT-RTX 1.7"),
        ({"hardware": "ampere+"}, "--hardware: TensorRT-RTX"),
        ({"fp16": True}, "--fp16: TensorRT 11 takes precision from the graph"),
    ],
)
def test_choices_that_rtx_has_not_are_refused(
    model_file: Path, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        build_engine(model_file, out=tmp_path / "m.rtx", target="rtx1", **options)
    assert not (tmp_path / "m.rtx").exists()


@needs_rtx
def test_the_sidecar_is_signed_on_the_way_out_of_the_cache_too(
    model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "k").write_bytes(b"k" * 32)
    key = load_key(tmp_path / "k")
    for name, cached in (("a", False), ("b", True)):
        out = tmp_path / f"{name}.rtx"
        report = build_engine(model_file, out=out, target="rtx1", sign_key=tmp_path / "k")
        assert report.from_cache == cached
        assert read_sidecar(out, key).signature is not None
    plain = build_engine(model_file, out=tmp_path / "c.rtx", target="rtx1")
    assert plain.sidecar.signature is None
    with pytest.raises(CheckFailedError, match="not signed"):
        read_sidecar(tmp_path / "c.rtx", key)


def test_a_key_that_is_none_is_said_before_anything_is_built(
    model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "k").write_bytes(b"short")
    with pytest.raises(InputError, match="expected at least 32"):
        build_engine(model_file, target="rtx1", sign_key=tmp_path / "k")


@needs_rtx
def test_the_command_prints_where_it_may_run(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.rtx"
    assert main([str(model_file), "-o", str(out), "--target", "rtx1", "--json"]) == 0
    text = capsys.readouterr().out
    assert "TensorRT-RTX" in text
    assert "finished on the GPU that loads it" in text
    report = json.loads(text.strip().splitlines()[-1])
    assert report["sidecar"]["engine_sha256"] == sha256_of(out)
