"""Elements of a GStreamer text that are not installed."""

import pytest

from differseg.errors import MissingComponentError
from differseg.runtime.sources import cameras, elements, parse_source
from differseg.runtime.sources.elements import missing_elements


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Install a stand-in for gst-inspect-1.0 that knows some elements, and asks for them."""
    tool = tmp_path / "gst-inspect-1.0"
    tool.write_text(
        '#!/bin/sh\n[ "$1" = --exists ] || exit 9\n'
        'case "$2" in videotestsrc|queue|tee|appsink|videoconvert) exit 0;; esac\nexit 1\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    elements._exists.cache_clear()
    yield
    elements._exists.cache_clear()


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("videotestsrc ! queue ! appsink", []),
        ("nosrc num-buffers=3 ! queue ! noconv ! appsink", ["nosrc", "noconv"]),
        ("videotestsrc ! video/x-raw(memory:NVMM),width=64 ! tee name=t t. ! queue ! appsink", []),
        ("videotestsrc is-live=true !  queue\n ! noconv ! noconv", ["noconv"]),
    ],
)
def test_names_are_found_between_caps_and_properties(installed, text, missing):
    assert missing_elements(text) == missing


def test_a_missing_element_is_said_instead_of_waited_for(installed, monkeypatch):
    monkeypatch.setattr(cameras, "has_gstreamer", lambda: True)
    with pytest.raises(
        MissingComponentError, match=r"no element 'nvarguscamerasrc'.*l4t"
    ) as caught:
        parse_source("csi:0", "rgb").open()
    assert caught.value.exit_code == 3


def test_without_the_tool_nothing_is_said_to_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    elements._exists.cache_clear()
    assert missing_elements("nosrc ! appsink") == []
    elements._exists.cache_clear()
