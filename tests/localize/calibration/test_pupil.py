"""The aberrations of a pupil from a movie, against those it was made with."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.io.movies import opened
from lucule.localize.calibration import pupil, pupil_from_movie
from lucule.localize.fitting import FitSettings, prepare
from lucule.simulate import load_camera, load_psf
from lucule.simulate.camera import expose, sensor
from lucule.simulate.optics import compile_psf

TRUE = {5: 35.0, 6: -20.0, 7: -25.0, 8: 15.0, 9: 10.0, 10: -15.0, 11: 30.0, 12: -20.0, 13: 15.0}
SIZE = 128
CAMERA = load_camera("prime95b", pixel_size_nm=110)
START = load_psf("tetrapod", z_range_nm=(-1200, 1200), wavelength_nm=670)


def frames(psf, number, density, seed):
    kernel = compile_psf(psf, 110)
    rng = np.random.default_rng(seed)
    light = np.full((number, SIZE, SIZE), 20, np.float32)
    for image in light:
        n = rng.poisson(density)
        x, y = rng.uniform(0, 110 * SIZE, (2, n))
        image += kernel.image(x, y, rng.uniform(-1000, 1000, n), rng.gamma(4, 2500, n), image.shape)
    return expose(light, CAMERA, seed=seed)


@pytest.mark.slow
def test_aberrations_are_found():
    found = pupil_from_movie(frames(START.replace(zernike_nm=TRUE), 40, 6, 32), CAMERA, START)
    off = np.array([found.psf.zernike_nm[mode] - TRUE.get(mode, 0.0) for mode in range(5, 16)])
    # 67 nm at the start
    assert np.sqrt((off**2).sum()) < 5
    assert found.good > 0.9 > 0.5 > found.good_before
    assert not found.warnings
    assert found.summary()["zernike_nm"].keys() == {str(mode) for mode in range(5, 16)}


def test_spots_are_the_same_however_many_frames_are_read_at_once(monkeypatch):
    movie = frames(START, 30, 6, 33)
    fitter = prepare(sensor(CAMERA, movie.shape[1:]), START, FitSettings(roi_px=31))
    with opened(movie) as source:
        whole = pupil._lone(fitter, source, np.arange(30))
        monkeypatch.setattr(pupil, "_PIXELS_AT_ONCE", 5 * movie[0].size)
        parts = pupil._lone(fitter, source, np.arange(30))
    for name in ("values", "errors", "quality"):
        assert np.array_equal(getattr(whole.fits, name), getattr(parts.fits, name))
    assert np.array_equal(whole.found, parts.found)
    assert np.array_equal(whole.light, parts.light)


@pytest.mark.slow
def test_nothing_is_made_up_where_there_is_no_aberration():
    found = pupil_from_movie(frames(START, 30, 6, 33), CAMERA, START)
    assert np.sqrt(np.square(list(found.psf.zernike_nm.values())).sum()) < 5


@pytest.mark.parametrize(
    ("psf", "density", "message"),
    [("astigmatic", 1, "aberrations of this PSF"), (START, 0, "Too few spots"), (START, 60, "Too few spots")],
)
def test_what_cannot_be_used_is_refused(psf, density, message):
    psf = load_psf(psf) if isinstance(psf, str) else psf
    with pytest.raises(InputError, match=message):
        pupil_from_movie(frames(START, 3, density, 34), CAMERA, psf)
