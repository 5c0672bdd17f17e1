"""Tables: the chain of truth, errors of the stated size, misses, merges, false positives; and the movie agrees."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.stats import kstest

from lucule import simulate
from lucule.core import InputError
from lucule.simulate.detection import Detection, false_positives_per_frame, merge
from lucule.simulate.scene import Scene, load_scene

SPARSE = {
    "field": {"size_um": 12.8, "axial_range_nm": 500},
    "layers": {"molecules": {"specimen": {"kind": "uniform", "density_per_um2": 0.15}, "label": 1}},
    "dye": {"kind": "always_on", "photons": {"kind": "rate", "photons_per_s": 75_000}},
    "acquisition": {"frames": 100, "interval_s": 0.02},
    "camera": "smlm_challenge",
    "background_photons": 20,
}


def sparse(**changes) -> Scene:
    return Scene.parse(SPARSE).with_changes(**changes)


@pytest.fixture(scope="module")
def table():
    return simulate.localizations("sarcomere", frames=600, seed=2)


def test_same_bits(table) -> None:
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        again = simulate.localizations("sarcomere", frames=600, seed=2)
    finally:
        numba.set_num_threads(before)
    assert again.data.equals(table.data)
    assert again.meta == table.meta
    assert not simulate.localizations("sarcomere", frames=600, seed=3).data.equals(table.data)


def test_every_localization_leads_to_its_structure(table) -> None:
    _, truth = simulate.movie("sarcomere", frames=600, seed=2)
    real = table.data.filter(table.data["emitters"] > 0)
    molecule, epitope = real["molecule"].to_numpy(), real["epitope"].to_numpy()
    np.testing.assert_array_equal(truth.events["molecule"][real["event"].to_numpy()], molecule)
    np.testing.assert_array_equal(truth.dyes["epitope"][molecule], epitope)
    specific = epitope >= 0
    structure = real["structure"].to_numpy()
    np.testing.assert_array_equal(truth.epitopes["structure"][epitope[specific]], structure[specific])
    np.testing.assert_array_equal(truth.epitopes["label"][epitope[specific]], real["true_label"].to_numpy()[specific])
    assert set(np.unique(structure)) <= {-1, *range(truth.structures.height)}
    np.testing.assert_array_equal(real["true_cluster"], structure)


def test_false_positives_have_no_molecule(table) -> None:
    false = table.data.filter(table.data["emitters"] == 0)
    assert len(false) > 5
    for name in ("molecule", "epitope", "structure", "true_cluster"):
        assert (false[name] == -1).all()
    assert false["event"].n_unique() == len(false)
    assert not set(false["event"]) & set(table.data.filter(table.data["emitters"] > 0)["event"])


def test_table_is_complete(table) -> None:
    assert (np.diff(table["frame"].astype(np.int64)) >= 0).all()
    assert table.meta.errors == "crlb"
    assert table.meta.pixel_size_nm == (160, 160)
    assert table.meta.n_frames == 600
    assert table.meta.exposure_ms == pytest.approx(20)
    assert [step.function for step in table.meta.history] == ["lucule.simulate.localizations.localizations"]
    assert "z" not in table  # a symmetric Gaussian does not tell the depth
    for name in table.columns:
        assert np.isfinite(table[name]).all(), name


@pytest.mark.parametrize("psf", ["gaussian_2d", "astigmatic"])
def test_errors_have_the_stated_size(psf) -> None:
    locs = simulate.localizations(sparse(psf=psf), seed=1)
    alone = locs.data.filter(locs.data["emitters"] == 1)
    axes = "xyz" if psf == "astigmatic" else "xy"
    assert ("z" in locs) == (psf == "astigmatic")
    for axis in axes:
        pull = ((alone[axis] - alone[f"true_{axis}"]) / alone[f"{axis}_err"]).to_numpy()
        assert kstest(pull, "norm").pvalue > 0.001, axis


def test_faint_emitters_are_missed() -> None:
    def found(photons_per_s):
        scene = sparse(psf="gaussian_2d", frames=40, **{"dye.photons.photons_per_s": photons_per_s})
        locs = simulate.localizations(scene, seed=1)
        _, truth = simulate.movie(scene, seed=1)
        real = locs.data.filter(locs.data["emitters"] > 0)
        return len(real) / len(truth.emitters), real["p"].mean()

    bright, faint, faintest = found(75_000), found(10_000), found(500)
    assert bright[0] > 0.85  # overlapping pairs are lost even so
    assert 0.1 < faint[0] < 0.85
    assert faintest[0] < 0.01


def test_number_of_false_positives() -> None:
    empty = sparse(psf="gaussian_2d", frames=1000, **{"molecules.specimen.density_per_um2": 0})
    locs = simulate.localizations(empty, seed=1, detection=Detection(snr=3.5))
    expected = 1000 * false_positives_per_frame(Detection(snr=3.5), 12_800**2, 133.0)
    assert len(locs) == pytest.approx(expected, rel=0.1)
    chosen = simulate.localizations(empty, seed=1, detection=Detection(false_positives_per_frame=0.5))
    assert len(chosen) == pytest.approx(500, rel=0.15)
    none = simulate.localizations(empty, seed=1, detection=Detection(false_positives_per_frame=0))
    assert len(none) == 0
    assert none.columns == chosen.columns


def test_rate_of_false_positives_is_that_of_filtered_noise() -> None:
    """White noise, filtered with the PSF, has as many maxima above the threshold as the formula says."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    rng, width, side, threshold = np.random.default_rng(1), 3.0, 1500, 3.5
    field = gaussian_filter(rng.normal(size=(side, side)), width, mode="wrap")
    field /= field.std()
    maxima = (field == maximum_filter(field, 3, mode="wrap")) & (field > threshold)
    expected = false_positives_per_frame(Detection(snr=threshold), float(side**2), width)
    assert maxima.sum() == pytest.approx(expected, rel=0.2)


def test_merging_against_brute_force() -> None:
    rng = np.random.default_rng(1)
    n, frames = 600, 7
    frame = np.sort(rng.integers(0, frames, n))
    x, y, z = rng.uniform(0, 3000, (3, n))
    photons = rng.exponential(1000, n)
    starts = np.searchsorted(frame, np.arange(frames + 1))
    got = merge(starts, x, y, z, photons, near_nm=200.0, crowded_nm=400.0)
    kept, taken = [], np.zeros(n, bool)
    for f in range(frames):
        rows = np.flatnonzero(frame == f)
        for row in rows[np.argsort(-photons[rows], kind="stable")]:
            if not taken[row]:
                near = [i for i in rows if not taken[i] and np.hypot(x[i] - x[row], y[i] - y[row]) < 200]
                taken[near] = True
                kept.append((row, np.average(x[near], weights=photons[near]), photons[near].sum(), len(near)))
    kept.sort()
    np.testing.assert_array_equal(got.brightest, [k[0] for k in kept])
    np.testing.assert_allclose(got.x, [k[1] for k in kept])
    np.testing.assert_allclose(got.photons, [k[2] for k in kept])
    np.testing.assert_array_equal(got.emitters, [k[3] for k in kept])
    assert ((got.survival >= 0) & (got.survival <= 1)).all()
    assert (got.survival < 1).any()


def test_channels_are_apart() -> None:
    locs = simulate.localizations(load_scene("cell", frames=50), seed=1)
    assert set(np.unique(locs["channel"])) == {0, 1, 2}
    assert "channel" not in simulate.localizations("uniform", frames=5, seed=1)


def test_a_scenario_gives_its_own_table() -> None:
    scenario = simulate.load("csr", density_per_um2=5)
    locs = simulate.localizations(scenario, seed=1)
    assert locs.data.equals(simulate.simulate(scenario, seed=1).data)
    assert len(locs.meta.history) == 1
    with pytest.raises(InputError, match="positions only"):
        simulate.localizations(scenario, seed=1, frames=10)


# --- the movie, fitted, against the table -------------------------------------------------------------------------


def fitted(movie, truth, kernel, side=11):
    """Weighted least squares of x, y, (z), photons and background around each well isolated emitter."""
    depth = kernel.z_range_nm if not hasattr(kernel.psf, "sigma_nm") else None
    found, pixel = [], kernel.pixel_size_nm[0]
    camera, noise = movie.imaging.camera, 2.0
    for number in range(len(movie)):
        rows = np.flatnonzero(truth.emitters["frame"] == number)
        x, y, z = (truth.emitters[axis][rows] for axis in "xyz")
        photons = (movie[number].astype(float) - camera.baseline) * camera.photons_per_count
        tree = cKDTree(np.column_stack([x, y]))
        for i, near in enumerate(tree.query_ball_point(np.column_stack([x, y]), 1300)):
            row, column = (int(v / pixel) - side // 2 for v in (y[i], x[i]))
            if len(near) > 1 or min(row, column) < 0 or max(row, column) + side > photons.shape[0]:
                continue
            patch = photons[row : row + side, column : column + side]
            start = [x[i], y[i], 1500.0, 20.0] + ([z[i]] if depth else [])

            def model(p, corner=(row, column)):
                return kernel.patch(p[0], p[1], np.clip(p[4], *depth) if depth else 0.0, corner, (side, side))

            def residual(p, patch=patch, model=model):
                expected = np.maximum(p[2] * model(p)[0] + p[3], 0.1)
                # deviance of Poisson counts of the same variance: a likelihood fit
                with np.errstate(divide="ignore", invalid="ignore"):
                    data = np.maximum(patch, 0.01) / noise
                    mean = expected / noise
                    term = 2 * (mean - data + data * np.log(data / mean))
                return np.ravel(np.sign(data - mean) * np.sqrt(np.maximum(term, 0)))

            scale = [100.0, 100.0, 500.0, 10.0] + ([200.0] if depth else [])
            fit = least_squares(residual, start, x_scale=scale, xtol=1e-6, ftol=1e-6).x
            found.append([fit[0] - x[i], fit[1] - y[i], fit[4] - z[i] if depth else 0.0, fit[2], fit[3]])
    return np.array(found)


@pytest.mark.parametrize("psf", ["gaussian_2d", "astigmatic"])
def test_the_fitted_movie_agrees_with_the_table(psf) -> None:
    changes = {"field.axial_range_nm": 400, "molecules.specimen.density_per_um2": 0.1}
    scene = sparse(psf=psf, frames=80, **changes)
    movie, truth = simulate.movie(scene, seed=4)
    errors = fitted(movie, truth, movie.imaging.kernel)
    locs = simulate.localizations(scene, seed=4)
    alone = locs.data.filter(locs.data["emitters"] == 1)
    assert len(errors) > 400
    for i, axis in enumerate("xyz" if psf == "astigmatic" else "xy"):
        difference = (alone[axis] - alone[f"true_{axis}"]).to_numpy()
        # spread of the middle of both distributions, which lost fits do not touch
        both = [np.subtract(*np.quantile(values, [0.84, 0.16])) / 2 for values in (errors[:, i], difference)]
        # each spread of 450 errors has a standard error of 4.4 %
        assert both[0] / both[1] == pytest.approx(1.0, abs=0.15), axis
        assert abs(np.median(errors[:, i])) < 0.2 * both[1]
    assert np.median(errors[:, 3]) == pytest.approx(float(alone["photons"].median()), rel=0.05)
    assert errors[:, 3].std() == pytest.approx(float(alone["photons"].std()), rel=0.2)
    assert np.median(errors[:, 4]) == pytest.approx(float(alone["background"].median()), rel=0.05)
