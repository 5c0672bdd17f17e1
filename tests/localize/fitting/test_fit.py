"""Fits of single emitters: at the bound, without bias, with errors and goodness that are true."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import polars as pl
import pytest

from lucule.core import Camera, InputError
from lucule.localize import FitSettings, fit
from lucule.localize.fitting import fit_block, prepare
from lucule.localize.fitting.block import alone, candidates, in_photons
from lucule.localize.fitting.spots import DEGREES
from lucule.localize.matching import MatchSettings, match
from lucule.simulate import load_camera
from lucule.simulate.camera import expose, sensor
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import Gaussian, Spline, Stack, compile_psf, save_stack

PHOTONS, BACKGROUND, FRAMES, SIZE = 3000.0, 30.0, 100, 64
MODELS = {
    "gaussian": ("gaussian_2d", None, FitSettings()),
    "elliptical": ("gaussian_2d", None, FitSettings(model="elliptical")),
    "astigmatic": ("astigmatic", "astigmatic", FitSettings()),
    "spline": ("vectorial_astigmatic", "vectorial_astigmatic", FitSettings()),
}


@pytest.fixture(scope="module", params=[(m, c) for m in MODELS for c in ("ideal", "smlm_challenge", "prime95b")],
                ids=lambda p: "-".join(p))  # fmt: skip
def fitted(lab, request):
    """Table, truth and judgement for each model and each kind of noise."""
    model, name = request.param
    made_with, psf, settings = MODELS[model]
    camera, kernel = load_camera(name), compile_psf(made_with, 100)
    depths = (0.0, 0.0) if "gaussian" in made_with else (-500.0, 500.0)
    scene = lab.alone(kernel, camera, frames=FRAMES, photons=PHOTONS, background=BACKGROUND, z=depths, seed=5)
    locs = fit(scene.movie, camera=camera, psf=psf, settings=settings)
    return model, locs, scene, lab.judged(locs, scene, kernel, camera, PHOTONS, BACKGROUND)


def test_every_emitter_is_found_and_hardly_anything_else(fitted):
    _, _, _, found = fitted
    assert found.recall > 0.99
    assert found.wrong <= 6


def test_errors_are_those_of_the_bound(fitted):
    _, _, _, found = fitted
    assert np.sqrt((found.over_bound**2).mean(axis=0)).max() < 1.16  # 1.10 and three standard errors of 400 fits
    widths = (np.quantile(found.pulls, 0.8413, axis=0) - np.quantile(found.pulls, 0.1587, axis=0)) / 2
    assert widths == pytest.approx(np.ones(len(widths)), abs=0.12)


def test_places_do_not_depend_on_where_in_a_pixel_an_emitter_is(fitted):
    _, _, scene, found = fitted
    for axis in (0, 1):
        within = (scene.xyz[found.matches.true, axis] / 100) % 1
        for half in (within < 0.5, within >= 0.5):
            # four standard errors of 200 fits
            assert abs(found.over_bound[half, axis].mean()) < 0.28


def test_light_widths_and_goodness_are_true(fitted):
    model, locs, _, _ = fitted
    assert np.median(locs["photons"]) == pytest.approx(PHOTONS, rel=0.02)
    assert np.median(locs["background"]) == pytest.approx(BACKGROUND, rel=0.02)
    assert np.mean(locs["p_fit"]) == pytest.approx(0.5, abs=0.06)
    assert np.mean(locs["p_fit"] < 0.01) < 0.04
    assert (locs["log_likelihood"] < 0).all()
    if model in ("gaussian", "elliptical"):
        assert np.median(locs["sigma_x"]) == pytest.approx(130, abs=2)
        assert np.median(locs["sigma_y"]) == pytest.approx(130, abs=2)


def test_the_region_of_a_lone_fit_grows_with_the_spot():
    pixels = sensor(load_camera("ideal"), (SIZE, SIZE))
    fitter = prepare(pixels, "tetrapod")
    focus = int(np.abs(fitter.bank.z_nm).argmin())
    assert (fitter.sides % 2 == 1).all()
    assert (np.diff(fitter.sides[: focus + 1]) <= 0).all()
    assert (np.diff(fitter.sides[focus:]) >= 0).all()
    assert fitter.sides[0] >= fitter.sides[focus] + 8
    for z, side in zip(fitter.bank.z_nm, fitter.sides, strict=True):
        errors = [crlb(fitter.kernel, pixels, 3250, 3250, z, 2000, 30, roi_px=px) for px in (int(side), 41)]
        for axis in ("x_err", "y_err", "z_err"):
            assert getattr(errors[0], axis)[0] < 1.03 * getattr(errors[1], axis)[0]
    # a region that was asked for is every fit's; so is that of fits together
    for settings in (FitSettings(roi_px=15), FitSettings(multi=True)):
        other = prepare(pixels, "tetrapod", settings)
        assert set(other.sides) == {other.side}
    assert prepare(sensor(load_camera("ideal"), (26, 40)), "tetrapod").sides.max() == 25


def test_the_region_is_smaller_where_another_spot_is_near(lab):
    camera, kernel = load_camera("ideal"), compile_psf("vectorial_astigmatic", 100)
    # the first stands alone in its frame; of the second frame's two, each is in the other's larger region
    xyz = np.array([[3250.0, 3250, 500], [2150, 3250, 500], [4350, 3250, 500]])
    movie = lab.taken(kernel, camera, np.array([0, 1, 1]), xyz, 20_000, 10, 2, 1)
    fitter = prepare(sensor(camera, (SIZE, SIZE)), "vectorial_astigmatic")
    light = in_photons(fitter, movie)
    fits = alone(fitter, light, *candidates(fitter, light))
    sides = np.sqrt(fits.quality[:, DEGREES] + 5).round().astype(int)
    assert fitter.sides.max() > fitter.side
    assert sides.tolist() == [fitter.sides.max(), fitter.side, fitter.side]


def test_lone_spots_out_of_focus_reach_the_bound(lab):
    camera, kernel = load_camera("ideal"), compile_psf("vectorial_astigmatic", 100)
    scene = lab.alone(kernel, camera, frames=400, photons=1000, background=10, z=(500, 500), seed=8)
    locs = fit(scene.movie, camera=camera, psf="vectorial_astigmatic")
    found = lab.judged(locs, scene, kernel, camera, 1000, 10)
    # 1600 fits; a region for all depths gave 1.12
    assert np.sqrt((found.over_bound**2).mean(axis=0)).max() < 1.10


def test_the_table_says_how_it_was_made(fitted):
    model, locs, _, _ = fitted
    assert locs.meta.errors == "crlb"
    assert locs.meta.shape_px == (SIZE, SIZE)
    assert len(locs.meta.history) == 1
    assert locs.meta.history[0].function.endswith(".fit")
    assert ("z" in locs.data.columns) == (model in ("astigmatic", "spline"))


def test_a_measured_psf_is_fitted_with_the_right_sign_of_depth(lab, tmp_path):
    camera = load_camera("ideal")
    made = compile_psf("vectorial_astigmatic", 100)
    depths = np.arange(-550, 551, 50.0)
    stack = np.stack([made.image(1050, 1050, z, 1.0, (21, 21)) for z in depths])
    save_stack(tmp_path / "psf.h5", Stack(stack, 100.0, 50.0))
    psf = Spline(path=tmp_path / "psf.h5", centre=(11, 10, 10), subtract_border=False)
    scene = lab.alone(made, camera, frames=30, photons=8000, background=20, z=(-400, 400), seed=2)
    locs = fit(scene.movie, camera=camera, psf=psf)
    found = lab.judged(locs, scene, made, camera, 8000, 20)
    assert found.recall > 0.99
    assert np.abs(np.median(found.matches.difference_nm, axis=0)).max() < 8
    assert np.corrcoef(scene.xyz[found.matches.true, 2], locs["z"][found.matches.found])[0, 1] > 0.99


def test_blocks_regions_and_single_frames_make_no_difference(lab):
    camera, kernel = load_camera("prime95b"), compile_psf("astigmatic", 100)
    scene = lab.alone(kernel, camera, frames=6, photons=4000, background=20, z=(-300, 300), seed=3)
    whole = fit(scene.movie, camera=camera, psf="astigmatic")
    some = fit(scene.movie, camera=camera, psf="astigmatic", frames=(2, 5))
    assert np.array_equal(some["x"], whole.filter(pl.col("frame").is_between(2, 4))["x"])
    fitter = prepare(sensor(camera, (SIZE, SIZE)), "astigmatic")
    parts = [fit_block(fitter, scene.movie[i : i + 1]) for i in range(6)]
    assert np.array_equal(pl.concat(parts)["x"].to_numpy().astype(np.float32), whole["x"])
    # a corner with one emitter in each frame; noise differs from the whole only in the level around it
    corner = fit(scene.movie, camera=camera, psf="astigmatic", roi=(32, 64, 32, 64))
    there = whole.filter((pl.col("x") > 3200) & (pl.col("y") > 3200))
    assert len(corner) == len(there) == 6
    assert np.abs(corner["x"] - there["x"]).max() < 0.2 * corner["x_err"].min()


def test_pixels_that_are_not_square():
    camera = Camera(kind="ideal", pixel_size_nm=(100, 125))
    kernel = compile_psf("gaussian_2d", (100, 125))
    light = 20 + kernel.image(3210, 4020, 0, 9000, (SIZE, SIZE))
    locs = fit(expose(light[None].repeat(3, axis=0), camera, seed=1), camera=camera)
    assert locs["x"] == pytest.approx([3210] * 3, abs=10)
    assert locs["y"] == pytest.approx([4020] * 3, abs=10)


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "below the camera's baseline"), (100, "empty"), (65535, "saturated")],
)
def test_frames_without_anything_give_an_empty_table_and_a_warning(value, message, caplog):
    camera = load_camera("smlm_challenge")
    with caplog.at_level(logging.WARNING, logger="lucule"):
        locs = fit(np.full((3, 32, 32), value, np.uint16), camera=camera)
    assert len(locs) == 0
    assert {"frame", "x", "y", "photons", "x_err"} <= set(locs.data.columns)
    assert message in caplog.text
    assert "No localization was found" in caplog.text


def test_values_that_are_no_numbers_are_refused():
    movie = np.full((3, 32, 32), 100.0)
    movie[1, 4, 5] = np.nan
    with pytest.raises(InputError, match="no numbers"):
        fit(movie, camera=load_camera("ideal"))


def test_a_wrong_gain_is_noticed(lab, caplog):
    camera, kernel = load_camera("ideal"), compile_psf("gaussian_2d", 100)
    scene = lab.alone(kernel, camera, frames=3, photons=3000, background=30, z=(0, 0), seed=3)
    with caplog.at_level(logging.WARNING, logger="lucule"):
        fit(scene.movie, camera=Camera(kind="scmos", pixel_size_nm=100, electrons_per_count=0.25))
    assert "what the camera's gain explains" in caplog.text


@pytest.mark.parametrize(
    ("psf", "settings", "shape", "message"),
    [
        ("astigmatic", FitSettings(model="spline"), (64, 64), "measured or computed"),
        ("gaussian_2d", FitSettings(model="astigmatic"), (64, 64), "astigmatic PSF"),
        ("astigmatic", FitSettings(), (12, 64), "region of the fit"),
        (None, FitSettings(roi_px=8), (64, 64), "region of the fit"),
        (None, FitSettings(false_alarms=500), (64, 64), "rate of false alarms"),
        ("nothing", FitSettings(), (64, 64), "no such PSF"),
    ],
)
def test_what_does_not_fit_together_is_refused(psf, settings, shape, message):
    with pytest.raises(InputError, match=message):
        prepare(sensor(load_camera("ideal"), shape), psf, settings)


def test_a_camera_without_gain_is_refused():
    with pytest.raises(InputError, match="no gain"):
        fit(np.zeros((2, 32, 32), np.uint16), camera=Camera(kind="scmos", pixel_size_nm=100, baseline=100))


def test_a_psf_for_other_pixels_is_refused(tmp_path):
    stack = np.stack([compile_psf("astigmatic", 100).image(1050, 1050, z, 1, (21, 21)) for z in range(-300, 301, 50)])
    save_stack(tmp_path / "psf.h5", Stack(stack, 100.0, 50.0))
    with pytest.raises(InputError, match="does not fit the camera's pixels"):
        prepare(sensor(Camera(kind="ideal", pixel_size_nm=130), (64, 64)), Spline(path=tmp_path / "psf.h5"))


def test_emitters_at_the_border_and_beyond_the_depth_range_stay_finite(lab):
    camera, kernel = load_camera("ideal"), compile_psf("astigmatic", 100)
    xyz = np.array([[20.0, 3200, 0], [6395, 6390, 100], [1500, 40, -200], [3200, 3200, 1095]])
    movie = lab.taken(kernel, camera, np.zeros(4, int), xyz, 8000, 10, 1, 4)
    locs = fit(movie, camera=camera, psf="astigmatic")
    assert 2 <= len(locs) <= 5
    for name in ("x", "y", "z", "x_err", "y_err", "z_err", "photons"):
        assert np.isfinite(locs[name]).all()
    assert np.abs(locs["z"]).max() < 1100


def test_the_width_of_the_spots_is_taken_from_the_movie(lab):
    camera, kernel = load_camera("ideal"), compile_psf(Gaussian(sigma_nm=210, depth_nm=None), 100)
    scene = lab.alone(kernel, camera, frames=20, photons=4000, background=10, z=(0, 0), seed=6)
    locs = fit(scene.movie, camera=camera)
    assert len(locs) == pytest.approx(80, abs=2)
    assert np.median(locs["sigma_x"]) == pytest.approx(210, abs=4)


def test_picasso_finds_the_same(data_path):
    with h5py.File(data_path("picasso/testdata_locs.hdf5")) as file:
        theirs = file["locs"][:]
    theirs = theirs[theirs["frame"] < 100]
    locs = fit(data_path("picasso/testdata.raw"), camera=Camera(kind="ideal", pixel_size_nm=130))
    # Picasso counts from the centre of the first pixel
    places = 130 * (np.column_stack([theirs["x"], theirs["y"]]) + 0.5)
    matches = match(locs["frame"], locs.xy(), theirs["frame"], places, MatchSettings(lateral_nm=130, axial_nm=None))
    assert len(matches.true) == len(theirs) == 30
    assert len(matches.wrong) <= 2
    assert np.abs(np.median(matches.difference_nm[:, :2] / 130, axis=0)).max() < 0.005
    assert np.abs(matches.difference_nm[:, :2] / locs["x_err"][matches.found, None]).max() < 0.5


@pytest.mark.parametrize(("model", "multi"), [("gaussian", False), ("spline", False), ("spline", True)])
def test_a_slope_of_the_background_draws_nothing(lab, model, multi):
    """Light that rises by 2 photons for each pixel along x draws emitters by 2.5 to 3.5 errors when it is not known.

    What is left, 0.2 to 0.4 errors, is of emitters that stand in the same places in every frame.
    """
    camera, psf = load_camera("ideal"), "vectorial_astigmatic" if model == "spline" else "gaussian_2d"
    kernel = compile_psf(psf, 100)
    scene = lab.alone(kernel, camera, frames=60, photons=1500, background=5, z=(-100, 100), seed=6)
    slope = np.broadcast_to(2.0 * np.arange(SIZE, dtype=np.float32), scene.movie.shape)
    movie = scene.movie + expose(slope, camera, seed=7)
    settings = FitSettings(multi=multi)
    locs = fit(movie, camera=camera, psf=psf if model == "spline" else None, settings=settings)
    pairs = match(locs["frame"], locs.xy().astype(float), scene.frame, scene.xyz[:, :2], MatchSettings(lateral_nm=100))
    drawn = pairs.difference_nm[:, 0] / locs["x_err"][pairs.found]
    assert len(pairs.true) > 0.97 * len(scene.frame)
    assert abs(drawn.mean()) < 0.5
    assert drawn.std() < 1.2
    # the level below each spot is told as it is
    below = locs["background"][pairs.found] - 5 - 2 * (scene.xyz[pairs.true, 0] / 100 - 0.5)
    assert abs(np.median(below)) < 3
