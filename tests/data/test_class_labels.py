"""Label rules of networks with more than two classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.data.class_labels import choose_class_rule, parse_class_rule
from differseg.data.folder import FolderDataset
from differseg.errors import InputError
from differseg.manifest import ClassSpec

CLASSES = tuple(
    ClassSpec(class_id, name, (class_id, 0, 0))
    for class_id, name in ((0, "nothing"), (4, "person"), (9, "car"))
)
MFNET = (
    "unlabeled", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump",
)  # fmt: skip
MFNET_CLASSES = tuple(ClassSpec(place, name, (place, 1, 2)) for place, name in enumerate(MFNET))


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("ids", [0, 4, 9, 255], [0, 1, 2, 255]),
        ("ids+ignore7", [0, 4, 7, 255], [0, 1, 255, 255]),
        ("0=0,1=9,2=4", [0, 1, 2], [0, 2, 1]),
        ("0-3=0,4-6=4,7=255", [0, 3, 4, 6, 7], [0, 0, 1, 1, 255]),
        ("1000=4,0=0+ignore65535", [1000, 0, 65535], [1, 0, 255]),
    ],
)
def test_rules(rule: str, values: list[int], expected: list[int]) -> None:
    label = np.array([values], np.uint16)
    mask = parse_class_rule(rule, CLASSES).apply(label, "a.png")
    assert mask.dtype == np.uint8
    assert mask.tolist() == [expected]


def test_a_range_maps_to_a_range_as_ade20k_needs_it() -> None:
    classes = [ClassSpec(place, f"c{place}", (1, 1, 1)) for place in range(150)]
    rule = parse_class_rule("1-150=0-149,0=255", classes)
    assert rule.apply(np.array([[0, 1, 150]], np.uint8), "").tolist() == [[255, 0, 149]]


@pytest.mark.parametrize("rule", ["nonzero", "mfnet", "1,2,3", "ids+skip", "", "1=", "a=1"])
def test_rules_of_binary_networks_and_no_rules_are_refused(rule: str) -> None:
    with pytest.raises(InputError, match="the network has 3 classes; expected auto, ids, or pairs"):
        parse_class_rule(rule, CLASSES)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("0=0,1=5", r"1=5: the network has no class 5, only 0, 4, 9, and 255"),
        ("1-3=0-1", r"1-3=0-1: expected one class id, or as many as values"),
        ("3-1=0", r"3-1=0: expected one class id"),
        ("1=0,1=4", r"value 1 stands there twice"),
        ("99999=0", r"reach 65535"),
    ],
)
def test_a_wrong_pair_is_named(rule: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_class_rule(rule, CLASSES)
    assert "\n" not in str(caught.value)


def test_a_value_outside_the_rule_is_refused() -> None:
    with pytest.raises(InputError, match=r"label b.png: value 5 is outside rule 'ids' \(0, 4, 9"):
        parse_class_rule("ids", CLASSES).apply(np.array([[0, 5]], np.uint8), "b.png")
    with pytest.raises(InputError, match="one channel of class ids"):
        parse_class_rule("ids", CLASSES).apply(np.zeros((2, 2, 3), np.uint8), "b.png")


def test_auto_takes_ids_and_refuses_what_looks_like_something_else() -> None:
    rule = choose_class_rule({0, 3, 8, 255}, MFNET_CLASSES, "data")
    assert rule.name == "auto: ids"
    assert rule.apply(np.array([[0, 8, 255]], np.uint8), "").tolist() == [[0, 8, 255]]
    with pytest.raises(InputError, match=r"data: label values 9, 12 are no ids .* \(0 to 8\)"):
        choose_class_rule({0, 9, 12}, MFNET_CLASSES, "data")
    with pytest.raises(InputError, match=r"expected several classes, got only value\(s\) 0, 255"):
        choose_class_rule({0, 255}, MFNET_CLASSES, "data")


def write_folder(root: Path, values: list[int]) -> Path:
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir(parents=True)
    for number, value in enumerate(values):
        label = np.zeros((6, 8), np.uint8)
        label[2:, 3:] = value
        cv2.imwrite(str(root / "rgb" / f"{number}.png"), np.zeros((6, 8, 3), np.uint8))
        cv2.imwrite(str(root / "thermal" / f"{number}.png"), label)
        cv2.imwrite(str(root / "labels" / f"{number}.png"), label)
    return root


def test_a_folder_keeps_the_classes_of_its_labels(tmp_path: Path) -> None:
    data = FolderDataset(write_folder(tmp_path, [4, 9, 255]), classes=CLASSES)
    assert data.rule is not None
    assert data.rule.name == "auto: ids"
    assert [int(data[number]["mask"].max()) for number in range(3)] == [1, 2, 255]
    part = data.select(["1"])
    assert part[0]["mask"][5, 7] == 2
    renamed = FolderDataset(tmp_path, classes=CLASSES, label_rule="0=9,4=0,9=4,255=255")
    assert renamed[0]["mask"][0, 0] == 2


def test_a_folder_for_two_classes_is_binary_as_before(tmp_path: Path) -> None:
    data = FolderDataset(write_folder(tmp_path, [1, 2]), classes=CLASSES[:2])
    assert data.rule is not None
    assert data.rule.name == "auto: mfnet"
    assert data[1]["mask"].max() == 1


@pytest.mark.parametrize("rule", ["ids", "0=0,4=4,255=255", "0=0,4=4+ignore255"])
def test_ids_and_pairs_serve_two_classes(tmp_path: Path, rule: str) -> None:
    root = write_folder(tmp_path, [4, 255])
    data = FolderDataset(root, classes=CLASSES[:2], label_rule=rule)
    assert np.unique(data[0]["mask"]).tolist() == [0, 1]
    assert np.unique(data[1]["mask"]).tolist() == [0, 255]


def test_mfnet_labels_keep_their_nine_classes(sample_data: Path) -> None:
    data = FolderDataset(sample_data / "mfnet", classes=MFNET_CLASSES)
    assert data.rule is not None
    assert data.rule.name == "auto: ids"
    images_with = np.zeros(9, int)
    for index in range(len(data)):
        sample = data[index]
        original = cv2.imread(str(data.root / "labels" / f"{sample['stem']}.png"), -1)
        assert np.array_equal(sample["mask"], original)
        images_with[np.unique(original)] += 1
    assert images_with.tolist()[1:] == [33, 51, 23, 21, 22, 2, 21, 8]
