"""What a movie is like: measured values near the truth, ranges around them, refusals, the recipe that follows."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import simulate
from lucule.core import InputError
from lucule.localize import Recipe, like
from lucule.localize.scenes import SceneSettings
from lucule.workflows.training import for_microscope

SCENE = {
    "field": {"size_um": 6.4, "axial_range_nm": 400},
    "layers": {"molecules": {"specimen": {"kind": "uniform", "density_per_um2": 40}, "label": 1}},
    "dye": {
        "kind": "switching", "on_time_s": 0.04, "off_time_s": 20.0, "cycles": 1000,
        "photons": {"kind": "rate", "photons_per_s": 150_000},
    },
    "acquisition": {"frames": 1200, "interval_s": 0.02},
    "camera": "smlm_challenge",
    "background_photons": 25,
}  # fmt: skip
FIT = {"steps": 2}


@pytest.fixture(scope="module")
def movie():
    return simulate.movie(simulate.scene.Scene.parse(SCENE), psf="astigmatic", seed=1)


@pytest.fixture(scope="module")
def seen(movie):
    frames, _ = movie
    return like(frames[:500], camera=frames.imaging.camera, psf="astigmatic")


def test_measured_values_are_near_the_truth(movie, seen):
    _, truth = movie
    per_frame = (truth.emitters["frame"] < 500).sum() / 500 / 6.4**2
    assert 0.4 * per_frame < seen.density_per_um2 < 1.3 * per_frame
    assert 1500 < seen.photons < 4500  # 3000 in a frame
    assert seen.background_photons == pytest.approx(25, rel=0.2)
    assert 1.0 < seen.on_frames < 3.0  # 2
    assert seen.frames == 500


def test_ranges_hold_the_truth(movie, seen):
    _, truth = movie
    scenes = seen.widened(SceneSettings())
    per_frame = (truth.emitters["frame"] < 500).sum() / 500 / 6.4**2
    for value, limits in (
        (per_frame, scenes.density_per_um2), (3000, scenes.photons), (25, scenes.background_photons),
        (3000 / 25, scenes.photons_per_background), (2.0, scenes.on_frames),
    ):  # fmt: skip
        assert limits[0] < value < limits[1]


def test_an_empty_movie_is_refused():
    dark = np.random.default_rng(1).poisson(20, (30, 48, 48)).astype(np.uint16)
    with pytest.raises(InputError, match="Too few emitters"):
        like(dark, camera=simulate.load_camera("ideal"), psf="astigmatic")


def test_a_recipe_for_a_microscope(movie):
    frames, _ = movie
    recipe, seen = for_microscope(
        Recipe(name="mine", title="mine", fit=FIT), psf="gaussian_2d", camera="prime95b", movie=None
    )
    assert (recipe.psf, recipe.camera, seen) == ("gaussian_2d", "prime95b", None)
    recipe, seen = for_microscope(
        Recipe(name="mine", title="mine", fit=FIT), psf="astigmatic", camera="smlm_challenge", movie=frames[:200]
    )
    low, high = recipe.scenes.photons
    assert low < seen["photons"] < high


def test_only_localization_networks_are_for_a_microscope():
    from lucule.classify import Recipe as Classifier

    path = __file__.replace("tests/localize/test_likeness.py", "recipes/XPILJZ.yaml")
    with pytest.raises(InputError, match="Only localization networks"):
        for_microscope(Classifier.load(path), psf="astigmatic")
