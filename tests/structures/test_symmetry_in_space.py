"""Few particles in space: the symmetry is found, or is said not to be certain, with the orders that may be meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lucule.core import Localizations
from lucule.structures.averaging import AverageSettings, collect
from lucule.structures.averaging.average import not_certain, prepare
from lucule.structures.averaging.in_space import ROUND, _rivals, detect
from lucule.structures.averaging.poses import random_rotations
from lucule.structures.averaging.registration import added, folds_of, random_state, refine

ERROR_NM = 8.0


def registered(sites: np.ndarray, number: int, *, labelled: float, seed: int):
    """Particles in their true poses: what is to be solved, the poses, the blur."""
    rng = np.random.default_rng(seed)
    rotations, xyz, group = random_rotations(number, rng), [], []
    for k, rotation in enumerate(rotations):
        seen = sites[rng.random(len(sites)) < labelled].repeat(4, axis=0)
        xyz.append(seen @ rotation.T + rng.normal(0, ERROR_NM, seen.shape))
        group.append(np.full(len(seen), k))
    points = np.concatenate(xyz)
    errors = {f"{axis}_err": np.full(len(points), ERROR_NM) for axis in "xyz"}
    columns = {"x": points[:, 0], "y": points[:, 1], "z": points[:, 2], "group": np.concatenate(group)}
    particles = collect(Localizations(columns | errors))
    problem, blur = prepare(particles, AverageSettings())
    folds = folds_of(number, rng)
    back = rotations.transpose(0, 2, 1)
    state = random_state(problem, folds, rng, int(folds.max()) + 1)
    state = replace(state, rotations=back, shifts_nm=np.einsum("nij,nj->ni", back, particles.centres_nm))
    state = replace(state, densities=added(problem, state))
    return problem, refine(problem, state, blur, 2.0, 2.0, 1), blur


def corners(order: int) -> np.ndarray:
    """Two rings of different size."""
    turn = 2 * np.pi * np.arange(order) / order
    ring = np.column_stack([50 * np.cos(turn), 50 * np.sin(turn), np.zeros(order)])
    return np.concatenate([ring, 0.6 * ring + [0.0, 0.0, 45.0]])


def test_the_order_and_its_axis_are_found() -> None:
    found, losses, candidates = detect(*registered(corners(4), 12, labelled=0.9, seed=5))
    assert found.order == 4
    assert abs(found.axis[2]) > 0.98
    assert not candidates
    assert losses[4] < min(losses[3], losses[5], losses[7])


def test_no_order_is_claimed_of_what_is_round() -> None:
    found, _, candidates = detect(*registered(corners(60), 8, labelled=0.15, seed=3))
    assert found.order == 1
    assert ROUND in candidates
    assert max(candidates.values()) == 0


@pytest.mark.slow
def test_what_has_no_symmetry_gets_none() -> None:
    sites = np.array([[50.0, 0, 0], [0, 50, 0], [0, 0, 60], [-30, -30, 0], [40, 40, 20], [-50, 10, -30]])
    found, losses, _ = detect(*registered(sites, 16, labelled=0.9, seed=7))
    assert found.order == 1
    assert min(losses.values()) > 0


def test_candidates_are_named_the_likeliest_first() -> None:
    assert "8-fold (+0.0), round (-1.7)" in not_certain({ROUND: -1.7, 8: 0.0})


@pytest.mark.parametrize(
    ("twice", "four_times", "eight_times"), [(0.0, 3.5, 1.4), (0.0, 5.4, 8.5)], ids=["saved poses", "other poses"]
)
def test_a_higher_order_may_lose_a_little_of_what_unlike_orders_lose(twice, four_times, eight_times) -> None:
    """Sums and standard errors of 256 pores of eight corners: two turns predict them a little better than eight."""
    rng = np.random.default_rng(1)
    sums = {
        ROUND: (30.7, 3.4),
        2: (twice, 0.0),
        3: (26.5, 3.4),
        4: (four_times, 0.2),
        7: (28.6, 3.4),
        8: (eight_times, 0.3),
        12: (30.0, 3.4),
    }
    spread = rng.normal(0, 1, 256)
    spread = (spread - spread.mean()) / spread.std()
    lost = {order: total / 256 + error / 16 * spread for order, (total, error) in sums.items()}
    possible = [ROUND, 2, 4, 8]
    assert _rivals(lost, possible) == [2, 4, 8]
    # sites that are half false lose log 2 each, where three times as many lose log 3
    assert _rivals(lost | {8: lost[3] * np.log(2) / np.log(3)}, possible) == [2, 4]
    # where round may be meant, only what is not clearly worse counts
    assert _rivals(lost | {ROUND: 0.001 * spread}, possible) == [ROUND, 2]
