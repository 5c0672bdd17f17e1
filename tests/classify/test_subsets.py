"""The classifier of Varga et al. 2023."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import models
from lucule.classify import subsets
from lucule.classify.directions import directions
from lucule.core import InputError
from lucule.core.config import read_yaml
from lucule.nn import FitSettings


def test_directions_do_not_depend_on_the_orientation() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(0, [100, 10], (200, 2)).astype(np.float32)
    indices = np.tile(np.arange(1, 200, dtype=np.int32), (1, 1))
    found = directions(points, np.array([0]), indices)
    assert found.shape == (1, 30)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[0].argmax() == 12
    angle = 2 * np.pi / 30 * 7  # whole bins, so that the histogram is the same
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = directions((points @ turn.T).astype(np.float32), np.array([0]), indices)
    assert np.abs(found - turned).max() < 0.02


def test_neighbours_that_are_missing_or_at_the_same_place_have_no_direction() -> None:
    points = np.array([[0, 0], [0, 0], [5, 0]], np.float32)
    assert directions(points, np.array([0]), np.array([[1, -1]], np.int32)).sum() == 0
    assert directions(points, np.array([0]), np.array([[1, 2]], np.int32)).sum() == pytest.approx(1)


@pytest.mark.parametrize(("vector", "width"), [("distances", 350), ("directions", 30), ("both", 380)])
def test_the_vector_has_the_width_of_the_paper(vector, width) -> None:
    settings = subsets.SubsetSettings(vector=vector)
    assert settings.width == width
    xy = np.random.default_rng(2).uniform(0, 3000, (400, 2))
    assert subsets.vectors_of(xy, settings).shape == (400, width)
    assert np.isfinite(subsets.vectors_of(xy[:5], settings)).all()
    assert subsets.vectors_of(xy[:1], settings).shape == (1, width)


def test_subsets_hold_every_row_once() -> None:
    parts = subsets.subsets_of(101, 4, np.random.default_rng(3))
    assert sorted(np.concatenate(parts).tolist()) == list(range(101))
    assert len(subsets.subsets_of(5, 0, np.random.default_rng(3))) == 1


def test_a_training_learns_and_labels(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(4)
    line = rng.normal(0, [10, 300], (1200, 2))
    noise = rng.uniform(-3000, 3000, (1200, 2))
    seen = subsets.SubsetSettings(k=60, per_object=300)
    xy, label = np.vstack([line, noise]), np.repeat([1, 0], 1200).astype(np.uint8)

    def drawn(pool, settings, *, seed, progress):
        del pool, seed, progress
        return subsets.Vectors(subsets.vectors_of(xy, settings), label)

    monkeypatch.setattr(subsets, "draw", drawn)
    recipe = subsets.Recipe(name="tiny", title="tiny", seen=seen, fit=FitSettings(epochs=6, learning_rate=3e-3))
    folder = subsets.train(recipe, out=tmp_path / "tiny")
    scores = models.find(folder).card.scores
    assert scores["test_true_positive_percent"] > 90
    assert scores["test_true_negative_percent"] > 90
    given, certain = subsets.label_in_subsets(xy, 1200, model=folder)
    assert (given == label).mean() > 0.8
    assert ((certain >= 0.5) & (certain <= 1)).all()


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(InputError, match="does not label in subsets"):
        subsets.label_in_subsets(np.zeros((5, 2)), 300, model="XPILJZ")


@pytest.mark.parametrize("name", ["varga", "varga_distances", "varga_directions"])
def test_the_recipes_are_those_of_the_paper(name) -> None:
    recipe = subsets.Recipe.parse(read_yaml(f"recipes/{name}.yaml"), source=name)
    assert (recipe.hidden, recipe.batch_size, recipe.fit.epochs, recipe.fit.optimizer) == (32, 32, 10, "adam")
    assert (recipe.pool.lines, recipe.pool.noise) == (626_347, 509_831)
    assert recipe.at("smoke").seen.k == 50
