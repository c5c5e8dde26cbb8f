"""Write the report of an installation, report.json and report.txt; for Python 3.8 and later.

``python3 report.py FOLDER STATUS < FACTS``, where FACTS holds ``name<TAB>value`` lines; the results
of parity and benchmark are taken from the folder, where they are.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

MEANING = {"0": "done", "1": "a check failed", "2": "wrong input", "3": "a component is missing"}


def read_facts(lines):
    """Return single facts, the steps in their order, warnings and problems."""
    facts, steps, lists = {}, {}, {"warning": [], "problem": []}
    for line in lines:
        name, _, value = line.rstrip("\n").partition("\t")
        if name in lists:
            lists[name].append(value)
        elif name.startswith("step "):
            steps[name[5:]] = value
        elif name:
            facts[name] = int(value) if name.endswith("_mib") else value
    return facts, steps, lists


def read_result(path):
    """Return a result as JSON, or None where there is none or it is cut off."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def result_lines(parity, benchmark):
    """Return the figures in words."""
    lines = []
    if parity is not None:
        lines.append("parity     {}".format("passed" if parity.get("passed") else "FAILED"))
    if benchmark is not None:
        age = benchmark.get("age_ms") or {}
        lines.append(
            "benchmark  {:.1f} results per second for {:.0f} s, synthetic cameras".format(
                benchmark.get("fps") or 0.0, benchmark.get("seconds") or 0.0
            )
        )
        if age:
            lines.append(
                "           capture to mask {:.1f} ms (median), {:.1f} ms (95 %)".format(
                    age.get("p50") or 0.0, age.get("p95") or 0.0
                )
            )
        if benchmark.get("backend"):
            lines.append("           " + benchmark["backend"])
    return lines


def as_text(document):
    """Return the report for people."""
    lines = ["differseg on this board: {}".format(document["result"]), document["time"], ""]
    width = max([len(name) for name in document["facts"]] or [0])
    lines += [
        "{:<{}}  {}".format(name.replace("_", " "), width, value)
        for name, value in document["facts"].items()
    ]
    if document["steps"]:
        lines += ["", "steps"]
        lines += ["  {:<12} {}".format(*each) for each in document["steps"].items()]
    for name in ("warnings", "problems"):
        if document[name]:
            lines += ["", name, *("  - " + text for text in document[name])]
    figures = result_lines(document["parity"], document["benchmark"])
    return "\n".join([*lines, *([""] if figures else []), *figures, ""])


def main(folder, status):
    """Write both files."""
    facts, steps, lists = read_facts(sys.stdin)
    document = {
        "result": MEANING.get(status, "ended with status " + status),
        "status": int(status),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "facts": facts,
        "steps": steps,
        "warnings": lists["warning"],
        "problems": lists["problem"],
        "parity": read_result(folder / "parity.json") if "parity" in steps else None,
        "benchmark": read_result(folder / "benchmark.json") if "benchmark" in steps else None,
    }
    texts = {"report.json": json.dumps(document, indent=2) + "\n", "report.txt": as_text(document)}
    for name, text in texts.items():
        new = folder / (name + ".new")
        new.write_text(text, encoding="utf-8")
        new.replace(folder / name)


main(Path(sys.argv[1]), sys.argv[2])
