"""Axons are found and followed: straight, bent, crossing; and nothing is found where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import simulate
from lucule.core import Localizations
from lucule.structures.axons import measure, molecules, trace
from lucule.structures.axons.course import through


def tube(rng, points, number, radius=200.0):
    """Molecules on a tube around a line in the plane."""
    line = through(np.asarray(points, float))
    at = rng.integers(0, len(line.points_nm), number)
    across = np.column_stack([-line.tangents[at, 1], line.tangents[at, 0]])
    away = radius * np.cos(rng.uniform(0, 2 * np.pi, number))
    return line.points_nm[at] + away[:, None] * across + rng.normal(0, 8, (number, 2)), line


def arc(radius, angle):
    turn = np.linspace(0, angle, 200)
    return np.column_stack([radius * np.sin(turn), radius * (1 - np.cos(turn))]) + 1500


def test_an_arc_is_followed_at_its_length() -> None:
    rng = np.random.default_rng(1)
    xy, line = tube(rng, arc(2500, 2.2), 900)
    (found,) = trace(np.concatenate([xy, rng.uniform(0, 6000, (90, 2))]))
    assert found.course.length_nm == pytest.approx(line.length_nm, abs=120)
    _, away = line.coordinates(found.course.points_nm)
    assert np.abs(away).mean() < 30
    # the length of the middle part, ends apart: what a period is measured with
    along, _ = found.course.coordinates(line.points_nm[[40, -40]])
    assert abs(np.ptp(along)) == pytest.approx(line.length_nm - 79 * 20, rel=0.012)


def test_axons_that_cross_are_two_and_share_no_molecule() -> None:
    rng = np.random.default_rng(2)
    first, _ = tube(rng, [[500, 500], [6500, 6000]], 900)
    second, _ = tube(rng, [[500, 5500], [6500, 1500]], 900)
    found = trace(np.concatenate([first, second, rng.uniform(0, 7000, (150, 2))]))
    assert len(found) == 2
    assert not set(found[0].molecules) & set(found[1].molecules)
    assert all(axon.course.length_nm > 6500 for axon in found)
    assert all(len(axon.crossed_nm) == 1 for axon in found)


def test_the_wall_of_an_axon_is_no_axon_of_its_own() -> None:
    scene = simulate.load("axon")
    locs = simulate.localizations(scene, seed=1)
    found = trace(molecules(locs))
    assert len(found) == len(set(locs["structure"][locs["structure"] >= 0].tolist())) == 3


@pytest.mark.parametrize("seed", range(3))
def test_an_axon_ends_with_its_outermost_rings(seed) -> None:
    """Neither amid one of them, nor at labels that lie beyond."""
    rng = np.random.default_rng(seed)
    ring = np.repeat(1500 + 205.0 * np.arange(24), 30)
    along = ring + rng.normal(0, 20, len(ring))
    away = 200 * np.cos(rng.uniform(0, 2 * np.pi, len(ring))) + rng.normal(0, 8, len(ring))
    clumps = np.repeat([[ring.min() - 500, 2950], [ring.max() + 500, 3050]], 12, axis=0) + rng.normal(0, 8, (24, 2))
    xy = np.concatenate([np.column_stack([along, 3000 + away]), clumps, rng.uniform(0, 7500, (120, 2))])
    angle = np.radians(7 * seed)
    (found,) = trace(xy @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]))
    followed = np.isin(np.arange(len(xy)), found.molecules)
    assert followed[: len(ring)][(ring == ring.min()) | (ring == ring.max())].all()
    assert not followed[len(ring) : len(ring) + 24].any()


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert trace(np.random.default_rng(3).uniform(0, 8000, (4000, 2))) == []


def test_a_field_of_clusters_has_no_period() -> None:
    rng = np.random.default_rng(3)
    xy = np.repeat(rng.uniform(0, 8000, (40, 2)), 40, axis=0) + rng.normal(0, 60, (1600, 2))
    errors = np.full(len(xy), 5.0)
    found = measure(Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": errors, "y_err": errors}))
    assert len(found.axons) <= 4
    assert all(own.period_nm is None for own in found.periods)


def test_blinks_of_a_molecule_are_one() -> None:
    rng = np.random.default_rng(4)
    places = np.column_stack(np.divmod(np.arange(400), 20)) * 100.0
    xy = np.repeat(places, 12, axis=0) + rng.normal(0, 6, (4800, 2))
    errors = np.full(4800, 6.0)
    found = molecules(Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": errors, "y_err": errors}))
    assert 400 <= len(found) < 520


def test_localizations_that_are_not_sure_make_no_molecules() -> None:
    rng = np.random.default_rng(5)
    places = np.column_stack(np.divmod(np.arange(100), 10)) * 400.0
    errors = np.tile(np.repeat([5.0, 30.0], [9, 3]), 100)
    xy = np.repeat(places, 12, axis=0) + rng.normal(0, 1, (1200, 2)) * errors[:, None]
    table = Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": errors, "y_err": errors})
    found = molecules(table)
    assert 100 <= len(found) < 120
    assert np.abs(found[:, None] - places).max(axis=2).min(axis=1).max() < 25
    # where no precision is told, none is poor
    assert len(molecules(table.with_columns(x_err=np.full(1200, np.nan), y_err=np.full(1200, np.nan)))) > 150


def test_few_labels_are_followed_where_the_lines_break() -> None:
    rng = np.random.default_rng(11)
    xy, line = tube(rng, arc(2500, 2.2), 50)
    xy = np.repeat(xy, 2, axis=0) + rng.normal(0, 12, (100, 2))
    (found,) = trace(np.concatenate([xy, rng.uniform(0, 8000, (40, 2))]))
    assert found.course.length_nm > 0.85 * line.length_nm
    assert np.abs(line.coordinates(found.course.points_nm)[1]).mean() < 60


@pytest.mark.parametrize(
    ("xy", "reason"),
    [
        (np.empty((0, 2)), "empty"),
        (np.zeros((50, 2)), "only 1 molecules"),
        (np.random.default_rng(1).uniform(0, 40, (500, 2)), "unit"),
        (np.random.default_rng(1).uniform(0, 9000, (800, 2)), "stands out"),
    ],
)
def test_a_table_without_axons_says_why(xy, reason) -> None:
    found = measure(Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": np.ones(len(xy)), "y_err": np.ones(len(xy))}))
    assert found.axons == ()
    assert reason in found.reason
    assert found.table().height == found.courses().height == 0
    assert found.summary()["period_nm"] is None


@pytest.mark.parametrize("seed", [1, 3, 8])
def test_an_axon_of_few_labels_goes_on_beyond_rings_without_any(seed) -> None:
    rng = np.random.default_rng(seed)
    rings = np.repeat(np.arange(24), rng.poisson(2.0, 24))
    angle = rng.uniform(0, 2 * np.pi, len(rings))
    labels = np.column_stack([2000 + 200.0 * rings, 5000 + 200 * np.cos(angle)])
    xy = labels.repeat(2, axis=0) + rng.normal(0, 12, (2 * len(labels), 2))
    (axon,) = trace(np.concatenate([xy, rng.uniform(0, 10_000, (25, 2))]))
    assert abs(axon.course.length_nm - 200 * np.ptp(rings)) < 150
