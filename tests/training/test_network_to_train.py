"""Which network a run trains: its classes, and the settings of the weights it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from differseg import create_model
from differseg.checkpoints import save_checkpoint
from differseg.errors import CheckpointError, InputError
from differseg.training.network import network_to_train, read_classes
from differseg.training.start import load_start


def test_classes_are_read_from_a_set_from_names_and_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # long paths are cut in messages
    assert read_classes("mfnet") == "mfnet"
    assert read_classes("floor, traffic light,door") == ("floor", "traffic light", "door")
    (tmp_path / "names.txt").write_text("floor\n\n door, open \nrope\n")
    assert read_classes(str(tmp_path / "names.txt")) == ("floor", "door, open", "rope")
    (tmp_path / "windows.txt").write_text("floor\r\nrope\r\n", encoding="utf-8-sig")
    assert read_classes(str(tmp_path / "windows.txt")) == ("floor", "rope")
    many = [f"class {number:06}" for number in range(200)]
    assert read_classes(",".join(many)) == tuple(many)
    (tmp_path / "names.bin").write_bytes(b"\xff\xfe\xfa")
    for wrong, text in (
        ("floor", "expected binary, ade20k, cityscapes, fmb, mfnet, pst900, names with commas"),
        ("absent.txt", "there is no such file"),
        ("names.bin", "cannot be read as text"),
    ):
        with pytest.raises(InputError, match=f"--classes {wrong}.*{text}"):
            read_classes(wrong)


def test_a_network_takes_the_classes_that_are_asked_for() -> None:
    asked = network_to_train("segnext-freqfusion-edge", "floor,door,rope", None).spec
    assert [known.name for known in asked.classes] == ["floor", "door", "rope"]
    assert network_to_train("rgbt-fusion-edge", None, None).spec.logit_channels == 9
    assert network_to_train("sfm-edge", "background,crack", None).spec.logit_channels == 1
    with pytest.raises(InputError, match="different names; got"):
        network_to_train("sfm-edge", "road,road,car", None)
    for name in ("differseg-edge", "fsanet-edge"):
        with pytest.raises(InputError, match=r"finds one object.*: rgbt_fusion, segnext, sfm"):
            network_to_train(name, "mfnet", None)


def test_settings_of_the_weights_to_start_from_hold(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, create_model("segnext-freqfusion-edge", direction="sim_concat",
                                        classes=("floor", "door", "rope")))  # fmt: skip
    spec = network_to_train("segnext-freqfusion-edge", None, start).spec
    assert spec.config["direction"] == "sim_concat"
    assert [known.name for known in spec.classes] == ["floor", "door", "rope"]
    other = network_to_train("segnext-dsconv-ff-edge", None, start).spec
    assert other.logit_channels == 1


def test_weights_for_other_classes_fill_all_but_what_depends_on_them(tmp_path: Path) -> None:
    start, given = tmp_path / "start.safetensors", create_model("segnext-freqfusion-edge")
    save_checkpoint(start, given)
    model = network_to_train(given.spec.name, "floor,door,rope", start)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fresh = load_start(start, model).fresh
    assert fresh == ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in fresh else given.state_dict()[name])
    assert load_start(start, network_to_train(given.spec.name, None, start)).fresh == ()
    with pytest.raises(CheckpointError, match="'segnext-dsconv-ff-edge' has fusion='dsconv"):
        load_start(start, network_to_train("segnext-dsconv-ff-edge", "floor,door,rope", start))
