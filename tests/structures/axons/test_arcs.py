"""An axon with one or two labels a ring is followed along the arc that explains them, and no farther."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.structures.axons import trace
from lucule.structures.axons.arcs import arc_near, stretch_of
from lucule.structures.axons.centre import labels
from lucule.structures.axons.course import Course, through


def sparse_axon(rng: np.random.Generator, *, bend: float, length: float = 6000.0, labelled: int = 40):
    """Clumps of four molecules on a tube along an arc, background around it, and the true line."""
    along = np.linspace(0, length, 400)
    arc = through(bend * np.column_stack([np.sin(along / bend), 1 - np.cos(along / bend)]))
    across = np.column_stack([-arc.tangents[:, 1], arc.tangents[:, 0]])
    at = rng.integers(0, len(arc.points_nm), labelled)
    middle = arc.points_nm[at] + 200 * np.cos(rng.uniform(0, 2 * np.pi, labelled))[:, None] * across[at]
    background = rng.uniform(arc.points_nm.min(axis=0) - 2500, arc.points_nm.max(axis=0) + 2500, (25, 2))
    clumps = np.concatenate([middle, background]).repeat(4, axis=0)
    return clumps + rng.normal(0, 15, clumps.shape), arc


@pytest.mark.parametrize("bend", [2200.0, -3000.0, 1e6])
def test_the_arc_of_a_piece_is_that_of_the_axon(bend) -> None:
    for seed in range(4):
        xy, true = sparse_axon(np.random.default_rng(seed), bend=bend)
        piece = Course(true.points_nm[100:180])
        line, found = arc_near(piece, xy, labels(xy), 1e-7)
        assert found.gain > stretch_of(piece, xy, labels(xy), 1e-7).gain - 5
        ends = true.coordinates(line.points_nm[[0, -1]])[0]
        assert 0.8 < abs(np.ptp(ends)) / true.length_nm < 1.15
        along, away = true.coordinates(line.points_nm)
        # nowhere outside the tube, and near its middle
        away = np.abs(away[(along >= 0) & (along <= true.length_nm)])
        assert away.max() < 200
        assert away.mean() < 100


def test_a_bent_axon_of_few_labels_is_one_axon() -> None:
    whole = 0
    for seed in range(6):
        xy, true = sparse_axon(np.random.default_rng(seed), bend=2500.0)
        axons = trace(xy)
        ends = true.coordinates(axons[0].course.points_nm[[0, -1]])[0] if axons else np.zeros(2)
        whole += abs(np.ptp(ends)) > 0.8 * true.length_nm
    assert whole >= 5


def test_among_many_molecules_lines_are_followed() -> None:
    xy = np.random.default_rng(1).uniform(0, 4000, (3000, 2))
    line = Course(np.column_stack([np.arange(0, 4001, 20.0), np.full(201, 2000.0)]))
    assert arc_near(line, xy, np.ones(len(xy)), 1e-4) is None


def test_labels_are_clumps_less_what_lies_around() -> None:
    rng = np.random.default_rng(2)
    clumps = rng.uniform(0, 20_000, (300, 2)).repeat(5, axis=0)
    assert labels(clumps + rng.normal(0, 12, clumps.shape)).sum() == pytest.approx(300, rel=0.1)
    # molecules that lie anywhere are labels of their own, however many
    assert labels(rng.uniform(0, 3000, (2000, 2))).sum() > 1000
