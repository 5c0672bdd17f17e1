"""Measured PSFs against the truth of simulated stacks."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.localize.calibration import PsfSettings, calibrate_psf, load_psf_file
from lucule.localize.calibration.astigmatic import gaussian_widths, sigma_at
from lucule.localize.fitting import FitSettings, fit
from lucule.simulate import bead_stack, load_camera, load_psf
from lucule.simulate.camera import expose
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import compile_psf

DEPTHS = np.linspace(-450, 450, 16)
TILT = (12.0, -7.0)
KERNEL = compile_psf(load_psf("vectorial_astigmatic", z_range_nm=(-1000, 1000)), 100)
SIXTEEN = 1600.0 + 3100 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)


def wobble(z):
    """Lateral shift as an ill-adjusted microscope has it."""
    return np.stack([25 * z / 600, -40 * (z / 600) ** 2], axis=-1)


def stack(camera="emccd_ixon897", xy=None, light=1.0, seed=1, kernel=KERNEL, **changes):
    """Bleaching by 30 %, a tilted coverslip and wobble; 16 beads, each somewhere in its pixel, unless named."""
    rng = np.random.default_rng(seed)
    xy = SIXTEEN + rng.uniform(0, 100, (16, 2)) if xy is None else np.asarray(xy, float)
    photons = 30_000 * np.exp(0.3 * rng.standard_normal(len(xy))) * light
    options = {"shape": (128, 128), "step_nm": 20.0, "planes": 71, "tilt_nm_per_um": TILT, "wobble": wobble,
               "bleached": 0.3, "background": 50.0, "seed": seed} | changes  # fmt: skip
    kind = load_camera(camera)
    return bead_stack(kernel, kind, xy[:, 0], xy[:, 1], photons, **options), kind


def calibrated(movie, camera, **changes):
    settings = PsfSettings.parse({"step_nm": 20} | changes)
    return calibrate_psf(movie.counts, camera, settings=settings)


@pytest.fixture(scope="module", params=["emccd_ixon897", "prime95b"])
def pair(request):
    """A movie with a close pair, a dim bead and one at the border, its camera, and the calibration."""
    xy = SIXTEEN + np.random.default_rng(7).uniform(0, 100, (16, 2))
    light = np.ones(18)
    light[3] = 0.1
    movie, camera = stack(request.param, xy=np.vstack([xy, xy[5] + (600, 500), (13_600, 6200)]), light=light, seed=3,
                          shape=(128, 140))  # fmt: skip
    return movie, camera, calibrated(movie, camera)


@pytest.fixture(scope="module")
def images(pair):
    """PSF with its derivatives at places all over a pixel, measured and true, `(n, 4, side, side)`, and the places."""
    _, _, found = pair
    rng = np.random.default_rng(0)
    kernel = found.kernel()
    side = kernel.roi_px
    places = np.column_stack([side * 50 + rng.uniform(-50, 50, (len(DEPTHS), 2)), DEPTHS])
    ours = np.stack([kernel.patch(*place, (0, 0), (side, side)) for place in places])
    moved = places + np.column_stack([wobble(DEPTHS), np.zeros(len(DEPTHS))])
    true = np.stack([KERNEL.patch(*place, (0, 0), (side, side)) for place in moved])
    return ours, true, places, moved


def test_the_spline_is_the_true_psf(images):
    ours, true, *_ = images
    assert np.linalg.norm(ours[:, 0] - true[:, 0]) < 0.025 * np.linalg.norm(true[:, 0])


def test_fits_with_it_are_unbiased_and_z_has_the_right_scale(images):
    ours, true, places, _ = images
    shifts = []
    for (psf, *slopes), (expected, *_) in zip(ours, true, strict=True):
        root = 1 / np.sqrt(5000 * np.clip(psf, 0, None) + 50).ravel()
        design = np.stack([*(s.ravel() for s in slopes), psf.ravel(), np.ones(psf.size)], axis=1)
        shift, *_ = np.linalg.lstsq(design * root[:, None], (expected - psf).ravel() * root, rcond=None)
        shifts.append(shift[:3])
    bias = np.array(shifts)
    assert np.sqrt(np.mean(bias**2, axis=0)) == pytest.approx([0, 0, 0], abs=2.0)
    # the height that a fit would report, against the true one
    assert np.polyfit(places[:, 2], places[:, 2] + bias[:, 2], 1)[0] == pytest.approx(1, abs=0.01)


def test_the_bound_is_that_of_the_true_psf(pair, images):
    _, _, found = pair
    _, _, places, moved = images
    alike = load_camera("ideal")
    ours = crlb(found.kernel(), alike, *places.T, 5000, 50, roi_px=25)
    true = crlb(KERNEL, alike, *moved.T, 5000, 50, roi_px=25)
    for axis in ("x_err", "y_err", "z_err"):
        ratio = getattr(ours, axis) / getattr(true, axis)
        assert ratio.mean() == pytest.approx(1, abs=0.03), axis
        assert np.all(np.abs(ratio - 1) < 0.08), axis


def test_wobble_and_tilt(pair):
    movie, _, found = pair
    low, high = found.z_range_nm
    z = np.linspace(max(low, -450), min(high, 450), 31)
    np.testing.assert_allclose(found.wobble(z), wobble(z) - wobble(np.zeros(1)), atol=2)
    slope = [found.quality[f"tilt_{axis}_nm_per_um"] for axis in "xy"]
    np.testing.assert_allclose(slope, TILT, atol=0.5)
    used = found.beads.filter("used")
    xy = used.select("x_nm", "y_nm").to_numpy()
    nearest = np.hypot(xy[:, :1] - movie.x, xy[:, 1:] - movie.y).argmin(axis=1)
    np.testing.assert_allclose(used["z_nm"], movie.z[nearest], atol=4)
    np.testing.assert_allclose(xy, np.stack([movie.x, movie.y], axis=1)[nearest], atol=3)


def test_astigmatic_model(pair):
    _, _, found = pair
    z = np.arange(-480.0, 481, 40)
    planes = np.stack([KERNEL.image(1050, 1050, height, 1, (21, 21)) for height in z])
    true = gaussian_widths(planes, z, 100, photons=5000, background=50)
    for curve, expected in ((found.astigmatic.x, true.sigma_x_nm), (found.astigmatic.y, true.sigma_y_nm)):
        np.testing.assert_allclose(sigma_at(curve, z), expected, rtol=0.1)
        assert np.sqrt(np.mean((sigma_at(curve, z) / expected - 1) ** 2)) < 0.04
    measured = [np.interp(z, found.curves["z_nm"], found.curves[f"sigma_{axis}_nm"]) for axis in "xy"]
    np.testing.assert_allclose(measured, [true.sigma_x_nm, true.sigma_y_nm], rtol=0.02)
    # above the focus the PSF is wide in x
    assert found.astigmatic.x.focus_nm < 0 < found.astigmatic.y.focus_nm


def test_beads_are_rejected_with_reasons(pair):
    _, _, found = pair
    assert found.quality["beads_used"] == 14
    assert found.quality["rejected"] == {"at the border": 1, "dim": 1, "too close": 2}
    reasons = found.beads.filter(~found.beads["used"])["reason"].to_list()
    assert all(":" in reason for reason in reasons if not reason.startswith("at the border"))
    assert found.z_range_nm[0] < -400 < 400 < found.z_range_nm[1]


def test_beads_with_neighbours_are_used_without_the_light_of_these():
    """Four single beads, and four pairs 1.5 um apart in each other's windows."""
    rows = 1600.0 + 3100 * np.arange(4)
    xy = np.vstack([np.column_stack([np.full(4, x), rows]) for x in (1600, 6000, 7500)])
    xy += np.random.default_rng(5).uniform(0, 100, xy.shape)
    movie, camera = stack(xy=xy, planes=51, wobble=None)
    found = calibrated(movie, camera)
    assert found.quality["rejected"] == {}
    used = found.beads
    assert used["used"].all()
    at = used.select("x_nm", "y_nm").to_numpy()
    nearest = np.hypot(at[:, :1] - movie.x, at[:, 1:] - movie.y).argmin(axis=1)
    assert sorted(nearest) == list(range(12))
    np.testing.assert_allclose(at, xy[nearest], atol=3)
    np.testing.assert_allclose(used["z_nm"], movie.z[nearest], atol=4)
    ours = np.stack([found.kernel().patch(1250, 1250, z, (0, 0), (25, 25))[0] for z in DEPTHS])
    true = np.stack([KERNEL.patch(1250, 1250, z, (0, 0), (25, 25))[0] for z in DEPTHS])
    assert np.linalg.norm(ours - true) < 0.04 * np.linalg.norm(true)


FEW = SIXTEEN[[0, 2, 9, 11]] + np.random.default_rng(8).uniform(0, 100, (4, 2))


def test_direction_of_the_stage():
    """Beads that rise and beads that sink are told apart by the option alone; then both give the same PSF."""
    rising, camera = stack(xy=FEW, planes=51)
    sinking, _ = stack(xy=FEW, planes=51, step_nm=-20.0)
    up = calibrated(rising, camera)
    down = calibrated(sinking, camera, direction="objective-up")
    wrong = calibrated(sinking, camera)
    apart = [f.astigmatic.y.focus_nm - f.astigmatic.x.focus_nm for f in (up, down, wrong)]
    assert apart == pytest.approx([450, 450, -450], abs=60)
    at = np.linspace(-350, 350, 8)
    patches = [np.stack([f.kernel().patch(1250, 1250, z, (0, 0), (25, 25))[0] for z in at]) for f in (up, down)]
    assert np.linalg.norm(patches[0] - patches[1]) < 0.06 * np.linalg.norm(patches[0])


def test_one_file_for_simulator_and_fit(pair, tmp_path):
    _, camera, found = pair
    path = found.save(tmp_path / "psf.h5")
    again = load_psf_file(path)
    assert again.psf == load_psf(path)
    assert again.astigmatic == found.astigmatic
    assert again.z_range_nm == found.z_range_nm
    assert again.beads["reason"].to_list() == found.beads["reason"].to_list()
    assert again.history == found.history
    assert again.pixel_size_nm == pytest.approx(100)
    kernel = compile_psf(str(path), camera.pixel_size_nm)
    expected = found.kernel().patch(1040, 1060, 130, (0, 0), (21, 21))
    np.testing.assert_allclose(kernel.patch(1040, 1060, 130, (0, 0), (21, 21)), expected, atol=1e-7)
    with pytest.raises(InputError, match="does not fit the camera's pixels"):
        compile_psf(str(path), 160)


def test_several_stacks_and_frames_per_step():
    settings = PsfSettings(step_nm=50, window_nm=2100)
    movies = [stack(xy=FEW, seed=seed, planes=21, step_nm=50.0, tilt_nm_per_um=(0, 0))[0].counts for seed in (4, 5)]
    camera = load_camera("emccd_ixon897")
    one = calibrate_psf(movies[0], camera, settings=settings)
    assert calibrate_psf(movies, camera, settings=settings).quality["beads_used"] == 8
    twice = np.repeat(movies[0], 2, axis=0)
    same = calibrate_psf(twice, camera, settings=settings.replace(frames_per_step=2))
    np.testing.assert_allclose(same.stack.values, one.stack.values, atol=1e-6)


def test_psf_without_astigmatism_is_measured_too():
    movie, camera = stack(xy=FEW, kernel=compile_psf("gaussian", 100), wobble=None, planes=51)
    found = calibrated(movie, camera)
    assert found.astigmatic is None
    assert any("foci of x and y" in warning for warning in found.warnings)
    assert found.curves["sigma_x_nm"].min() == pytest.approx(130, rel=0.03)
    assert abs(found.curves["z_nm"][int(found.curves["sigma_x_nm"].arg_min())]) <= 60


def test_psf_with_lobes_is_measured_too():
    kernel = compile_psf(load_psf("double_helix", window_nm=3500, z_step_nm=50), 100)
    xy = np.stack(np.meshgrid([2030.0, 7060], [2010.0, 7090]), axis=-1).reshape(-1, 2)
    movie, camera = stack(xy=xy, kernel=kernel, wobble=None, shape=(92, 92), step_nm=50.0, planes=31,
                          tilt_nm_per_um=(0, 0))  # fmt: skip
    found = calibrated(movie, camera, step_nm=50, window_nm=3100)
    assert found.quality["beads_used"] == 4
    assert found.astigmatic is None
    at = np.linspace(-600, 600, 7)
    ours, true = (np.stack([k.patch(1550, 1550, z, (0, 0), (31, 31))[0] for z in at]) for k in (found.kernel(), kernel))
    assert np.corrcoef(ours.ravel(), true.ravel())[0, 1] > 0.99
    with pytest.raises(InputError, match="no Gaussian"):
        found.wobble(at)


def test_saturated_beads_are_named():
    movie, camera = stack(xy=FEW, planes=51)
    counts = np.minimum(movie.counts, 4095)  # twelve bits in a file of sixteen
    assert (movie.counts > 4095).sum() > 50
    with pytest.raises(InputError, match="saturated"):
        calibrate_psf(counts, camera, settings=PsfSettings(step_nm=20))


@pytest.mark.parametrize(
    ("counts", "changes", "message"),
    [
        (np.zeros((5, 40, 40), np.uint16), {}, "5 planes"),
        (np.zeros((40, 40, 40), np.uint16), {}, "holds nothing"),
        (np.zeros((40, 40, 40), np.uint16), {"step_nm": 0.02}, "--step-nm is the distance"),
        (np.zeros((40, 40, 40), np.uint16), {"step_nm": 2000}, "allowed|Allowed"),
        (np.zeros((41, 40, 40), np.uint16), {"frames_per_step": 2}, "whole steps"),
        (np.full((40, 40, 40), np.nan, np.float32), {}, "no numbers"),
        (np.zeros((40, 40), np.uint16), {}, "no movie"),
        (np.random.default_rng(1).poisson(100, (40, 64, 64)).astype(np.uint16), {}, "0 found"),
    ],
)
def test_what_is_no_calibration(counts, changes, message):
    settings = PsfSettings.parse({"step_nm": 20} | changes)
    with pytest.raises(InputError, match=message):
        calibrate_psf(counts, load_camera("ideal"), settings=settings)


def test_no_usable_bead_says_why():
    xy = np.array([(600.0, 6000.0), (6000.0, 6000.0), (6500.0, 6400.0)])
    movie, camera = stack(xy=xy, planes=41)
    with pytest.raises(InputError, match=r"3 found; rejected: 1 at the border, 2 too close.*window") as failure:
        calibrated(movie, camera)
    assert failure.value.exit_code == 2


def test_a_wrong_step_is_noticed():
    movie, camera = stack(xy=FEW, planes=51)
    found = calibrated(movie, camera, step_nm=160)
    assert any("--step-nm" in warning for warning in found.warnings)


def test_the_gaussian_of_a_calibration_is_fitted_without_its_wobble(pair, tmp_path):
    _, camera, found = pair
    path = found.save(tmp_path / "psf.h5")
    depths = np.repeat([-350.0, -200.0, 0.0, 200.0, 350.0], 20)
    light = np.stack([50 + found.kernel().image(2050, 2050, z, 20_000, (41, 41)) for z in depths])
    locs = fit(expose(light, camera, seed=5), camera=camera, psf=str(path), settings=FitSettings(model="astigmatic"))
    z, x, y = (locs[name][np.argsort(locs["frame"])] for name in "zxy")
    assert len(locs) == len(depths)
    at = depths.reshape(5, 20)
    for place, axis in ((x, 0), (y, 1)):
        left = (place.reshape(5, 20) - 2050).mean(axis=1)
        assert np.abs(left).max() < 4, (axis, left)
        assert np.abs(left - left[2]).max() < 0.25 * np.ptp(wobble(at[:, 0])[:, axis])
    assert np.abs(z.reshape(5, 20).mean(axis=1) - at[:, 0]).max() < 30  # a vectorial PSF is no Gaussian


@pytest.mark.parametrize("seed", [2, 3])
def test_spots_that_do_not_stay_are_no_beads(seed):
    rng = np.random.default_rng(seed)
    light = np.full((300, 48, 64), 10.0)
    for frame in light:
        for x, y in ((1600, 1200), (4800, 1200), (1600, 3600), (4800, 3600)):
            frame += KERNEL.image(x + rng.uniform(-300, 300), y + rng.uniform(-300, 300), 0, 1000, (48, 64))
    camera = load_camera("ideal")
    with pytest.raises(InputError, match="no PSF by which a depth"):
        calibrate_psf(expose(light, camera, seed=1), camera, settings=PsfSettings(step_nm=20))
