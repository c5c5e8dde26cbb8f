"""Triton repositories: configurations that the published schema takes, clients that get masks."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg import cli
from differseg.engine_sidecar import BuiltFor, EngineSidecar, PluginFile, sidecar_path
from differseg.errors import CheckFailedError, InputError, ModelFileError
from differseg.export import triton_repository
from differseg.export.masks import write_masks
from differseg.export.pbtxt import EnumName, message_text
from differseg.export.triton import write_triton
from differseg.export.triton_config import Serving, config_fields
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest
from differseg.runtime import Segmenter
from differseg.signing import load_key

pytest.importorskip("tritonclient.grpc", reason="tritonclient and grpcio are not installed")
import triton_server
from tritonclient.grpc import model_config_pb2 as schema

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx", tiny_onnx(), tiny_manifest())


def free_batch(manifest: Manifest, **sizes: int) -> Manifest:
    def free(spec):
        return replace(spec, shape=(-1, *spec.shape[1:]))

    return replace(
        manifest,
        inputs=tuple(map(free, manifest.inputs)),
        outputs=tuple(map(free, manifest.outputs)),
    )


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_onnx()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    path = tmp_path_factory.mktemp("batched") / "batched.onnx"
    return write_model(path, model, free_batch(tiny_manifest(model="batched")))


def engine_file(
    folder: Path, library: str = "tensorrt", key: Path | None = None, plugin: bool = True
) -> Path:
    """A file that stands for an engine, with a true sidecar and a plugin library."""
    engine, beside = folder / "F.engine", folder / "libdifferseg_plugins.so"
    engine.write_bytes(b"plan")
    beside.write_bytes(b"library")
    plugins = (PluginFile(beside.name, sha256_of(beside)),) if plugin else ()
    built = BuiltFor(library, "10.3.0", "linux-aarch64", sm="8.7", device="Orin")
    manifest = Manifest.from_json(tiny_manifest(precision="fp16").to_json())  # as from a file
    sidecar = EngineSidecar(sha256_of(engine), 4, "0" * 64, built, manifest, plugins)
    if key is not None:
        sidecar = sidecar.signed(load_key(key))
    sidecar_path(engine).write_text(sidecar.to_json())
    return engine


def written(repository: Path) -> set[str]:
    return {str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file()}


def test_a_fixed_batch_is_served_without_batching(tiny, tmp_path):
    made = write_triton(tiny, tmp_path / "repo")
    config = triton_server.read_config(tmp_path / "repo" / "tiny")
    assert (config.name, config.platform, config.backend) == (
        "tiny",
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    rgb, thermal = config.input
    assert (rgb.name, rgb.data_type, list(rgb.dims)) == ("rgb", schema.TYPE_UINT8, [1, 16, 24, 3])
    assert (thermal.data_type, list(thermal.dims)) == (schema.TYPE_FP32, [1, 1, 16, 24])
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [
        ("probability", schema.TYPE_FP32, [1, 1, 16, 24])
    ]
    assert [(g.count, g.kind) for g in config.instance_group] == [
        (1, schema.ModelInstanceGroup.KIND_AUTO)
    ]
    assert config.version_policy.latest.num_versions == 1
    black, noise = config.model_warmup
    assert black.inputs["rgb"].zero_data
    assert noise.inputs["thermal"].random_data
    assert {w.batch_size for w in config.model_warmup} == {1}
    assert Manifest.from_json(config.parameters["differseg"].string_value) == tiny_manifest()
    assert written(tmp_path / "repo") == {
        "tiny/config.pbtxt", "tiny/README.md", "tiny/1/model.onnx", "tiny/1/manifest.json",
    }  # fmt: skip
    assert made.folder == tmp_path / "repo" / "tiny" / "1"
    assert made.folder.joinpath("model.onnx").read_bytes() == tiny.read_bytes()
    assert list(tmp_path.glob(".*")) == []


def test_a_free_batch_gets_the_dynamic_batcher(batched, tmp_path):
    write_triton(
        batched, tmp_path, max_batch=4, preferred_batch=(4, 2), queue_delay_ms=1.5, device="cpu",
        threads=2, instances=3, keep_versions=2,
    )  # fmt: skip
    config = triton_server.read_config(tmp_path / "batched")
    assert config.max_batch_size == 4
    assert list(config.input[0].dims) == [16, 24, 3]
    assert list(config.output[0].dims) == [1, 16, 24]
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]
    assert config.dynamic_batching.max_queue_delay_microseconds == 1500
    assert list(config.model_warmup[0].inputs["rgb"].dims) == [16, 24, 3]
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_CPU
    assert config.instance_group[0].count == 3
    assert config.version_policy.latest.num_versions == 2


@pytest.mark.parametrize("device", ["auto", "gpu", "cpu"])
def test_every_combination_parses_by_the_published_schema(device):
    """Options that go together, over fixed and free batches and sizes, files and engines."""
    from google.protobuf import text_format

    fixed = tiny_manifest()
    rgb, thermal = fixed.inputs
    free_sizes = replace(
        fixed, inputs=(replace(rgb, shape=(1, -1, -1, 3)), replace(thermal, shape=(1, 1, -1, -1)))
    )
    parsed = 0
    for manifest, served, accelerator, gpus, threads, warmup in itertools.product(
        (fixed, free_batch(fixed), free_sizes, replace(fixed, precision="int8")),
        ("onnx", "engine"),
        ("none", "tensorrt", "openvino"),
        ((), (0, 2)),
        (None, 4),
        (True, False),
    ):
        serving = Serving(
            device=device, gpus=gpus, threads=threads, accelerator=accelerator, warmup=warmup,
            engine_cache="/cache" if accelerator == "tensorrt" else None,
        )  # fmt: skip
        try:
            fields = config_fields("a.b-c_1", manifest, served, serving)
        except InputError:
            continue
        config = text_format.Parse(message_text(fields), schema.ModelConfig())
        assert config.IsInitialized()
        assert list(config.instance_group[0].gpus) == list(gpus)
        assert len(config.model_warmup) == (2 if warmup and manifest is not free_sizes else 0)
        parsed += 1
    assert parsed > 10


def test_tensorrt_inside_onnxruntime_takes_the_precision_of_the_file():
    manifest = tiny_manifest(precision="fp16")
    serving = Serving(accelerator="tensorrt", engine_cache="/cache")
    from google.protobuf import text_format

    text = message_text(config_fields("m", manifest, "onnx", serving))
    config = text_format.Parse(text, schema.ModelConfig())
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == {
        "precision_mode": "FP16",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/cache",
    }


def test_text_format_escapes_what_a_manifest_may_hold():
    from google.protobuf import text_format

    text = 'a "quoted" \\ line\nnext\ttab \x01 Wärme 熱'
    fields = {"name": text, "version_policy": {"all": {}}, "max_batch_size": None, "input": []}
    message = message_text(fields)
    assert message.isascii()
    config = text_format.Parse(message, schema.ModelConfig())
    assert config.name == text
    assert config.version_policy.HasField("all")
    assert message_text({"kind": EnumName("KIND_GPU"), "warm": False, "x": 0.5}) == (
        "kind: KIND_GPU\nwarm: false\nx: 0.5\n"
    )
    with pytest.raises(TypeError, match="bytes"):
        message_text({"name": b""})


def test_an_engine_goes_with_its_sidecar_and_plugins(tmp_path, capsys):
    engine = engine_file(tmp_path)
    command = ["triton", str(engine), "-o", str(tmp_path / "repo"), "--name", "orin", "--gpu", "0"]
    assert cli.main([*command, "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["name"] == "orin"
    config = triton_server.read_config(tmp_path / "repo" / "orin")
    assert (config.platform, config.backend) == ("tensorrt_plan", "tensorrt")
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    assert list(config.instance_group[0].gpus) == [0]
    assert written(tmp_path / "repo") == {
        "orin/config.pbtxt", "orin/README.md", "orin/1/model.plan", "orin/1/model.plan.json",
        "orin/1/manifest.json", "orin/1/libdifferseg_plugins.so",
    }  # fmt: skip
    flag = '--backend-config=tensorrt,plugins="/models/orin/1/libdifferseg_plugins.so"'
    readme = (tmp_path / "repo" / "orin" / "README.md").read_text()
    assert flag in out
    assert flag in readme
    assert "TensorRT 10.3.0 and a GPU of compute capability 8.7" in readme


def test_an_engine_that_is_not_the_sidecars_is_refused(tmp_path):
    engine = engine_file(tmp_path)
    engine.write_bytes(b"more")
    with pytest.raises(ModelFileError, match=r"F\.engine is missing or not the one"):
        write_triton(engine, tmp_path / "repo")
    engine = engine_file(tmp_path)
    (tmp_path / "libdifferseg_plugins.so").unlink()
    with pytest.raises(ModelFileError, match=r"libdifferseg_plugins\.so is missing"):
        write_triton(engine, tmp_path / "repo")
    sidecar_path(engine).unlink()
    with pytest.raises(ModelFileError, match="no sidecar"):
        write_triton(engine, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


def test_a_key_asks_for_its_signature(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef" * 4)
    engine = engine_file(tmp_path)
    with pytest.raises(CheckFailedError, match="not signed"):
        write_triton(engine, tmp_path / "repo", engine_key=key)
    engine = engine_file(tmp_path, key=key)
    write_triton(engine, tmp_path / "repo", engine_key=key)


def test_an_rtx_engine_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="TensorRT-RTX engine"):
        write_triton(engine_file(tmp_path, "tensorrt_rtx"), tmp_path / "repo")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "a/b"}, "--name 'a/b'"),
        ({"name": ".hidden"}, "--name '.hidden'"),
        ({"version": 0}, "--version 0"),
        ({"instances": 0}, "--instances 0"),
        ({"threads": 0}, "--threads 0"),
        ({"keep_versions": 0}, "--keep-versions 0"),
        ({"gpu": (1,), "device": "cpu"}, "--gpu names a GPU"),
        ({"gpu": (1, 1)}, "different numbers"),
        ({"accelerator": "tensorrt", "device": "cpu"}, "runs on a GPU"),
        ({"accelerator": "openvino"}, "add --device cpu"),
        ({"engine_cache": "/cache"}, "--accelerator tensorrt"),
        ({"preferred_batch": (2,)}, "fixed at 1"),
        ({"preferred_batch": (9,)}, "expected 1 to 8"),
        ({"queue_delay_ms": -1.0}, "expected 0 or more"),
        ({"engine_key": Path("k")}, "--engine-key is for engines"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(tiny, tmp_path, options, text):
    with pytest.raises(InputError) as error:
        write_triton(tiny, tmp_path / "repo", **options)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "repo").exists()


@pytest.mark.parametrize(
    "options", [{"device": "cpu"}, {"accelerator": "tensorrt"}, {"threads": 2}], ids=str
)
def test_engine_options_that_do_not_fit(tmp_path, options):
    with pytest.raises(InputError, match="engine"):
        write_triton(engine_file(tmp_path), tmp_path / "repo", **options)


def test_versions_are_added_and_never_replaced_unasked(tiny, tmp_path):
    repository = tmp_path / "repo"
    write_triton(tiny, repository)
    with pytest.raises(InputError, match="is there already"):
        write_triton(tiny, repository)
    write_triton(tiny, repository, version=2, keep_versions=2)
    assert triton_server.read_config(repository / "tiny").version_policy.latest.num_versions == 2
    before = (repository / "tiny" / "1" / "model.onnx").stat().st_ino
    write_triton(tiny, repository, overwrite=True)
    assert (repository / "tiny" / "1" / "model.onnx").stat().st_ino != before
    assert (repository / "tiny" / "2" / "model.onnx").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["repo"]


def test_one_name_keeps_one_contract_and_one_kind(tiny, tmp_path):
    repository = tmp_path / "repo"
    write_triton(tiny, repository)
    other = tmp_path / "other.onnx"
    write_model(other, tiny_onnx((32, 24)), tiny_manifest((32, 24)))
    with pytest.raises(InputError, match="other inputs or outputs"):
        write_triton(other, repository, version=2)
    with pytest.raises(InputError, match=r"no model\.plan"):
        write_triton(engine_file(tmp_path), repository, version=2)
    (repository / "tiny" / "1" / "manifest.json").unlink()
    with pytest.raises(InputError, match="differseg did not write it"):
        write_triton(tiny, repository, version=2)
    assert not (repository / "tiny" / "2").exists()


@pytest.mark.parametrize("first", [True, False], ids=["a new model", "a new version"])
def test_nothing_is_left_half_written(tiny, tmp_path, monkeypatch, first):
    repository = tmp_path / "repo"
    if not first:
        write_triton(tiny, repository)
    before = written(repository) if not first else set()

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(triton_repository.shutil, "copyfile", full)
    assert cli.main(["triton", str(tiny), "-o", str(repository), "--version", "2"]) == 2
    assert written(repository) == before
    assert [p.name for p in tmp_path.iterdir()] == ["repo"]


def test_a_place_that_cannot_be_written_is_one_line(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another -o"):
        write_triton(tiny, tmp_path / "file" / "repo")


def documented_client() -> str:
    """The client of docs/triton.md, without the two lines that use it."""
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "triton.md").read_text(), re.DOTALL)
    code, use = block.split('\nsegmenter = RemoteSegmenter("localhost:8001", "differseg-edge")\n')
    assert use.startswith("mask = segmenter(rgb=rgb, thermal=thermal)")
    return code


def test_the_documented_client_gets_the_runtimes_mask(tiny, batched, tmp_path):
    masks = tmp_path / "masks.onnx"
    write_masks(tiny, masks)
    write_triton(masks, tmp_path / "repo", name="masks")
    for model in (tiny, batched):
        write_triton(model, tmp_path / "repo")
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (16, 24, 3), np.uint8)
    thermal = rng.integers(29000, 31000, (16, 24)).astype(np.uint16)
    with Segmenter(tiny, threads=1, color_order="BGR") as segmenter:
        expected = segmenter(rgb=rgb, thermal=thermal).mask.copy()
    assert 0 < expected.mean() < 1
    scope: dict[str, object] = {}
    exec(documented_client(), scope)
    with triton_server.serving(tmp_path / "repo") as address:
        for name in ("tiny", "batched", "masks"):
            remote = scope["RemoteSegmenter"](address, name)  # type: ignore[operator]
            np.testing.assert_array_equal(remote(rgb=rgb, thermal=thermal), expected)


def test_the_page_names_every_flag_and_the_printed_command(tiny, tmp_path):
    page = (DOCS / "triton.md").read_text()
    flags = "device gpu instances accelerator engine-cache threads max-batch preferred-batch \
        queue-delay-ms keep-versions no-warmup engine-key name version overwrite".split()
    assert [flag for flag in flags if f"--{flag}" not in page] == []
    assert "\n".join(write_triton(tiny, tmp_path / "repo").serve) in page


def test_a_file_of_another_tool_is_refused(tmp_path):
    import onnx

    path = tmp_path / "foreign.onnx"
    onnx.save(tiny_onnx(), str(path))
    with pytest.raises(ModelFileError, match="no differseg manifest"):
        write_triton(path, tmp_path / "repo")
    shutil.copyfile(path, tmp_path / "cut.onnx")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:60])
    with pytest.raises(ModelFileError):
        write_triton(tmp_path / "cut.onnx", tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free batch"])
def test_a_graph_that_onnxruntime_cannot_run_is_refused(tmp_path, free):
    model = tiny_onnx()
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Haar", "differseg"
    model.opset_import.add(domain="differseg", version=1)
    manifest = tiny_manifest(operator_form="plugin")
    path = write_model(tmp_path / "p.onnx", model, free_batch(manifest) if free else manifest)
    with pytest.raises(ModelFileError, match="cannot load it" if free else "--ops portable"):
        write_triton(path, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
