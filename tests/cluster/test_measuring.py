"""Measures of clusters of known shape."""

from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lucule.cluster import Clusters, group, measure
from lucule.core import ColumnError, FormatError, InputError, Localizations, Region
from lucule.testing import localizations

GOLDEN_ANGLE = np.pi * (3 - 5**0.5)


def disc(n, radius, centre=(0.0, 0.0)):
    """Points spread evenly over a disc (sunflower)."""
    i = np.arange(n)
    r, angle = radius * np.sqrt((i + 0.5) / n), i * GOLDEN_ANGLE
    return np.column_stack([r * np.cos(angle), r * np.sin(angle)]) + centre


def ball(n, radius):
    """Points spread evenly through a ball."""
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * radius * ((np.arange(n) + 0.5) / n)[:, None] ** (1 / 3)


def table(*clusters, **columns):
    points = np.concatenate(clusters).astype(float)
    number = np.repeat(np.arange(len(clusters)), [len(points) for points in clusters]).astype(np.int32)
    return Localizations({**dict(zip("xyz", points.T, strict=False)), "cluster": number, **columns})


def row(clusters, index=0):
    return clusters.table().row(index, named=True)


@pytest.mark.parametrize("radius", [15, 50, 100])
@pytest.mark.parametrize("n", [30, 100, 300])
def test_disc(n, radius):
    measured = row(measure(table(disc(n, radius, (500, 300)))))
    assert measured["n_points"] == n
    assert (measured["x"], measured["y"]) == pytest.approx((500, 300), abs=0.02 * radius)
    assert measured["density_per_um2"] == pytest.approx(n / measured["area_nm2"] * 1e6)
    assert measured["radius_of_gyration_nm"] == pytest.approx(radius / 2**0.5, rel=0.02)
    assert measured["major_axis_nm"] == pytest.approx(2 * radius, rel=0.03)
    assert measured["minor_axis_nm"] == pytest.approx(2 * radius, rel=0.03)
    assert measured["eccentricity"] < 0.35
    # evenly spread points are their own lattice: the outline lies between the outermost and r beyond them
    r = 1.2 * measured["nearest_neighbour_nm"]
    assert np.pi * radius**2 * 0.95 < measured["area_nm2"] < np.pi * (radius + r) ** 2
    assert 2 * np.pi * radius < measured["perimeter_nm"] < 2 * np.pi * (radius + r) * 1.1
    assert measured["holes"] == 0
    assert measured["reason"] is None


# mean ratio of the area to that of the disc, over many discs of n random points (the paper's radius of 1.2 spacings)
AREA_BIAS = {10: 1.02, 20: 0.96, 50: 0.945, 100: 0.95, 200: 0.96}


@pytest.mark.parametrize("radius", [15, 50, 100])
@pytest.mark.parametrize("n", list(AREA_BIAS))
def test_area_of_random_discs(n, radius):
    rng = np.random.default_rng(n + radius)
    r, angle = radius * np.sqrt(rng.random((200, n))), rng.uniform(0, 2 * np.pi, (200, n))
    clusters = measure(table(*np.stack([r * np.cos(angle), r * np.sin(angle)], axis=2))).table()
    ratio = clusters["area_nm2"].to_numpy() / (np.pi * radius**2)
    assert ratio.mean() == pytest.approx(AREA_BIAS[n], abs=4 * ratio.std() / 200**0.5)
    assert ratio.std() < 1.2 / n**0.5
    # less by (n - 1) / n, as any spread about the mean of the sample itself
    gyration = clusters["radius_of_gyration_nm"].to_numpy() ** 2
    assert gyration.mean() == pytest.approx(radius**2 / 2 * (n - 1) / n, rel=0.05)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0])
def test_ellipse(ratio, angle):
    points = disc(2000, 80) * [1, ratio] @ [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    measured = row(measure(table(points)))
    assert measured["eccentricity"] == pytest.approx(np.sqrt(1 - ratio**2), rel=0.01)
    assert measured["major_axis_nm"] == pytest.approx(160, rel=0.01)
    assert measured["minor_axis_nm"] == pytest.approx(160 * ratio, rel=0.01)
    assert measured["radius_of_gyration_nm"] == pytest.approx(40 * np.sqrt(1 + ratio**2), rel=0.01)


def test_ring():
    points = disc(400, 100)
    measured = row(measure(table(points[np.linalg.norm(points, axis=1) > 60])))
    assert measured["holes"] == 1
    r = 1.2 * measured["nearest_neighbour_nm"]
    assert measured["area_nm2"] == pytest.approx(np.pi * ((100 + 0.7 * r) ** 2 - (60 - 0.7 * r) ** 2), rel=0.05)
    assert measured["perimeter_nm"] == pytest.approx(2 * np.pi * 160, rel=0.05)


def test_ball():
    locs = table(ball(3000, 100) * [1, 1, 0.5])
    clusters = measure(locs)
    measured = row(clusters)
    assert clusters.outlines() is None
    assert measured["volume_nm3"] == pytest.approx(4 / 3 * np.pi * 100**3 * 0.5, rel=0.05)
    assert measured["density_per_um3"] == pytest.approx(3000 / measured["volume_nm3"] * 1e9)
    assert measured["radius_of_gyration_nm"] == pytest.approx(np.sqrt(2.25 / 5) * 100, rel=0.02)
    assert measured["minor_axis_nm"] == pytest.approx(100, rel=0.03)
    assert measured["middle_axis_nm"] == pytest.approx(200, rel=0.05)
    assert measured["eccentricity"] == pytest.approx(np.sqrt(0.75), rel=0.02)
    assert "area_nm2" not in measured
    assert measured["reason"] is None


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([[5, 5]], "one place"),
        ([[5, 5]] * 10, "one place"),
        ([[5, 5], [5, 5], [9, 9]], "two places"),
        ([[x, 0.5 * x] for x in range(10)], "one line"),
        ([[40000 + x / 3, 40000 + x / 7] for x in range(10)], "one line"),
        ([[0, 0, 0], [5, 5, 5], [7, 7, 7], [9, 9, 9]], "one line"),
        ([[0, 0, 5], [5, 0, 5], [0, 5, 5], [3, 3, 5], [0, 0, 5]], "one plane"),
    ],
)
def test_what_cannot_be_measured_has_a_reason(points, reason):
    points = np.array(points, float)
    # something else makes the table 3D
    other = ball(50, 30) + 500 if points.shape[1] == 3 else disc(50, 30, (500, 500))
    clusters = measure(table(points, other))
    measured = row(clusters)
    assert reason in measured["reason"]
    size = "area_nm2" if points.shape[1] == 2 else "volume_nm3"
    assert np.isnan(measured[size])
    assert measured.get("holes") is None
    assert np.isfinite(measured["radius_of_gyration_nm"])
    assert np.isfinite(row(clusters, 1)[size])


def test_a_million_localizations_at_one_place():
    measured = row(measure(table(np.full((1_000_000, 2), 7.0))))
    assert measured["n_points"] == 1_000_000
    assert measured["radius_of_gyration_nm"] == 0
    assert np.isnan(measured["area_nm2"])
    assert np.isnan(measured["eccentricity"])
    assert np.isnan(measured["nearest_neighbour_nm"])
    assert "one place" in measured["reason"]


def test_duplicates_change_no_outline():
    points = disc(40, 50)
    once, twice = (row(measure(table(own))) for own in (points, np.concatenate([points, points, points[:7]])))
    assert twice["area_nm2"] == once["area_nm2"]
    assert twice["nearest_neighbour_nm"] == once["nearest_neighbour_nm"]
    assert twice["n_points"] == 87


@pytest.mark.parametrize("columns", [{}, {"z": []}, {"label": [], "p_label": [], "field": [], "channel": []}])
def test_empty_table(columns):
    clusters = measure(Localizations({"x": [], "y": [], "cluster": [], **columns}))
    assert len(clusters) == 0
    summary = clusters.summary()
    assert (summary["points"], summary["clusters"]) == (0, 0)
    assert summary["area_um2"] is None
    assert summary["percent_clustered"] is None
    assert summary["points_per_cluster"] is None
    assert summary["area_from"].startswith("not known")


def test_table_without_clusters():
    points = np.random.default_rng(0).uniform(0, 5000, (2000, 2))
    clusters = measure(Localizations({"x": points[:, 0], "y": points[:, 1], "cluster": np.full(2000, -1)}))
    assert len(clusters) == 0
    summary = clusters.summary()
    assert summary["percent_clustered"] == 0
    assert summary["clusters_per_um2"] == 0
    assert summary["area_um2"] == pytest.approx(25, rel=0.05)


def test_missing_column_is_said():
    with pytest.raises(ColumnError, match=r"no column cluster.*lucule cluster"):
        measure(Localizations({"x": [1.0], "y": [1.0]}))


def test_outlines_can_be_left_out():
    clusters = measure(table(disc(50, 50)), outlines=False)
    assert clusters.outlines() is None
    assert np.isnan(row(clusters)["area_nm2"])
    assert "not asked for" in row(clusters)["reason"]
    assert row(clusters)["radius_of_gyration_nm"] > 0


def test_region_counts_only_what_is_inside_and_tells_what_it_cuts():
    well_inside, cut, beside, outside = ((100, 100), (200, 100), (100, 150), (400, 400))
    locs = table(*(disc(60, 30, centre) for centre in (well_inside, cut, beside, outside)))
    clusters = measure(locs, region=Region.rectangle(0, 0, 200, 200))
    assert clusters.table()["cluster"].to_list() == [0, 1, 2]
    assert clusters.table()["n_points"][0] == 60
    assert 20 < clusters.table()["n_points"][1] < 40
    # the third has all its localizations inside, its outline ends about 8 beyond them
    assert clusters.table()["touches_border"].to_list() == [False, True, False]
    beyond = measure(locs, region=Region.rectangle(0, 0, 200, 184))
    assert beyond.table()["n_points"][2] == 60
    assert beyond.table()["touches_border"].to_list() == [False, True, True]
    summary = clusters.summary()
    assert summary["area_um2"] == pytest.approx(0.04)
    assert summary["area_from"] == "the region"
    assert summary["clusters_touching_border"] == 1
    assert summary["points"] == clusters.table()["n_points"].sum()


def test_hole_of_a_region_is_a_border_too():
    ring = Region.polygon(
        [(0, 0), (1000, 0), (1000, 1000), (0, 1000)], [[(480, 480), (520, 480), (520, 520), (480, 520)]]
    )
    clusters = measure(table(disc(60, 30, (455, 500)), disc(60, 30, (300, 500))), region=ring)
    assert clusters.table()["touches_border"].to_list() == [True, False]


def test_summary_and_table_by_field_channel_and_class():
    clusters = [disc(30 + i, 40, (1000 * (i % 4), 0)) for i in range(8)]
    number = np.repeat(np.arange(8), [len(points) for points in clusters])
    free = np.random.default_rng(0).uniform(0, 4000, (100, 2))
    points = np.concatenate([*clusters, free])
    locs = Localizations(
        {
            "x": points[:, 0],
            "y": points[:, 1],
            "cluster": np.r_[number, np.full(100, -1)],
            "label": np.r_[1 + number % 2, np.zeros(100, int)],
            "p_label": np.r_[np.linspace(0.5, 1, len(number)), np.zeros(100)],
            "field": np.r_[number // 4, np.zeros(100, int)],
            "channel": np.r_[number // 2 % 2, np.zeros(100, int)],
        }
    )
    measured = measure(locs)
    assert measured.table().columns[:5] == ["field", "channel", "cluster", "label", "n_points"]
    assert measured.table()["p_label"].is_sorted()
    by_field = measured.by_field()
    assert by_field.select("field", "channel", "label").rows() == [
        (f, c, k) for f in (0, 1) for c in (0, 1) for k in (1, 2)
    ]
    assert by_field["clusters"].to_list() == [1] * 8
    assert by_field["points_in_clusters"].to_list() == [30, 31, 32, 33, 34, 35, 36, 37]
    assert by_field["points"].to_list() == [161, 161, 65, 65, 69, 69, 73, 73]
    assert by_field["area_um2"].null_count() == 4  # field 1 has 4 clusters and nothing else
    whole = measured.summary()
    assert whole["points"] == len(locs)
    assert whole["percent_clustered"] == pytest.approx(100 * len(number) / len(locs))
    assert whole["points_per_cluster"] == 33.5
    assert whole["points_per_cluster_interval"] == pytest.approx([31.75, 35.25])
    json.dumps(whole, allow_nan=False)


def test_classes_of_one_field_share_its_points_and_its_area():
    one, other = disc(60, 50.0), disc(40, 50.0, (400.0, 0.0))
    label = np.repeat([1, 2], [60, 40]).astype(np.uint8)
    region = Region.rectangle(-500, -500, 1500, 500)
    for region_or_none in (region, None):
        both = measure(table(one, other, label=label), region=region_or_none)
        same = measure(table(one, other), region=region_or_none)
        for name in ("points", "points_in_clusters", "percent_clustered", "area_um2", "clusters_per_um2"):
            assert both.summary()[name] == same.summary()[name]
        assert both.summary()["points"] == 100
        assert both.by_field()["points"].to_list() == [100, 100]
    assert measure(table(one, other, label=label), region=region).summary()["area_um2"] == pytest.approx(2.0)


def test_files(tmp_path):
    locs = group(Localizations({**_xy(disc(50, 40), disc(3, 0.0, (900, 900))), "label": np.ones(53, int)}))
    clusters = measure(locs, region=Region.rectangle(-500, -500, 1000, 1000))
    assert [recorded.function.rsplit(".", 1)[-1] for recorded in clusters.meta.history] == ["group", "measure"]
    assert clusters.meta.history[-1].inputs == (locs.meta.id,)

    again = Clusters.load(clusters.save(tmp_path / "clusters.parquet"))
    assert again.table().equals(clusters.table())
    assert again.by_field().equals(clusters.by_field())
    assert again.meta.id == clusters.meta.id
    assert all(shapely.equals(again.outlines()[:1], clusters.outlines()[:1]))
    assert again.outlines()[1] is None
    assert pl.read_parquet(tmp_path / "clusters.parquet")["outline"].dtype == pl.Binary

    csv = pl.read_csv(clusters.save(tmp_path / "clusters.csv"))
    assert csv.columns == clusters.table().columns
    assert csv["n_points"].to_list() == [50, 3]

    with pytest.raises(InputError, match=r"Allowed: \.parquet, \.csv"):
        clusters.save(tmp_path / "clusters.xlsx")
    with pytest.raises(FormatError, match="does not hold clusters"):
        Clusters.load(locs.save(tmp_path / "locs.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(FormatError):
        Clusters.load(tmp_path / "broken.parquet")


def _xy(*clusters):
    points = np.concatenate(clusters)
    return {"x": points[:, 0], "y": points[:, 1]}


@pytest.mark.parametrize("outlines", [True, False])
def test_plot(outlines):
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    points = disc(400, 100)
    ring = points[np.linalg.norm(points, axis=1) > 60]
    axes = measure(table(ring, disc(50, 40, (300, 0)), np.zeros((3, 2))), outlines=outlines).plot()
    assert axes.yaxis_inverted()
    (drawn,) = axes.collections
    if outlines:
        assert len(drawn.get_paths()) == 2
        assert drawn.get_paths()[0].contains_point((80, 0))
    else:
        assert len(drawn.get_offsets()) == 3
    plt.close(axes.figure)


def field(seed=4):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 3000, (30, 2))
    return table(*(rng.normal(0, 20, (int(n), 2)) + c for n, c in zip(rng.integers(3, 60, 30), centres, strict=True)))


MEASURES = [
    "area_nm2",
    "perimeter_nm",
    "radius_of_gyration_nm",
    "eccentricity",
    "minor_axis_nm",
    "nearest_neighbour_nm",
]


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random):
    locs = field()
    order = list(range(len(locs)))
    random.shuffle(order)
    shuffled = measure(Localizations(locs.data[order], locs.meta))
    assert shuffled.table().equals(measure(locs).table())


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 2 * np.pi), st.floats(-3e4, 3e4), st.floats(-3e4, 3e4))
def test_place_and_rotation_do_not_matter(angle, dx, dy):
    locs = field()
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = locs.xy().astype(float) @ [[cosine, sine], [-sine, cosine]] + [dx, dy]
    moved = measure(Localizations({"x": turned[:, 0], "y": turned[:, 1], "cluster": locs["cluster"]})).table()
    for name in MEASURES:
        # circles are polygons, whose corners do not turn with the points
        assert moved[name].to_numpy() == pytest.approx(measure(locs).table()[name].to_numpy(), rel=0.02), name


@settings(max_examples=30, deadline=None)
@given(localizations(columns=("x", "y", "z", "cluster", "label", "p_label", "field", "channel")), st.booleans())
def test_any_table_can_be_measured(locs, with_region):
    if "cluster" not in locs:
        locs = locs.with_columns(cluster=np.arange(len(locs), dtype=np.int32) % 3)
    region = Region.rectangle(-1e5, -1e5, 1e5, 1e5) if with_region else None
    clusters = measure(locs, region=region)
    inside = locs if region is None else locs.crop(region)
    assert clusters.table()["n_points"].sum() == (inside["cluster"] >= 0).sum()
    json.dumps(clusters.summary(), allow_nan=False)
    assert clusters.by_field()["clusters"].sum() >= len(clusters) or "label" in locs
    repr(clusters)
