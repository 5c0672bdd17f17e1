from __future__ import annotations

import numba
import numpy as np
import pytest
import tifffile
from scipy import stats

from lucule.core import Camera, FormatError, InputError
from lucule.simulate import sampling
from lucule.simulate.camera import available_cameras, expose, load_camera, sensor

TABLE = sampling.poisson_table()


@numba.njit
def draw(kind, n, value, table):
    state, out = np.empty(4, np.uint64), np.empty(n)
    sampling.seed_stream(state, np.uint64(5), 3, 7)
    for i in range(n):
        if kind == 0:
            out[i] = sampling.uniform(state)
        elif kind == 1:
            out[i] = sampling.normal(state)
        elif kind == 2:
            out[i] = sampling.gamma(state, value)
        else:
            out[i] = sampling.poisson(state, table, value)
    return out


@numba.njit
def first_draws(key, frames, rows):
    state, out = np.empty(4, np.uint64), np.empty((frames, rows))
    for frame in range(frames):
        for row in range(rows):
            sampling.seed_stream(state, key, frame, row)
            out[frame, row] = sampling.uniform(state)
    return out


@pytest.mark.parametrize(
    ("kind", "value", "law"),
    [
        (0, 0.0, stats.uniform()),
        (1, 0.0, stats.norm()),
        (2, 1.0, stats.gamma(1)),
        (2, 2.0, stats.gamma(2)),
        (2, 40.0, stats.gamma(40)),
        (2, 2000.0, stats.gamma(2000)),
    ],
)
def test_continuous_samplers(kind, value, law):
    assert stats.kstest(draw(kind, 300_000, value, TABLE), law.cdf).pvalue > 0.01


def test_normal_has_tails():
    values = np.abs(draw(1, 2_000_000, 0.0, TABLE))
    for limit in (3.0, 3.7, 4.2):  # the ziggurat draws beyond 3.65 in another way
        expected = 2_000_000 * 2 * stats.norm.sf(limit)
        assert abs((values > limit).sum() - expected) < 4 * np.sqrt(expected)


@pytest.mark.parametrize("mean", [0.01, 0.7, 1.0, 4.5, 9.99, 31.0, 255.9, 256.1, 900.0])
def test_poisson_sampler(mean):
    values = draw(3, 300_000, mean, TABLE)
    grid = np.arange(values.max() + 1)
    expected = 300_000 * stats.poisson.pmf(grid, mean)
    enough = expected > 20
    observed = np.bincount(values.astype(int))[enough]
    chi2 = ((observed - expected[enough]) ** 2 / expected[enough]).sum()
    assert stats.chi2.sf(chi2, enough.sum()) > 0.005


def test_streams_of_rows_are_independent():
    first = first_draws(np.uint64(9), 300, 300)
    assert stats.kstest(first.ravel(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(first[:, :-1].ravel(), first[:, 1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(first[:-1].ravel(), first[1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(first.ravel(), first_draws(np.uint64(10), 300, 300).ravel())[0, 1]) < 0.015
    assert np.unique(first).size == first.size


def flat(level, frames=200, side=64):
    return np.full((frames, side, side), level, np.float32)


@pytest.mark.parametrize("name", ["ideal", "smlm_challenge", "emccd_ixon897", "prime95b"])
def test_photon_transfer(name):
    """Variance over mean is excess noise / photons per count: the slope of the photon transfer curve."""
    camera = load_camera(name, baseline_spread=0, gain_spread=0, read_noise_spread=0, hot_pixel_fraction=0)
    levels = np.array([5, 20, 50, 100, 200.0])
    means, variances = np.array(
        [[o.mean(), o.var()] for o in (expose(flat(v), camera, seed=i).astype(float) for i, v in enumerate(levels))]
    ).T
    excess = 2.0 if camera.em_gain > 1 else 1.0
    slope, _ = np.polyfit(means - camera.baseline, variances, 1)
    assert slope == pytest.approx(excess * camera.em_gain / camera.electrons_per_count, rel=0.02)
    per_photon = np.polyfit(levels, means, 1)[0]
    assert per_photon == pytest.approx(1 / camera.photons_per_count, rel=0.005)


def test_excess_noise_factor_of_the_register_is_two():
    camera = load_camera("smlm_challenge", read_noise_electrons=0, spurious_charge_electrons=0)
    level = 20.0
    counts = expose(flat(level, 400), camera, seed=3).astype(float) - camera.baseline
    electrons = counts * camera.electrons_per_count / camera.em_gain
    assert electrons.var() / (level * camera.quantum_efficiency) == pytest.approx(2.0, abs=0.05)


def test_register_output_for_one_electron_is_exponential():
    camera = load_camera("smlm_challenge", read_noise_electrons=0, spurious_charge_electrons=0, electrons_per_count=0.5,
                         baseline=0, saturation=65535, em_gain=100)  # fmt: skip
    counts = expose(flat(0.01, 400), camera, seed=4).astype(float)
    lit = counts[counts > 0] * 0.5 / 100
    # two electrons in one pixel are rare: 0.5 percent of the lit ones
    assert lit.mean() == pytest.approx(1.0, rel=0.03)
    assert lit.std() == pytest.approx(1.0, rel=0.03)


def test_dark_frames():
    camera = load_camera("smlm_challenge")
    dark = expose(flat(0, 400), camera, seed=5).astype(float)
    # one electron in leaves the register with an exponential charge, to which the read noise is added
    limit = 9.5 * 45  # electrons that make 110 counts after rounding
    lit = 0.002 * stats.exponnorm.sf(limit, 300 / 74.4, scale=74.4)
    assert abs((dark >= 110).sum() - lit * dark.size) < 4 * np.sqrt(lit * dark.size)
    quiet = dark[dark < 106]
    assert quiet.mean() == pytest.approx(100, abs=0.05)
    assert np.percentile(dark, 84.13) - 100 == pytest.approx(74.4 / 45, abs=0.6)


def test_maps_of_an_scmos_are_recovered():
    camera = load_camera("prime95b", read_noise_electrons=4, read_noise_spread=0.3, baseline_spread=3, gain_spread=0.05)
    maps = sensor(camera, (48, 48))
    dark = expose(np.zeros((2000, 48, 48), np.float32), maps, seed=6).astype(float)
    quiet = maps.dark_electrons == 0
    assert np.corrcoef(dark.mean(axis=0)[quiet], maps.baseline[quiet])[0, 1] > 0.999
    rounding = 1 / 12
    measured = np.sqrt(dark.var(axis=0) - rounding) * maps.electrons_per_count
    np.testing.assert_allclose(np.median(measured[quiet] / maps.read_noise[quiet]), 1, atol=0.01)
    assert np.corrcoef(measured[quiet], maps.read_noise[quiet])[0, 1] > 0.99
    bright = expose(np.full((2000, 48, 48), 1000, np.float32), maps, seed=7).astype(float)
    gain = 1000 * camera.quantum_efficiency / (bright - dark.mean(axis=0)).mean(axis=0)
    np.testing.assert_allclose(gain[quiet], maps.electrons_per_count[quiet], rtol=0.01)


def test_drawn_sensor_has_its_spread_and_hot_pixels():
    camera = load_camera("orca_flash4", hot_pixel_fraction=0.01)
    maps = sensor(camera, (512, 512))
    assert maps.baseline.std() == pytest.approx(camera.baseline_spread, rel=0.02)
    assert np.log(maps.read_noise).std() == pytest.approx(camera.read_noise_spread, rel=0.02)
    assert np.median(maps.read_noise) == pytest.approx(camera.read_noise_electrons, rel=0.02)
    hot = maps.dark_electrons > 0
    assert hot.mean() == pytest.approx(0.01, rel=0.1)
    assert maps.dark_electrons[hot].mean() == pytest.approx(camera.hot_pixel_electrons, rel=0.1)
    small = sensor(camera, (20, 30))
    np.testing.assert_array_equal(small.read_noise, maps.read_noise[:20, :30])
    np.testing.assert_array_equal(small.dark_electrons, maps.dark_electrons[:20, :30])
    assert not np.array_equal(sensor(camera.replace(sensor_seed=1), (20, 30)).baseline, small.baseline)


def test_saturation_and_zero_are_the_ends():
    camera = load_camera("ideal", saturation=4095, baseline=0)
    assert expose(flat(1e5, 1), camera, seed=1).min() == 4095
    noisy = load_camera("prime95b", baseline=0, baseline_spread=0)
    assert expose(flat(0, 5), noisy, seed=1).min() == 0
    assert expose(flat(-0.5, 1), load_camera("ideal"), seed=1).max() == 0


@pytest.mark.parametrize("name", ["smlm_challenge", "prime95b"])
def test_same_bits_in_pieces_and_on_one_thread(name):
    camera = load_camera(name)
    photons = np.random.default_rng(1).uniform(0, 80, (12, 33, 21)).astype(np.float32)
    whole = expose(photons, camera, seed=8)
    pieces = [expose(photons[a:b], camera, seed=8, first_frame=a) for a, b in ((0, 1), (1, 7), (7, 12))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    np.testing.assert_array_equal(expose(photons, camera, seed=8), whole)
    numba.set_num_threads(threads)
    assert (expose(photons, camera, seed=9) != whole).mean() > 0.8


def test_maps_from_files(tmp_path):
    tifffile.imwrite(tmp_path / "noise.tif", np.full((40, 50), 2.5, np.float32))
    np.save(tmp_path / "offset.npy", np.arange(2000.0).reshape(40, 50))
    (tmp_path / "mine.yaml").write_text(
        "kind: scmos\npixel_size_nm: 100\nread_noise_electrons: noise.tif\nbaseline: offset.npy\n"
    )
    camera = load_camera(str(tmp_path / "mine.yaml"))
    maps = sensor(camera, (30, 30))
    assert (maps.read_noise == 2.5).all()
    assert maps.baseline[1, 2] == 52
    with pytest.raises(FormatError, match="does not cover"):
        sensor(camera, (41, 50))
    np.save(tmp_path / "offset.npy", np.full((40, 50), np.nan))
    with pytest.raises(FormatError, match="not allowed"):
        sensor(camera, (30, 30))
    (tmp_path / "noise.tif").unlink()
    with pytest.raises(FormatError, match="cannot be read"):
        sensor(camera.replace(baseline=0.0), (30, 30))


def test_bad_input_is_refused():
    assert {"smlm_challenge", "emccd_ixon897", "prime95b", "orca_flash4", "ideal"} <= set(available_cameras())
    for name in available_cameras():
        assert expose(flat(3, 1, 8), load_camera(name), seed=1).shape == (1, 8, 8)
    with pytest.raises(InputError, match="smlm_challenge"):
        load_camera("smlm")
    photons = flat(3, 1, 4)
    photons[0, 0, :2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 pixels that are not"):
        expose(photons, load_camera("ideal"), seed=1)
    with pytest.raises(InputError, match="frames, rows, columns"):
        expose(np.zeros((4, 4), np.float32), load_camera("ideal"), seed=1)
    with pytest.raises(InputError, match="16 bits"):
        expose(flat(3, 1, 4), load_camera("ideal", saturation=100_000), seed=1)
    with pytest.raises(InputError, match="differ"):
        expose(flat(3, 1, 4), sensor(load_camera("ideal"), (5, 5)), seed=1)
    with pytest.raises(InputError, match="needs kind: emccd"):
        Camera.parse({"kind": "scmos", "pixel_size_nm": 100, "em_gain": 100})
    with pytest.raises(InputError, match="ideal camera has no"):
        Camera.parse({"kind": "ideal", "pixel_size_nm": 100, "read_noise_electrons": 1})
