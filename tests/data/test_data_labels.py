"""Label rules: what becomes 0, 1 and 255, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from differseg.data.labels import choose_label_rule, parse_label_rule
from differseg.errors import InputError

VALUES = np.array([[0, 1, 2, 3], [4, 8, 127, 128], [200, 254, 255, 0]], np.uint8)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("nonzero", [[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]),
        ("nonzero+ignore255", [[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 255, 0]]),
        ("binary255", [[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]]),
        ("2,8", [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]),
        ("2,8+ignore255", [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 255, 0]]),
    ],
)
def test_rules(rule: str, expected: list[list[int]]) -> None:
    mask = parse_label_rule(rule).apply(VALUES, "a.png")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


def test_mfnet_keeps_car_person_and_bike() -> None:
    ids = np.arange(9, dtype=np.uint8)[None]
    mask = parse_label_rule("mfnet").apply(ids, "a.png")
    np.testing.assert_array_equal(mask, [[0, 1, 1, 1, 0, 0, 0, 0, 0]])


def test_mfnet_refuses_other_values_unless_ignored() -> None:
    label = np.array([[1, 255]], np.uint8)
    with pytest.raises(InputError, match=r"00001D.png: value 255 is outside rule 'mfnet'"):
        parse_label_rule("mfnet").apply(label, "00001D.png")
    np.testing.assert_array_equal(parse_label_rule("mfnet+ignore255").apply(label, ""), [[1, 255]])


def test_sixteen_bit_ids() -> None:
    label = np.array([[0, 1000, 1001]], np.uint16)
    np.testing.assert_array_equal(parse_label_rule("1000").apply(label, ""), [[0, 1, 0]])


@pytest.mark.parametrize("rule", ["", "cars", "1,,2", "mfnet+skip", "nonzero+ignore", "-1"])
def test_unknown_rules_are_named(rule: str) -> None:
    with pytest.raises(InputError, match="expected auto, nonzero, binary255, mfnet or ids"):
        parse_label_rule(rule)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({0, 1}, "auto: 0 and 1"),
        ({1}, "auto: 0 and 1"),
        ({0, 255}, "auto: 0 and 255"),
        ({0, 1, 3, 7}, "auto: mfnet"),
        ({2}, "auto: mfnet"),
        ({0, 3, 4}, "auto: mfnet"),
    ],
)
def test_auto(values: set[int], name: str) -> None:
    assert choose_label_rule(values, "data").name == name


@pytest.mark.parametrize("values", [{0, 1, 255}, {0, 9}, {0, 128, 255}, {0, 4}, {5, 8}])
def test_auto_refuses_to_guess(values: set[int]) -> None:
    with pytest.raises(InputError, match="have no evident meaning"):
        choose_label_rule(values, "data")


def test_masks_with_ignored_borders_are_told_the_rule_that_ignores_them() -> None:
    said = r"--label-rule 1[+]ignore255 where 1 is the object and 255 is ignored"
    with pytest.raises(InputError, match=said):
        choose_label_rule({0, 1, 255}, "data")
    with pytest.raises(InputError, match=said):
        choose_label_rule({0, 1}, "data").apply(np.array([[0, 255]], np.uint8), "late.png")
    with pytest.raises(InputError, match=r"mfnet[+]ignore255 where 255 is ignored"):
        choose_label_rule({0, 2, 255}, "data")
    label = np.array([[0, 1, 255]], np.uint8)
    assert parse_label_rule("1+ignore255").apply(label, "").tolist() == [[0, 1, 255]]


def test_auto_refuses_labels_without_foreground() -> None:
    with pytest.raises(InputError, match="data: expected foreground, got only value 0") as caught:
        choose_label_rule({0}, "data")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen_for", "other", "listed"),
    [({0, 1}, 3, "0, 1"), ({0, 1}, 255, "0, 1"), ({0, 255}, 1, "0, 255"), ({0, 255}, 3, "0, 255"),
     ({0, 255}, 128, "0, 255"), ({0, 255}, 254, "0, 255"), ({0, 2}, 9, "0 to 8")],
)  # fmt: skip
def test_auto_rule_refuses_what_it_was_not_chosen_for(
    chosen_for: set[int], other: int, listed: str
) -> None:
    rule = choose_label_rule(chosen_for, "data")
    with pytest.raises(InputError, match=rf"late.png: value {other} is outside .*\({listed}\)"):
        rule.apply(np.array([[0, other]], np.uint8), "late.png")


@pytest.mark.parametrize("value", [1, 255])
def test_auto_masks(value: int) -> None:
    rule = choose_label_rule({0, value}, "data")
    np.testing.assert_array_equal(rule.apply(np.array([[0, value]], np.uint8), ""), [[0, 1]])


def test_a_colour_label_is_refused() -> None:
    with pytest.raises(InputError, match="one channel of class ids"):
        parse_label_rule("nonzero").apply(np.zeros((2, 2, 3), np.uint8), "a.png")
