"""NeNA and the comparison with reported errors, against a known precision."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import ColumnError, Localizations
from lucule.process import precision


def pairs(n=4000, sigma=8.0, reported=8.0, background=0, seed=3, frames=2000) -> Localizations:
    rng = np.random.default_rng(seed)
    at = np.repeat(rng.uniform(0, 40_000, (n, 2)), 2, axis=0) + rng.normal(0, sigma, (2 * n, 2))
    frame = np.repeat(rng.integers(0, frames - 1, n), 2) + np.tile([0, 1], n)
    at = np.concatenate([at, rng.uniform(0, 40_000, (background, 2))])
    frame = np.concatenate([frame, rng.integers(0, frames, background)])
    errors = np.full(len(at), reported)
    return Localizations({"frame": frame, "x": at[:, 0], "y": at[:, 1], "x_err": errors, "y_err": errors})


@pytest.mark.parametrize("sigma", [2.0, 8.0, 20.0])
@pytest.mark.parametrize("background", [0, 20_000])
def test_the_precision_is_found(sigma, background) -> None:
    found = precision(pairs(sigma=sigma, reported=sigma, background=background))
    assert found.nena_nm == pytest.approx(sigma, rel=0.06)
    low, high = found.nena_nm_interval
    assert low < found.nena_nm < high
    assert low * 0.98 < sigma < high * 1.02
    assert found.ratio == pytest.approx(1, rel=0.06)
    assert found.pairs == pytest.approx(4000, rel=0.15)


def test_wrong_errors_are_seen() -> None:
    assert precision(pairs(sigma=12, reported=8)).ratio == pytest.approx(1.5, rel=0.05)


def test_errors_that_differ_from_row_to_row() -> None:
    rng = np.random.default_rng(5)
    n = 6000
    sigma = np.exp(rng.normal(2, 0.5, 2 * n))
    at = np.repeat(rng.uniform(0, 60_000, (n, 2)), 2, axis=0) + rng.normal(0, 1, (2 * n, 2)) * sigma[:, None]
    frame = np.repeat(rng.integers(0, 2000, n), 2) * 1 + np.tile([0, 1], n)
    table = Localizations({"frame": frame, "x": at[:, 0], "y": at[:, 1], "x_err": 0.8 * sigma, "y_err": 0.8 * sigma})
    found = precision(table)
    assert found.ratio == pytest.approx(1.25, rel=0.04)


def test_simulated_microscopy(origami) -> None:
    found = precision(origami[0])
    assert found.ratio == pytest.approx(1, abs=0.06)


def test_depth(pores) -> None:
    found = precision(pores[0])
    assert found.axial_ratio == pytest.approx(1, abs=0.1)
    assert found.axial_nm > 2 * found.nena_nm


def test_nothing_to_pair() -> None:
    rng = np.random.default_rng(1)
    for n in (0, 1, 500):
        xy = rng.uniform(0, 1e5, (n, 2))
        found = precision(Localizations({"frame": np.arange(n) * 2, "x": xy[:, 0], "y": xy[:, 1]}))
        assert found.nena_nm is None
        assert "next frame" in found.reasons["nena_nm"]
        assert found.table().height == 0


def test_channels_are_kept_apart() -> None:
    """A molecule of one channel and one of the other, in consecutive frames, are no pair."""
    rng = np.random.default_rng(2)
    at = rng.uniform(0, 40_000, (3000, 2)).repeat(2, axis=0) + rng.normal(0, 5, (6000, 2))
    frame = rng.integers(0, 1000, 3000).repeat(2) + np.tile([0, 1], 3000)
    table = {"frame": frame, "x": at[:, 0], "y": at[:, 1], "channel": np.tile([0, 1], 3000)}
    assert precision(Localizations(table)).nena_nm is None
    del table["channel"]
    assert precision(Localizations(table)).nena_nm == pytest.approx(5, rel=0.1)


def test_frames_are_needed_and_nan_errors_are_not() -> None:
    with pytest.raises(ColumnError, match="frame"):
        precision(Localizations({"x": [1.0], "y": [1.0]}))
    table = pairs()
    errors = np.where(np.arange(len(table)) % 3 == 0, np.nan, 8.0)
    found = precision(table.with_columns(x_err=errors, y_err=errors))
    assert found.ratio == pytest.approx(1, rel=0.06)


def test_places_that_were_found_together_tell_nothing_by_their_distance() -> None:
    locs = pairs()
    shared = Localizations(locs.data.with_columns(n_shared=2), locs.meta)
    found = precision(shared)
    assert (found.nena_nm, found.ratio, found.best_nm) == (None, None, 8.0)
    assert "found together" in found.reasons["nena_nm"]
    alone = Localizations(locs.data.with_columns(n_shared=1), locs.meta)
    assert precision(alone).nena_nm == pytest.approx(8, rel=0.06)
