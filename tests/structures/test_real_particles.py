"""Real picked DNA origami: the twelve sites are resolved at their spacing."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import io, structures
from lucule.structures.averaging import AverageSettings, sites


def test_twelve_sites_of_an_origami(data_path) -> None:
    locs = io.read(data_path("picasso/raw_movie_locs_picked.hdf5"))
    found = structures.average(locs, settings=AverageSettings(symmetry=2, starts=1))
    places = sites(found)
    assert len(places) == 12
    assert places["nearest_nm"].mean() == pytest.approx(20, abs=1)
    # the grid is 3 x 4: distances to all others are those of its lattice
    xy = places.select("x", "y").to_numpy()
    longest = np.linalg.norm(xy[:, None] - xy[None], axis=2).max()
    assert longest == pytest.approx(20 * np.hypot(2, 3), abs=2.5)
