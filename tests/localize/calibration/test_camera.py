"""Measured cameras against simulated ones."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.localize.calibration import calibrate_camera, camera_from_movie
from lucule.simulate import load_camera
from lucule.simulate.camera import expose, sensor
from lucule.simulate.optics import compile_psf

SHAPE = (64, 64)
LEVELS = (20, 80, 200, 500)


def movies(name, frames=150, levels=LEVELS, **changes):
    """A dark movie and flat ones, uneven over the field, with a lamp that flickers by 1 %."""
    pixels = sensor(load_camera(name, **changes), SHAPE)
    rng = np.random.default_rng(1)
    y, x = np.indices(SHAPE)
    shading = np.exp(-((x - 30) ** 2 + (y - 40) ** 2) / (2 * 60**2))
    dark = expose(np.zeros((frames, *SHAPE), np.float32), pixels, seed=1)
    lamp = 1 + 0.01 * rng.standard_normal((len(levels), frames, 1, 1))
    flats = [
        expose((level * shading * lamp[i]).astype(np.float32), pixels, seed=10 + i) for i, level in enumerate(levels)
    ]
    return dark, flats, pixels


@pytest.mark.parametrize("name", ["orca_flash4", "prime95b", "emccd_ixon897", "smlm_challenge"])
def test_gain_offset_and_noise(name):
    dark, flats, pixels = movies(name)
    found = calibrate_camera(dark, flats, pixels.camera)
    true = pixels.camera.em_gain / float(pixels.electrons_per_count.mean())
    assert found.counts_per_electron == pytest.approx(true, rel=0.02)
    assert found.baseline == pytest.approx(float(pixels.baseline.mean()), abs=0.2)
    noise = float(np.median(pixels.read_noise)) / pixels.camera.em_gain
    assert found.read_noise_electrons == pytest.approx(noise, rel=0.06)
    assert found.quality["lamp_flicker"] == pytest.approx(0.01, rel=0.25)
    assert found.quality["largest_nonlinearity"] < 0.01
    assert not found.warnings
    assert bool(found.maps) == (pixels.camera.kind == "scmos")


def test_maps_of_an_scmos(tmp_path):
    dark, flats, pixels = movies("prime95b", gain_spread=0.05)
    found = calibrate_camera(dark, flats, pixels.camera)
    camera = load_camera(found.save(tmp_path / "camera.yaml")[0])
    again = sensor(camera, SHAPE)
    variance = pixels.read_noise.astype(float) ** 2 + pixels.dark_electrons
    assert np.corrcoef(np.log(again.read_noise.ravel() ** 2), np.log(variance.ravel()))[0, 1] > 0.95
    assert np.abs(again.baseline - pixels.baseline).mean() < 0.2
    assert np.corrcoef(again.electrons_per_count.ravel(), pixels.electrons_per_count.ravel())[0, 1] > 0.6
    assert found.quality["gain_spread"] == pytest.approx(0.05, rel=0.25)
    # the pull towards the mean makes the map better than the mean, also where noise is larger than the spread
    for spread in (0.05, 0.01):
        dark, flats, pixels = movies("prime95b", gain_spread=spread)
        found = calibrate_camera(dark, flats, pixels.camera)
        truth = pixels.electrons_per_count
        error = np.std(found.maps["electrons_per_count"] / truth)
        assert error < np.std(truth) / truth.mean()
    smaller = sensor(camera, (32, 48))
    np.testing.assert_array_equal(smaller.baseline, again.baseline[:32, :48])


def test_one_number_for_all_pixels_on_request(tmp_path):
    dark, flats, pixels = movies("prime95b")
    found = calibrate_camera(dark, flats, pixels.camera, maps=False)
    (path,) = found.save(tmp_path / "camera.yaml")
    camera = load_camera(path)
    assert camera.electrons_per_count == pytest.approx(0.98, rel=0.02)
    assert camera.baseline_spread == camera.hot_pixel_fraction == 0


def test_saturated_flats_are_left_out_or_refused():
    camera = load_camera("prime95b", saturation=4095)
    dark, flats, _ = movies("prime95b", levels=(20, 200, 6000), saturation=4095)
    found = calibrate_camera(dark, flats, camera)
    assert found.quality["flats_used"] == 2
    assert "saturated" in found.warnings[0]
    with pytest.raises(InputError, match="All flat movies are saturated"):
        calibrate_camera(dark, flats[2:], camera)
    # a level that the description does not know of shows by values that pile up there
    found = calibrate_camera(dark, flats, load_camera("prime95b"))
    assert found.quality["flats_used"] == 2


def test_wrong_movies_are_refused():
    dark, flats, pixels = movies("prime95b", levels=(50,))
    camera = pixels.camera
    with pytest.raises(InputError, match="no flat frames"):
        calibrate_camera(dark, [], camera)
    with pytest.raises(InputError, match="name the dark movie first"):
        calibrate_camera(flats[0], [dark], camera)
    with pytest.raises(InputError, match="name the dark movie first"):
        calibrate_camera(dark, [dark.copy()], camera)
    with pytest.raises(InputError, match="too short"):
        calibrate_camera(dark[:5], flats, camera)
    with pytest.raises(InputError, match="differ in size"):
        calibrate_camera(dark, [flats[0][:, :32]], camera)
    one = calibrate_camera(dark, flats, camera)
    assert "one usable flat level" in one.warnings[0]
    assert one.counts_per_electron == pytest.approx(1.02, rel=0.02)


def test_a_flat_in_place_of_the_dark_is_noticed():
    _, flats, pixels = movies("prime95b", levels=(400, 700, 1000))
    found = calibrate_camera(flats[0], flats[1:], pixels.camera)
    assert any("shutter" in warning for warning in found.warnings)


def blinking(camera, seed=1, frames=160, shape=(96, 96), photons=1500, psf="gaussian_2d"):
    """Molecules that switch, on an uneven background."""
    rng = np.random.default_rng(seed)
    kernel = compile_psf(psf, camera.pixel_size_nm)
    n = 4 * frames // 3
    start, on = rng.uniform(-5, frames, n), rng.exponential(3, n)
    x, y = (rng.uniform(0, size * kernel.pixel_size_nm[0], n) for size in (shape[1], shape[0]))
    light = photons * rng.exponential(1, n)
    rows, columns = np.indices(shape)
    movie = np.empty((frames, *shape), np.float32)
    for t, frame in enumerate(movie):
        lit = np.clip(np.minimum(start + on, t + 1) - np.maximum(start, t), 0, 1)
        here = lit > 0
        frame[:] = 20 * (1 + 0.5 * np.sin(columns / 20) * np.cos(rows / 25))
        frame += kernel.image(x[here], y[here], np.zeros(here.sum()), (light * lit)[here], shape)
    return expose(movie, camera, seed=seed)


@pytest.mark.parametrize("name", ["emccd_ixon897", "prime95b", "smlm_challenge"])
def test_gain_of_an_ordinary_movie_within_its_uncertainty(name):
    camera = load_camera(name)
    true = camera.em_gain / float(camera.electrons_per_count)
    inside = []
    for seed in range(4):
        found = camera_from_movie(blinking(camera, seed), camera)
        low, high = found.counts_per_electron_interval
        assert high - low < 0.3 * true
        inside.append(low < true < high)
        assert found.counts_per_electron == pytest.approx(true, rel=0.06)
        assert found.baseline_interval[0] - 1 < 100 < found.baseline_interval[1] + 1
    assert sum(inside) >= 3


def test_movies_that_do_not_tell_the_gain():
    camera = load_camera("prime95b")
    flat = expose(np.full((40, 64, 64), 50, np.float32), camera.replace(gain_spread=0, baseline_spread=0), seed=1)
    with pytest.raises(InputError, match="bright everywhere"):
        camera_from_movie(flat, camera)
    with pytest.raises(InputError, match="too small"):
        camera_from_movie(flat[:8], camera)
    with pytest.raises(InputError, match="too small"):
        camera_from_movie(flat[:, :20, :20], camera)
    coarse = camera.replace(pixel_size_nm=160)
    assert any("160 nm" in warning for warning in camera_from_movie(blinking(coarse), coarse).warnings)


def test_the_means_of_movies_in_the_wrong_order_are_told_as_they_are():
    rng = np.random.default_rng(1)
    dark, flat = (rng.poisson(level, (30, 16, 16)).astype(np.uint16) for level in (100, 180))
    with pytest.raises(InputError, match=r"means (99\.|100\.)\d* and (179\.|180\.)\d* counts"):
        calibrate_camera(flat, [dark], load_camera("prime95b"))
