"""Tiles cover the area; fields never lie in each other's light; the way is short; estimates are what they say."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import polars as pl
import pytest
import shapely

from lucule.acquire import planner
from lucule.acquire.calibration import Affine
from lucule.acquire.plan import Objects, Scan, load_plan
from lucule.core import InputError

FIELD = (10.0, 10.0)


def objects(shapes: list[shapely.Geometry], names: list[str] | None = None) -> pl.DataFrame:
    n = len(shapes)
    return pl.DataFrame(
        {
            "id": range(n),
            "region": ["area"] * n,
            "class": names or ["object"] * n,
            "x_um": [shape.centroid.x for shape in shapes],
            "y_um": [shape.centroid.y for shape in shapes],
            "area_um2": [shape.area for shape in shapes],
            "confidence": [1.0] * n,
            "outline": [shapely.to_wkb(shape, hex=True) for shape in shapes],
        }
    )


def discs(places: list[tuple[float, float]], radius: float = 2.0) -> list[shapely.Geometry]:
    return [shapely.Point(*place).buffer(radius) for place in places]


def choose(table: pl.DataFrame, radius_um: float = 7.1, **settings: object) -> planner.Choice:
    how = Objects.parse({"minimum_area_um2": 1, **settings})
    return planner.choose_fields(table, how, field_um=FIELD, radius_um=radius_um, start=(0.0, 0.0))


@pytest.mark.parametrize("overlap", [0, 10, 30])
def test_tiles_cover_the_region(overlap: int) -> None:
    region = planner.Region("area", (5.0, -20.0, 63.0, 41.0))
    tiles = planner.tiles_of(region, (12.0, 9.0), overlap)
    half = np.array([6, 4.5])
    boxes = shapely.box(*(tiles - half).T, *(tiles + half).T)
    assert shapely.union_all(boxes).buffer(1e-6).contains(shapely.box(*region.bounds_um))
    steps = np.hypot(*np.diff(tiles, axis=0).T)
    assert steps.max() <= 12.0 + 1e-9  # no way back over the whole row


def test_an_area_is_covered_whatever_the_stage_axes_are() -> None:
    turned = Affine(matrix=((0.0, -1.0), (1.0, 0.0)))
    (region,) = planner.regions_of(Scan(area_um=(0, 0, 30, 10)), turned)
    assert region.bounds_um == pytest.approx((-10, 0, 0, 30))


def test_wells_lie_where_the_plate_has_them() -> None:
    scan = Scan.parse({"wells": {"wells": ["A1", "B3"], "size_um": [100, 50], "a1_um": [1000, 2000]}})
    first, second = planner.regions_of(scan, Affine())
    assert first.bounds_um == pytest.approx((950, 1975, 1050, 2025))
    assert second.bounds_um == pytest.approx((18950, -7025, 19050, -6975))


def test_close_objects_share_a_field_where_it_has_room() -> None:
    table = objects(discs([(20, 20), (24, 20), (60, 20), (68, 20), (100, 100)]))
    fields = choose(table, merge_distance_um=9).fields
    together = sorted(fields["objects"].to_list())
    assert together == ["0,1", "2", "4"] or together == ["0,1", "3", "4"]  # 2 and 3 do not fit into 10 um


def test_no_field_lies_in_the_light_of_another() -> None:
    rng = np.random.default_rng(3)
    choice = choose(objects(discs([tuple(p) for p in rng.uniform(0, 150, (120, 2))], 1.0)))
    middles = choice.fields.select("x_um", "y_um").to_numpy()
    assert 30 < len(middles) < 120
    away = np.maximum(np.abs(middles[:, None] - middles[None]) - 5.0, 0)
    light = np.hypot(away[..., 0], away[..., 1])
    assert (light[~np.eye(len(middles), dtype=bool)] >= 7.1).all()
    named = {int(i) for text in choice.fields["objects"] for i in text.split(",")}
    assert named | set(choice.reasons) == set(range(120))
    assert all("light" in reason for reason in choice.reasons.values())


def test_quotas_hold_for_each_class_and_follow_the_seed() -> None:
    places = [(float(x), float(y)) for x in range(0, 200, 25) for y in range(0, 100, 25)]
    table = objects(discs(places), ["a", "b"] * (len(places) // 2))
    first = choose(table, quota=3).fields
    assert first["class"].value_counts().sort("class").rows() == [("a", 3), ("b", 3)]
    assert choose(table, quota=3).fields.equals(first)
    assert not choose(table, quota=3, seed=2).fields.equals(first)
    some = choose(table, quota=3, classes=["b"], finder="model", model="objects")
    assert some.fields["class"].unique().to_list() == ["b"]


def test_small_large_and_doubtful_objects_are_left_out_with_a_reason() -> None:
    table = objects(discs([(0, 0), (50, 0), (100, 0)], 2.0)).with_columns(
        area_um2=pl.Series([5.0, 50.0, 500.0]), confidence=pl.Series([1.0, 0.2, 1.0])
    )
    choice = choose(table, minimum_area_um2=10, maximum_area_um2=100, minimum_confidence=0.5)
    assert not len(choice.fields)
    assert [choice.reasons[i].split()[-1] for i in range(3)] == ["10", "0.5", "100"]


@pytest.mark.parametrize(("large", "fields"), [("centre", 1), ("random", 3), ("cover", None)])
def test_objects_larger_than_a_field(large: str, fields: int | None) -> None:
    shape = shapely.box(0, 0, 45, 24)
    choice = choose(objects([shape]), large=large, fields_per_large=3, cover_overlap_percent=10)
    middles = choice.fields.select("x_um", "y_um").to_numpy()
    boxes = shapely.box(*(middles - 5).T, *(middles + 5).T)
    if fields is not None:
        assert len(middles) == fields
        assert shapely.contains_xy(shape, *middles.T).all()
        assert shapely.union_all(boxes).area == pytest.approx(100 * fields)
    else:
        assert shapely.union_all(boxes).buffer(1e-6).contains(shape)
        assert len(middles) == 5 * 3


def test_nothing_to_image_is_no_error() -> None:
    assert not len(choose(objects([])).fields)


def test_the_way_is_the_shortest_of_all_for_few_places() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        points = rng.uniform(0, 100, (7, 2))

        def length(order: object, points: np.ndarray = points) -> float:
            way = np.vstack([[(0.0, 0.0)], points[list(order)]])  # type: ignore[call-overload]
            return float(np.hypot(*np.diff(way, axis=0).T).sum())

        found = length(planner.shortest_way(points, (0.0, 0.0)))
        assert found <= 1.1 * min(length(order) for order in permutations(range(7)))


def test_the_estimate_counts_light_time_and_disk() -> None:
    plan = load_plan(
        {
            "scan": {"area_um": [0, 0, 256, 256], "overlap_percent": 0},
            "objects": {"quota": 4},
            "imaging": {"frames": 1000, "exposure_ms": 20, "power_mw": 50},
        }
    )
    found = planner.estimate(plan, shape_px=(256, 256), pixel_um=0.1)
    assert found["tiles"] == 100
    assert found["fields_at_most"] == 4
    assert found["field_s"] == pytest.approx(20, abs=1)
    radius = np.hypot(25.6, 25.6) / 2
    assert found["dose_per_field_mj_per_um2"] == pytest.approx(50 * 20 / (np.pi * radius**2))


@pytest.mark.parametrize(("large", "overlap", "times"), [("random", 10, 1), ("cover", 10, 4), ("cover", 50, 9)])
def test_light_of_fields_that_overlap_adds_up(large: str, overlap: float, times: int) -> None:
    plan = load_plan(
        {
            "microscope": {"based_on": "simulated", "illumination_radius_um": 0},
            "scan": {"area_um": [0, 0, 100, 100]},
            "objects": {"large": large, "cover_overlap_percent": overlap, "quota": 2},
        }
    )
    field = (12.8, 12.8)
    found = planner.estimate(plan, shape_px=(128, 128), pixel_um=0.1)
    assert planner.exposures_of_a_place(plan, field) >= times
    ratio = found["dose_at_a_place_mj_per_um2"] / found["dose_per_field_mj_per_um2"]
    assert ratio == planner.exposures_of_a_place(plan, field)
    # no field of a covered object is forgotten, whatever its size and place
    most = 0
    for width in (13.0, 20.0, 26.0, 40.0, 77.0):
        middles = choose_places(shapely.box(0, 0, width, 0.7 * width), plan.objects, field)
        grid = np.stack(np.meshgrid(np.arange(0, width, 0.9), np.arange(0, 0.7 * width, 0.9)), axis=-1).reshape(
            -1, 1, 2
        )
        radius = planner.disk_radius_um(plan, field)
        most = max(most, int((np.hypot(*np.moveaxis(grid - middles, -1, 0)) < radius).sum(axis=1).max()))
    assert most <= planner.exposures_of_a_place(plan, field)
    assert (found["fields_at_most"] == 2) == (large == "random")


def choose_places(shape: shapely.Geometry, settings: Objects, field: tuple[float, float]) -> np.ndarray:
    how = settings.replace(minimum_area_um2=1.0, quota=None)
    fields = planner.choose_fields(objects([shape]), how, field_um=field, radius_um=9.1, start=(0.0, 0.0)).fields
    return fields.select("x_um", "y_um").to_numpy()


def test_a_plan_above_its_limits_is_refused() -> None:
    with pytest.raises(InputError, match="647 nm laser are asked for"):
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, "limits": {"power_mw": {"647": 10}}})
    with pytest.raises(InputError, match="exactly one of area_um and wells"):
        load_plan({"scan": {}})
    with pytest.raises(InputError, match="no channel"):
        load_plan({"scan": {"area_um": [0, 0, 9, 9], "channels": ["membrane"]}})
    with pytest.raises(InputError, match="one or two colours, not 3"):
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, "imaging": [{}, {}, {}]})
    with pytest.raises(InputError, match="only used with finder: model"):
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, "objects": {"model": "cells_widefield"}})
    with pytest.raises(InputError, match="a threshold knows no classes"):
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, "objects": {"classes": ["nucleus"]}})
    with pytest.raises(InputError, match="frames=0") as caught:
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, "imaging": {"frames": 0}})
    assert "tuple" not in str(caught.value)
    with pytest.raises(InputError, match="not a known key"):
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, "imaging": {"frame": 5}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limits": {"power_mw": {"999": 5}}}, "no laser 999"),
        ({"scan": {"area_um": [0, 0, float("inf"), 9]}}, "finite"),
        ({"scan": {"area_um": [0, 0, 9, 9], "channels": ["cell", "cell"]}}, "each one once"),
        ({"objects": {"minimum_area_um2": 60, "maximum_area_um2": 50}}, "above minimum_area_um2, 60, not 50"),
        ({"imaging": {"density": {"target_per_um2": 0.1, "start_mw": 25}}}, "at most highest_mw, 20, not 25"),
        ({"imaging": {"framez": 5}}, "Allowed: Imaging has the keys channel, frames"),
    ],
)
def test_what_a_plan_cannot_say(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_plan({"scan": {"area_um": [0, 0, 9, 9]}, **changes})


def test_an_area_in_other_units_is_refused_before_its_tiles_are_made() -> None:
    region = planner.Region("area", (0.0, 0.0, 1e7, 1e7))
    with pytest.raises(InputError, match="too many tiles"):
        planner.tiles_of(region, (25.6, 25.6), 10)


def test_a_camera_without_pixels_is_refused() -> None:
    pytest.importorskip("pymmcore_plus")
    from lucule.acquire import experiment

    rig = {"based_on": "simulated", "properties": {"Camera-Rows": -5}}
    with pytest.raises(InputError, match="allowed range"):
        experiment.dry_run(load_plan({"microscope": rig, "scan": {"area_um": [0, 0, 9, 9]}}))
    rig["properties"] = {"Slide-TiltX_nm_per_um": -3.5}
    assert experiment.dry_run(load_plan({"microscope": rig, "scan": {"area_um": [0, 0, 9, 9]}}))["tiles"] == 1
