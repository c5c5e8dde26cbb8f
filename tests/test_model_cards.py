"""The model cards: complete, with the registry's figures, and every command in them is one."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from differseg.cli import VERBS
from differseg.models import create_model, list_models
from differseg.models.registry import find_model
from differseg.options import parse

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "models"
CARDS = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
INDEX = CARDS.pop("README.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.usefixtures("one_thread")


def tables(card):
    """Every table of a card as rows of cells, its head first."""
    for block in re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")]
        yield [row for row in rows if row != [""] and not set("".join(row)) <= set("-: ")]


def figures(card):
    """Configuration to its cells for parameters and multiply-adds, by row or by column."""
    found = {}
    for table in tables(card):
        for turned in (table, [list(column) for column in zip(*table, strict=False)]):
            heads = turned[0]
            params = [n for n, head in enumerate(heads) if head == "parameters"]
            costs = [n for n, head in enumerate(heads) if head.startswith("multiply-adds")]
            for row in turned[1:] if params and costs else []:
                name = re.match(r"`([\w-]+)`", row[0])
                if name:
                    found[name[1]] = (row[params[0]], row[costs[0]])
    return found


FIGURES = {name: cells for card in CARDS.values() for name, cells in figures(card).items()}


@pytest.mark.parametrize("info", list_models(), ids=lambda info: info.name)
def test_every_configuration_stands_in_a_card_with_its_figures(info):
    assert info.name in FIGURES, f"no card under docs/models has a row or column for {info.name}"
    params, cost = FIGURES[info.name]
    assert params == f"{info.params:,}"
    number, unit = cost.split()
    digits = len(number.partition(".")[2])
    assert digits >= 1
    # The last digit may be rounded from a figure with more digits than the registry's.
    assert float(number) == pytest.approx(info.gmacs, abs=0.51 * 10**-digits + 0.005)
    assert unit == "G"


def test_cards_have_no_configuration_that_there_is_not():
    assert set(FIGURES) == {info.name for info in list_models()}


def test_the_index_links_every_card():
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", INDEX)) == set(CARDS)


def test_every_picture_is_shown_or_linked():
    found = {path.name for path in (ROOT / "docs" / "images").glob("*.svg")}
    pictures = found - {"robustness.svg"}  # curves of figures; all others are architectures
    text = "".join(CARDS.values())
    assert {name for name in pictures if f"../images/{name})" in text} == pictures


@pytest.mark.parametrize("name", [*CARDS, "README.md"])
def test_links_lead_to_files_and_nothing_is_left_open(name):
    card = CARDS.get(name, INDEX)
    links = re.findall(r"\]\(([^)#]+)", card)
    lost = [link for link in links if "://" not in link and not (FOLDER / link).exists()]
    assert lost == []
    assert not re.search(r"@[A-Z]+@|TODO|TBD", card)


def options_of(verb):
    """The options class of a verb: the one that its module defines."""
    module = import_module(VERBS[verb][0])
    (options,) = [
        item
        for name, item in vars(module).items()
        if name.endswith("Options") and dataclasses.is_dataclass(item)
    ]
    return options


@pytest.mark.parametrize("name", [*CARDS, "README.md"])
def test_commands_are_ones(name):
    card = CARDS.get(name, INDEX)
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", card))
    lines = [line for kind, body in FENCE.findall(card) if not kind for line in body.splitlines()]
    commands = [line for line in (*lines, *spans) if re.match(r"(differseg|python|pytest) ", line)]
    for command in commands:
        words = shlex.split(command)
        if words[0] == "differseg":
            assert words[1] in VERBS, command
            if words[2:]:  # a sentence may name the verb alone
                options = parse(options_of(words[1]), words[2:], words[1])
                model = getattr(options, "model", None)
                assert model in (None, "NAME") or find_model(model)
        paths = [word for word in words[1:] if re.match(r"(tests|docs|benchmarks)/", word)]
        assert words[0] == "differseg" or paths, command
        assert [path for path in paths if not (ROOT / path).exists()] == [], command


def run_the_imports(body):
    """Run every import statement of a block, and nothing else of it."""
    for node in ast.walk(ast.parse(body)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "<card>", "exec"), {})


@pytest.mark.parametrize("name", CARDS)
def test_python_is_python(name):
    for kind, body in FENCE.findall(CARDS[name]):
        if kind == "python":
            code = compile(body, name, "exec")
            run_the_imports(body)
            if "-edge" in body:  # builds without timm and without files
                scope = {"create_model": create_model}
                exec(code, scope)
                assert scope["model"].spec.system in body.replace("-", "_")
