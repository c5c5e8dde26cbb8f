"""Settings without tensors: a file's hold, and a name or a network that has others is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from differseg import create_model
from differseg.checkpoints import load_checkpoint, load_named, save_checkpoint
from differseg.errors import CheckpointError, InputError
from differseg.evaluate import main as evaluate_main
from differseg.export import parity_runners
from differseg.export.manifest_builder import build_manifest
from differseg.export.network_source import load_network
from differseg.export.to_onnx import main as export_main
from differseg.models.base import SegmentationModel
from differseg.options import run_main
from differseg.predictors import open_predictor

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = tuple("abcdefghi")


def saved(path: Path, name: str, **settings: Any) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, create_model(name, **settings))
    return path


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights under the system's name whose attention has no tensor."""
    path = tmp_path_factory.mktemp("weights") / "attentive.safetensors"
    return saved(path, "segnext", fusion="dwt-ff", backbone="edge", attention=True)


@pytest.fixture(scope="module")
def pst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for other thermal statistics and as many classes as the configuration has."""
    path = tmp_path_factory.mktemp("weights") / "pst.safetensors"
    return saved(path, "rgbt-fusion-edge", dataset="pst900", classes=WORDS)


def one_line(kind: type[Exception], path: Path, model: SegmentationModel) -> str:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(kind) as caught:
        load_checkpoint(path, model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_s_settings_hold_beside_a_name_that_says_less(attentive: Path) -> None:
    for name in ("segnext-dwt-ff-edge", "segnext", None):
        assert load_named(attentive, name).spec.config["attention"] is True
    exported = load_network("segnext-dwt-ff-edge", attentive)
    assert exported.spec.config["attention"] is True
    probe = {"rgb": torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy()}
    maps = [
        open_predictor(attentive, name, (64, 64), "cpu").probability(probe)
        for name in ("segnext-dwt-ff-edge", None)
    ]
    assert (maps[0] == maps[1]).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("segnext-freqfusion-edge", "with fusion='dwt-ff', 'segnext-freqfusion-edge' has fusion="),
        ("segnext-dwt-ff", "with backbone='edge', 'segnext-dwt-ff' has backbone='tiny'"),
        ("sfm-edge", "of the system 'segnext', 'sfm-edge' is of 'sfm'"),
        ("segnext-dwt-f", "did you mean 'segnext-dwt-ff'?"),
    ],
)
def test_a_name_that_disagrees_is_one_line(
    attentive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    out, file = str(tmp_path / "f.onnx"), str(attentive)
    for main, argv in (
        (export_main, ["--model", name, "--checkpoint", file, "--out", out]),
        (evaluate_main, [file, "--model", name, "--data", "synthetic"]),
    ):
        assert run_main(main, argv) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert name not in ("sfm-edge",) or f"--model sfm-edge: {file} holds 'segnext'" in error


def test_a_changed_setting_of_the_named_configuration_is_refused(pst: Path) -> None:
    with pytest.raises(InputError, match=r"dataset='pst900', 'rgbt-fusion-edge' has dataset='mfn"):
        load_named(pst, "rgbt-fusion-edge")
    assert [c.name for c in load_named(pst, "rgbt_fusion").spec.classes] == list(WORDS)


def test_every_name_but_a_system_s_pins_what_its_weights_depend_on(tmp_path: Path) -> None:
    edge = saved(tmp_path / "edge.safetensors", "fsanet-edge")
    with pytest.raises(InputError, match=r"backbone='edge', 'fsanet' has backbone='pvt_v2_b2'"):
        load_named(edge, "fsanet")


def test_a_network_with_other_settings_is_not_filled(attentive: Path, pst: Path) -> None:
    message = one_line(CheckpointError, attentive, create_model("segnext-dwt-ff-edge"))
    assert "holds 'segnext' with attention=True, the model 'segnext-dwt-ff-edge' has" in message
    assert message.endswith("attention=False; name the model 'segnext', or none")
    message = one_line(CheckpointError, pst, create_model("rgbt-fusion-edge"))
    assert "with dataset='pst900', the model 'rgbt-fusion-edge' has dataset='mfnet'" in message
    assert "build the model with dataset='pst900', or give none" in message
    message = one_line(CheckpointError, pst, create_model("rgbt-fusion-edge", dataset="pst900"))
    assert "classes=['a', 'b', 'c'" in message
    assert "has classes='pst900'" in message
    message = one_line(CheckpointError, pst, create_model("sfm-edge"))
    assert "of the system 'rgbt_fusion', the model 'sfm-edge' is of 'sfm'" in message


def test_another_size_or_another_name_of_the_same_settings_is_filled(attentive: Path) -> None:
    other = create_model("segnext-dwt-ff-edge", attention=True, size_hw=(64, 96))
    assert load_checkpoint(attentive, other) is other


def test_a_file_means_the_defaults_of_settings_that_it_lacks(tmp_path: Path) -> None:
    path = saved(tmp_path / "old.safetensors", "segnext-dwt-ff-edge")
    tensors = load_file(path)

    def write(model: str, **config: object) -> None:
        info = json.dumps({"schema": 1, "model": model, "config": config})
        save_file(tensors, path, metadata={"differseg": info})

    write("segnext-dwt-ff-edge")
    load_checkpoint(path, create_model("segnext-dwt-ff-edge"))
    attention = create_model("segnext-dwt-ff-edge", attention=True)
    assert "with attention=False, the model" in one_line(CheckpointError, path, attention)
    write("segnext-dwt-ff-edge", atention=True)
    assert "did you mean 'attention'?" in one_line(CheckpointError, path, attention)


def test_a_network_of_one_s_own_is_compared_by_what_it_says(tmp_path: Path) -> None:
    def own(system: str, **config: object) -> SegmentationModel:
        model = create_model("sfm-edge")
        model.spec = replace(model.spec, name="mine", system=system, config=config)
        return model

    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, own("mine", lamps=(1, 2)))
    load_checkpoint(path, own("mine", lamps=(1, 2), added=3))
    assert "lamps=[1, 2]" in one_line(CheckpointError, path, own("mine", lamps=(2, 1)))


def test_parity_builds_weights_without_a_name_as_the_other_side_was_built(
    attentive: Path, tmp_path: Path
) -> None:
    torch.save(load_file(attentive), tmp_path / "bare.pth")
    source = load_network(None, attentive)
    manifest = build_manifest(source.spec, (64, 96), weights=source.weights)
    opened = parity_runners._open_torch(tmp_path / "bare.pth", manifest)
    assert opened.module.spec.config["attention"] is True
