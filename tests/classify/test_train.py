"""Training: pools are balanced and reproducible, the smoke budget gives a working model, recipes are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lucule.classify import FeatureSettings, Recipe, classify, pool, train
from lucule.classify.recipe import PoolSettings
from lucule.core import InputError, WorkError
from lucule.models import available, find
from lucule.simulate import load, simulate

RECIPE = Path(__file__).parents[2] / "recipes" / "XPILJZ.yaml"
SEEN = FeatureSettings(k=20, normalisation="distances_last")
SETTINGS = PoolSettings(train=600, validation=100, test=100, largest_number=3, changes={"cell_radius_um": [3, 4]})


def test_pools_are_balanced_and_even():
    drawn = pool.draw(SETTINGS, SEEN, part="train", seed=1)
    assert drawn.features.shape == (600, 20)
    for number in range(3):
        assert drawn.labels[drawn.scenario == number].tolist().count(1) == 100
        assert (drawn.scenario == number).sum() == 200


def test_pools_are_reproducible_and_parts_differ():
    first, again, other_seed = (pool.draw(SETTINGS, SEEN, part="train", seed=seed) for seed in (1, 1, 2))
    other_part = pool.draw(SETTINGS, SEEN, part="test", seed=1)
    assert first.sha256 == again.sha256
    assert len({first.sha256, other_seed.sha256, other_part.sha256}) == 3
    assert not set(first.features[:, 0]) & set(other_part.features[:, 0])


def test_more_fields_are_simulated_when_one_is_not_enough():
    settings = SETTINGS.replace(train=3000, largest_number=1)
    labels = pool.draw(settings, SEEN, part="train", seed=1).labels
    assert np.bincount(labels).tolist() == [1500, 1500]


def test_scenarios_that_cannot_give_enough_are_an_error():
    settings = SETTINGS.replace(changes={"fraction_clustered": 0.0, "cell_radius_um": [3, 4]})
    with pytest.raises(WorkError, match="too few localizations"):
        pool.draw(settings, SEEN, part="train", seed=1)


def test_smoke_training_gives_a_working_model(tmp_path):
    folder = train(RECIPE, out=tmp_path / "model", budget="smoke")
    card = find(folder).card
    assert card.scores["test_accuracy"] > 0.85
    assert card.command == "lucule train recipes/XPILJZ.yaml --budget smoke"
    assert sum(value for name, value in card.scores.items() if name.startswith("test_true")) == 2000
    locs = simulate(load("caml_demo", cell_radius_um=(3, 4)), seed=1)
    first = classify(locs, model=folder)
    assert (first["label"] == locs["true_label"]).mean() > 0.93
    table = pl.read_csv(folder / "scores_by_scenario.csv")
    assert table["accuracy"].is_sorted()
    assert table["localizations"].sum() == 2000
    # finished: nothing is done again
    before = (folder / "card.yaml").stat().st_mtime_ns
    train(RECIPE, out=folder, budget="smoke")
    assert (folder / "card.yaml").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another training"):
        train(Recipe.load(RECIPE).replace(seed=2), out=folder, budget="smoke")


@pytest.mark.parametrize("card", [card for card in available() if card.task == "classify"], ids=lambda card: card.name)
def test_the_packaged_model_is_what_its_recipe_says(card):
    recipe = Recipe.parse(card.recipe)
    assert Recipe.load(RECIPE.with_stem(card.name)).at(recipe.budget) == recipe
    assert card.command == recipe.command


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"k": 100, "normalisation": "norm-self"}}, "differences_minmax"),
        ({"features": {"k": 0, "normalisation": "distances"}}, "k"),
        ({"batch_size": 0}, "batch_size"),
        ({"fit": {"epochs": 1, "epoch": 2}}, "fit.epoch is not a known key"),
        ({"pool": {"train": 1, "validation": 2, "test": 2}}, "pool.train"),
    ],
)
def test_wrong_recipes_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe.load(RECIPE).replace(**changes)


def test_unknown_budgets_are_refused():
    with pytest.raises(InputError, match="full, cpu, smoke"):
        Recipe.load(RECIPE).at("huge")


def test_the_budget_keeps_its_name():
    recipe = Recipe.load(RECIPE)
    assert recipe.at("full").command == "lucule train recipes/XPILJZ.yaml"
    assert recipe.at("smoke").command == recipe.at("smoke").at("full").command == f"{recipe.command} --budget smoke"


def test_missing_recipe(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        train(tmp_path / "nothing.yaml", out=tmp_path)
