"""Spots of movies: what was there is found where it was, as precisely as the bound says."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.spatial import cKDTree

from lucule import simulate
from lucule.core import FormatError, InputError
from lucule.simulate.scene import load_scene
from lucule.simulate.spots import find_spots

SPARSE = {
    "frames": 400, "size_um": 12, "background_photons": 20, "psf": "gaussian_2d",
    "molecules.specimen.density_per_um2": 4,
    "dye": {"kind": "switching", "on_time_s": 0.06, "off_time_s": 2.0,
            "photons": {"kind": "rate", "photons_per_s": 60_000}},
}  # fmt: skip


@pytest.fixture(scope="module", params=["ideal", "prime95b", "emccd_ixon897"])
def matched(request):
    movie, truth = simulate.movie(load_scene("uniform", camera=request.param, **SPARSE), seed=3)
    spots = find_spots(movie)
    real = truth.emitters
    apart = 1e6 * real["frame"]
    tree = cKDTree(np.column_stack([apart, real["x"], real["y"]]))
    distance, nearest = tree.query(np.column_stack([1e6 * spots["frame"], spots["x"], spots["y"]]))
    alone = tree.query(tree.data, k=2)[0][:, 1] > 1500
    return spots, real, distance, nearest, alone


def test_bright_emitters_are_found_and_little_else(matched) -> None:
    spots, real, distance, nearest, alone = matched
    inside = np.all([(real[axis] > 300) & (real[axis] < 11_700) for axis in "xy"], axis=0)
    bright = alone & inside & (real["photons"] > 600)
    assert np.isin(np.flatnonzero(bright), nearest[distance < 100]).mean() > 0.995
    assert (distance > 300).mean() < 0.01
    assert np.all(np.diff(spots["frame"].astype(int)) >= 0)


def test_errors_are_those_that_are_reported(matched) -> None:
    spots, real, distance, nearest, alone = matched
    chosen = (distance < 200) & alone[nearest] & (real["photons"][nearest] > 300)
    assert chosen.sum() > 500
    for axis in "xy":
        error = (spots[axis].astype(float) - real[axis][nearest])[chosen]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(chosen.sum())
        assert np.std(error / spots[f"{axis}_err"][chosen]) == pytest.approx(1, abs=0.08)
    assert np.median(spots["photons"][chosen] / real["photons"][nearest][chosen]) == pytest.approx(1, abs=0.02)
    assert np.median(spots["background"]) == pytest.approx(20, rel=0.02)
    assert np.median(spots["sigma_x"]) == pytest.approx(130, rel=0.02)


def test_files_and_arrays_are_the_same(tmp_path) -> None:
    movie, _ = simulate.movie(load_scene("uniform", **(SPARSE | {"frames": 30, "size_um": 6})), seed=1)
    whole = movie[:]
    tifffile.imwrite(tmp_path / "plain.tif", whole)
    tifffile.imwrite(tmp_path / "packed.tif", whole, compression="zlib")
    first = find_spots(whole, "emccd_ixon897")
    assert len(first) > 30
    for other in (movie, tmp_path / "plain.tif", tmp_path / "packed.tif", movie.save(tmp_path / "movie.ome.tif")):
        assert find_spots(other, "emccd_ixon897").data.equals(first.data)


def test_dark_movies_give_an_empty_table() -> None:
    dark = np.random.default_rng(1).poisson(100, (20, 30, 40)).astype(np.uint16)
    assert len(find_spots(dark, "ideal", snr=8)) == 0
    assert len(find_spots(np.zeros((3, 2, 2), np.uint16), "ideal")) == 0


def test_bad_input(tmp_path) -> None:
    frames = np.zeros((3, 20, 20), np.uint16)
    with pytest.raises(InputError, match="camera"):
        find_spots(frames)
    with pytest.raises(InputError, match="must be frames"):
        find_spots(frames[0], "ideal")
    with pytest.raises(InputError, match="must be frames"):
        find_spots([1, 2], "ideal")
    (tmp_path / "no.tif").write_text("no")
    with pytest.raises(FormatError, match="not a movie"):
        find_spots(tmp_path / "no.tif", "ideal")
    with pytest.raises(InputError, match="no such movie"):
        find_spots(tmp_path / "lost.tif", "ideal")
    with pytest.raises(InputError, match="Too few"):
        simulate.imitate(frames, camera="ideal", interval_s=0.02)
