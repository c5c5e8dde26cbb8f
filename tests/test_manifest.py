"""The manifest: round trip, and every kind of damage answered by the name of the field."""

import json
from dataclasses import replace

import pytest

from differseg.errors import ManifestError
from differseg.manifest import (
    ClassSpec,
    Decision,
    InputSpec,
    Manifest,
    OutputSpec,
    ParityRecord,
    ThermalPolicy,
    WeightsRecord,
    background_of,
)


def make_manifest() -> Manifest:
    rgb = InputSpec(
        "rgb", "rgb", (1, 480, 640, 3), "uint8", "NHWC", (0.0, 255.0),
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "RGB",
    )  # fmt: skip
    thermal = InputSpec(
        "thermal", "thermal", (1, 1, 480, 640), "float32", "NCHW", (0.0, 1.0), (0.5,), (0.5,),
        thermal_policy=ThermalPolicy(),
    )  # fmt: skip
    return Manifest(
        model="differseg-edge",
        system="differseg",
        task="rgbt",
        inputs=(rgb, thermal),
        outputs=(OutputSpec("probability", "probability", (1, 1, 480, 640)),),
        classes=(ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "object", (255, 64, 0))),
        threshold=0.5,
        weights=WeightsRecord("shipped", "0" * 64, "synthetic scenes"),
        model_config={"task": "rgbt", "widths": [16, 32]},
        tools={"torch": "2.13.0"},
        decisions=(Decision("opset", "17", "read by every target"),),
        parity=ParityRecord("PyTorch 2.13.0", 8, "synthetic", 1e-6, 1e-8, 0, 1.0),
    )


def test_round_trip_is_exact_and_stable():
    manifest = make_manifest()
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text).to_json() == text
    assert Manifest.from_json(manifest.to_json(indent=2)) == manifest


def test_lookup_by_modality_and_sizes():
    manifest = make_manifest()
    assert manifest.input("thermal") is manifest.inputs[1]
    assert manifest.input("depth") is None
    assert [spec.size_hw for spec in manifest.inputs] == [(480, 640), (480, 640)]
    assert [spec.channels for spec in manifest.inputs] == [3, 1]


NAN, INF = float("nan"), float("inf")


def nested(levels):
    return [nested(levels - 1)] if levels else []


def edit(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    if value is None:
        del document[last]
    else:
        document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("schema",), 2, r"schema: this differseg reads schema 1, got 2"),
        (("schema",), None, r"schema: this differseg reads schema 1, got None"),
        (("model",), None, r"required key 'model' is missing"),
        (("treshold",), 0.5, r"unknown key 'treshold'; did you mean 'threshold'\?"),
        (("threshold",), 1.5, r"threshold: expected a value between 0 and 1, got 1\.5"),
        (("threshold",), "high", r"threshold: expected float, got text 'high'"),
        (("threshold",), True, r"threshold: expected float, got bool True"),
        (("threshold",), 10**400, r"threshold: expected a finite number, got Infinity"),
        (("inputs", 0, "mean", 1), NAN, r"inputs\[0\]\.mean\[1\]: expected a finite number"),
        (("inputs", 0, "shape"), [1, 480, 640, 1], r"inputs\[0\]\.shape: expected 3 channel"),
        (("inputs", 1, "value_range", 1), INF, r"inputs\[1\]\.value_range\[1\]: .* got Infinity"),
        (
            ("inputs", 1, "thermal_policy", "low_ck"),
            -INF,
            r"thermal_policy\.low_ck: .* got -Infinity",
        ),
        (("model_config", "widths", 0), INF, r"model_config\.widths: expected a finite number"),
        (("model_config", "x"), nested(40), r"model_config\.x: nested more than 32 levels"),
        (("outputs", 0, "shape"), [-7], r"outputs\[0\]\.shape: expected 4 sizes > 0"),
        (("outputs", 0, "shape", 1), 2, r"outputs\[0\]\.shape: expected \(N, 1, H, W\)"),
        (("inputs",), [], r"inputs, outputs: need at least one each"),
        (("inputs",), {}, r"inputs: expected a list, got an object"),
        (("inputs", 0, "layout"), "HWC", r"inputs\[0\]\.layout: expected one of 'NHWC', 'NCHW'"),
        (("inputs", 0, "shape"), [1, 480, 640], r"inputs\[0\]\.shape: expected 4 sizes"),
        (("inputs", 0, "shape", 1), "480", r"inputs\[0\]\.shape\[1\]: expected int, got text"),
        (("inputs", 0, "std"), [0.0, 1.0, 1.0], r"inputs\[0\]\.std: expected finite values > 0"),
        (("inputs", 0, "mean"), [0.5], r"inputs\[0\]\.mean: expected 3 values"),
        (("inputs", 0, "value_range"), [1.0, 0.0], r"inputs\[0\]\.value_range: .* not increasing"),
        (("inputs", 1, "name"), "rgb", r"inputs: 'rgb' stands there twice"),
        (("inputs", 1, "thermal_policy", "kind"), "auto", r"inputs\[1\]\.thermal_policy\.kind"),
        (("inputs", 1, "thermal_policy", "low_ck"), 9e9, r"thermal_policy\.low_ck: .* not below"),
        (("inputs", 1, "thermal_policy", "low_percentile"), 99.5, r"low_percentile: need 0 <="),
        (("classes", 1, "id"), 300, r"classes\[1\]\.id: expected 0\.\.254, got 300"),
        (("classes", 1, "color_rgb"), [0, 0, 256], r"classes\[1\]\.color_rgb: expected 0\.\.255"),
        (("classes", 1, "id"), 0, r"classes: '0' stands there twice"),
        (("classes", 1, "name"), "background", r"classes: 'background' stands there twice"),
        (("weights",), "x", r"weights: expected an object, got text 'x'"),
        (("precision",), "fp8", r"precision: expected one of 'fp32', 'fp16', 'int8'; got 'fp8'"),
        (("parity", "images"), 1.5, r"parity\.images: expected int, got float 1\.5"),
    ],
)
def test_damage_is_named(path, value, expected):
    document = json.loads(make_manifest().to_json())
    edit(document, path, value)
    with pytest.raises(ManifestError, match=expected) as caught:
        Manifest.from_json(json.dumps(document))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "null", "[" * 200_000])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


def test_a_modality_stands_there_once():
    document = json.loads(make_manifest().to_json())
    document["inputs"].append({**document["inputs"][0], "name": "second"})
    with pytest.raises(ManifestError, match="inputs: 'rgb' stands there twice"):
        Manifest.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: ThermalPolicy(low_ck=-INF), "low_ck"),
        (lambda: ThermalPolicy(high_ck=INF), "high_ck"),
        (lambda: replace(make_manifest().inputs[1], mean=(NAN,)), "mean"),
        (lambda: replace(make_manifest().inputs[1], value_range=(0.0, INF)), "value_range"),
    ],
    ids=["low", "high", "mean", "range"],
)
def test_what_no_file_can_hold_is_refused_where_it_arises(build, field):
    with pytest.raises(ManifestError, match=f"{field}: expected finite numbers, got"):
        build()


def test_files_from_before_ties_were_counted_are_read():
    document = json.loads(make_manifest().to_json())
    assert document["parity"].pop("tied_pixels") == 0
    assert Manifest.from_json(json.dumps(document)) == make_manifest()


def test_a_thermal_input_needs_its_policy():
    with pytest.raises(ManifestError, match="thermal_policy"):
        InputSpec("t", "thermal", (1, 1, 8, 8), "float32", "NCHW", (0.0, 1.0), (0.5,), (0.5,))


@pytest.mark.parametrize(
    ("colors", "name"),
    [
        ([(9, 9, 9), (1, 1, 1)], "c0"),  # of two classes it is the first
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], "c0"),
        ([(9, 9, 9), (0, 0, 0), (2, 2, 2)], None),
    ],
)
def test_the_background_is_the_first_of_two_classes_or_a_black_first_one(colors, name):
    classes = [ClassSpec(number, f"c{number}", color) for number, color in enumerate(colors)]
    found = background_of(classes)
    assert (found and found.name) == name
