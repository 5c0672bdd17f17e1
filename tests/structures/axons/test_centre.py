"""The middle of a bent tube is found from few molecules on its surface, and the error of its length is told."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.structures.axons.centre import averaged, centred
from lucule.structures.axons.course import Course, through


def bent_tube(rng, *, molecules, radius=200.0, bend=2500.0, angle=2.0):
    """Molecules on a tube along an arc, a line that is 40 nm off and wavy, and the true line."""
    turn = np.linspace(0, angle, 400)
    arc = through(np.column_stack([bend * np.sin(turn), bend * (1 - np.cos(turn))]))
    across = np.column_stack([-arc.tangents[:, 1], arc.tangents[:, 0]])
    at = rng.integers(0, len(arc.points_nm), molecules)
    away = radius * np.cos(rng.uniform(0, 2 * np.pi, molecules))
    xy = arc.points_nm[at] + away[:, None] * across[at] + rng.normal(0, 12, (molecules, 2))
    off = 40 + 25 * np.sin(np.linspace(0, 9, len(arc.points_nm)))
    return xy, through(arc.points_nm + off[:, None] * across), arc


@pytest.mark.parametrize("molecules", [80, 600])
def test_an_arc_is_centred_and_the_error_of_its_length_is_told(molecules) -> None:
    away, ratio = [], []
    for seed in range(8):
        xy, guess, arc = bent_tube(np.random.default_rng(seed), molecules=molecules)
        found = centred(guess, xy, 260.0)
        line, error = found.course, found.length_error
        assert 200 < found.half_width_nm < 320
        ends, _ = line.coordinates(arc.points_nm[[10, -10]])
        ratio.append((abs(np.ptp(ends)) / (20 * (len(arc.points_nm) - 20)) - 1) / error)
        away.append(np.abs(arc.coordinates(line.points_nm[5:-5])[1]).mean())
    assert np.mean(away) < (25 if molecules < 100 else 8)
    assert 0.3 < np.sqrt(np.mean(np.square(ratio))) < 2.0


def test_a_straight_tube_has_no_error_of_its_length_and_few_molecules_change_nothing() -> None:
    rng = np.random.default_rng(3)
    xy, guess, _ = bent_tube(rng, molecules=200, bend=1e6, angle=0.005)
    assert centred(guess, xy, 260.0).length_error < 5e-4
    found = centred(guess, xy[:5], 260.0)
    assert found.course is guess
    assert found.half_width_nm == 260.0
    assert np.isnan(found.length_error)


def test_of_several_starts_the_likely_ones_are_averaged() -> None:
    rng = np.random.default_rng(4)
    xy, guess, arc = bent_tube(rng, molecules=80)
    across = np.column_stack([-arc.tangents[:, 1], arc.tangents[:, 0]])
    far = through(arc.points_nm + 150 * across)
    alone, found = centred(guess, xy, 260.0), averaged([far, guess], xy, 260.0)
    assert np.abs(arc.coordinates(found.course.points_nm[5:-5])[1]).mean() < 25
    # what is not known of the others is in the error, too
    assert 0.8 * alone.length_error < found.length_error < 0.02


def test_too_few_molecules_leave_the_first_start() -> None:
    guess = Course(np.column_stack([np.arange(0.0, 2001, 20), np.zeros(101)]))
    found = averaged([guess, guess], np.array([[100.0, 50.0], [900.0, -80.0]]), 260.0)
    assert found.course is guess
    assert np.isnan(found.length_error)
