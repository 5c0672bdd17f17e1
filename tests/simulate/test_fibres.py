"""Fields with fibres: every localization has one true class, and the geometry is what the scenario says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lucule.core import InputError
from lucule.simulate import Scenario, field_outline, simulate
from lucule.simulate.clusters import Slab
from lucule.simulate.fibres import place_fibres
from lucule.simulate.outlines import Square

SCENARIO = Scenario(
    density_per_um2=200,
    points_per_cluster=40,
    fraction_clustered=0.3,
    radius_nm=60,
    fraction_in_fibres=0.2,
    fibre_radius_nm=30,
    fibre_points_per_um=200,
    cell_radius_um=(4, 6),
)


@pytest.fixture(scope="module")
def locs():
    return simulate(SCENARIO, seed=1)


def test_fractions_of_the_classes(locs):
    assert np.bincount(locs["true_label"]) / len(locs) == pytest.approx([0.5, 0.3, 0.2], abs=0.005)


def test_members(locs):
    label, cluster = locs["true_label"], locs["true_cluster"]
    assert (cluster[label == 0] == -1).all()
    assert set(cluster[label == 1]).isdisjoint(cluster[label == 2])
    on_one = np.bincount(cluster[label == 2])
    # 200 per um on 3 um
    assert on_one[on_one > 0].mean() == pytest.approx(600, rel=0.1)


def test_all_inside_the_outline(locs):
    assert field_outline(SCENARIO, seed=1).contains(locs.xy()).all()


def test_clusters_and_background_keep_clear_of_fibres(locs):
    fibres = _fibres(4, radius_nm=30)
    axis = cKDTree(fibres.cells.centres_nm[:, :2])
    inside, _ = fibres.draw(np.random.default_rng(1), 20_000)
    far = axis.query(inside[:, :2])[0]
    assert far.max() < 30.5
    # uniform over the width: the mean distance from the axis is half of the radius
    assert far.mean() == pytest.approx(15, rel=0.03)
    some = np.column_stack([np.random.default_rng(2).random((20_000, 2)) * 10_000, np.zeros(20_000)])
    wanted = axis.query(some[:, :2])[0]
    assert np.array_equal(fibres.covered(some), wanted < 30)
    assert np.array_equal(fibres.near(some, 90), wanted < 90)
    # in a whole field: no localization of the background within a fibre's dense core
    on_fibre = cKDTree(locs.xy()[locs["true_label"] == 2])
    rest = locs.xy()[locs["true_label"] == 1]
    assert on_fibre.query(rest)[0].min() > 1


def test_fibres_have_their_length_and_stiffness():
    fibres = _fibres(400, radius_nm=10, persistence_nm=2000, side_nm=100_000)
    steps = np.diff(fibres.axes_nm, axis=1)
    assert np.linalg.norm(steps, axis=2).sum(axis=1) == pytest.approx(np.full(400, 3000.0))
    angle = np.arctan2(steps[..., 1], steps[..., 0])
    correlation = np.cos(angle[:, 0] - angle[:, 100]).mean()
    # in the plane the direction is lost as exp(-s / (2 P)), here s = 2 um
    assert correlation == pytest.approx(np.exp(-2 / 4), abs=0.06)


def test_same_seed_same_field_and_clusters_alone_are_as_ever(locs):
    assert simulate(SCENARIO, seed=1).data.equals(locs.data)
    assert not simulate(SCENARIO, seed=2).data.equals(locs.data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fraction_in_fibres": 0.8}, "together exceed 1"),
        ({"dims": 3}, "in the plane only"),
        ({"fibre_length_um": 30}, "do not fit"),
        ({"fibre_length_um": 300}, "one fibre"),
    ],
)
def test_impossible_fields_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        simulate(SCENARIO.replace(**changes), seed=1)


def _fibres(n, *, radius_nm, persistence_nm=5000.0, side_nm=10_000.0):
    return place_fibres(
        np.random.default_rng(0),
        Slab(Square((0.0, 0.0), side_nm)),
        n,
        radius_nm=radius_nm,
        length_nm=3000,
        persistence_nm=persistence_nm,
        reach_nm=100,
    )
