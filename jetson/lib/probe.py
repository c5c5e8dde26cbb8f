"""Say what this Python has, one ``name=value`` a line; for the system's Python, 3.8 and later."""

import importlib
import importlib.util
import re
import sys


def tell(name, value):
    """Print one fact at once: an import further down may end the process."""
    print("{}={}".format(name, value), flush=True)  # noqa: UP032


def version_of(module):
    """Return a module's version; "absent", or "broken" where it is there and does not load."""
    if importlib.util.find_spec(module) is None:
        return "absent"
    try:
        return importlib.import_module(module).__version__
    except Exception as error:
        text = str(error).splitlines() or [type(error).__name__]
        return "broken: " + text[0][:200]


tell("python", "{}.{}.{}".format(*sys.version_info[:3]))
tell("venv", "yes" if importlib.util.find_spec("ensurepip") else "no")
tell("tensorrt", version_of("tensorrt"))
opencv = version_of("cv2")
tell("opencv", opencv)
if opencv[:1].isdigit():
    import cv2

    found = re.search(r"GStreamer:\s+YES", cv2.getBuildInformation())
    tell("gstreamer", "yes" if found else "no")
