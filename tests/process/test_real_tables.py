"""Every real table with a thousand rows or more gives a resolution and a drift, or says clearly why not."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import io
from lucule.core import LuculeError
from lucule.process import DriftSettings, FrcSettings, estimate_drift, resolution

# file -> what cannot be had from it
TABLES = {
    "ecoli_storm/01_storm.csv": "",
    "ecoli_storm/03_storm.csv": "",
    "ecoli_storm/07_storm.csv": "",
    "minflux/2D_ValidOnly.npy.zip": "no frames",
    "minflux/Fig1a_Tom70-Dreiklang_Minflux.mat": "no frames",
    "minflux/Fig2_U2OS_Tom70-Dreiklang_ATP5B_AB_Minflux3D.csv": "no frames",
    "picasso/egfr_mols.hdf5": "no frames",
    "picasso/raw_movie_locs.hdf5": "",
    "picasso/raw_movie_locs_picked.hdf5": "",
    "vendor_formats/smap_dstorm_data.mat": "",
}


@pytest.mark.parametrize("name", TABLES)
def test_resolution(name, data_path) -> None:
    locs = io.read(data_path(name), drop_invalid=True)
    assert len(locs) >= 1000
    found = resolution(locs, settings=FrcSettings(repeats=3))
    summary = found.summary()
    for key in ("nena_nm", "frc_nm", "density_resolution_nm", "precision_fwhm_nm"):
        assert summary.get(key) is not None or summary[f"{key}_reason"], key
    if summary["frc_nm"] is not None:
        assert 1 < summary["frc_nm"] < 2000
    assert found.why


@pytest.mark.parametrize("name", TABLES)
def test_drift(name, data_path) -> None:
    locs = io.read(data_path(name), drop_invalid=True)
    try:
        curve = estimate_drift(locs, settings=DriftSettings(resample=True))
    except LuculeError as error:
        curve, message = None, str(error)
    if curve is None:
        assert TABLES[name] or "resemble" in message, message
        assert "Next:" in message
        return
    assert not TABLES[name]
    assert np.isfinite(curve.nm).all()
    assert np.isfinite(curve.error_nm).all()
    assert np.abs(curve.nm).max() < 2000
    assert curve.why


def test_picassos_simulated_origami_do_not_drift(data_path) -> None:
    """The movie was simulated without drift, as its metadata say."""
    locs = io.read(data_path("picasso/raw_movie_locs.hdf5"))
    curve = estimate_drift(locs)
    assert np.sqrt(np.mean(np.sum(curve.nm**2, axis=1))) < 3
