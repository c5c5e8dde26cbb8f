"""The plugin library in NVIDIA's own parser and builder, and by itself."""

from __future__ import annotations

import ctypes

import native_plugins as native
import onnx
import pytest
from native_plugins import Plugin
from onnx import TensorProto, helper
from plugin_fields import CHAR, INT64, Field, Fields
from plugin_nodes import DB2, HAAR, NODES, Node, graph, profiles

from differseg.export import rtx

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")
DTYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


@pytest.fixture
def built(plugin_library, tmp_path):
    """Parse and build a graph with our library loaded."""

    def build(model, *, library=plugin_library, **shapes):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return rtx.build(path, plugins=[library] if library else [], **shapes)

    return build


@needs_rtx
@pytest.mark.parametrize("batch", [2, "n"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NODES)
def test_a_node_becomes_our_plugin_with_the_right_shape(built, name, dtype, batch):
    node = NODES[name]
    shapes = {"profiles": profiles(node)} if batch == "n" else {}
    report = built(graph(node, batch=batch, dtype=DTYPES[dtype]), **shapes)
    assert report.passed, report.reason
    assert report.layer_types == {"activation": len(node.inputs) + 1, "plugin_v3": 1}
    (output,) = report.outputs
    assert output["shape"] == [-1 if batch == "n" else batch, *node.output]
    assert output["dtype"] == dtype
    assert report.engine_bytes > 500


@needs_rtx
@pytest.mark.parametrize(
    ("name", "inputs", "output"),
    [
        ("rfft2", ((3, "h", "w"),), [-1, 3, 2, -1, -1]),
        ("irfft2", ((3, 2, "h", 6),), [-1, 3, -1, 11]),
        ("dwt2", ((3, "h", "w"),), [-1, 3, 4, -1, -1]),
        ("dwt2-periodization", ((3, "h", "w"),), [-1, 3, 4, -1, -1]),
        ("reassemble-same-size", ((4, "h", "w"), (9, "h", "w")), [-1, 4, -1, -1]),
        ("local_similarity", ((5, "h", "w"),), [-1, 24, -1, -1]),
    ],
)
def test_heights_and_widths_may_be_dynamic(built, name, inputs, output):
    node = NODES[name].taking(*inputs)
    model = graph(node, batch="n")
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    report = built(model, profiles=profiles(node))
    assert report.passed, report.reason
    assert report.outputs[0]["shape"] == output


@needs_rtx
@pytest.mark.parametrize(
    "name", ["rfft2", "irfft2", "dwt2", "idwt2", "reassemble", "local_similarity"]
)
def test_without_the_library_the_same_file_is_refused(built, name):
    report = built(graph(NODES[name]), library=None)
    assert report.status == "refused"
    assert "Plugin not found" in report.reason
    assert report.errors[0].op == NODES[name].op


WRONG = {
    "norm": ("rfft2", {"norm": "unitary"}, "'unitary', expected one of backward, ortho, forward;"),
    "norm-kind": ("rfft2", {"norm": 1}, "norm is an INT, expected a STRING;"),
    "norm-missing": ("rfft2", {"norm": None}, "attribute norm is missing;"),
    "width": ("irfft2", {"width": 0}, "width is 0, expected 1 to"),
    "width-list": ("irfft2", {"width": [11, 11]}, "width holds 2 numbers, expected one;"),
    "mode": (
        "dwt2",
        {"mode": "mirror"},
        "'mirror', expected one of zero, symmetric, reflect, periodic, periodization;",
    ),
    "taps": ("dwt2", {"lowpass": [0.5] * 42}, "lowpass has 42 taps, expected 2 to 40;"),
    "odd": (
        "dwt2",
        {"lowpass": [0.5] * 3, "highpass": [0.5] * 3},
        "lowpass has 3 taps and highpass 3, expected one even number;",
    ),
    "pair": ("dwt2", {"highpass": HAAR[1]}, "lowpass has 4 taps and highpass 2, expected one"),
    "finite": ("idwt2", {"lowpass": [0.5, float("nan")]}, "has a tap that is no finite number;"),
    "even": ("reassemble", {"kernel_size": 4}, "kernel_size is 4, expected an odd number;"),
    "scale": ("reassemble", {"scale": 9}, "scale is 9, expected 1 to 4;"),
    "dilation": ("reassemble", {"dilation": 65}, "dilation is 65, expected 1 to 64;"),
    "groups": ("reassemble", {"groups": 0}, "groups is 0, expected 1 to"),
    "border": ("reassemble", {"border": "wrap"}, "'wrap', expected one of zeros, edge;"),
    "normalize": ("reassemble", {"normalize": ""}, "'', expected one of none, softmax, hamming;"),
    "neighbours": ("local_similarity", {"kernel_size": 1}, "kernel_size is 1, expected 3 to 9;"),
}


@needs_rtx
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_attribute_is_refused_in_our_words(built, wrong):
    name, attributes, said = WRONG[wrong]
    node = NODES[name].but(**attributes)
    report = built(graph(node))
    assert report.status == "refused"
    assert report.reason.startswith(f"differseg: {node.op}: ")
    assert said in report.reason
    assert report.plugin_errors[0] in report.reason


MISSHAPEN = {
    "rank": ("rfft2", ((3, 2, 12, 10),), "the input has 5 axes, expected 4"),
    "parts": ("irfft2", ((3, 3, 12, 6),), "axis 2 of the spectrum has extent 3, expected 2"),
    "columns": ("irfft2", ((3, 2, 12, 5),), "axis 4 of the spectrum has extent 5, expected 6"),
    "bands": ("idwt2", ((3, 3, 7, 8),), "axis 2 of the bands has extent 3, expected 4"),
    "few-bands": ("idwt2", ((3, 4, 6, 8),), "height is 11, but 6 coefficients make at most 10"),
    "groups": ("reassemble", ((7, 6, 5), (50, 12, 10)), "7 channels of x do not divide into 2"),
    "taps": ("reassemble", ((8, 6, 5), (49, 12, 10)), "axis 1 of kernels has extent 49, expected"),
    "size": ("reassemble", ((8, 6, 5), (50, 12, 11)), "axis 3 of kernels has extent 11, expected"),
}


@needs_rtx
@pytest.mark.parametrize("case", MISSHAPEN)
def test_a_wrong_shape_is_refused_in_our_words(built, case):
    name, inputs, said = MISSHAPEN[case]
    model = graph(NODES[name].taking(*inputs))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    report = built(model)
    assert not report.passed
    assert said in " | ".join(report.plugin_errors)


@needs_rtx
def test_another_type_is_refused_in_our_words(built):
    report = built(graph(NODES["rfft2"], dtype=TensorProto.BFLOAT16))
    assert not report.passed
    assert "input 0 is neither FP32 nor FP16" in " | ".join(report.plugin_errors)


@needs_rtx
@pytest.mark.parametrize(
    ("namespace", "chosen"), [("differseg", "plugin_v3"), ("", "unary"), (None, "unary")]
)
def test_the_namespace_attribute_puts_the_plugin_before_a_function(built, namespace, chosen):
    """Why plugin graphs carry ours: otherwise NVIDIA's parser takes the function."""
    node = Node("DiffersegRfft2", ((3, 12, 10),), (3, 12, 10), {"norm": "ortho"})
    body = [helper.make_node("Neg", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "differseg", node.op, ["x"], ["y"], body, opsets,
        attributes=["norm", "plugin_version", "plugin_namespace"],
    )  # fmt: skip
    model = graph(node, namespace=namespace, functions=(function,))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    report = built(model)
    assert report.layer_types.get(chosen) == 1, report.reason


def test_the_library_needs_no_tensorrt_and_exports_two_functions(plugin_library):
    library = ctypes.CDLL(str(plugin_library))
    assert hasattr(library, "getCreators")
    assert hasattr(library, "setLoggerFinder")
    assert not hasattr(library, "differseg_rfft2")
    assert not hasattr(library, "cudaMalloc")


def test_the_sources_compile_without_warnings(plugin_library):
    said = plugin_library.with_suffix(".log").read_text(encoding="utf-8")
    assert "compiled registry.cpp" in said
    assert "warning" not in said.lower()


def test_every_creator_names_its_attributes(plugin_library):
    creators = native.creators(plugin_library)
    assert sorted(creators) == sorted({node.op for node in NODES.values()})
    for node in NODES.values():
        creator = creators[node.op]
        assert (creator.getPluginVersion(), creator.getPluginNamespace()) == ("1", "differseg")
        assert native.names(creator.getFieldNames()) == list(node.attributes)


@pytest.mark.parametrize("name", NODES)
def test_what_an_engine_keeps_makes_the_same_plugin(plugin_library, name):
    node = NODES[name]
    creator = native.creators(plugin_library)[node.op]
    first = native.create(creator, node.attributes)
    assert first.core.getPluginName() == node.op
    kept = first.runtime.getFieldsToSerialize()
    assert list(native.read(kept)) == list(node.attributes)
    for attribute, value in native.read(kept).items():
        expected = node.attributes[attribute]
        assert value == (pytest.approx(expected) if isinstance(expected, list) else expected)
    again = Plugin(creator.createPlugin(node.op, kept, native.RUNTIME_PHASE))
    copies = [again.whole.clone(), again.runtime.attachToContext(None)]
    said = first.build.getTimingCacheID()
    for word in (str(v) for v in node.attributes.values() if not isinstance(v, list)):
        assert word in said
    for plugin in (again, *map(Plugin, copies)):
        assert plugin.build.getTimingCacheID() == said
        assert native.read(plugin.runtime.getFieldsToSerialize()) == native.read(kept)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("rfft2", {"norm": "backward"}),
        ("irfft2", {"width": 10}),
        ("dwt2", {"lowpass": DB2[1]}),
        ("dwt2", {"mode": "reflect"}),
        ("idwt2", {"height": 10}),
        ("reassemble", {"dilation": 2}),
        ("local_similarity", {"dilation": 4}),
    ],
)
def test_the_timing_cache_tells_other_attributes_apart(plugin_library, name, changed):
    creator = native.creators(plugin_library)[NODES[name].op]
    attributes = NODES[name].attributes
    first, same, other = (
        native.create(creator, values).build.getTimingCacheID()
        for values in (attributes, attributes, attributes | changed)
    )
    assert first == same != other


def test_broken_fields_make_no_plugin_and_no_crash(plugin_library, capfd):
    creator = native.creators(plugin_library)["DiffersegRfft2"]
    number = ctypes.c_int64(1)
    address = ctypes.addressof(number)
    broken = [
        Field(b"norm", None, CHAR, 5),
        Field(b"norm", address, CHAR, -1),
        Field(b"norm", address, INT64, 1),
        Field(None, address, CHAR, 1),
    ]
    for field in broken:
        fields = Fields(field)
        assert creator.createPlugin("op", fields.address, native.BUILD_PHASE) is None
    assert creator.createPlugin("op", None, native.BUILD_PHASE) is None
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == len(broken) + 1
    assert all(line.startswith("differseg: DiffersegRfft2: ") for line in lines)


def test_the_graphs_are_valid_onnx():
    for node in NODES.values():
        onnx.checker.check_model(graph(node))
