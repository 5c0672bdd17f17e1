"""A short training learns: the whole chain, with a bright and simple recipe."""

from __future__ import annotations

import csv

import pytest

from lucule.localize import Recipe, train
from lucule.models import find
from lucule.nn import torch_threads

RECIPE = Recipe.parse(
    {
        "name": "bright",
        "title": "bright emitters that never touch",
        "network": {"context": 1, "widths": [8, 16, 16, 16, 16], "head": 16},
        "scenes": {
            "shape_px": [24, 24], "frames": 1, "scenes": 24, "samplers": {"csr": 1}, "density_per_um2": [0.1, 0.2],
            "photons": [20000, 40000], "photons_spread": [0, 0], "photons_per_background": [400, 400],
            "on_frames": [6, 6], "faintest_photons": 2000,
        },
        "fit": {"steps": 60, "learning_rate": 3e-3, "log_every_steps": 10, "ema_decay": 0.95},
        "validation_batches": 1,
    }
)  # fmt: skip


@pytest.mark.slow
def test_a_short_training_learns(tmp_path):
    with torch_threads(1):
        train(RECIPE, out=tmp_path / "bright", device="cpu")
    with (tmp_path / "bright" / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    # places are likelier by more than a factor of e for every emitter (about half of one in each frame)
    assert float(log[-1]["place"]) < float(log[0]["place"]) - 1
    assert float(log[-1]["loss"]) < 0.6 * float(log[0]["loss"])
    card = find(tmp_path / "bright").card
    assert card.training_range["z_nm"] == RECIPE.kernel().z_range_nm
    assert card.command == "lucule train recipes/bright.yaml"


def test_budgets_change_the_recipe_and_replace_steps_by_seconds():
    recipe = RECIPE.replace(budgets={"cpu": {"fit": {"seconds": 5}, "network": {"context": 3}}})
    assert recipe.at("cpu").fit.seconds == 5
    assert recipe.at("cpu").fit.steps is None
    assert recipe.at("cpu").network == {"context": 3}
    assert recipe.at("cpu").fit.learning_rate == recipe.fit.learning_rate


@pytest.mark.parametrize("budget", ["gpu", "smoke"])
def test_a_budget_that_is_not_named_is_refused(budget):
    from lucule.core import InputError

    with pytest.raises(InputError, match="no such budget"):
        RECIPE.at(budget)


def test_the_packaged_recipe_is_valid_in_every_budget():
    from pathlib import Path

    recipe = Recipe.load(Path(__file__).parents[2] / "recipes" / "localize_astigmatic.yaml")
    for budget in ("full", "gpu", "cpu", "smoke"):
        used = recipe.at(budget)
        assert used.camera_used().kind == "emccd"
    assert recipe.at("gpu").fit.seconds <= 1800
