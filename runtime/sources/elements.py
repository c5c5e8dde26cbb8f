"""Which elements of a GStreamer text are not installed.

OpenCV builds what it can of a pipeline whose source is missing, and waits for ever for its first
frame; so this is asked before.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess

_ELEMENT = re.compile(r"[a-z][a-z0-9_]*(?=\s|$)")
_PATIENCE_S = 10.0


def missing_elements(pipeline: str) -> list[str]:
    """Return the names of elements that GStreamer does not know, in their order.

    Empty where ``gst-inspect-1.0`` is not installed, which could say it.

    Args:
        pipeline: Text as ``gst-launch-1.0`` takes it.
    """
    parts = (part.strip() for part in re.split(r"\s!\s", f" {pipeline} "))
    names = [found[0] for found in map(_ELEMENT.match, parts) if found]
    return [name for name in dict.fromkeys(names) if not _exists(name)]


@functools.lru_cache(maxsize=64)
def _exists(name: str) -> bool:
    tool = shutil.which("gst-inspect-1.0")
    if tool is None:
        return True
    try:
        done = subprocess.run([tool, "--exists", name], capture_output=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 1
