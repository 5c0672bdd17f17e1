"""The shape of a background: what lasts is kept, noise and what is new are not."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.localize.background import _SMOOTH_PX, REACH, _scatter, _smooth, common_shape, lasting_shape

POISSON = (1.0, 0.0)
FRAMES, SIDE = 9, 64
LEVEL = 50.0
SHAPE = 6 * np.sin(2 * np.pi * np.arange(SIDE) / SIDE) * np.ones((SIDE, 1))


def frames(shape, seed=1, count=FRAMES):
    light = np.broadcast_to(LEVEL + np.asarray(shape), (count, SIDE, SIDE))
    return np.random.default_rng(seed).poisson(light).astype(np.float32)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def found(photons, camera=POISSON):
    return lasting_shape(photons, photons.astype(np.float64), camera)


def test_an_even_background_stays_even():
    ground = found(frames(0.0))
    assert ground.shape == (FRAMES, SIDE, SIDE)
    # smoothing alone leaves 0.5 photons of noise
    assert rms(ground) < 0.1


def test_a_shape_that_lasts_is_found_in_every_frame():
    ground = found(frames(SHAPE))
    # 0.11; smoothed once it would be 0.17
    assert max(rms(frame - SHAPE) for frame in ground) < 0.14 * rms(SHAPE)


@pytest.mark.parametrize("amount", [0.05, 0.2, 1.0])
def test_taking_it_off_never_makes_the_background_worse(amount):
    shape = amount * SHAPE
    assert rms(found(frames(shape)) - shape) < max(rms(shape), 0.1)


def test_what_is_seen_in_one_frame_only_is_no_background():
    photons = frames(0.0)
    spot = np.zeros((SIDE, SIDE), np.float32)
    spot[28:36, 28:36] = 40.0
    photons[4] += spot
    ground = found(photons)
    alone = found(photons[4:5])  # a movie of one frame does not tell what lasts
    assert ground[4, 32, 32] < 0.2 * alone[0, 32, 32]


def test_a_background_that_flickers_is_averaged_with_care():
    left = []
    wave = 2 * np.pi * np.arange(SIDE) / SIDE
    for seed in range(4):
        swings = np.random.default_rng(seed).normal(size=(FRAMES, 2))
        flicker = 6 * (swings @ np.stack([np.sin(wave), np.cos(wave)]))[:, None, :]
        left.append(rms(found((frames(0.0, seed) + flicker).astype(np.float32))) / rms(flicker))
    # 0.23; 0.37 if each frame were trusted as its noise alone allows
    assert np.mean(left) < 0.3


def test_only_the_frames_around_count():
    photons = frames(SHAPE)
    other = photons.copy()
    other[REACH + 1 :] += 100 * frames(0.0, seed=2)[REACH + 1 :]
    assert np.array_equal(found(photons)[0], found(other)[0])
    assert not np.array_equal(found(photons)[1], found(other)[1])


def test_a_single_frame_is_shrunk_by_the_noise_that_the_camera_makes():
    (even,) = found(frames(0.0, count=1))
    (uneven,) = found(frames(SHAPE, count=1))
    assert rms(even) < 0.4
    assert rms(uneven - SHAPE) < 0.35 * rms(SHAPE)
    # what a noisier camera makes by itself is not believed
    (noisy,) = found(frames(SHAPE, count=1), camera=(1000.0, 0.0))
    assert rms(noisy) == 0.0


def test_the_noise_that_smoothing_leaves_is_known_up_to_the_borders():
    shape = (17, 30)
    weights = np.zeros((np.prod(shape), *shape))
    for pixel, image in enumerate(np.eye(np.prod(shape)).reshape(-1, *shape)):
        once = _smooth(image, _SMOOTH_PX)
        weights[pixel] = once + _smooth(image - once, _SMOOTH_PX)
    assert _scatter(*shape, _SMOOTH_PX) == pytest.approx((weights**2).sum(axis=0))


def test_pixels_under_bright_emitters_say_little():
    photons = frames(SHAPE)
    emitters = np.zeros((SIDE, SIDE))
    emitters[20:30, 20:30] = 5000.0
    seen = np.random.default_rng(3).poisson(emitters + photons).astype(np.float32)
    # the fit has taken off one in fifty photons too few
    rest = seen - 0.98 * emitters
    ground = lasting_shape(seen, rest, POISSON)
    assert rms(ground[4] - SHAPE) < 0.6 * rms(SHAPE)


@pytest.mark.parametrize("shape", [(0, 20, 20), (1, 3, 5), (2, 1, 1)])
def test_few_frames_and_few_pixels_are_no_trouble(shape):
    photons = np.full(shape, 20.0, np.float32)
    assert np.array_equal(found(photons), np.zeros(shape))


def test_light_without_noise_and_dark_frames_stay_finite():
    assert np.isfinite(found(np.zeros((3, 24, 24), np.float32))).all()
    assert np.isfinite(lasting_shape(np.zeros((3, 24, 24), np.float32), np.full((3, 24, 24), -50.0), POISSON)).all()


def test_one_shape_for_many_frames_is_better_than_that_of_each():
    photons = frames(SHAPE, count=60)[:, :62, :63]  # no whole squares of three pixels
    shape = common_shape(photons, photons, (1.0, np.zeros((62, 63), np.float32)))
    assert shape.shape == (62, 63)
    assert rms(shape - SHAPE[:62, :63]) < 0.1 * rms(SHAPE)
    even = frames(0.0, count=60)
    assert rms(common_shape(even, even, (1.0, np.zeros((SIDE, SIDE), np.float32)))) < 0.05


def test_noise_of_the_camera_is_no_background():
    """Half of the pixels of an sCMOS are read with 20 times the variance; where they are says nothing of the light."""
    dark = np.full((SIDE, SIDE), 2.0, np.float32)
    dark[:, SIDE // 2 :] = 400.0
    rng = np.random.default_rng(4)
    photons = frames(0.0, count=2) + rng.normal(0, np.sqrt(dark), (2, SIDE, SIDE)).astype(np.float32)
    assert rms(common_shape(photons, photons, (1.0, dark))) < 0.35
