"""Scenarios are checked when they are made, and the packaged ones work."""

from __future__ import annotations

import pytest

from lucule.core import InputError
from lucule.simulate import simulate
from lucule.simulate.scenario import Scenario, available, load


@pytest.mark.parametrize("name", available())
def test_packaged_scenarios_can_be_simulated(name):
    assert len(simulate(load(name), seed=1)) > 10_000


def test_changes_are_applied_and_checked():
    assert load("csr", density_per_um2=7).density_per_um2 == 7
    with pytest.raises(InputError, match="density is not a known key"):
        load("csr", density=7)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match="caml_demo"):
        load("nothing")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"density_per_um2": 0}, "density_per_um2"),
        ({"density_per_um2": float("nan")}, "density_per_um2"),
        ({"fraction_clustered": 1.1}, "fraction_clustered"),
        ({"fraction_clustered": -0.1}, "fraction_clustered"),
        ({"points_per_cluster": 0}, "points_per_cluster"),
        ({"points_per_cluster": 2.5}, "points_per_cluster"),
        ({"radius_nm": -5}, "radius_nm"),
        ({"shape": "square"}, "shape"),
        ({"dims": 4}, "dims"),
        ({"cell_radius_um": [14, 10]}, "smallest radius first"),
        ({"cell_radius_um": [10, 25]}, "does not fit into a field of 40 um"),
        ({"dims": 3, "radius_nm": 300, "fraction_clustered": 0.5}, "axial range of 500 nm"),
        ({"radius_nm": 11000, "fraction_clustered": 0.5}, "outline of 20 um"),
    ],
)
def test_impossible_scenarios_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        Scenario.parse({"density_per_um2": 100} | values)


def test_yaml_round_trip(tmp_path):
    scenario = load("gaussian", radius_nm=33)
    assert Scenario.from_yaml(scenario.to_yaml(tmp_path / "scenario.yaml")) == scenario
