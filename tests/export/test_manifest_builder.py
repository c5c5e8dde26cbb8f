from __future__ import annotations

from classes_network import CLASSES, spec_of

from differseg.export.manifest_builder import build_manifest
from differseg.manifest import Manifest, OutputSpec, WeightsRecord
from differseg.models.spec import BINARY_CLASSES


def test_two_classes_give_one_probability() -> None:
    manifest = build_manifest(spec_of(BINARY_CLASSES), (64, 96), weights=WeightsRecord("a test"))
    assert manifest.outputs == (OutputSpec("probability", "probability", (1, 1, 64, 96)),)
    assert manifest.classes == BINARY_CLASSES


def test_more_classes_give_one_map_for_each() -> None:
    manifest = build_manifest(spec_of(), (64, 96), weights=WeightsRecord("a test"))
    expected = OutputSpec("class_probability", "class_probability", (1, 4, 64, 96))
    assert manifest.outputs == (expected,)
    assert manifest.classes == CLASSES
    assert Manifest.from_json(manifest.to_json()) == manifest
