"""docs/configurations.md: one row for each named configuration, and every row within its limits."""

from pathlib import Path

from differseg.models import list_models

PAGE = Path(__file__).parents[1] / "docs" / "configurations.md"
MAX_ERROR = 1e-4


def _rows():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0].strip("`"): dict(zip(heads, row, strict=True)) for row in rows}


def test_every_configuration_has_a_row_in_the_registrys_order():
    assert list(_rows()) == [info.name for info in list_models()]


def test_inputs_sizes_parameters_and_costs_are_those_of_the_registry():
    rows = _rows()
    for info in list_models():
        row = rows[info.name]
        assert row["inputs"] == " + ".join(info.inputs), info.name
        assert row["size"] == "x".join(map(str, info.size_hw)), info.name
        assert row["M parameters"] == f"{info.params / 1e6:.2f}", info.name
        assert row["GMACs"] == f"{info.gmacs:.2f}", info.name


def test_every_row_passed_parity_and_was_built():
    for name, row in _rows().items():
        assert 0 < float(row["max error"]) <= MAX_ERROR, name
        assert row["flipped pixels"].split()[0] == "0", name
        assert float(row["engine MB"]) > 0, name
        assert int(row["layers"]) > 0, name
        assert int(row["nodes"]) > 0, name
