"""Detection: false alarms at the rate that was asked for, and emitters that are bright enough are seen."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.localize.fitting import detect
from lucule.localize.fitting.block import candidates, in_photons
from lucule.localize.fitting.setup import FitSettings, prepare
from lucule.simulate import load_camera
from lucule.simulate.camera import expose, sensor
from lucule.simulate.optics import compile_psf

FRAMES, SIZE, RATE = 150, 64, 0.3


@pytest.mark.parametrize("name", ["ideal", "smlm_challenge", "prime95b"])
@pytest.mark.parametrize("psf", ["gaussian_2d", "astigmatic"])
@pytest.mark.parametrize("background", [5.0, 100.0])
def test_noise_makes_no_more_candidates_than_was_asked_for(name, psf, background):
    pixels = sensor(load_camera(name), (SIZE, SIZE))
    fitter = prepare(pixels, psf, FitSettings(false_alarms=RATE))
    # a level that rises over the field is none of the emitters' doing
    slope = background * np.linspace(0.7, 1.3, SIZE, dtype=np.float32)
    counts = expose(np.broadcast_to(slope, (FRAMES, SIZE, SIZE)), pixels, seed=3)
    frame, _ = candidates(fitter, in_photons(fitter, counts))
    assert 0.15 * RATE < len(frame) / FRAMES < 1.5 * RATE


def test_light_starts_and_the_order_of_candidates():
    camera, kernel = load_camera("ideal"), compile_psf("astigmatic", 100)
    fitter = prepare(sensor(camera, (SIZE, SIZE)), "astigmatic")
    light = 20 + kernel.image([1530, 4470], [1980, 4520], [-400, 400], [4000, 9000], (SIZE, SIZE))
    frame, found = candidates(fitter, light[None].astype(np.float32))
    assert frame.tolist() == [0, 0]

    assert found[:, detect.PHOTONS] == pytest.approx([9000, 4000], rel=0.25)
    assert found[:, detect.X] == pytest.approx([44.7, 15.3], abs=0.3)
    assert found[:, detect.BACKGROUND] == pytest.approx([20, 20], abs=2)
    depths = fitter.bank.z_nm[found[:, detect.DEPTH].astype(int)]
    assert depths[0] > 100
    assert depths[1] < -100


def test_side_lobes_of_a_bright_spot_are_no_candidates():
    camera, kernel = load_camera("ideal"), compile_psf("vectorial_astigmatic", 100)
    fitter = prepare(sensor(camera, (SIZE, SIZE)), "vectorial_astigmatic")
    for z in (-500, 0, 450):
        light = 5 + kernel.image(3210, 3180, z, 60_000, (SIZE, SIZE))
        frame, _ = candidates(fitter, light[None].astype(np.float32))
        assert len(frame) == 1
