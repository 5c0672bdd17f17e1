"""The list of scenarios is what its rules make of the paper's ranges."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.simulate import Scenario, build_scenarios, listed, scenarios, viability

SOUND = Scenario(density_per_um2=100, points_per_cluster=20, fraction_clustered=0.5, radius_nm=50)


@pytest.mark.parametrize(("kind", "number"), [("clusters", 555), ("fibres", 630)])
def test_packaged_list_is_what_the_rules_make(kind, number):
    assert scenarios(kind=kind).equals(build_scenarios(kind))
    assert len(listed(kind=kind)) == number


def test_listed_scenarios_can_be_fewer_and_changed():
    some = listed(kind="fibres", number=5, cell_radius_um=(6, 8))
    assert len(some) == 5
    assert all(scenario.cell_radius_um == (6, 8) and scenario.fraction_in_fibres > 0 for scenario in some)
    ratios = [viability(scenario).density_ratio for scenario in some]
    assert ratios == sorted(ratios)
    with pytest.raises(InputError, match="radius"):
        listed(radius_nm=-1)


def test_measures_of_fibres_by_hand():
    measured = viability(SOUND.replace(fraction_in_fibres=0.3, fibre_points_per_um=100, fibre_radius_nm=25))
    covered = 2.5 * np.pi * 0.05**2 + 0.3 * 0.05  # 100 x 0.3 / 100 um of fibre per um2
    assert measured.fibre_um_per_um2 == pytest.approx(0.3)
    assert measured.clustered_fraction == pytest.approx(covered)
    assert measured.fibre_density_ratio == pytest.approx(100 / 0.05 / (20 / (1 - covered)))
    assert "um of fibre per um2" in viability(SOUND.replace(fraction_in_fibres=0.1)).problems[-1]


def test_every_listed_scenario_fulfils_the_rules():
    table = scenarios()
    assert table["clusters_per_um2"].is_between(1, 5).all()
    assert table["density_ratio"].is_between(1.5, 100).all()
    assert (table["clustered_fraction"] < 1).all()
    assert table.select("density_per_um2", "points_per_cluster", "fraction_clustered", "radius_nm").is_unique().all()


def test_unknown_version_is_refused():
    with pytest.raises(InputError, match="version 99"):
        scenarios(99)


def test_measures_by_hand():
    measured = viability(SOUND)
    area = np.pi * 0.05**2
    covered = 2.5 * area  # 100 x 0.5 / 20 clusters per um2
    assert measured.clusters_per_um2 == 2.5
    assert measured.clustered_fraction == pytest.approx(covered)
    assert measured.density_ratio == pytest.approx((20 / area) / (50 / (1 - covered)))
    assert measured.viable


def test_measures_by_hand_3d():
    measured = viability(SOUND.replace(dims=3))
    volume = 4 / 3 * np.pi * 0.05**3
    covered = 2.5 * volume / 0.5
    assert measured.clustered_fraction == pytest.approx(covered)
    assert measured.density_ratio == pytest.approx((20 / volume) / (50 / (0.5 * (1 - covered))))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"points_per_cluster": 60}, "clusters per um2"),
        ({"points_per_cluster": 5}, "clusters per um2"),
        ({"radius_nm": 10}, "density inside clusters"),
        ({"radius_nm": 250}, "density inside clusters"),
        ({"fraction_clustered": 1.0}, "density inside clusters inf"),
        ({"radius_nm": 500}, "clusters cover"),
    ],
)
def test_broken_rules_are_named(changes, problem):
    measured = viability(SOUND.replace(**changes))
    assert not measured.viable
    assert any(problem in text for text in measured.problems)


@pytest.mark.parametrize(("points", "viable"), [(10, True), (50, True), (9, False), (51, False)])
def test_limits_are_included(points, viable):
    """5 and 1 clusters per um2 exactly are viable."""
    assert viability(SOUND.replace(points_per_cluster=points, radius_nm=75)).viable is viable
