"""What joins a double line that was found: molecules further along its lines, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.structures.sarcomeres import complete, group_by_centre, sure
from lucule.structures.sarcomeres.complete import molecules

ERROR_NM = 10.0


def sparse_lines(rng, places, repeats=15):
    """Localizations of molecules at places (v, nm) alternately on two lines 120 nm apart."""
    side = np.where(np.arange(len(places)) % 2, 60.0, -60.0) + rng.normal(0, 8, len(places))
    xy = np.column_stack([side, places]).repeat(repeats, axis=0)
    return xy + rng.normal(0, ERROR_NM, xy.shape)


def test_ends_of_sparse_lines_are_found_and_what_lies_beside_them_is_not() -> None:
    rng = np.random.default_rng(1)
    lines = sparse_lines(rng, np.linspace(-600, 600, 16))
    # molecules between the lines, beside them, and far beyond their ends
    others = np.array([[0.0, 100.0], [0.0, -300.0], [300.0, 0.0], [-200.0, 550.0], [60.0, 1500.0]]).repeat(15, axis=0)
    xy = np.concatenate([lines, others + rng.normal(0, ERROR_NM, others.shape)])
    known = np.full(len(xy), -1, np.int32)
    known[: len(lines)][np.abs(lines[:, 1]) < 400] = 0
    number, chance = complete(xy, ERROR_NM, known)
    assert (number[known == 0] == 0).all()
    assert np.mean(number[: len(lines)] == 0) > 0.97
    assert np.mean(number[len(lines) :] == 0) < 0.02
    added = (number >= 0) & (known < 0)
    assert (chance[added] > 0.5).all()
    assert (chance[~added] == 0).all()


def test_what_is_in_another_double_line_stays_there() -> None:
    rng = np.random.default_rng(2)
    first, second = sparse_lines(rng, np.linspace(-600, 600, 16)), sparse_lines(rng, np.linspace(800, 1600, 12))
    xy = np.concatenate([first, second])
    known = np.repeat(np.array([0, 1], np.int32), [len(first), len(second)])
    assert (complete(xy, ERROR_NM, known)[0] == known).all()


def test_lines_that_cannot_be_fitted_gain_nothing() -> None:
    rng = np.random.default_rng(3)
    xy = rng.normal(0, 300, (400, 2))
    few = np.where(np.arange(400) < 20, 0, -1).astype(np.int32)
    clump = np.where((np.abs(xy) < 15).all(axis=1), 0, -1).astype(np.int32)
    for known in (few, clump, np.full(400, -1, np.int32)):
        assert (complete(xy, None, known)[0] == known).all()
    assert len(complete(np.empty((0, 2)), None, np.empty(0, np.int32))[0]) == 0


def test_very_low_chances_count_only_beside_good_ones() -> None:
    rng = np.random.default_rng(4)
    sizes, places = (500, 300, 300), np.array([[0, 0], [3000, 0], [6000, 0]])
    centre = np.repeat(places, sizes, axis=0) + rng.normal(0, 50, (sum(sizes), 2))
    plain, good, low = (np.repeat([first, 0.4, 0.1], sizes) for first in (0.95, 0.8, 0.4))
    assert group_by_centre(plain, centre).max() == 1  # where few molecules are left, not all are so sure
    assert group_by_centre(good, centre).max() == 2
    number = group_by_centre(low, centre)
    assert number.max() == 1
    assert (number[800:] == -1).all()
    assert sure(good, group_by_centre(good, centre))
    assert not sure(low, number)
    assert not sure(np.empty(0), np.empty(0, np.int32))


def test_few_molecules_do_not_end_a_line_at_a_gap() -> None:
    rng = np.random.default_rng(5)
    # a molecule each 125 nm, each seen eight times within its linkers; a gap of 300 nm before the last two
    places = np.concatenate([np.arange(-700.0, 301.0, 125.0), [600.0, 670.0]])
    sides = np.where(np.arange(len(places)) % 2, 60.0, -60.0)
    recall, background = [], []
    for _ in range(12):
        lines = np.column_stack([sides, places]).repeat(8, axis=0)
        lines = lines + rng.normal(0, [8.0, 30.0], lines.shape)
        xy = np.concatenate([lines, rng.uniform(-1400, 1400, (150, 2))])
        known = np.where(np.arange(len(xy)) < len(lines) - 16, 0, -1).astype(np.int32)
        number, _ = complete(xy, ERROR_NM, known)
        recall.append((number[len(lines) - 16 : len(lines)] == 0).mean())
        background.append((number[len(lines) :] == 0).mean())
    assert np.mean(recall) > 0.8
    assert np.mean(background) < 0.1


@pytest.mark.parametrize(("usual_nm", "joined"), [(600, False), (1000, True), (1500, True)])
def test_how_far_a_line_goes_on_over_a_gap_is_told_by_the_others(usual_nm, joined) -> None:
    rng = np.random.default_rng(5)
    short = sparse_lines(rng, np.arange(-300.0, 301.0, 100.0))
    beyond = np.array([[-60.0, 850.0]]).repeat(15, axis=0) + rng.normal(0, ERROR_NM, (15, 2))
    around = rng.uniform([-2000, -3000], [22000, 3000], (400, 2))
    # so many molecules that they tell how long their lines are
    places = np.arange(-usual_nm / 2, usual_nm / 2 + 1, 50.0)
    others = [sparse_lines(rng, places) + np.array([4000.0 * k, 0]) for k in range(1, 6)]
    xy = np.concatenate([short, beyond, around, *others])
    number = np.full(len(xy), -1, np.int32)
    number[: len(short)] = 0
    number[len(xy) - sum(map(len, others)) :] = np.repeat(np.arange(1, 6), [len(other) for other in others])
    found = complete(xy, ERROR_NM, number)[0]
    assert np.all(found[len(short) : len(short) + 15] == (0 if joined else -1))


@pytest.mark.parametrize("there", [6, 20, 80])
def test_molecules_are_counted_and_not_the_places_of_their_localizations(there) -> None:
    rng = np.random.default_rng(6)
    counted = []
    for _ in range(20):
        v = rng.uniform(-650, 650, there).repeat(20) + rng.normal(0, 16, 20 * there)
        side = rng.choice([-60.0, 60.0], there).repeat(20)
        counted.append(molecules(side, v))
    assert np.mean(counted) == pytest.approx(there, rel=0.25)


def test_one_molecule_is_one() -> None:
    rng = np.random.default_rng(7)
    assert molecules(np.full(30, 60.0), rng.normal(0, 5, 30)) == pytest.approx(1)
    assert molecules(np.array([60.0]), np.array([0.0])) == 1


def test_what_is_seen_once_is_background_and_what_is_seen_often_a_molecule() -> None:
    rng = np.random.default_rng(8)
    others = [sparse_lines(rng, np.arange(-600.0, 601.0, 100.0)) + np.array([4000.0 * k, 0]) for k in range(1, 5)]
    short = sparse_lines(rng, np.arange(-600.0, 301.0, 100.0))
    background = rng.uniform([-2000, -3000], [18000, 3000], (2000, 2))
    end = np.array([[-60.0, 500.0]])
    for repeats, joined in ((15, True), (1, False)):
        beyond = end.repeat(repeats, axis=0) + rng.normal(0, ERROR_NM, (repeats, 2))
        lines = np.concatenate([short, *others])
        background = background[np.hypot(*(background - end).T) > 100]
        xy = np.concatenate([lines, beyond, background])
        number = np.full(len(xy), -1, np.int32)
        number[: len(lines)] = np.repeat(np.arange(5), [len(short), *map(len, others)])
        found = complete(xy, ERROR_NM, number)[0][len(lines) : len(lines) + repeats]
        assert (found == (0 if joined else -1)).all()
