"""What a target does with a bare node of one of our own operators.

How TensorRT's parser finds out what a node is, by version (onnx/onnx-tensorrt, ModelImporter.cpp):

| versions     | order                                                                            |
|--------------|----------------------------------------------------------------------------------|
| 8.5, 8.6     | built-in importer, plugin; local functions are not read                          |
| 9.0 - 10.6   | built-in importer, local function, plugin: a function always hides the plugin    |
| 10.7 - 10.14 | built-in importer, plugin when there is one, local function                      |
| from 10.15   | plugin first where the node has ``plugin_namespace``; else as before 10.7        |

Plugins are looked up by the node's name, ``plugin_version`` and ``plugin_namespace``; from 10.10
the node's domain stands in for a missing namespace.  Ours have the IPluginV3 interface, which the
parser knows from 10.1.
"""

from __future__ import annotations

import onnx

from differseg.export.lowering.plugin_nodes import (
    NAMESPACE_ATTRIBUTE,
    PLUGIN_ATTRIBUTES,
    PLUGIN_NAMESPACE,
    PLUGIN_NODES,
    PLUGIN_VERSION,
    VERSION_ATTRIBUTE,
)
from differseg.export.targets import Target, Version
from differseg.export.verdict import Verdict

_SOURCE = "onnx/onnx-tensorrt, ModelImporter.cpp at 8.6, 10.3, 10.7, 10.10 and 10.15"
_INTERFACE_SINCE = (10, 1)
_DOMAIN_COUNTS_SINCE = (10, 10)
_PLUGIN_FIRST_SINCE = (10, 7)
_ATTRIBUTE_DECIDES_SINCE = (10, 15)
_PORTABLE = "export with --ops portable"


def own_verdict(node: onnx.NodeProto, target: Target) -> Verdict:
    """Judge a node of the domain ``differseg`` for which the file has no local function."""
    label = f"{node.domain}::{node.op_type}"

    def no(reason: str, advice: str = _PORTABLE) -> Verdict:
        return Verdict(node.name, label, "no", reason, advice, _SOURCE)

    if target.engine == "onnxruntime":
        return no("ONNX Runtime has no kernel for it, and the file no definition")
    if node.op_type not in PLUGIN_NODES:
        return no("the plugin library has no kernel for it, and the file no definition")
    if target.version < _INTERFACE_SINCE:
        return no("its plugin has the interface of TensorRT 10.1 and later (IPluginV3)")
    given = {attribute.name: attribute for attribute in node.attribute}
    version = _text(given[VERSION_ATTRIBUTE]) if VERSION_ATTRIBUTE in given else "1"
    if version != PLUGIN_VERSION:
        asked = version or "'' (no text)"
        return no(f"it asks for version {asked} of the plugin, there is {PLUGIN_VERSION}")
    namespace = _text(given[NAMESPACE_ATTRIBUTE]) if NAMESPACE_ATTRIBUTE in given else ""
    if not namespace and target.version >= _DOMAIN_COUNTS_SINCE:
        namespace = node.domain
    if namespace != PLUGIN_NAMESPACE:
        return no(
            f"the parser looks for its plugin in the namespace {namespace!r}, it is in "
            f"{PLUGIN_NAMESPACE!r}",
            "export with --ops plugin, which writes the namespace into the node",
        )
    for name, expected in PLUGIN_ATTRIBUTES[node.op_type].items():
        wrong = expected.wrong(given.get(name))
        if wrong:
            return no(
                f"its plugin refuses the attribute {name}: {wrong}",
                "write the file again with 'differseg export --ops plugin'",
            )
    return Verdict(
        node.name, label, "condition",
        "needs the plugin library at build and at run time",
        "load it: trtexec --dynamicPlugins=LIB.so, or differseg check --real --plugin LIB.so",
        _SOURCE,
    )  # fmt: skip


def function_hides_plugin(call: onnx.NodeProto, version: Version) -> bool:
    """Whether a local function comes before a loaded plugin of the same name in this call."""
    if version < _PLUGIN_FIRST_SINCE:
        return True
    if version < _ATTRIBUTE_DECIDES_SINCE:
        return False
    return all(attribute.name != NAMESPACE_ATTRIBUTE for attribute in call.attribute)


def _text(attribute: onnx.AttributeProto) -> str:
    """Return what the parser reads as text: nothing from an attribute of another type."""
    return attribute.s.decode(errors="replace")
