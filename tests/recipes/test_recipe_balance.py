"""Numbers of recipes that stand for others of their authors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from differseg.data.folder import FolderDataset
from differseg.models.configs.class_sets import CLASS_SETS
from differseg.recipes.reading import read_recipe
from differseg.training.class_weights import choose_class_weights


def test_dice_of_rgbt_fusion_has_its_authors_share_of_the_loss(sample_data: Path) -> None:
    """Dice is multiplied by the classes' weights: by their formula up to 15, by ours up to 50."""
    classes = CLASS_SETS["mfnet"]
    data = FolderDataset(sample_data / "mfnet", label_rule="ids", classes=classes)
    masks = [data.mask(index).ravel() for index in range(len(data))]
    pixels = np.bincount(np.concatenate(masks), minlength=len(classes))
    inverse = pixels.sum() / (len(classes) * pixels)
    theirs = np.clip(10 * inverse / inverse.max(), 0.5, 15)
    theirs[[5, 6, 8]] *= (1.4, 2.0, 1.3)
    _, ours = choose_class_weights("labels", classes, data)
    recipe = read_recipe("rgbt-fusion")
    assert recipe.options["class_weights"] == "labels"
    loss = recipe.learning.loss
    assert ours is not None
    assert loss is not None
    assert loss.terms.dice * np.mean(ours) == pytest.approx(0.3 * theirs.mean(), rel=0.05)
