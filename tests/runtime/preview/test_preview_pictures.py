import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from preview_run import CLASSES, images, result

from differseg.runtime.preview.pictures import Moment, PictureMaker, snapshot
from differseg.runtime.preview.state import setup_document


def decoded(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def shown():
    rgb, thermal, mask = images((480, 640))
    return Moment(result(), rgb, thermal, mask, fps=30.0)


def test_layers(shown):
    maker = PictureMaker(CLASSES)
    np.testing.assert_allclose(decoded(maker.make(shown, "rgb")), shown.rgb, atol=3)
    np.testing.assert_array_equal(decoded(maker.make(shown, "mask")), shown.mask)
    thermal = decoded(maker.make(shown, "thermal")).astype(float)
    assert thermal.shape == (480, 640)
    assert thermal[:, :10].mean() < 5
    assert thermal[:, -10:].mean() > 250
    overlay = decoded(maker.make(shown, "overlay"))[200:300].astype(int)
    assert (overlay[:, 100:200, 2] > overlay[:, 100:200, 0] + 40).all(), "red where class 1 is"
    assert abs(overlay[:, 340:440] - 90).max() < 12


def test_what_a_moment_has_not_is_left_out(shown):
    bare = Moment(result(status="nan_output"), shown.rgb)
    maker = PictureMaker(CLASSES)
    assert maker.make(bare, "thermal") is None
    assert maker.make(bare, "mask") is None
    assert decoded(maker.make(bare, "overlay")).shape == (480, 640, 3)


def test_large_frames_are_made_smaller_and_class_ids_stay():
    rgb, thermal, mask = images((1080, 1920))
    mask *= 7
    maker = PictureMaker(CLASSES, max_side_px=480)
    large = Moment(result(), rgb, thermal, mask)
    for layer in ("rgb", "thermal", "mask", "overlay"):
        assert decoded(maker.make(large, layer)).shape[:2] == (270, 480)
    assert set(np.unique(decoded(maker.make(large, "mask")))) == {0, 7}


def test_snapshot_is_lossless_and_whole(shown):
    archive = zipfile.ZipFile(io.BytesIO(snapshot(shown, CLASSES, {"model": "tiny"})))
    names = ["rgb.png", "thermal.png", "mask.png", "overlay.png", "result.json"]
    assert archive.namelist() == names
    for name, image in (("rgb", shown.rgb), ("thermal", shown.thermal), ("mask", shown.mask)):
        found = decoded(archive.read(f"{name}.png"))
        assert found.dtype == image.dtype
        np.testing.assert_array_equal(found, image)
    document = json.loads(archive.read("result.json"))
    assert document["result"] == shown.result.document()
    assert document["model"] == "tiny"


def test_palettes_are_whole_tables():
    import base64

    palettes = setup_document("tiny", CLASSES)["palettes"]
    tables = {
        name: np.frombuffer(base64.b64decode(text), np.uint8) for name, text in palettes.items()
    }
    assert {table.size for table in tables.values()} == {768}
    np.testing.assert_array_equal(tables["White hot"], np.repeat(np.arange(256), 3))
    np.testing.assert_array_equal(tables["Black hot"], tables["White hot"][::-1])
    inferno = tables["Inferno"].reshape(256, 3).astype(int)
    assert inferno[0].max() < 10
    assert inferno[200][0] > inferno[200][2] + 100, "hot is yellow, in RGB order"
