"""Few particles in space: the symmetry is found, or is said not to be certain, with the orders that may be meant."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import Localizations
from lucule.structures.averaging import AverageSettings, average
from lucule.structures.averaging.poses import random_rotations


def rings(order: int, number: int, *, labelled: float, seed: int, error: float = 3.0) -> Localizations:
    """Particles with two rings of corners of different size, any orientation, each site seen four times."""
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(order) / order
    ring = np.column_stack([50 * np.cos(turn), 50 * np.sin(turn), np.zeros(order)])
    sites = np.concatenate([ring, 0.6 * ring + [0.0, 0.0, 45.0]])
    xyz, group = [], []
    for k, rotation in enumerate(random_rotations(number, rng)):
        seen = sites[rng.random(len(sites)) < labelled].repeat(4, axis=0)
        xyz.append(seen @ rotation.T + rng.normal(0, error, seen.shape))
        group.append(np.full(len(seen), k))
    points, owner = np.concatenate(xyz), np.concatenate(group)
    errors = {f"{axis}_err": np.full(len(points), error) for axis in "xyz"}
    return Localizations({"x": points[:, 0], "y": points[:, 1], "z": points[:, 2], "group": owner} | errors)


@pytest.mark.slow
def test_the_order_is_found() -> None:
    found = average(rings(4, 12, labelled=0.9, seed=5, error=7.0), settings=AverageSettings(starts=1))
    assert found.symmetry.order == 4
    assert not found.candidates


@pytest.mark.slow
def test_what_too_few_labels_do_not_tell_is_not_claimed() -> None:
    found = average(rings(8, 8, labelled=0.4, seed=3, error=9.0), settings=AverageSettings(starts=1))
    assert found.symmetry.order in (1, 8)
    if found.symmetry.order == 1 and found.candidates:
        assert max(found.candidates.values()) == 0
        assert any("not certain" in warning for warning in found.warnings)
        assert set(found.summary()["symmetry_candidates"]) == {str(order) for order in found.candidates}
