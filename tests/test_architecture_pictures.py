"""The architecture pictures: what they show is in the code, and those in docs/images are of today.

``python docs/draw_architecture.py`` draws them again.
"""

from __future__ import annotations

import functools
import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from differseg.options import run_main

ROOT = Path(__file__).resolve().parents[1]
EDGE = (
    "differseg-edge",
    "fsanet-edge",
    "rgbt-fusion-edge",
    "segnext-freqfusion-edge",
    "sfm-edge",
)
AUTHORS = ("fsanet", "segnext-dwt-ff", "sfm-resnet50")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tool():
    """The command and its parts, which lie in docs/; traces are kept, for they take a second."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import draw_architecture
        from drawing.layout import Layout
        from drawing.svg import svg
        from drawing.trace import trace_architecture
    finally:
        sys.path.pop(0)

    @functools.cache
    def trace(name):
        return trace_architecture(name, draw_architecture.PICTURES[name])

    return SimpleNamespace(command=draw_architecture, trace=trace, Layout=Layout, svg=svg)


def sources(architecture, name):
    return {a for a, b in architecture.edges if b == name}


def block(architecture, name):
    return next(block for block in architecture.blocks if block.name == name)


def test_blocks_of_differential_perception_fusion(tool):
    architecture = tool.trace("differseg-edge")
    assert sources(architecture, "encoder.stages.0") == {"encoder.stems.0", "encoder.stems.1"}
    assert sources(architecture, "rfb2") == {"encoder.stages.1"}
    assert sources(architecture, "dpf2") == {"rfb2"}
    assert sources(architecture, "freq_decoder.freq_guided_upsamplers.1") == {
        "freq_decoder.freq_guided_upsamplers.0",
        "freq_decoder.scale_attention",
    }
    assert sources(architecture, "logits") == {"predtrans1"}
    assert sources(architecture, "predtrans3") == {"dpf3"}
    assert block(architecture, "predtrans3").training_only
    assert not block(architecture, "predtrans1").training_only
    fusion = block(architecture, "dpf3")
    assert (fusion.kind, fusion.params) == ("DifferentialPerceptionFusion", 120_789)
    assert fusion.shapes == [(40, 30, 40)]
    assert sum(b.params for b in architecture.blocks) == architecture.params == 1_594_211


def test_blocks_of_rgb_thermal_fusion(tool):
    architecture = tool.trace("rgbt-fusion-edge")
    assert [block(architecture, f"fusions.{i}").kind for i in range(4)] == [
        "FrequencyFusion",
        "FrequencyFusion",
        "SemanticFusion",
        "SemanticFusion",
    ]
    for level in range(4):
        encoders = {f"{kind}_encoder.stages.{level}" for kind in ("rgb", "thermal")}
        assert sources(architecture, f"fusions.{level}") == encoders
    assert sources(architecture, "decoder.context") == {"fusions.3"}
    assert sources(architecture, "decoder.join") == {
        "decoder.top_down.0",
        *(f"decoder.bottom_up.{level}" for level in range(3)),
        "decoder.context",
    }
    assert sum(b.params for b in architecture.blocks) == architecture.params == 1_630_604


def test_a_block_that_runs_again_is_counted_once(tool):
    architecture = tool.trace("fsanet-edge")
    runs = [block(architecture, name) for name in ("selection", "selection (2)", "selection (3)")]
    assert [run.shared for run in runs] == [False, True, True]
    assert sources(architecture, "selection (3)") == {"contexts.0", "selection (2)"}
    own = [b for b in architecture.blocks if not b.shared]
    assert sum(b.params for b in own) == architecture.params
    # It has no weights, and is what the network is about.
    assert sources(architecture, "frequency_backbone.stems.0") == {"high_pass"}


def test_every_picture_is_tested(tool):
    assert set(tool.command.PICTURES) == {*EDGE, *AUTHORS}


@pytest.mark.parametrize(
    "name", [*EDGE, *(pytest.param(name, marks=pytest.mark.slow) for name in AUTHORS)]
)
def test_pictures_are_those_of_the_code(tool, name):
    path = ROOT / "docs" / "images" / f"{name}.svg"
    drawn = path.read_text(encoding="utf-8")
    assert drawn == tool.svg(tool.trace(name)), "draw again: python docs/draw_architecture.py"
    assert len(drawn) < 60_000


@pytest.mark.parametrize("name", EDGE)
def test_lines_go_round_boxes_and_boxes_stand_apart(tool, name):
    layout = tool.Layout(tool.trace(name))
    for one, other in itertools.combinations(layout.places.values(), 2):
        apart = (
            one.x + one.width < other.x
            or other.x + other.width < one.x
            or one.y + one.height < other.y
            or other.y + other.height < one.y
        )
        assert apart
    for edge in layout.edges:
        boxes = [place for key, place in layout.places.items() if key not in edge]
        for (ax, ay), (bx, by) in itertools.pairwise(layout.points(edge)):
            for p in boxes:
                beside = max(ax, bx) < p.x or min(ax, bx) > p.x + p.width
                over = max(ay, by) < p.y or min(ay, by) > p.y + p.height
                assert beside or over, f"{edge} runs through a box"


def test_mistakes_are_one_line(tool, tmp_path, capsys):
    target = tmp_path / "x.svg"
    for argv, text in (
        (["fsanet-egde", "-o", str(target)], "did you mean 'fsanet-edge'?"),
        (["fsanet-edge", "-o", str(tmp_path / "x.png")], "pictures are written as .svg"),
        (["fsanet-edge"], "a name and --out go together"),
    ):
        assert run_main(tool.command.main, argv) == 2
        error = capsys.readouterr().err
        assert text in error
        assert error.count("\n") == 1
    assert not target.exists()
