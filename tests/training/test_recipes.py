"""Recipe files: defaults that the command line overrides, mistakes in one line, learnt by."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
import torch
from short_runs import short_run, write_folder

from differseg.errors import InputError
from differseg.models import create_model
from differseg.models.registry import find_model
from differseg.options import parse
from differseg.recipes.reading import (
    OPTIONS,
    parse_with_recipe,
    read_recipe,
    recipe_names,
    recipe_options,
)
from differseg.train import TrainOptions, resume_command, train
from differseg.training.adaxw import AdaXW
from differseg.training.learning import Learning
from differseg.training.loop import Trainer
from differseg.training.objective import Objective
from differseg.training.optimizer import create_optimizer
from differseg.training.options import check_options


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_one_of_a_network(name: str) -> None:
    options = recipe_options(name, Path("run"))
    check_options(options)
    find_model(options.model)
    assert read_recipe(name).learning != Learning()


def test_there_is_a_recipe_for_every_system() -> None:
    systems = {find_model(recipe_options(name, Path("r")).model)[0].name for name in recipe_names()}
    assert systems == {"differseg", "fsanet", "rgbt_fusion", "segnext", "sfm"}


@pytest.mark.parametrize(
    ("recipe", "model", "sides"),
    [
        ("fsanet", "fsanet-edge", 3),
        ("rgbt-fusion", "rgbt-fusion-edge", 5),
        ("segnext", "segnext-freqfusion-edge", 0),
        ("sfm", "sfm-edge", 0),
    ],
)
def test_losses_and_groups_fit_the_edge_networks_too(recipe: str, model: str, sides: int) -> None:
    given, network = read_recipe(recipe), create_model(model)
    options = recipe_options(recipe, Path("run"))
    create_optimizer(
        network, 1e-3, 0, kind=options.optimizer, settings=given.learning.learning,
        groups=given.learning.groups,
    )  # fmt: skip
    loss, channels = given.learning.loss, network.spec.logit_channels
    objective = Objective(network.spec.binary, None, loss)
    outputs = [torch.zeros(2, channels, 32, 32) for _ in range(1 + sides)]
    mask = torch.zeros(2, 1, 32, 32, dtype=torch.float if channels == 1 else torch.uint8)
    value = objective({"logits": outputs[0], "aux": outputs[1:]}, mask, None)
    assert value.isfinite()
    assert value > 0


def test_the_command_line_overrides_a_recipe_also_by_a_default() -> None:
    run = parse_with_recipe(["--out", "r", "--recipe", "fsanet", "--lr", "5e-3", "--epochs=3"])
    assert (run.model, run.size, run.optimizer, run.schedule) == (
        "fsanet", (736, 736), "adaxw", "poly",
    )  # fmt: skip
    assert (run.lr, run.epochs, run.batch) == (5e-3, 3, 8)
    words = shlex.split(resume_command(run, read_recipe("fsanet").options))
    assert parse_with_recipe(words[2:]) == run
    assert "--size" not in words
    assert recipe_options("fsanet", Path("r"), lr=5e-3, epochs=3) == run


def test_every_option_of_a_recipe_is_one_of_the_command_line() -> None:
    fields = {field.name: field for field in dataclasses.fields(TrainOptions)}
    assert set(OPTIONS) <= set(fields)
    assert not any(fields[name].default is False for name in OPTIONS)  # there is no --no-flag


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning-rate = 1", "unknown key 'learning-rate'; did you mean 'learning'?"),
        ("epoch = 1", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("out = 'x'", "unknown key 'out'; "),
        ("lr = 'fast'", "argument --lr: invalid float value: 'fast'"),
        ("lr = { a = 1 }", "lr is not one value; expected that of --lr"),
        ("optimizer = 'adamm'", "argument --optimizer: invalid choice: 'adamm'"),
        ("[learning]\nclip = 1", "learning: unknown key 'clip'; did you mean 'clip_"),
        ("[learning]\nclip_norm = -1", "clip_norm: expected 0 or more, got -1"),
        ("[learning]\nbetas = [0.9, 1]", "betas: expected 0 or more and less than 1, got 1"),
        ("[learning]\neps = -1.0", "eps: expected 0 or more, got -1"),
        ("[loss]\nterms = { dice = -1 }", "dice: expected 0 or more, got -1"),
        ("[loss]\nterms = { dice = 1 }\nsides = [1, -1]", "sides[1]: expected 0 or more"),
        ("[loss]\nterms = { dice = 1 }\nmain = 0", "nothing is learnt"),
        ("[loss]\nterms = { dice = 1 }\nsides_epochs = -3", "sides_epochs: expected 0 or more"),
        ("[loss]\nterms = { dice = 1 }\nsides_epochs = 3", "one has no effect without the other"),
        ("[[groups]]\nmatch = '*'\nlr = -1.0", "lr: expected 0 or more, got -1"),
        ("[[groups]]\nmatch = '*'\nweight_decay = -1.0", "weight_decay: expected 0 or more"),
        ("[loss]\nterms = { }", "expected one of cross_entropy, edge_iou"),
        ("[loss]\nterms = { dices = 1 }", "unknown key 'dices'; did you mean 'dice'?"),
        ("[[groups]]\nlr = 2", "groups[0]: required key 'match' is missing"),
        ("[augmentation]\nlargest_crop = 1", "give largest-crop at the top"),
        ("lr = ", "not valid TOML"),
    ],
)
def test_mistakes_in_a_file_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_recipe(str(path))
    assert f"--recipe {path}: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_example_of_the_page_is_a_recipe(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    path = tmp_path / "example.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    given = read_recipe(str(path))
    assert (given.options["schedule"], given.learning.learning.clip_norm) == ("poly", 1.0)
    assert given.learning.loss is not None
    assert given.learning.loss.sides == (0.4, 0.2)


def test_no_such_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'fsanet'"):
        read_recipe("fsa-net")
    with pytest.raises(InputError, match=r"none\.toml: cannot be read \(No such file"):
        read_recipe(str(tmp_path / "none.toml"))


def test_a_run_learns_by_its_recipe_and_is_known_by_it(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        "optimizer = 'adaxw'\nschedule = 'poly'\nlr = 1e-3\n"
        "[learning]\npoly_power = 2\nclip_value = 0.01\nclip_norm = 0\n"
        "[loss]\nterms = { cross_entropy = 1 }\nsides = [0, 0, 0]\n"
        "[[groups]]\nmatch = 'encoder.*'\nlr = 0.5\n[augmentation]\nflip = 0\n",
        encoding="utf-8",
    )
    trainers: list[Trainer] = []
    plain = Trainer.__init__

    def remember(self: Trainer, *args: object) -> None:
        plain(self, *args)  # type: ignore[arg-type]
        trainers.append(self)

    monkeypatch.setattr(Trainer, "__init__", remember)
    base = short_run(tmp_path / "run", scenes, epochs=1, warmup=0.0)
    words = shlex.split(resume_command(base))[2:]
    run = parse_with_recipe([*words, "--recipe", str(recipe)])
    train(run)
    (trainer,) = trainers
    assert isinstance(trainer.optimizer, AdaXW)
    assert all(p.grad is None or p.grad.abs().max() <= 0.01 for p in trainer.model.parameters())
    rows = (run.out / "steps.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[3]) for row in rows] == pytest.approx(
        [1e-3 * (1 - step / 3) ** 2 for step in range(4)]
    )
    config = json.loads((run.out / "config.json").read_text())
    assert config["recipe"]["groups"] == [{"match": "encoder.*", "lr": 0.5, "weight_decay": None}]
    recipe.write_text(recipe.read_text().replace("poly_power = 2", "poly_power = 3"))
    with pytest.raises(InputError, match=r"another configuration is here: recipe \(was .*"):
        train(run)


def test_a_recipe_of_several_classes_trains(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    run = recipe_options(
        "rgbt-fusion", tmp_path / "run", model="rgbt-fusion-edge", data=str(tmp_path / "data"),
        size=(64, 96), epochs=1, batch=2, accumulate=2, workers=0, holdout=0.5, device="cpu",
    )  # fmt: skip
    summary = train(run)
    assert summary["completed"]
    assert summary["steps"] > 0


def test_options_without_a_recipe_are_read_as_before() -> None:
    words = ["--out", "r", "--lr", "1e-3"]
    assert parse_with_recipe(words) == parse(TrainOptions, words, "differseg train")
