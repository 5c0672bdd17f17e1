"""Nearest neighbours within groups, against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lucule.core import InputError
from lucule.space import groups as room
from lucule.space.groups import nearest_in_group


def reference(points, group):
    squared = ((points[:, None].astype(float) - points[None]) ** 2).sum(axis=2)
    squared[group[:, None] != group[None]] = np.inf
    np.fill_diagonal(squared, np.inf)
    return np.sqrt(squared.min(axis=1, initial=np.inf))


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(0, 30), st.sampled_from([2, 3])), elements=st.floats(-100, 100, width=16)),
    st.sampled_from([np.uint8, np.int32, np.int64]),
    st.integers(0, 5),
)
def test_against_all_pairs(points, dtype, seed):
    group = np.random.default_rng(seed).integers(0, 4, len(points)).astype(dtype)
    found = nearest_in_group(points, group)
    assert found.dtype == np.float32
    assert found == pytest.approx(reference(points, group), rel=1e-5)


def test_large_groups(monkeypatch):
    monkeypatch.setattr(room, "_SMALL_GROUP", 20)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (400, 2)).astype(np.float32)
    group = np.minimum(rng.integers(0, 40, 400), 30)
    assert nearest_in_group(points, group) == pytest.approx(reference(points, group), rel=1e-5)


def test_one_place():
    assert nearest_in_group(np.zeros((100_000, 2)), np.zeros(100_000, int)).max() == 0


@pytest.mark.parametrize("group", [[0, 1], [0.0, 1.0, 2.0], [[0, 1, 2]]])
def test_groups_must_fit(group):
    with pytest.raises(InputError, match="groups cannot be used"):
        nearest_in_group(np.zeros((3, 2)), group)
