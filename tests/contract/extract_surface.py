"""Read NVIDIA's own Python bindings and write down what each TensorRT has: ``surface/*.json``.

Not a part of the tests: it made the tables that they use, and makes them again for a new release::

    git clone https://github.com/NVIDIA/TensorRT; cd TensorRT; git checkout v10.3.0
    python extract_surface.py TensorRT surface/tensorrt_10_3.json --parser-header NvOnnxParser.h

``--parser-header`` is needed up to 10.3, whose ``NvOnnxParser.h`` lies in onnx/onnx-tensorrt only.

Sources: ``python/src/infer/py{FoundationalTypes,Core,Int8,Graph,Plugin}.cpp`` and
``python/src/parsers/pyOnnx.cpp`` (classes, methods, argument names, defaults, which properties can
be set), ``include/*.h`` (the integers of the enumerations), ``samples/common/sampleOptions.cpp``
(the options of ``trtexec``).  Only names and integers are kept.  Of the network and of plugins only
what a builder that takes ONNX files touches is described; the other classes' names are listed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BINDINGS = (
    "infer/pyFoundationalTypes.cpp",
    "infer/pyCore.cpp",
    "infer/pyInt8.cpp",
    "infer/pyGraph.cpp",
    "infer/pyPlugin.cpp",
    "parsers/pyOnnx.cpp",
)
KEPT = {  # all of the other files; of these two the following
    "infer/pyGraph.cpp": {
        "LayerType",
        "TensorFormat",
        "TensorLocation",
        "ITensor",
        "ILayer",
        "INetworkDefinition",
    },
    "infer/pyPlugin.cpp": {"IPluginRegistry"},
}
Enumerations = dict[str, dict[str, int]]


def without_comments(text: str) -> str:
    """C++ without comments and preprocessor lines."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"^#.*$", "", text, flags=re.MULTILINE)


def closing(text: str, start: int) -> int:
    """Index just behind the bracket that closes ``text[start]``."""
    depth, i = 0, start
    while i < len(text):
        if text[i] == '"':
            i = text.index('"', i + 1)
        depth += (text[i] in "({[") - (text[i] in ")}]")
        i += 1
        if depth == 0:
            return i
    raise ValueError("bracket without end")


def arguments(body: str) -> list[str]:
    """Split at the commas of the outermost level."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(body):
        if body[i] == '"':
            i = body.index('"', i + 1)
        depth += (body[i] in "({[") - (body[i] in ")}]")
        if body[i] == "," and depth == 0:
            parts.append(body[start:i].strip())
            start = i + 1
        i += 1
    last = body[start:].strip()
    return [*parts, last] if last else parts


def chained(text: str, position: int) -> Iterator[tuple[str, list[str]]]:
    """The calls of ``.def(...).def_property(...)`` from ``position`` on."""
    call = re.compile(r"\s*\.(\w+)\s*(?=\()")
    while match := call.match(text, position):
        position = closing(text, match.end())
        yield match.group(1), arguments(text[match.end() + 1 : position - 1])


def literal(text: str) -> str | None:
    """The content of a C++ string literal, None for anything else."""
    match = re.match(r'"([^"]*)"$', text)
    return match.group(1) if match else None


def signature(parts: list[str]) -> list[list[str]]:
    """``[[name], [name, default], ...]`` of one ``.def``."""
    form = re.compile(r'(?:"(\w+)"_a|py::arg\("(\w+)"\))(?:\s*=\s*(.+))?$', re.DOTALL)
    found = []
    for part in parts:
        if match := form.match(part):
            name, default = match.group(1) or match.group(2), match.group(3)
            found.append([name, " ".join(default.split())] if default else [name])
    return found


def header_enumerations(headers: list[Path]) -> Enumerations:
    """C++ name of an enumeration -> member -> integer; the first header that has it wins."""
    found: Enumerations = {}
    for path in headers:
        text = without_comments(path.read_text(encoding="utf-8"))
        for match in re.finditer(r"enum class (\w+)\s*:\s*\w+\s*\{", text):
            values: dict[str, int] = {}
            following = 0
            for item in arguments(text[match.end() : closing(text, match.end() - 1) - 1]):
                plain = re.sub(r"TRT_DEPRECATED_ENUM|TRT_DEPRECATED|\[\[.*?\]\]", "", item).strip()
                member, _, value = (part.strip() for part in plain.partition("="))
                if value in values:
                    following = values[value]
                elif value:
                    try:
                        following = int(value.rstrip("uUlL"), 0)
                    except ValueError:  # an expression: no enumeration that is used here
                        break
                values[member] = following
                following += 1
            found.setdefault(match.group(1), values)
    return found


def described_class(members: list[tuple[str, list[str]]]) -> dict[str, Any]:
    """Methods with their overloads, and the properties by what may be done with them."""
    found: dict[str, Any] = {"init": [], "methods": {}}
    found |= {"readonly": [], "writable": [], "writeonly": []}
    for kind, parts in members:
        name = literal(parts[0]) if parts else None
        if kind == "def" and name is None:
            found["init"].append(signature(parts))
        elif kind in ("def", "def_static"):
            overloads = found["methods"].setdefault(name, [])
            if signature(parts) not in overloads:
                overloads.append(signature(parts))
        elif kind in ("def_property_readonly", "def_readonly", "def_property_readonly_static"):
            found["readonly"].append(name)
        elif kind in ("def_property", "def_readwrite"):
            found["writeonly" if parts[1] == "nullptr" else "writable"].append(name)
    return found


def read_bindings(root: Path, headers: Enumerations, parser: Enumerations) -> dict[str, Any]:
    """All enumerations, classes and functions of one release."""
    result: dict[str, Any] = {"enums": {}, "classes": {}, "functions": {}, "attributes": []}
    result["others"] = []
    python_name: dict[str, str] = {}
    start = re.compile(
        r"py::enum_<([\w:]+)>\s*(?=\()|py::class_<([^;]*?)>\s*(?:(\w+)\s*)?(?=[({]m?)"
    )
    for name in BINDINGS:
        path = root / "python/src" / name
        if not path.is_file():  # calibrators are gone in 11
            continue
        text = without_comments(path.read_text(encoding="utf-8"))
        for match in start.finditer(text):
            end = closing(text, match.end())
            parts = arguments(text[match.end() + 1 : end - 1])
            python = literal(parts[1]) if len(parts) > 1 else None
            if python is None:
                continue
            if name in KEPT and python not in KEPT[name]:
                result["others"].append(python)
                continue
            members = list(chained(text, end))
            if match.group(1):
                cpp = match.group(1).split("::")[-1]
                source = (parser if "pyOnnx" in name else headers).get(cpp, {})
                result["enums"][python] = {
                    "arithmetic": any("arithmetic" in part for part in parts),
                    "members": {
                        literal(member[0]): source[member[1].split("::")[-1]]
                        for kind, member in members
                        if kind == "value"
                    },
                }
                continue
            bases = [base.strip() for base in match.group(2).split(",")]
            python_name[bases[0]] = python
            if match.group(3):  # bound to a variable first, .def follows somewhere below
                for later in re.finditer(rf"\b{match.group(3)}(?=\s*\.def)", text):
                    members += chained(text, later.end())
            base = next((python_name[b] for b in bases[1:] if b in python_name), None)
            result["classes"][python] = {"base": base} | described_class(members)
        for match in re.finditer(r"\bm\.def\(", text):
            parts = arguments(text[match.end() : closing(text, match.end() - 1) - 1])
            result["functions"][literal(parts[0])] = signature(parts)
        names = re.findall(r'\bm\.attr\("([a-zA-Z]\w*)"\)', text)
        result["attributes"] += [n for n in dict.fromkeys(names) if n not in result["attributes"]]
    return result


def trtexec_flags(root: Path) -> list[str]:
    """Every option that this release's ``trtexec`` looks for; any other is "Unknown option"."""
    source = (root / "samples/common/sampleOptions.cpp").read_text(encoding="utf-8")
    source = re.sub(r"//[^\n]*", "", source)
    other = r"^void SafeBuilderOptions::parse.*?^}$"  # the options of another program
    source = re.sub(other, "", source, flags=re.DOTALL | re.MULTILINE)
    return sorted(set(re.findall(r'"(--[a-zA-Z]\w*|-[a-zA-Z])"', source)))


def rendered(table: dict[str, Any]) -> str:
    """JSON with one line for each enumeration, class and function."""
    sections = []
    for name, value in table.items():
        if isinstance(value, dict):
            lines = [f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()]
            sections.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
        else:
            sections.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def main() -> None:
    """Write one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="work tree of NVIDIA/TensorRT at a release")
    parser.add_argument("output", type=Path)
    parser.add_argument("--parser-header", type=Path, help="NvOnnxParser.h where include/ lacks it")
    parser.add_argument("--source", required=True, help="what is read, such as v10.3.0")
    options = parser.parse_args()
    include = options.root / "include"
    onnx_header = options.parser_header or include / "NvOnnxParser.h"
    headers = header_enumerations(sorted(set(include.glob("*.h")) - {include / "NvOnnxParser.h"}))
    surface = read_bindings(options.root, headers, header_enumerations([onnx_header]))
    surface["trtexec"] = trtexec_flags(options.root)
    options.output.write_text(rendered({"source": options.source} | surface), encoding="utf-8")


if __name__ == "__main__":
    main()
