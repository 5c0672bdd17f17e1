"""Intervals hold what they promise, on simulated clusters."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.cluster import Clusters, intervals, measure
from lucule.core import InputError, Localizations


def discs(rng, clusters, n, radius=50.0):
    r, angle = radius * np.sqrt(rng.random(clusters * n)), rng.uniform(0, 2 * np.pi, clusters * n)
    number = np.repeat(np.arange(clusters), n)
    return Localizations({"x": r * np.cos(angle) + 500 * number, "y": r * np.sin(angle), "cluster": number})


@pytest.mark.parametrize("n", [20, 60])
def test_intervals_of_clusters_cover(n) -> None:
    """They hold the mean over many clusters of the same kind, which is what the measure estimates."""
    table = measure(discs(np.random.default_rng(n), 150, n), intervals=12, seed=2).table()
    # halves exaggerate what depends on nearest neighbours; the perimeter jumps where a hole opens or closes
    largest = {"area_nm2": 1.6, "perimeter_nm": 1.35, "radius_of_gyration_nm": 1.35, "nearest_neighbour_nm": 1.6}
    for name, factor in largest.items():
        low, high, value = (table[column].to_numpy() for column in (f"{name}_low", f"{name}_high", name))
        centre = np.exp(np.log(value).mean())
        assert ((low <= centre) & (centre <= high)).mean() >= (0.8 if name == "perimeter_nm" else 0.9), name
        assert (low < value).all()
        assert (value < high).all()
        width = np.sqrt(np.mean((np.log(high / low) / (2 * 1.96)) ** 2))
        assert 0.75 < width / np.log(value).std() < factor, name


def test_a_density_counts_the_chance_in_the_number_too() -> None:
    rng = np.random.default_rng(8)
    number = rng.poisson(40, 150)
    r, angle = 50 * np.sqrt(rng.random(number.sum())), rng.uniform(0, 2 * np.pi, number.sum())
    own = np.repeat(np.arange(150), number)
    locs = Localizations({"x": r * np.cos(angle) + 500 * own, "y": r * np.sin(angle), "cluster": own})
    table = measure(locs, intervals=12).table()
    low, high = table["density_per_um2_low"].to_numpy(), table["density_per_um2_high"].to_numpy()
    centre = np.exp(np.log(table["density_per_um2"].to_numpy()).mean())
    assert ((low <= centre) & (centre <= high)).mean() >= 0.9


def test_small_and_flat_clusters_have_no_intervals() -> None:
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(0, 20, (8, 2)), np.full((20, 2), 500.0), rng.normal(900, 20, (30, 2))])
    number = np.repeat([0, 1, 2], [8, 20, 30])
    table = measure(Localizations({"x": points[:, 0], "y": points[:, 1], "cluster": number}), intervals=4).table()
    assert table["area_nm2_low"].is_finite().to_list() == [False, False, True]
    assert table["radius_of_gyration_nm_low"].is_finite().to_list() == [False, False, True]
    assert ((table["eccentricity_low"] >= 0) & (table["eccentricity_high"] <= 1))[2]
    assert not measure(Localizations({"x": [], "y": [], "cluster": []}), intervals=4).table().height


def test_in_3d_and_the_same_seed_gives_the_same_bits() -> None:
    points = np.random.default_rng(2).normal(0, 30, (60, 3))
    locs = Localizations({**dict(zip("xyz", points.T, strict=True)), "cluster": np.zeros(60, int)})
    once, again, other = (measure(locs, intervals=4, seed=seed) for seed in (1, 1, 2))
    assert once.table().equals(again.table())
    assert not once.table().equals(other.table())
    row = once.table().row(0, named=True)
    assert row["volume_nm3_low"] < row["volume_nm3"] < row["volume_nm3_high"]
    assert row["middle_axis_nm_low"] < row["middle_axis_nm"] < row["middle_axis_nm_high"]
    assert once.meta.history[-1].seed == 1
    with pytest.raises(InputError, match="intervals = 3"):
        measure(locs, intervals=3)


@pytest.mark.parametrize("n", [9, 30, 101])
def test_interval_of_the_median_covers_and_equals_a_bootstrap(n) -> None:
    rng = np.random.default_rng(n)
    samples = rng.lognormal(0, 1, (800, n))
    covered = [low <= 1.0 <= high for low, high in map(intervals.of_median, samples)]
    assert 0.92 < np.mean(covered) < 0.99
    drawn = np.median(samples[0][rng.integers(0, n, (20_000, n))], axis=1)
    low, high = intervals.of_median(samples[0])
    ordered = np.sort(samples[0])
    for limit, quantile in ((low, 0.025), (high, 0.975)):
        rank, simulated = np.searchsorted(ordered, [limit, np.quantile(drawn, quantile)])
        assert abs(rank - simulated) <= 1
    assert intervals.of_median(samples[0][:5]) is None
    assert intervals.of_median([3.0] * 10) == (3.0, 3.0)


def test_intervals_of_counts_and_ratios_cover() -> None:
    rng = np.random.default_rng(3)
    counts = [intervals.of_count(int(count)) for count in rng.poisson(20, 2000)]
    assert np.mean([low <= 20 <= high for low, high in counts]) > 0.94
    assert intervals.of_count(0)[0] == 0
    held = []
    for _ in range(800):
        sizes, free = rng.poisson(12, 60), rng.poisson(700)
        low, high = intervals.of_ratio(np.append(sizes, 0), np.append(sizes, 1), times=np.append(np.ones(60), free))
        held.append(low <= 720 / 1420 <= high)
    # the number of clusters is fixed here, so that the interval is a little too wide
    assert 0.93 < np.mean(held) <= 1
    assert intervals.of_ratio([], []) is None


def test_the_summary_has_them() -> None:
    rng = np.random.default_rng(5)
    free = rng.uniform(0, 3000, (500, 2))
    clusters = rng.uniform(0, 3000, (30, 1, 2)) + rng.normal(0, 15, (30, 20, 2))
    points = np.concatenate([clusters.reshape(-1, 2), free])
    number = np.append(np.repeat(np.arange(30), 20), np.full(500, -1))
    measured = measure(Localizations({"x": points[:, 0], "y": points[:, 1], "cluster": number}))
    assert isinstance(measured, Clusters)
    summary = measured.summary()
    for name in ("percent_clustered", "clusters_per_um2", "cluster_area_nm2", "nearest_cluster_nm"):
        low, high = summary[f"{name}_confidence"]
        assert low < summary[name] < high
    row = measured.by_field().row(0, named=True)
    assert [row["cluster_area_nm2_low"], row["cluster_area_nm2_high"]] == summary["cluster_area_nm2_confidence"]
    assert [row["cluster_area_nm2_q1"], row["cluster_area_nm2_q3"]] == summary["cluster_area_nm2_interval"]
