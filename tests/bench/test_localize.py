"""The localization benchmark: its phantoms are what they say, and perfect localizations score perfectly."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.bench import localize as bench
from lucule.localize import Recipe
from lucule.simulate.crlb import crlb

RECIPE = Recipe(name="phantom", title="", fit={"steps": 1})


@pytest.fixture(scope="module")
def phantom():
    return bench.three_tubes(RECIPE, 4.0e-3, 150, 3)


def test_phantom_has_the_density_of_the_challenge_and_its_depth(phantom):
    assert phantom.movie.shape == (150, 64, 64)
    assert len(phantom.frame) / 150 == pytest.approx(12.6, rel=0.25)
    assert np.ptp(phantom.xyz[:, 2]) > 1000
    assert phantom.xyz[:, :2].min() >= 0


def test_perfect_localizations_score_perfectly(phantom):
    locs = {"frame": phantom.frame.astype(float), **dict(zip("xyz", phantom.xyz.T, strict=True))}
    rows = {row["quantity"]: row["value"] for row in bench.scored("what", "truth", locs, phantom)}
    assert rows["jaccard, all"] == rows["efficiency_3d, all"] == rows["efficiency_3d, brightest 75 %"] == 1.0
    assert rows["lateral_nm, all"] == 0.0


def test_localizations_at_the_bound_score_as_expected(phantom):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, [20, 20, 40], phantom.xyz.shape)
    locs = {"frame": phantom.frame.astype(float), **dict(zip("xyz", (phantom.xyz + noise).T, strict=True))}
    rows = {row["quantity"]: row["value"] for row in bench.scored("what", "noisy", locs, phantom)}
    assert rows["lateral_nm, all"] == pytest.approx(20 * np.sqrt(2), rel=0.1)
    assert rows["axial_nm, all"] == pytest.approx(40, rel=0.1)


def test_bounds_of_the_phantom_fall_with_its_light(phantom):
    rows = {
        row["quantity"]: row["value"] for row in bench._bounds("what", phantom, RECIPE.kernel(), RECIPE.camera_used())
    }
    assert 0.5 < rows["emitters below 62.5 nm"] <= 1
    assert rows["lateral_nm (median), brightest 75 %"] < rows["their lateral_nm (rms)"]


def test_single_emitters_are_alone_in_space_and_time():
    frame, xyz = bench._alone(np.random.default_rng(0), 100.0)
    assert (np.diff(np.unique(frame)) == 3).all()
    for f in np.unique(frame):
        points = xyz[frame == f, :2]
        distance = np.linalg.norm(points[:, None] - points, axis=2)[~np.eye(len(points), dtype=bool)]
        assert distance.min() > 2000
    assert crlb(RECIPE.kernel(), RECIPE.camera_used(), *xyz[:4].T, 5000.0, 50.0).x_err.max() < 30
