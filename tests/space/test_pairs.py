"""Pairs within a radius, and the nearest of other points."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.space import nearest_among, pair_batches


def points(n, dims, seed=0):
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 100, (n, dims))
    return np.concatenate([places, places[: n // 5]]).astype(np.float32)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("size", [1, 37, 10**6])
def test_all_pairs_in_both_orders(dims, size):
    places = points(150, dims)
    distance = np.linalg.norm(places[:, None].astype(float) - places[None], axis=2)
    i, j = np.nonzero((distance <= 20) & ~np.eye(len(places), dtype=bool))
    found = {}
    for first, second, length in pair_batches(places, 20, size=size):
        found |= dict(zip(zip(first.tolist(), second.tolist(), strict=True), length, strict=True))
        assert size < 10**6 or len(first) > 100
    assert set(found) == set(zip(i.tolist(), j.tolist(), strict=True))
    np.testing.assert_allclose(
        [found[pair] for pair in zip(i.tolist(), j.tolist(), strict=True)], distance[i, j], atol=1e-4
    )


def test_rows_come_in_the_order_asked_for():
    places = points(100, 2)
    rows = np.random.default_rng(1).permutation(len(places))[:40]
    first = np.concatenate([first for first, _, _ in pair_batches(places, 30, rows, size=50)])
    asked = np.searchsorted(np.sort(rows), first)
    assert set(first) <= set(rows.tolist())
    place = np.argsort(rows)[asked]
    assert (np.diff(place) >= 0).all()


def test_no_points_and_no_pairs():
    assert list(pair_batches(np.empty((0, 2)), 5)) == []
    assert list(pair_batches([[0.0, 0.0], [50.0, 0.0]], 5)) == []
    with pytest.raises(InputError, match="radius"):
        list(pair_batches([[0.0, 0.0]], np.nan))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("within", [5.0, np.inf])
def test_nearest_of_other_points(dims, within):
    asked, targets = points(300, dims, 1), points(120, dims, 2)
    distance = np.linalg.norm(asked[:, None].astype(float) - targets[None], axis=2)
    found, rows = nearest_among(asked, targets, within=within)
    near = distance.min(axis=1) <= within
    np.testing.assert_allclose(found[near], distance.min(axis=1)[near], atol=1e-4)
    assert (np.isinf(found) == ~near).all()
    assert (rows[~near] == -1).all()
    # of targets at one place the first
    assert (rows[near] == distance.argmin(axis=1)[near]).all()


def test_nearest_of_nothing_and_of_another_dimension():
    found, rows = nearest_among([[0.0, 0.0]], np.empty((0, 2)))
    assert (found[0], rows[0]) == (np.inf, -1)
    assert len(nearest_among(np.empty((0, 3)), [[0.0, 0.0, 0.0]])[0]) == 0
    with pytest.raises(InputError, match="fit together"):
        nearest_among([[0.0, 0.0]], [[0.0, 0.0, 0.0]])
