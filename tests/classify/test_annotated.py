"""New classes from annotated tables: parts share no places, labels are checked, the model works."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.classify import Recipe, classify, train
from lucule.classify.pool import draw_parts
from lucule.core import ColumnError, InputError, Localizations
from lucule.models import find
from lucule.simulate import load, simulate

RECIPE = {
    "name": "mine",
    "title": "annotated",
    "architecture": "dense",
    "features": {"k": 50, "normalisation": "distances_last"},
    "classes": ["free", "clustered"],
    "pool": {"label_column": "kind", "train": 6000, "validation": 400, "test": 400},
    "batch_size": 64,
    "fit": {"epochs": 8, "learning_rate": 5e-3},
}


def cell(seed):
    locs = simulate(load("caml_demo", cell_radius_um=(3, 4)), seed=seed)
    return locs.with_columns(kind=locs["true_label"].astype(np.int64))


def recipe(folder, **changes):
    values = RECIPE | {"pool": RECIPE["pool"] | {"tables": [str(folder / "*.parquet")]}} | changes
    return Recipe.model_validate(values)


@pytest.fixture
def tables(tmp_path):
    for seed in (1, 2):
        cell(seed).save(tmp_path / f"{seed}.parquet")
    return tmp_path


def test_a_model_of_annotated_tables_labels_another_one(tables):
    folder = train(recipe(tables), out=tables / "model")
    card = find(folder).card
    assert card.scores["test_accuracy"] > 0.85
    assert set(card.training_range) == {"local_density_per_um2"}
    other = cell(3)
    assert (classify(other, model=folder)["label"] == other["true_label"]).mean() > 0.9
    assert pl.read_csv(folder / "scores_by_scenario.csv")["table"].str.ends_with(".parquet").all()


def test_parts_have_localizations_of_their_own_and_equal_classes(tables):
    parts = draw_parts(recipe(tables), ("train", "validation", "test"))
    rows = [{value.tobytes() for value in pool.features} for pool in parts.values()]
    assert len(set.union(*rows)) == sum(map(len, rows))
    assert np.bincount(parts["train"].labels).tolist() == [3000, 3000]
    assert set(parts["train"].scenario) == {0, 1}


def test_many_tables_are_not_cut(tmp_path):
    for seed in range(10):
        cell(seed).save(tmp_path / f"{seed}.parquet")
    parts = draw_parts(recipe(tmp_path), ("train", "validation", "test"))
    used = [set(pool.scenario) for pool in parts.values()]
    assert sum(map(len, used)) == 10
    assert set.union(*used) == set(range(10))


def test_names_and_unlabelled_rows(tmp_path):
    locs = cell(1)
    names = np.where(locs["x"] < np.median(locs["x"]), np.where(locs["kind"] == 1, "clustered", "free"), "")
    locs.with_columns(kind=names).save(tmp_path / "1.parquet")
    labels = draw_parts(recipe(tmp_path), ("train",))["train"].labels
    assert 0 < len(labels) <= (names != "").sum()
    assert np.bincount(labels).min() > 100


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": np.full(3000, 7)}, InputError, "labels that the recipe does not know"),
        ({"other": np.zeros(3000)}, ColumnError, "no column of labels"),
        ({"kind": np.zeros(3000, np.int64)}, InputError, "lack a class"),
    ],
)
def test_bad_tables(tmp_path, change, error, message):
    xy = np.random.default_rng(1).uniform(0, 5000, (2, 3000))
    Localizations({"x": xy[0], "y": xy[1]}).with_columns(**change).save(tmp_path / "1.parquet")
    with pytest.raises(error, match=message):
        draw_parts(recipe(tmp_path), ("train",))


def test_missing_tables(tmp_path):
    with pytest.raises(InputError, match="no annotated table"):
        draw_parts(recipe(tmp_path), ("train",))
