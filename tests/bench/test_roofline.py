"""The two roofs, the estimate, and the reports of a small file on this machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.bench import layer_times, machine_peak
from differseg.bench.devices import DEVICES, Device, device_named
from differseg.bench.estimate import FAST, FIT, PUBLISHED, SLOW, estimate
from differseg.bench.layer_costs import Layer
from differseg.bench.roofline import by_kind, roofline
from differseg.bench.roofline_report import roofline_report
from differseg.bench.tables import tables_as_markdown
from differseg.cli import main as cli
from differseg.errors import InputError

DEVICE = Device(
    "toy", "Toy", 100.0, {"fp32": 1.0, "fp16": 2.0, "int8": 4.0}, {"fp32": 0.5}, clock_mhz=650
)


def layer(name="a", flops=0, size=0, **changes) -> Layer:
    made = Layer(
        name, "Conv", "convolution", (name,), (f"{name}_out",), "fp32", "matrix", flops, size
    )
    return replace(made, **changes)


def test_a_layer_meets_the_higher_roof():
    """1e12 operations a second and 1e11 bytes a second: even at 10 operations a byte."""
    compute, memory = layer("a", 2_000_000, 100_000), layer("b", 500_000, 100_000)
    half = layer("c", 2_000_000, 1, precision="fp16")
    vector = layer("d", 2_000_000, 1, units="vector")
    times = roofline([compute, memory, half, vector], DEVICE).layers
    assert [time.ideal_s for time in times] == pytest.approx([2e-6, 1e-6, 1e-6, 4e-6])
    assert [time.bound for time in times] == ["compute", "memory", "compute", "compute"]


def test_caches_raise_the_memory_roof_of_small_layers():
    device = replace(DEVICE, cache_gbs=((1000, 400.0), (10_000, 50.0)))
    assert device.memory_s(layer(size=1000)) == pytest.approx(1000 / 400e9)
    assert device.memory_s(layer(size=5000)) == pytest.approx(5000 / 100e9)  # never below memory
    assert device.memory_s(layer(size=20_000)) == pytest.approx(20_000 / 100e9)


def test_kinds_are_added_up_with_what_was_measured():
    layers = [
        layer("a", 2_000_000, 100_000),
        layer("b", 0, 100_000),
        layer("m", 0, 300_000, kind="movement"),
    ]
    rows = by_kind(roofline(layers, DEVICE, {"a": 4e-6, "b": 2e-6}))
    convolution, movement = rows
    assert (convolution.kind, convolution.count, convolution.bytes) == ("convolution", 2, 200_000)
    assert convolution.ideal_s == pytest.approx(3e-6)
    assert convolution.measured_s == pytest.approx(6e-6)
    assert convolution.fraction == pytest.approx(0.5)
    assert convolution.memory_share == pytest.approx(1 / 3)
    assert (movement.measured_s, movement.fraction) == (None, None)


def test_the_estimate_is_a_range_around_its_formula():
    layers = [layer(str(n), 1_000_000, 100_000) for n in range(10)]  # 1 us each
    made = estimate(layers, DEVICE, reference_mhz=1300)
    assert made.ideal_ms == pytest.approx(0.010)
    assert made.typical_ms == pytest.approx(0.010 / 0.49 + 10 * 5.4 / 1e3)
    assert made.fast_ms == pytest.approx(0.010 / 0.60 + 10 * 4.0 / 1e3)
    assert made.slow_ms == pytest.approx(0.010 / 0.35 + 10 * 8.0 * 2 / 1e3)  # half the clock
    assert estimate(layers, replace(DEVICE, clock_mhz=None), 1300).slow_ms < made.slow_ms
    half = [*layers[:5], *(layer(str(n), 4_000_000, 1, precision="int8") for n in range(5))]
    made = estimate(half, DEVICE, reference_mhz=1300)
    assert made.typical_ms == pytest.approx(0.005 / 0.49 + 0.005 / 0.30 + 10 * 5.4 / 1e3)
    for end in ("efficiency", "int8_efficiency"):
        assert getattr(FAST, end) > getattr(FIT, end) > getattr(SLOW, end)


@pytest.mark.parametrize(
    ("name", "sparse_int8_tops", "fp32_tflops"),
    [
        ("orin-nano-4gb", 20, 0.64),
        ("orin-nano-8gb", 40, 1.28),
        ("orin-nano-8gb-super", 67, 2.09),
        ("orin-nx-16gb", 60, 1.88),
        ("agx-orin-32gb", 108, 3.33),
        ("agx-orin-64gb", 170, 5.3),
    ],
)
def test_orin_rates_are_the_data_sheets(name, sparse_int8_tops, fp32_tflops):
    device = DEVICES[name]
    assert 2 * device.matrix_tflops["int8"] == pytest.approx(sparse_int8_tops, rel=0.03)
    assert device.vector_tflops["fp32"] == pytest.approx(fp32_tflops, rel=0.02)


def test_every_device_says_where_its_figures_are_from():
    assert len(DEVICES) >= 11
    for device in DEVICES.values():
        assert device.sources
        assert device.estimated
        assert device.matrix_tflops["fp32"] < device.matrix_tflops["fp16"]
        assert device.matrix_tflops["fp16"] < device.matrix_tflops["int8"]
    with pytest.raises(InputError, match="did you mean 'agx-orin-64gb'"):
        device_named("agx-orin-64")


def test_the_page_has_every_device_and_the_published_times():
    page = (Path(__file__).resolve().parents[2] / "docs" / "roofline.md").read_text()
    for device in DEVICES.values():
        assert f"| `{device.name}` | {device.label} | {device.bandwidth_gbs:g} |" in page
    for (name, size), ms in PUBLISHED.items():
        assert f"| {name} | {size} | {ms:.2f} |" in page
    for name, end in (("fast end", FAST), ("fit", FIT), ("slow end", SLOW)):
        figures = f"{end.efficiency:.2f} | {end.int8_efficiency:.2f} | {end.overhead_us:g} us"
        assert f"| {name} | {figures}" in page


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "tiny.onnx", tiny_onnx((64, 96)), tiny_manifest((64, 96)))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(machine_peak, "SIZES_MIB", (0.25, 4))
    monkeypatch.setattr(machine_peak, "_SIDE", 256)
    monkeypatch.setattr(machine_peak, "_SECONDS", 0.0)


def test_this_machine_has_two_roofs(quick):
    device = machine_peak.measure_machine(1)
    assert not device.estimated
    assert device.bandwidth_gbs > 0.5
    assert device.cache_gbs[0][0] == 2**18
    assert device.matrix_tflops["fp32"] > 0.001
    assert device.matrix_tflops["int8"] >= device.matrix_tflops["fp32"]
    lower = replace(
        device, bandwidth_gbs=0.1, cache_gbs=tuple((n, 1e9) for n, _ in device.cache_gbs)
    )
    best = machine_peak.better_of(lower, device)
    assert best.bandwidth_gbs == device.bandwidth_gbs
    assert dict(best.cache_gbs)[2**18] == 1e9


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engines_times_are_those_of_the_files_layers(model_file, engine):
    pytest.importorskip(engine)
    from differseg.bench.layer_costs import layers_of

    layers = layers_of(model_file)
    times = layer_times.engine_times(model_file, layers, engine, threads=1, runs=3)
    assert set(times.layers_s) <= {layer.name for layer in layers}
    convolution = next(layer.name for layer in layers if layer.kind == "convolution")
    assert times.layers_s[convolution] > 0
    assert times.total_s > 0
    assert times.own_s >= 0


def test_an_engines_node_is_shared_out_and_its_own_ones_are_kept_apart():
    layers = [layer("a", size=100, nodes=("a", "relu")), layer("b", size=300)]
    nodes = [(["relu"], 1.0), (["a", "b"], 4.0), (["Reorder"], 0.5), ([], 0.25)]
    assert layer_times._matched(layers, nodes) == ({"a": 2.0, "b": 3.0}, 0.75)
    assert layer_times._matched(layers, [(["a_out"], 1.0)]) == ({"a": 1.0}, 0.0)
    names = {
        "x/Relu_1_output_0_nchwc_kernel_time": "x/Relu_1",
        "y/Conv_token_5_kernel_time": "y/Conv",
        "z/MatMul/MatmulTransposeFusion/_kernel_time": "z/MatMul",
        "InsertedPrecisionFreeCast_c/Conv_kernel_time": "c/Conv",
        "plain_kernel_time": "plain",
    }
    assert [layer_times._ORT_ADDITIONS.sub("", name) for name in names] == list(names.values())


def test_the_report_of_a_file(model_file, quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    markdown = tmp_path / "roofline.md"
    command = ["bench", str(model_file), "--roofline", "--slowest", "2", "--threads", "1"]
    command += ["--device", "orin-nano-8gb", "--markdown", str(markdown), "--json"]
    assert cli(command) == 0
    *shown, last = capsys.readouterr().out.strip().splitlines()
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    assert "ESTIMATE for" in text
    assert "not measured on these devices" in text
    assert "slowest layers" in text
    document = json.loads(last)
    assert document["flops"] == sum(layer["flops"] for layer in document["layers"])
    assert document["machine"]["estimated"] is False
    assert document["measured"][0]["engine"].startswith("ONNX Runtime")
    (made,) = document["estimates"]
    assert made["estimate"] is True
    assert made["estimate_fast_ms"] < made["estimate_slow_ms"]
    assert "| ESTIMATE for |" in markdown.read_text()


def test_an_estimate_alone_measures_nothing(model_file, monkeypatch, capsys):
    monkeypatch.setattr(machine_peak, "measure_machine", None)
    assert cli(["bench", str(model_file), "--device", "all"]) == 0
    shown = capsys.readouterr().out
    assert all(device.label.split(",")[0] in shown for device in DEVICES.values())


def test_unknown_work_is_warned_of(tmp_path):
    report = roofline_report(
        write_model(tmp_path / "t.onnx", tiny_onnx(), tiny_manifest()),
        here=False,
        devices=["agx-orin-64gb"],
        threads=1,
    )
    assert report.warning is None
    odd = replace(report, layers=(layer("e", 0, 10, kind="unknown", op="Einsum"),))
    assert "the work of Einsum is not known" in str(odd.warning)
    assert "Warning: the work" in tables_as_markdown(odd.tables(), odd.summary(), odd.warning)


def test_an_engine_has_no_roofline(tmp_path):
    with pytest.raises(InputError, match="counted on an ONNX file"):
        roofline_report(tmp_path / "f.engine", here=False, devices=(), threads=1)
