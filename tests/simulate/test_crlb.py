from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.simulate.camera import load_camera, sensor
from lucule.simulate.crlb import crlb, noise_of, tabulate
from lucule.simulate.optics import Gaussian, Pupil, compile_psf, load_psf

NAMES = ("x_err", "y_err", "z_err", "photons_err", "background_err")


@pytest.fixture(scope="module")
def kernels():
    return {
        "astigmatic": compile_psf("astigmatic", 100),
        "vectorial": compile_psf(Pupil(zernike_nm={6: -70}, z_range_nm=(-400, 400)), 100),
        "double_helix": compile_psf(load_psf("double_helix", z_range_nm=(-400, 400), z_step_nm=50), 100),
    }


def by_differences(kernel, noise, x, y, z, photons, background, side):
    """Fisher matrix from images alone, by central differences."""
    row, column = int(y // 100) - side // 2, int(x // 100) - side // 2

    def mean(parameters):
        px, py, pz, n, b = parameters
        return n * kernel.patch(px, py, pz, (row, column), (side, side))[0] + b

    at = np.array([x, y, z, photons, background])
    steps = np.array([2.0, 2.0, 2.0, 0.01 * photons, 0.01 * background])
    slopes = [(mean(at + s) - mean(at - s)) / (2 * s.sum()) for s in np.diag(steps)]
    variance = noise.excess * (noise.efficiency * mean(at) + noise.dark) + noise.read_variance
    fisher = [[(noise.efficiency**2 * a * b / variance).sum() for b in slopes] for a in slopes]
    return np.sqrt(np.diag(np.linalg.inv(fisher)))


@pytest.mark.parametrize("name", ["astigmatic", "vectorial", "double_helix"])
@pytest.mark.parametrize("camera", ["ideal", "smlm_challenge", "prime95b"])
def test_two_routes_agree(kernels, name, camera):
    kernel, camera = kernels[name], load_camera(camera)
    rng = np.random.default_rng(1)
    for _ in range(5):
        x, y = rng.uniform(3000, 3100, 2)
        z, photons, background = rng.uniform(-380, 380), 10 ** rng.uniform(2.5, 4.5), 10 ** rng.uniform(0, 2)
        bound = crlb(kernel, camera, x, y, z, photons, background)
        other = by_differences(kernel, noise_of(camera), x, y, z, photons, background, kernel.roi_px)
        np.testing.assert_allclose([getattr(bound, n)[0] for n in NAMES], other, rtol=0.01)


def test_autograd_route_agrees(kernels):
    import torch

    from lucule.simulate.torch_render import render, to_torch

    for kernel in (kernels["astigmatic"], kernels["vectorial"]):
        psf, side = to_torch(kernel, dtype=torch.float64), kernel.roi_px
        at = torch.tensor([50.0 * side + 13, 50.0 * side - 28, 150.0, 2000.0, 12.0], dtype=torch.float64)

        def mean(p, psf=psf, side=side):
            index = torch.zeros(1, dtype=torch.int64)
            return render(
                psf, index, *p[:4, None], frames=1, shape=(side, side), background=p[4], check=False
            ).flatten()

        slopes = torch.autograd.functional.jacobian(mean, at)
        fisher = slopes.T @ (slopes / mean(at)[:, None])
        expected = torch.linalg.inv(fisher).diagonal().sqrt().numpy()
        bound = crlb(kernel, load_camera("ideal"), *at.numpy())
        np.testing.assert_allclose([getattr(bound, n)[0] for n in NAMES], expected, rtol=0.01)


def test_closed_form_of_the_gaussian():
    """Without background and with small pixels: sigma / sqrt(N), and sqrt(N) photons."""
    kernel = compile_psf(Gaussian(sigma_nm=130, depth_nm=None), 20)
    bound = crlb(kernel, load_camera("ideal"), 5000, 5000, 0, 1000, 1e-6, roi_px=61)
    np.testing.assert_allclose(bound.x_err, 130 / np.sqrt(1000), rtol=0.01)
    np.testing.assert_allclose(bound.photons_err, np.sqrt(1000), rtol=0.01)
    assert np.isinf(bound.z_err[0])  # this PSF tells nothing about z


def test_maximum_likelihood_formula_with_background():
    """Rieger and Stallinga 2014: sigma_a^2 / N (1 + 4 t + sqrt(2 t / (1 + 4 t))), within some percent of the bound."""
    kernel, photons, background = compile_psf("gaussian_2d", 100), 2000.0, 20.0
    variance = 130**2 + 100**2 / 12
    t = 2 * np.pi * variance * background / (photons * 100**2)
    expected = np.sqrt(variance / photons * (1 + 4 * t + np.sqrt(2 * t / (1 + 4 * t))))
    bound = crlb(kernel, load_camera("ideal"), 3050, 3050, 0, photons, background)
    assert bound.x_err[0] == pytest.approx(expected, rel=0.04)


def test_register_costs_a_factor_of_root_two():
    kernel = compile_psf("astigmatic", 100)
    emccd = load_camera("smlm_challenge", quantum_efficiency=1, read_noise_electrons=0, spurious_charge_electrons=0)
    for name in NAMES:
        plain, multiplied = (
            getattr(crlb(kernel, c, 3040, 3010, 100, 1500, 15), name)[0] for c in (load_camera("ideal"), emccd)
        )
        assert multiplied / plain == pytest.approx(np.sqrt(2), rel=1e-6)


def test_noisy_pixels_of_an_scmos_cost_precision():
    kernel = compile_psf("astigmatic", 100)
    maps = sensor(load_camera("prime95b", read_noise_spread=0), (40, 40))
    maps.read_noise[:, 20:] = 20.0
    left, right = (crlb(kernel, maps, x, 1550, 0, 800, 3).x_err[0] for x in (950, 3050))
    assert right > 2 * left
    same = sensor(load_camera("prime95b", read_noise_spread=0, hot_pixel_fraction=0), (40, 40))
    uniform = crlb(kernel, load_camera("prime95b", read_noise_spread=0, hot_pixel_fraction=0), 950, 1550, 0, 800, 3)
    assert crlb(kernel, same, 950, 1550, 0, 800, 3).x_err[0] == pytest.approx(uniform.x_err[0], rel=1e-6)


def test_symmetric_focus_has_no_z():
    kernel, camera = compile_psf("gaussian", 100), load_camera("ideal")
    bound = crlb(kernel, camera, 3050, 3050, [0, 300], 1000, 10)
    assert np.isinf(bound.z_err[0])
    assert np.isfinite(bound.z_err[1])
    known = crlb(kernel, camera, 3050, 3050, [0, 300], 1000, 10, free_z=False)
    assert np.isinf(known.z_err).all()
    assert (known.photons_err <= bound.photons_err + 1e-9).all()


@pytest.mark.parametrize("name", ["astigmatic", "vectorial"])
@pytest.mark.parametrize("camera", ["ideal", "smlm_challenge", "prime95b"])
def test_table_holds_the_bound(kernels, name, camera):
    """Stated accuracy: 1 percent (plus what the place in the pixel changes, below 2 percent)."""
    kernel, camera = kernels[name], load_camera(camera)
    rng = np.random.default_rng(2)
    n = 400
    z, photons, background = rng.uniform(-390, 390, n), 10 ** rng.uniform(2, 4.5, n), 10 ** rng.uniform(0, 2.5, n)
    exact = crlb(kernel, camera, *rng.uniform(3000, 3100, (2, n)), z, photons, background)
    quick = tabulate(kernel, camera).lookup(z, photons, background)
    for column in NAMES:
        error = getattr(quick, column) / getattr(exact, column) - 1
        assert np.median(np.abs(error)) < 0.005
        assert np.quantile(np.abs(error), 0.99) < 0.02
    assert quick.table().shape == (n, 5)


def test_bad_input_is_refused():
    kernel, camera = compile_psf("astigmatic", 100), load_camera("ideal")
    with pytest.raises(InputError, match="depth range"):
        crlb(kernel, camera, 0, 0, 5000, 100, 1)
    with pytest.raises(InputError, match="Photons"):
        crlb(kernel, camera, 0, 0, 0, 0, 1)
    with pytest.raises(InputError, match="background"):
        crlb(kernel, camera, 0, 0, 0, 100, -1)
    with pytest.raises(InputError, match="finite"):
        crlb(kernel, camera, np.nan, 0, 0, 100, 1)
    with pytest.raises(InputError, match="3 or more"):
        crlb(kernel, camera, 0, 0, 0, 100, 1, roi_px=1)
    table = tabulate(kernel, camera)
    with pytest.raises(InputError, match="depth range"):
        table.lookup(1200, 100, 1)
    assert len(table.lookup([], [], []).x_err) == 0
