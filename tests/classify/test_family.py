"""The paper's family of models: three classes, three dimensions, LSTM, coordinates, cross-validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars.testing
import pytest
import torch

from lucule.classify import FeatureSettings, Recipe, classify, cross_validate, pool, train
from lucule.classify.predict import Classifier
from lucule.classify.recipe import PoolSettings
from lucule.core import ColumnError, InputError, Localizations
from lucule.core.executor import executor
from lucule.models import find
from lucule.simulate import listed, simulate

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = ["07VEJJ", "87B144", "GAXJPR", "3TXKFS"]
SEEN = FeatureSettings(k=20, normalisation="differences_minmax")
TINY = {"train": 600, "validation": 200, "test": 200, "largest_number": 2}


def tiny(name, **changes):
    """A recipe that trains within seconds."""
    recipe = Recipe.load(RECIPES / f"{name}.yaml").at("smoke")
    small = recipe.pool.replace(**TINY, changes=recipe.pool.changes | {"cell_radius_um": [4, 5]}).model_dump()
    return recipe.replace(**{"pool": small, "features": {**recipe.features.model_dump(), "k": 60}} | changes)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_are_valid_at_every_budget(name):
    recipe = Recipe.load(RECIPES / f"{name}.yaml")
    for budget in ("full", "gpu", "cpu", "smoke"):
        assert recipe.at(budget).name == name
    assert recipe.features.k == (100 if name == "07VEJJ" else 1000)
    assert recipe.pool.train == 500_000


def test_pools_of_three_classes_are_balanced():
    settings = PoolSettings(kind="fibres", **TINY, changes={"cell_radius_um": [4, 5]})
    drawn = pool.draw(settings, SEEN, part="train", seed=1, classes=3)
    assert np.bincount(drawn.labels).tolist() == [200, 200, 200]
    assert np.bincount(drawn.scenario).tolist() == [300, 300]


def test_pools_do_not_depend_on_the_number_of_processes():
    settings = PoolSettings(train=400, validation=2, test=2, largest_number=20, largest_field=2000)
    alone = pool.draw(settings, SEEN, part="train", seed=3)
    with executor(tasks=2, workers=2) as two:
        shared = pool.draw(settings, SEEN, part="train", seed=3, processes=two)
    assert alone.sha256 == shared.sha256
    assert np.array_equal(alone.scenario, shared.scenario)


def test_largest_field_shrinks_dense_cells_only():
    settings = PoolSettings(train=2, validation=2, test=2, largest_field=20_000)
    for small, whole in zip(pool.listed(settings), listed(), strict=True):
        expected = whole.density_per_um2 * np.pi * 12**2
        assert small.cell_radius_um[0] == pytest.approx(10 * min(1, (20_000 / expected) ** 0.5))
    squares = settings.replace(changes={"outline": "square"})
    assert max(s.density_per_um2 * s.field_size_um**2 for s in pool.listed(squares)) == pytest.approx(20_000)


def test_three_classes_from_training_to_table(tmp_path):
    folder = train(tiny("3TXKFS", fit={"epochs": 20, "learning_rate": 1e-2, "optimizer": "adam"}), out=tmp_path)
    card = find(folder).card
    assert card.classes == ("not clustered", "round", "fibre")
    assert card.scores["test_accuracy"] > 0.55
    assert {f"test_true_{i}_labelled_{j}" for i in range(3) for j in range(3)} <= set(card.scores)
    locs = simulate(listed(kind="fibres", number=2, cell_radius_um=(4, 5))[1], seed=9)
    result = classify(locs, model=folder)
    assert set(np.unique(result["label"])) == {0, 1, 2}
    assert (result["label"] == locs["true_label"]).mean() > 0.5
    assert result["p_label"].min() >= 1 / 3


def test_three_dimensions_need_z(tmp_path):
    folder = train(tiny("GAXJPR", fit={"epochs": 20, "learning_rate": 1e-2, "optimizer": "adam"}), out=tmp_path)
    locs = simulate(listed(number=2, dims=3, cell_radius_um=(4, 5))[1], seed=9)
    assert (classify(locs, model=folder)["label"] == locs["true_label"]).mean() > 0.75
    with pytest.raises(ColumnError, match="no z"):
        classify(Localizations({"x": locs["x"], "y": locs["y"]}), model=folder)


def test_training_can_begin_with_the_weights_of_another(tmp_path):
    first = train(tiny("GAXJPR"), out=tmp_path / "first")
    gentle = {"epochs": 1, "learning_rate": 1e-9}
    second = train(tiny("GAXJPR", start=str(first), fit=gentle), out=tmp_path / "second")
    for name, weights in find(first).state().items():
        assert torch.allclose(find(second).state()[name], weights, atol=1e-6)
    with pytest.raises(InputError, match="no such model"):
        train(tiny("GAXJPR", start="nothing"), out=tmp_path / "third")


@pytest.mark.parametrize("normalisation", ["differences_minmax", "coordinates"])
def test_labels_of_the_lstm_depend_neither_on_order_nor_on_batches(tmp_path, normalisation):
    seen = {"k": 30, "normalisation": normalisation}
    options = {"channels": 2} if normalisation == "coordinates" else {}
    folder = train(tiny("07VEJJ", features=seen, options=options), out=tmp_path)
    locs = simulate(listed(number=2, cell_radius_um=(2, 2.5))[1], seed=9)
    result = classify(locs, model=folder)
    order = np.random.default_rng(0).permutation(len(locs))
    shuffled = classify(Localizations(locs.data[order], locs.meta), model=folder)
    assert np.array_equal(shuffled["p_label"], result["p_label"][order])
    label, p = Classifier.load(folder, "cpu").predict(locs.xy(), batch=300)
    assert np.array_equal(label, result["label"])
    assert np.array_equal(p, result["p_label"])


def test_cross_validation_scores_every_localization_once_and_goes_on(tmp_path):
    recipe = tiny("GAXJPR", features={"k": 20, "normalisation": "distances_last", "dims": 3})
    folds = cross_validate(recipe, folds=3, out=tmp_path)
    table = folds.table()
    assert table["localizations"].to_list() == [200, 200, 200]
    assert folds.accuracy == pytest.approx((table["accuracy"].mean(), table["accuracy"].std()))
    # what is there is not done again, what is missing is
    before = (tmp_path / "folds.csv").stat().st_mtime_ns
    assert cross_validate(recipe, folds=3, out=tmp_path).table().equals(table)
    assert (tmp_path / "folds.csv").stat().st_mtime_ns == before
    table[:2].write_csv(tmp_path / "folds.csv")
    polars.testing.assert_frame_equal(cross_validate(recipe, folds=3, out=tmp_path).table(), table)
    with pytest.raises(InputError, match="another training"):
        cross_validate(recipe.replace(seed=5), folds=3, out=tmp_path)
    with pytest.raises(InputError, match="Too few folds"):
        cross_validate(recipe, folds=1, out=tmp_path / "other")
