from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.special import j1

from lucule.core import FormatError, InputError
from lucule.simulate.optics import (
    Astigmatic,
    Background,
    DefocusCurve,
    FieldDependent,
    Gaussian,
    Illumination,
    Motion,
    Pupil,
    Spline,
    Stack,
    add_emitters,
    available_psfs,
    compile_psf,
    load_psf,
    parse_psf,
    sample_map,
    save_stack,
)
from lucule.simulate.optics.bspline import basis, slopes, spline_coefficients, weights
from lucule.simulate.optics.zernike import noll, osa, zernike

# compiled once: every PSF that renders in another way, small and quick to compute
CASES = {
    "gaussian": Gaussian(),
    "astigmatic": Astigmatic(),
    "scalar": Pupil(model="scalar", numerical_aperture=1.2, z_range_nm=(-400, 400)),
    "vectorial": Pupil(zernike_nm={6: -70}, z_range_nm=(-400, 400)),
    "double_helix": load_psf("double_helix", z_range_nm=(-400, 400), z_step_nm=40),
    "tetrapod": load_psf("tetrapod", z_range_nm=(-800, 800), window_nm=5000, z_step_nm=80),
    "field_dependent": FieldDependent(
        base=Pupil(zernike_nm={6: -70}, z_range_nm=(-300, 300), z_step_nm=50),
        field_size_nm=(10000, 10000),
        zernike_field_nm={5: [0, 30]},
        nodes=(2, 2),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def kernel(request):
    return compile_psf(CASES[request.param], 100)


def widths(image):
    """Standard deviations (x, y) of an image in pixels."""
    rows, columns = np.indices(image.shape)
    total = image.sum(dtype=float)
    means = [(image * axis).sum(dtype=float) / total for axis in (columns, rows)]
    return [
        np.sqrt((image * (axis - mean) ** 2).sum() / total) for axis, mean in zip((columns, rows), means, strict=True)
    ]


def centroid(image, pixel_nm=100.0):
    rows, columns = np.indices(image.shape) + 0.5
    return np.array([(image * columns).sum(dtype=float), (image * rows).sum(dtype=float)]) * pixel_nm / image.sum()


# every PSF


def test_sum_is_photons_at_every_place_and_depth(kernel):
    rng = np.random.default_rng(1)
    for _ in range(10):
        x, y = rng.uniform(4500, 5500, 2)
        image = kernel.image(x, y, rng.uniform(*kernel.z_range_nm), 1000.0, (100, 100))
        assert image.sum(dtype=float) == pytest.approx(1000, rel=1e-3)


def test_centroid_is_position_from_the_pixel_edge(kernel):
    if kernel.psf.kind == "field_dependent":
        pytest.skip("coma moves the centroid on purpose")
    for x, y in ((5000.0, 5000.0), (5050.0, 5050.0), (5031.0, 4977.0)):
        np.testing.assert_allclose(centroid(kernel.image(x, y, 0, 1, (100, 100))), (x, y), atol=1.0)


def test_x_is_columns_and_y_is_rows(kernel):
    image = kernel.image(2000, 7000, 0, 1, (100, 100))
    x, y = centroid(image)
    assert abs(x - 2000) < 60
    assert abs(y - 7000) < 60


def test_derivatives_match_differences(kernel):
    rng = np.random.default_rng(2)
    low, high = kernel.z_range_nm
    for _ in range(4):
        at = np.array([*rng.uniform(4800, 5200, 2), rng.uniform(0.9 * low, 0.9 * high)])
        corner, shape = (38, 38), (24, 24)
        value, *slope = kernel.patch(*at, corner, shape)
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = 1.0
            difference = kernel.patch(*(at + step), corner, shape)[0] - kernel.patch(*(at - step), corner, shape)[0]
            np.testing.assert_allclose(slope[axis], difference / 2, atol=2e-3 * np.abs(slope[axis]).max() + 1e-9)
        image = kernel.image(*at, 1, (100, 100))
        np.testing.assert_allclose(value, image[38:62, 38:62], atol=1e-6)


def test_emitters_add_up_and_are_cut_at_the_edge(kernel):
    one, other = kernel.image(300, 4000, 0, 500, (64, 64)), kernel.image(6300, 6350, 50, 300, (64, 64))
    both = kernel.image([300, 6300], [4000, 6350], [0, 50], [500, 300], (64, 64))
    np.testing.assert_allclose(both, one + other, rtol=1e-5, atol=1e-6)
    large = kernel.image(300 + 3000, 4000 + 3000, 0, 500, (130, 130))
    if kernel.psf.kind != "field_dependent":
        np.testing.assert_allclose(one, large[30:94, 30:94], atol=1e-5)
    assert kernel.image(-90_000, 90_000, 0, 500, (64, 64)).sum() == 0


@pytest.mark.parametrize("z", [1e5, -1e5, np.nan])
def test_depth_out_of_range_is_refused(kernel, z):
    with pytest.raises(InputError, match=r"outside the depth range.*nm"):
        kernel.image(500, 500, z, 100, (16, 16))


def test_every_packaged_psf_is_valid():
    assert {"gaussian", "astigmatic", "double_helix", "tetrapod", "scalar", "vectorial"} <= set(available_psfs())
    for name in available_psfs():
        assert parse_psf(load_psf(name).model_dump(mode="json")) == load_psf(name)


# Gaussians


def test_gaussian_against_quadrature():
    kernel = compile_psf("gaussian", (100, 120))
    x, y = (np.arange(2000) + 0.5), (np.arange(2400) + 0.5)
    light = np.exp(-0.5 * ((x - 1012) / 130) ** 2)[None] * np.exp(-0.5 * ((y - 1177) / 130) ** 2)[:, None]
    expected = (light / (2 * np.pi * 130**2)).reshape(20, 120, 20, 100).sum(axis=(1, 3))
    np.testing.assert_allclose(kernel.image(1012, 1177, 0, 1, (20, 20)), expected, atol=2e-6)


def test_symmetric_focus():
    kernel = compile_psf("gaussian", 100)
    up, down = (kernel.image(1550, 1550, z, 1, (31, 31)) for z in (300, -300))
    np.testing.assert_array_equal(up, down)
    assert up.max() < kernel.image(1550, 1550, 0, 1, (31, 31)).max()


@pytest.mark.parametrize("name", ["astigmatic", "vectorial_astigmatic"])
def test_astigmatism_is_wide_in_x_above_the_focus(name):
    kernel = compile_psf(load_psf(name, z_range_nm=(-400, 400)), 100)
    for z in (-300, 300):
        across, down = widths(kernel.image(1550, 1550, z, 1, (31, 31)))
        assert (across > 1.15 * down) if z > 0 else (down > 1.15 * across)


def test_defocus_curve_is_followed():
    curve = {"sigma_nm": 130, "depth_nm": 400, "a": 0.1, "b": 0.05}
    psf = Astigmatic(x=DefocusCurve(focus_nm=-200, **curve), y=DefocusCurve(focus_nm=200, **curve))
    kernel = compile_psf(psf, 20)  # small pixels: nothing is added to the width by integration
    for z in (-600.0, 0.0, 450.0):
        u = (z - np.array([-200, 200])) / 400
        expected = 130 * np.sqrt(1 + u**2 + 0.1 * u**3 + 0.05 * u**4) / 20
        np.testing.assert_allclose(widths(kernel.image(3000, 3000, z, 1, (300, 300))), expected, rtol=2e-3)


def test_curve_without_width_is_refused():
    with pytest.raises(InputError, match="falls to zero"):
        Astigmatic.parse({"x": {"sigma_nm": 130, "focus_nm": 0, "depth_nm": 300, "a": -1.5}})


# pupils


@pytest.mark.parametrize("index", range(1, 23))
def test_zernike_polynomials_are_orthonormal(index):
    axis = (np.arange(300) + 0.5) / 150 - 1
    x, y = np.meshgrid(axis, axis)
    rho, phi = np.hypot(x, y), np.arctan2(y, x)
    inside = rho <= 1
    first = zernike(*noll(index), rho, phi)[inside]
    assert np.sqrt(np.mean(first**2)) == pytest.approx(1, abs=0.02)
    for other in range(1, index):
        assert abs(np.mean(first * zernike(*noll(other), rho, phi)[inside])) < 0.03


def test_zernike_indices_follow_their_standards():
    assert [noll(j) for j in range(1, 12)] == [
        (0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0),
    ]  # fmt: skip
    assert [osa(j) for j in range(10)] == [
        (0, 0), (1, -1), (1, 1), (2, -2), (2, 0), (2, 2), (3, -3), (3, -1), (3, 1), (3, 3),
    ]  # fmt: skip


def test_noll_and_osa_name_the_same_aberration():
    common = {"z_range_nm": (-100, 100), "z_step_nm": 50, "model": "scalar"}
    first = compile_psf(Pupil(zernike_nm={7: 40}, **common), 100).image(1250, 1250, 50, 1, (25, 25))
    second = compile_psf(Pupil(zernike_nm={7: 40}, zernike_order="osa", **common), 100).image(
        1250, 1250, 50, 1, (25, 25)
    )
    third = compile_psf(Pupil(zernike_nm={8: 40}, **common), 100).image(1250, 1250, 50, 1, (25, 25))
    np.testing.assert_array_equal(first, second)  # index 7 is vertical coma in both
    assert np.abs(first - third).max() > 0.01 * first.max()


def test_low_aperture_focus_is_an_airy_disc():
    aperture, wavelength = 0.4, 600
    psf = Pupil(model="scalar", numerical_aperture=aperture, wavelength_nm=wavelength, sample_index=1.0,
                immersion_index=1.0, window_nm=8000, z_range_nm=(-50, 50))  # fmt: skip
    image = compile_psf(psf, 100).image(4050, 4050, 0, 1, (81, 81))
    offset = np.arange(-12, 13) * 100
    fine = (np.arange(21) - 10) / 21 * 100
    x = (offset[:, None] + fine).ravel()
    v = 2 * np.pi * aperture / wavelength * np.maximum(np.hypot(*np.meshgrid(x, x)), 1e-9)
    airy = ((2 * j1(v) / v) ** 2).reshape(25, 21, 25, 21).mean(axis=(1, 3))
    middle = image[28:53, 28:53]
    # the aplanatic objective carries 2 percent more light at the rim of this pupil
    np.testing.assert_allclose(middle / middle.max(), airy / airy.max(), atol=0.01)


def test_vectorial_is_scalar_at_low_aperture_and_wider_at_high():
    def focus(model, aperture):
        psf = Pupil(model=model, numerical_aperture=aperture, z_range_nm=(-50, 50))
        return compile_psf(psf, 100).image(1250, 1250, 0, 1, (25, 25))

    np.testing.assert_allclose(focus("vectorial", 0.3), focus("scalar", 0.3), atol=0.01 * focus("scalar", 0.3).max())
    assert focus("vectorial", 1.45).max() < 0.95 * focus("scalar", 1.45).max()


def test_rotating_dipole_is_round():
    image = compile_psf(Pupil(z_range_nm=(-200, 200)), 100).image(1250, 1250, 150, 1, (25, 25))
    np.testing.assert_allclose(image, image.T, atol=1e-6)
    np.testing.assert_allclose(image, image[::-1], atol=1e-6)


def test_index_mismatch_spoils_the_symmetry_of_the_focus():
    kernel = compile_psf(load_psf("vectorial_water", z_range_nm=(-400, 400), z_step_nm=50), 100)
    below, above = (kernel.image(1250, 1250, z, 1, (25, 25)).max() for z in (-350, 350))
    assert below < 0.8 * above
    focus = max(range(-200, 201, 25), key=lambda z: kernel.image(1250, 1250, z, 1, (25, 25)).max())
    assert abs(focus) <= 150


def test_double_helix_lobes_turn_with_z():
    kernel = compile_psf(CASES["double_helix"], 100)
    angles = []
    for z in np.linspace(-400, 400, 9):
        image = kernel.image(2250, 2250, z, 1, (45, 45)).astype(float)
        image[image < 0.5 * image.max()] = 0
        rows, columns = np.indices(image.shape) - 22.0
        xx, yy, xy = ((image * a).sum() for a in (columns**2, rows**2, rows * columns))
        angles.append(0.5 * np.degrees(np.arctan2(2 * xy, xx - yy)))
    turned = np.unwrap(np.radians(angles), period=np.pi)
    steps = np.diff(turned)
    assert np.all(steps > 0) or np.all(steps < 0)
    assert abs(np.degrees(turned[-1] - turned[0])) > 40


def test_tetrapod_lobes_change_their_axis():
    kernel = compile_psf(CASES["tetrapod"], 100)
    images = [kernel.image(2550, 2550, z, 1, (51, 51)) for z in (-750, 750)]
    (below_x, below_y), (above_x, above_y) = (widths(np.where(i > 0.3 * i.max(), i, 0)) for i in images)
    assert below_x > 1.5 * below_y
    assert above_y > 1.5 * above_x


def test_spline_holds_the_pupil_psf():
    """Stated accuracy: 5e-4 of the peak with the knots chosen by default."""
    coarse = CASES["vectorial"].replace(z_range_nm=(0, 300))
    reference = compile_psf(coarse.replace(oversampling=5, z_step_nm=10), 100)
    kernel = compile_psf(coarse, 100)
    rng = np.random.default_rng(3)
    for _ in range(15):
        at = (*rng.uniform(2000, 2100, 2), rng.uniform(0, 300), 1, (41, 41))
        expected = reference.image(*at)
        assert np.abs(kernel.image(*at) - expected).max() < 5e-4 * expected.max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numerical_aperture": 1.6}, "below the immersion index"),
        ({"numerical_aperture": 1.4, "sample_index": 1.33, "model": "scalar"}, "below the sample index"),
        ({"sample_index": 1.33, "z_range_nm": (-500, 500)}, "under the coverslip"),
        ({"zernike_nm": {0: 10}}, "start at 1"),
        ({"z_range_nm": (500, -500)}, "lower z first"),
        ({"aperture": 1.2}, "not a known key"),
        ({"wavelength_nm": -1}, "greater than 0"),
    ],
)
def test_impossible_pupils_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        load_psf("vectorial", **change)


def test_unknown_psf_names_the_known_ones():
    with pytest.raises(InputError, match="astigmatic"):
        compile_psf("astigmatism", 100)
    with pytest.raises(InputError, match="double_helix"):
        parse_psf({"kind": "helix"})
    with pytest.raises(InputError, match="pixel size"):
        compile_psf("gaussian", 0)


def test_field_dependence_is_interpolated():
    kernel = compile_psf(CASES["field_dependent"], 100)
    leaning = [CASES["field_dependent"].at(u, 0) for u in (-1, 1)]
    for psf, x in zip(leaning, (0.0, 10000.0), strict=True):
        here = compile_psf(psf, 100).image(1250, 1250, 200, 1, (25, 25))
        there = kernel.image(x + 50, 5050, 200, 1, (100, 100))
        middle = int(x // 100)
        columns = slice(max(middle - 12, 0), middle + 13)
        part = here[:, 12 - (middle - columns.start) :][:, : there[38:63, columns].shape[1]]
        np.testing.assert_allclose(there[38:63, columns], part, atol=2e-3)
    left, right = kernel.image(1050, 5050, 200, 1, (100, 100)), kernel.image(8950, 5050, 200, 1, (100, 100))
    assert np.abs(left[38:63, :23] - right[38:63, 77:]).max() > 0.01


# cubic splines


def test_coefficients_give_the_not_a_knot_spline():
    rng = np.random.default_rng(4)
    samples = rng.normal(size=9)
    reference = CubicSpline(np.arange(9), samples)
    coefficients = spline_coefficients(samples)
    for x in np.linspace(0, 7.99, 50):
        cell = int(x)
        assert basis(x - cell) @ coefficients[cell : cell + 4] == pytest.approx(float(reference(x)), abs=1e-10)
        slope = np.array(slopes(x - cell)) @ coefficients[cell : cell + 4]
        assert slope == pytest.approx(float(reference(x, 1)), abs=1e-9)


@given(st.floats(0, 1))
def test_weights_add_up_to_one(t):
    assert sum(weights(t)) == pytest.approx(1)
    assert sum(slopes(t)) == pytest.approx(0, abs=1e-12)


def bead(shape=(21, 25, 25), step_nm=50.0, shift=(0.0, 0.0)):
    """An astigmatic bead whose emitter lies in the middle of the stack, plus a shift (x, y) in pixels."""
    kernel = compile_psf("astigmatic", 100)
    z = (np.arange(shape[0]) - shape[0] // 2) * step_nm
    middle = (np.array(shape[1:]) / 2) * 100
    return np.stack(
        [kernel.image(middle[1] + 100 * shift[0], middle[0] + 100 * shift[1], h, 1000, shape[1:]) for h in z]
    )


def test_spline_through_a_bead_stack(tmp_path):
    path = save_stack(tmp_path / "bead.h5", Stack(bead() + 10.0, 100.0, 50.0))
    kernel, truth = compile_psf(Spline(path=path), 100), compile_psf("astigmatic", 100)
    assert kernel.z_range_nm == (-500, 500)
    rng = np.random.default_rng(5)
    for _ in range(10):
        x, y, z = *rng.uniform(1950, 2050, 2), rng.uniform(-450, 450)
        image, expected = kernel.image(x, y, z, 1000, (40, 40)), truth.image(x, y, z, 1000, (40, 40))
        # samples one pixel apart hold a Gaussian of 1.3 pixels to about 1 percent
        assert np.abs(image - expected).max() < 0.02 * expected.max()
        np.testing.assert_allclose(centroid(image), (x, y), atol=2)


@pytest.mark.parametrize("suffix", [".h5", ".tif", ".npy"])
def test_bead_off_the_middle_is_centred(tmp_path, suffix):
    stack = bead(shift=(0.4, -0.3))
    path = tmp_path / f"bead{suffix}"
    if suffix == ".h5":
        save_stack(path, Stack(stack, 100.0, 50.0))
    elif suffix == ".npy":
        np.save(path, stack)
    else:
        import tifffile

        tifffile.imwrite(path, stack.astype(np.float32))
    kernel = compile_psf(Spline(path=path, pixel_size_nm=100, z_step_nm=50), 100)
    np.testing.assert_allclose(centroid(kernel.image(2010, 2040, 0, 1, (40, 40))), (2010, 2040), atol=2)


def test_yaml_finds_its_stack(tmp_path):
    save_stack(tmp_path / "bead.h5", Stack(bead(), 100.0, 50.0))
    (tmp_path / "psf.yaml").write_text("kind: spline\npath: bead.h5\n")
    assert compile_psf(str(tmp_path / "psf.yaml"), 100).roi_px == 23


def test_bad_stacks_are_refused(tmp_path):
    def refuse(stack, message, error=InputError, pixel_nm=100, **given):
        np.save(tmp_path / "s.npy", stack)
        with pytest.raises(error, match=message):
            compile_psf(Spline(path=tmp_path / "s.npy", **({"pixel_size_nm": 100, "z_step_nm": 50} | given)), pixel_nm)

    refuse(np.zeros((8, 9, 9)), "no energy")
    refuse(np.full((8, 9, 9), 5.0), "no energy")
    refuse(np.full((8, 9, 9), np.nan), "no energy")
    refuse(np.ones((9, 9)), r"\(z, y, x\)", FormatError)
    refuse(np.ones((2, 9, 9)), "at least 4", FormatError)
    refuse(bead(), "sampling", pixel_size_nm=None)
    refuse(bead(), "does not fit", pixel_nm=120)
    (tmp_path / "s.tif").write_bytes(b"not an image")
    with pytest.raises(FormatError, match="cannot be read"):
        compile_psf(Spline(path=tmp_path / "s.tif", pixel_size_nm=100, z_step_nm=50), 100)
    with pytest.raises(InputError, match="no such PSF stack"):
        compile_psf(Spline(path=tmp_path / "none.h5"), 100)


# rendering


def scene(frames=40, emitters=400, seed=6):
    rng = np.random.default_rng(seed)
    index = np.sort(rng.integers(0, frames, emitters))
    return (
        index,
        *rng.uniform(-200, 6600, (2, emitters)),
        rng.uniform(-300, 300, emitters),
        rng.uniform(0, 3000, emitters),
    )


def test_movie_is_the_same_in_pieces_and_on_one_thread(kernel):
    emitters = scene()
    whole = np.zeros((40, 64, 64), np.float32)
    add_emitters(whole, *emitters, kernel)
    pieces = np.zeros_like(whole)
    for first in (0, 7, 8, 30):
        last = {0: 7, 7: 8, 8: 30, 30: 40}[first]
        add_emitters(pieces[first:last], *emitters, kernel, first_frame=first)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    alone = np.zeros_like(whole)
    add_emitters(alone, *emitters, kernel)
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(whole, pieces)
    np.testing.assert_array_equal(whole, alone)
    assert whole.any(axis=(1, 2)).all()


def test_emitters_out_of_depth_can_be_dropped():
    kernel = compile_psf("astigmatic", 100)
    frames = np.zeros((2, 16, 16), np.float32)
    columns = ([0, 0, 1], [800, 800, 800], [800, 800, 800], [0, 5000, 100], [100, 100, 100])
    with pytest.raises(InputError, match="1 of 3 emitters"):
        add_emitters(frames, *columns, kernel)
    assert not frames.any()
    assert add_emitters(frames, *columns, kernel, outside="drop") == 1
    np.testing.assert_allclose(frames.sum(axis=(1, 2)), [100, 100], rtol=1e-3)


def test_bad_emitters_are_refused():
    kernel, frames = compile_psf("gaussian", 100), np.zeros((2, 8, 8), np.float32)
    assert add_emitters(frames, [], [], [], [], [], kernel) == 0
    with pytest.raises(InputError, match="ordered by frame"):
        add_emitters(frames, [1, 0], [1, 1], [1, 1], [0, 0], [1, 1], kernel)
    with pytest.raises(InputError, match="finite"):
        add_emitters(frames, [0], [np.nan], [1], [0], [1], kernel)
    with pytest.raises(InputError, match="columns of one length"):
        add_emitters(frames, [0, 1], [1.0], [1.0], [0.0], [1.0], kernel)
    with pytest.raises(InputError, match="float32"):
        add_emitters(frames.astype(float), [0], [1], [1], [0], [1], kernel)


# background, illumination, motion


def test_background_has_its_mean_and_contrast():
    made = Background(photons_per_pixel=30, structure=0.4, structure_length_um=1).map((400, 400), 100, seed=1)
    assert made.mean() == pytest.approx(30, rel=1e-4)
    assert made.std() / made.mean() == pytest.approx(0.4, rel=0.15)
    assert made.min() > 0
    rows = np.corrcoef(made[:, :-1].ravel(), made[:, 1:].ravel())[0, 1]
    assert rows > 0.98  # smooth over 1 um
    assert abs(np.corrcoef(made[:, :-60].ravel(), made[:, 60:].ravel())[0, 1]) < 0.2
    np.testing.assert_array_equal(
        made, Background(photons_per_pixel=30, structure=0.4, structure_length_um=1).map((400, 400), 100, seed=1)
    )


def test_gradient_decay_and_illumination_of_the_background():
    tilted = Background(photons_per_pixel=10, gradient=(1, 0)).map((50, 50), 100)
    assert tilted[0, -1] / tilted[0, 0] == pytest.approx(1.49 / 0.51, rel=1e-3)
    np.testing.assert_allclose(tilted[0], tilted[-1])
    beam = Illumination(profile="gaussian", waist_um=2)
    lit = Background(photons_per_pixel=10).map((50, 50), 100, illumination=beam)
    assert lit[25, 25] > 5 * lit[0, 0]
    fading = Background(decay_frames=100, bleaching_fraction=0.6)
    np.testing.assert_allclose(fading.over_time([0, 100, 1e6]), [1, 1 - 0.6 * (1 - np.exp(-1)), 0.4])
    assert not Background(photons_per_pixel=0, structure=1).map((8, 8), 100).any()
    with pytest.raises(InputError, match="No background is left"):
        Background().map((8, 8), 100, illumination=Illumination(profile="gaussian", waist_um=0.001, centre=(90, 0)))


def test_illumination_profiles():
    field = (20_000.0, 20_000.0)
    assert Illumination().at(3, 4, field) == 1
    gaussian = Illumination(profile="gaussian", waist_um=8)
    np.testing.assert_allclose(gaussian.at([10_000, 18_000], 10_000, field), [1, np.exp(-2)])
    flat = Illumination(profile="flat_top", waist_um=8)
    assert flat.at(14_000, 10_000, field) > 0.98
    assert flat.at(19_000, 10_000, field) < 0.1
    uneven = Illumination(unevenness=0.2, unevenness_length_um=0.5).map((200, 200), 100, seed=3)
    assert uneven.std() == pytest.approx(0.2, rel=0.15)
    x, y = np.array([50.0, 1250.0]), np.array([150.0, 8850.0])
    at = Illumination(unevenness=0.2, unevenness_length_um=0.5).at(x, y, (20_000, 20_000), seed=3)
    np.testing.assert_allclose(at, sample_map(uneven, x, y, 100))


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(0, 2**32))
def test_longer_movies_begin_with_the_same_motion(frames, seed):
    motion = Motion(
        linear_nm_per_min=(10, -5, 2),
        settling_nm=(0, 50, 100),
        walk_nm_per_sqrt_min=(20, 20, 30),
        vibration_nm=(5, 0, 2),
        jitter_nm=(1, 1, 3),
    )
    short, long = (motion.displacement(n, frame_time_s=0.05, seed=seed) for n in (frames, 60))
    np.testing.assert_array_equal(short, long[:frames])


def test_motion_has_its_statistics():
    time_s, frames = 0.05, 40_000
    walk = Motion(walk_nm_per_sqrt_min=(10, 20, 30)).displacement(frames, frame_time_s=time_s, seed=1)
    np.testing.assert_allclose(
        np.diff(walk, axis=0).std(axis=0), np.array([10, 20, 30]) * np.sqrt(time_s / 60), rtol=0.02
    )
    assert not walk[0].any()
    settling = Motion(settling_nm=(0, 0, 400), settling_time_s=60).displacement(frames, frame_time_s=time_s)
    assert settling[1200, 2] == pytest.approx(400 * (1 - np.exp(-1)))
    jitter = Motion(jitter_nm=(0, 5, 0)).displacement(frames, frame_time_s=time_s, seed=2)
    np.testing.assert_allclose(jitter.std(axis=0), [0, 5, 0], rtol=0.03)
    slow = Motion(vibration_nm=(10, 0, 0), vibration_hz=1).displacement(frames, frame_time_s=time_s, exposure_s=0.001)
    assert slow[:, 0].std() == pytest.approx(10 / np.sqrt(2), rel=0.01)
    fast = Motion(vibration_nm=(10, 0, 0), vibration_hz=20).displacement(frames, frame_time_s=time_s)
    assert np.abs(fast).max() < 1e-9  # a whole period in every exposure
    with pytest.raises(InputError, match="exposure"):
        Motion().displacement(10, frame_time_s=0.01, exposure_s=0.02)
    with pytest.raises(InputError, match="not a known key"):
        Motion.parse({"linear": 3})
