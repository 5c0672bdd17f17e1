"""Volume and surface of clusters of known shape in 3D."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from lucule.cluster import measure, solids
from lucule.core import SILENT, Localizations


def ball(rng, n, radius):
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * radius * rng.random((n, 1)) ** (1 / 3)


def table(*clusters):
    number = np.repeat(np.arange(len(clusters)), [len(points) for points in clusters])
    x, y, z = np.concatenate(clusters).T
    return Localizations({"x": x, "y": y, "z": z, "cluster": number})


# mean ratio to the true volume and surface of balls filled at random
BIAS = {20: (0.85, 1.00), 50: (0.91, 1.05), 100: (0.94, 1.06), 300: (0.98, 1.08)}


@pytest.mark.parametrize("n", list(BIAS))
@pytest.mark.parametrize("radius", [30, 100])
def test_random_balls(n, radius) -> None:
    rng = np.random.default_rng(n)
    clusters = measure(table(*(ball(rng, n, radius) for _ in range(40)))).table()
    volume = clusters["volume_nm3"].to_numpy() / (4 / 3 * np.pi * radius**3)
    surface = clusters["surface_nm2"].to_numpy() / (4 * np.pi * radius**2)
    expected_volume, expected_surface = BIAS[n]
    assert volume.mean() == pytest.approx(expected_volume, abs=0.02 + 3 * volume.std() / 40**0.5)
    assert surface.mean() == pytest.approx(expected_surface, abs=0.02 + 3 * surface.std() / 40**0.5)
    assert clusters["density_per_um3"].to_numpy() == pytest.approx(n / clusters["volume_nm3"].to_numpy() * 1e9)
    assert clusters["sphericity"].to_numpy().max() < 1
    assert clusters["reason"].null_count() == 40


def test_one_ball_is_known_exactly() -> None:
    """A lone place has the ball that remains of its ball; the union of two far apart has twice that."""
    ball_nm, erosion_nm = 50.0, 20.0
    for points, count in ((np.zeros((1, 3)), 1), (np.array([[0.0, 0.0, 0.0], [0.0, 150.0, 0.0]]), 2)):
        volume, surface = solids._solid(points, ball_nm, erosion_nm, 2.0, 48)
        assert volume == pytest.approx(count * 4 / 3 * np.pi * 30**3, rel=0.01)
        assert surface == pytest.approx(count * 4 * np.pi * 30**2, rel=0.02)


def test_two_balls_are_joined_by_a_neck() -> None:
    """Erosion of two overlapping balls: two caps and the neck between them, from the textbook's integral."""
    ball_nm, erosion_nm, half = 50.0, 20.0, 30.0
    # the neck is what a ball of the erosion's radius cuts out while it rolls around the circle of the two
    ring = np.sqrt(ball_nm**2 - half**2)
    x = np.linspace(-(half + 30), half + 30, 400_001)
    reach = half * erosion_nm / ball_nm
    profile = np.where(
        np.abs(x) < reach,
        ring - np.sqrt(np.maximum(erosion_nm**2 - x**2, 0)),
        np.sqrt(np.maximum(30**2 - (np.abs(x) - half) ** 2, 0)),
    )
    volume, _ = solids._solid(np.array([[0.0, 0.0, 0.0], [0.0, 2 * half, 0.0]]), ball_nm, erosion_nm, 1.5, 48)
    assert volume == pytest.approx(np.trapezoid(np.pi * profile**2, x), rel=0.02)


def test_blocks_make_no_difference() -> None:
    rng = np.random.default_rng(3)
    points = ball(rng, 80, 100) * [1, 2, 1]
    points = points[np.argsort(points[:, 1])]
    spacing = float(KDTree(points).query(points, 2)[0][:, 1].mean())
    whole = solids._solid(points, 3.5 * spacing, 2.7 * spacing, 0.9 * spacing, 500)
    assert solids._solid(points, 3.5 * spacing, 2.7 * spacing, 0.9 * spacing, 9) == pytest.approx(whole, rel=0.03)


def test_two_tight_groups_far_apart_are_measured_at_once() -> None:
    """The space between them is not looked at."""
    rng = np.random.default_rng(7)
    pair = np.concatenate([ball(rng, 200, 5), ball(rng, 200, 5) + np.array([20_000, 20_000, 300])])
    measured = measure(table(pair)).table().row(0, named=True)
    assert measured["volume_nm3"] == pytest.approx(2 * 4 / 3 * np.pi * 5**3, rel=0.1)
    assert measured["surface_nm2"] == pytest.approx(2 * 4 * np.pi * 5**2, rel=0.15)


def test_rod_and_hollow_shell() -> None:
    rng = np.random.default_rng(1)
    angle, r = rng.uniform(0, 2 * np.pi, 4000), 40 * np.sqrt(rng.random(4000))
    rod = np.column_stack([r * np.cos(angle), rng.uniform(0, 800, 4000), r * np.sin(angle)])
    direction = rng.normal(size=(6000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    shell = direction * rng.uniform(180**3, 200**3, (6000, 1)) ** (1 / 3) + 2000
    measured = measure(table(rod, shell)).table()
    rod_volume, shell_volume = np.pi * 40**2 * 800, 4 / 3 * np.pi * (200**3 - 180**3)
    assert measured["volume_nm3"][0] == pytest.approx(rod_volume, rel=0.08)
    assert measured["surface_nm2"][0] == pytest.approx(2 * np.pi * 40 * 800 + 2 * np.pi * 40**2, rel=0.1)
    assert measured["volume_nm3"][1] == pytest.approx(shell_volume, rel=0.15)
    # both sides of the shell count
    assert measured["surface_nm2"][1] == pytest.approx(4 * np.pi * (200**2 + 180**2), rel=0.15)


def test_unit_and_place_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    points = ball(rng, 100, 50)
    at_origin, far, larger = (
        measure(table(own)).table().row(0, named=True) for own in (points, points + 20_000, points * 10)
    )
    assert far["volume_nm3"] == pytest.approx(at_origin["volume_nm3"], rel=0.01)
    assert larger["volume_nm3"] == pytest.approx(1000 * at_origin["volume_nm3"], rel=1e-3)
    assert larger["surface_nm2"] == pytest.approx(100 * at_origin["surface_nm2"], rel=1e-3)


def test_solids_can_be_left_out_and_duplicates_change_nothing() -> None:
    points = ball(np.random.default_rng(2), 60, 50)
    without = measure(table(points), outlines=False).table().row(0, named=True)
    assert np.isnan(without["volume_nm3"])
    assert "not asked for" in without["reason"]
    once, twice = (measure(table(own)).table()["volume_nm3"][0] for own in (points, np.concatenate([points, points])))
    assert twice == once


def test_very_many_clusters_advance_the_progress() -> None:
    places = np.concatenate([ball(np.random.default_rng(i), 10, 20) for i in range(300)])
    places = places.reshape(300, 10, 3)
    places = np.take_along_axis(places, np.argsort(places[:, :, 1], axis=1)[:, :, None], axis=1).reshape(-1, 3)
    with SILENT.task("") as task:
        volume, surface = solids.solids(places, np.arange(0, 3001, 10), np.full(300, 8.0), task)
    assert np.isfinite(volume).all()
    assert np.isfinite(surface).all()
