"""Where to look: tiles of the scan, fields around objects, and the shortest way that exposes nothing before its turn.

All positions are in the plane of the camera (see `lucule.acquire.calibration.Affine`), um.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import shapely
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.acquire import scanning
from lucule.acquire.calibration import Affine
from lucule.acquire.covering import covering
from lucule.acquire.plan import Objects, Plan, Scan
from lucule.core import InputError

Floats = NDArray[np.float64]

_SAMPLES: Final = 2000
# more tiles take more than a day: as a rule an area in nm
_MOST_TILES: Final = 250_000
# seconds for a movement with its checks, and bytes of a pixel after compression
_MOVE_S: Final = 0.5
_BYTES_PER_PIXEL: Final = 1.3


@dataclass(frozen=True)
class Region:
    """A rectangle to scan: name and (x_min, y_min, x_max, y_max)."""

    name: str
    bounds_um: tuple[float, float, float, float]


def regions_of(scan: Scan, affine: Affine) -> list[Region]:
    """Rectangles in the plane of the camera that hold the areas of a scan."""
    if scan.area_um is not None:
        x0, y0, x1, y1 = scan.area_um
        return [_region("area", np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)]), affine)]
    import useq

    assert scan.wells is not None  # noqa: S101 (one of the two is checked by Scan)
    wells = scan.wells
    plate = useq.WellPlatePlan(plate=wells.plate, a1_center_xy=wells.a1_um, rotation=wells.rotation_deg)
    places = {position.name: (position.x, position.y) for position in plate.all_well_positions}
    half = np.array(wells.size_um) / 2
    corners = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)]) * half
    return [_region(name, np.array(places[name]) + corners, affine) for name in wells.wells]


def _region(name: str, corners_um: Floats, affine: Affine) -> Region:
    plane = affine.to_plane(corners_um)
    (x0, y0), (x1, y1) = plane.min(axis=0), plane.max(axis=0)
    return Region(name, (float(x0), float(y0), float(x1), float(y1)))


def tiles_of(region: Region, field_um: tuple[float, float], overlap_percent: float) -> Floats:
    """Middles of the tiles `(n, 2)` that cover a region, row by row, every second row backwards.

    Raises
    ------
    InputError
        They are too many to be taken.
    """
    import useq

    x0, y0, x1, y1 = region.bounds_um
    pitch = (1 - overlap_percent / 100) ** 2 * field_um[0] * field_um[1]
    if (number := (x1 - x0) * (y1 - y0) / pitch) > _MOST_TILES:
        raise InputError(
            f"The scan of {region.name} takes too many tiles",
            received=f"{x1 - x0:.6g} x {y1 - y0:.6g} um, about {number:.3g} tiles",
            allowed=f"up to {_MOST_TILES:,} tiles of {field_um[0]:.6g} x {field_um[1]:.6g} um",
            next_step="positions are in um; choose a smaller area, or wells",
        )
    grid = useq.GridFromEdges(
        top=y1, bottom=y0, left=x0, right=x1, overlap=overlap_percent, fov_width=field_um[0], fov_height=field_um[1]
    )
    return np.array([(position.x, position.y) for position in grid])


@dataclass(frozen=True)
class Choice:
    """What is imaged.

    Attributes
    ----------
    fields
        `region`, `class`, x_um, y_um, `objects` (ids, comma-separated), `group`; in the order in which they are taken.
    reasons
        Why an object is in no field: id -> sentence.
    """

    fields: pl.DataFrame
    reasons: dict[int, str]


def choose_fields(
    objects: pl.DataFrame, settings: Objects, *, field_um: tuple[float, float], radius_um: float, start: ArrayLike
) -> Choice:
    """Choose fields around objects.

    Close objects share a field; objects larger than a field are sampled or covered; no field lies where the light of
    another one falls, except where one object is covered; quotas hold for each class and region.

    Parameters
    ----------
    objects
        `id`, `region`, `class`, x_um, y_um, area_um2, confidence, `outline` (WKB, hexadecimal).
    field_um
        Width and height of a field.
    radius_um
        Of the disk that is exposed around the middle of a field.
    start
        Where the stage is.
    """
    reasons: dict[int, str] = {}
    wanted = []
    for row in objects.iter_rows(named=True):
        unwanted = _unwanted(row, settings)
        if unwanted is None:
            wanted.append(row)
        else:
            reasons[row["id"]] = unwanted
    rng = np.random.default_rng(settings.seed)
    groups = _groups(wanted, settings, field_um, rng)
    taken: list[dict[str, Any]] = []
    counts: dict[tuple[str, str], int] = {}
    for number in rng.permutation(len(groups)):
        group = groups[number]
        key = (group["region"], group["class"])
        if settings.quota is not None and counts.get(key, 0) >= settings.quota:
            why: str | None = f"the quota of {settings.quota} is filled"
        else:
            why = _exposed(group["places"], taken, field_um, radius_um)
        if why is None:
            counts[key] = counts.get(key, 0) + 1
            taken.append(group)
        else:
            reasons |= dict.fromkeys(group["objects"], why)
    rows = [
        (group["region"], group["class"], float(x), float(y), ",".join(map(str, group["objects"])), number)
        for number, group in enumerate(taken)
        for x, y in group["places"]
    ]
    schema = {"region": pl.String, "class": pl.String, "x_um": pl.Float64, "y_um": pl.Float64, "objects": pl.String,
              "group": pl.Int64}  # fmt: skip
    fields = pl.DataFrame(rows, schema=schema, orient="row")
    order = shortest_way(fields.select("x_um", "y_um").to_numpy(), start)
    return Choice(fields[order], reasons)


def _unwanted(row: dict[str, Any], settings: Objects) -> str | None:
    if settings.classes and row["class"] not in settings.classes:
        return f"its class is {row['class']}"
    if row["area_um2"] < settings.minimum_area_um2:
        return f"{row['area_um2']:.1f} um2 are less than {settings.minimum_area_um2:g}"
    if settings.maximum_area_um2 is not None and row["area_um2"] > settings.maximum_area_um2:
        return f"{row['area_um2']:.1f} um2 are more than {settings.maximum_area_um2:g}"
    if row["confidence"] < settings.minimum_confidence:
        return f"a confidence of {row['confidence']:.2f} is less than {settings.minimum_confidence:g}"
    return None


def _groups(
    rows: list[dict[str, Any]], settings: Objects, field_um: tuple[float, float], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Objects that are imaged together, with the middles of their fields."""
    shapes = {row["id"]: shapely.from_wkb(row["outline"]) for row in rows}
    groups, small = [], []
    for row in rows:
        x0, y0, x1, y1 = shapes[row["id"]].bounds
        if x1 - x0 > field_um[0] or y1 - y0 > field_um[1]:
            places = _in_large(shapes[row["id"]], settings, field_um, rng)
            groups.append({**_named(row), "objects": [row["id"]], "places": places})
        else:
            small.append(row)
    while small:
        members = [small.pop(0)]
        while (near := _nearest(members, small, shapes, settings.merge_distance_um, field_um)) is not None:
            members.append(small.pop(near))
        x0, y0, x1, y1 = shapely.total_bounds([shapes[row["id"]] for row in members])
        places = np.array([((x0 + x1) / 2, (y0 + y1) / 2)])
        groups.append({**_named(members[0]), "objects": [row["id"] for row in members], "places": places})
    return groups


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {"region": row["region"], "class": row["class"]}


def _nearest(
    members: list[dict[str, Any]],
    others: list[dict[str, Any]],
    shapes: dict[int, Any],
    reach_um: float,
    field_um: tuple[float, float],
) -> int | None:
    """The nearest object that may join: within reach of a member, and all together in one field."""
    best, found = reach_um, None
    for number, other in enumerate(others):
        if _named(other) != _named(members[0]):
            continue
        distance = min(np.hypot(other["x_um"] - row["x_um"], other["y_um"] - row["y_um"]) for row in members)
        x0, y0, x1, y1 = shapely.total_bounds([shapes[row["id"]] for row in [*members, other]])
        if distance < best and x1 - x0 <= field_um[0] and y1 - y0 <= field_um[1]:
            best, found = float(distance), number
    return found


def _in_large(shape: Any, settings: Objects, field_um: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Middles of the fields in an object that is larger than a field."""
    if settings.large == "cover":
        return covering(shape, field_um, settings.cover_overlap_percent / 100)
    if settings.large == "centre":
        return np.array([(shape.centroid.x, shape.centroid.y)])
    size, bounds = np.array(field_um), np.array(shape.bounds)
    points = rng.uniform(bounds[:2], bounds[2:], (_SAMPLES, 2))
    inside = points[shapely.contains_xy(shape, *points.T)]
    chosen: list[Floats] = []
    for point in inside:
        if all((np.abs(point - other) >= size).any() for other in chosen):
            chosen.append(point)
        if len(chosen) == settings.fields_per_large:
            break
    return np.array(chosen) if chosen else shapely.get_coordinates(shape.representative_point())


def _exposed(
    places: Floats, taken: list[dict[str, Any]], field_um: tuple[float, float], radius_um: float
) -> str | None:
    """Whether light for one of the fields would fall on the other.

    Disk and field are the same everywhere, so when one field's light reaches the other, it is so the other way round:
    no order helps, and one of the two is left out.
    """
    for group in taken:
        for place in group["places"]:
            away = np.maximum(np.abs(places - place) - np.array(field_um) / 2, 0)
            if (np.hypot(*away.T) < radius_um).any():
                return f"its field lies in the light of the field of object {group['objects'][0]}"
    return None


def shortest_way(points: ArrayLike, start: ArrayLike) -> NDArray[np.int64]:
    """Order in which to visit points `(n, 2)` from a start: to the nearest one each time, then improved by 2-opt.

    Examples
    --------
    >>> shortest_way([(3.0, 0.0), (1.0, 0.0), (2.0, 0.0)], (0.0, 0.0)).tolist()
    [1, 2, 0]
    """
    places = np.vstack([np.reshape(start, (1, 2)), np.reshape(points, (-1, 2))]).astype(np.float64)
    order: NDArray[np.int64] = _improve(places, _nearest_first(places))[1:] - 1
    return order


@njit(cache=True, nogil=True)
def _nearest_first(places: Floats) -> NDArray[np.int64]:
    n = len(places)
    order, left = np.zeros(n, np.int64), np.ones(n, np.bool_)
    left[0] = False
    for step in range(1, n):
        best, nearest = np.inf, 0
        for j in range(n):
            if left[j]:
                d = np.hypot(places[j, 0] - places[order[step - 1], 0], places[j, 1] - places[order[step - 1], 1])
                if d < best:
                    best, nearest = d, j
        order[step] = nearest
        left[nearest] = False
    return order


@njit(cache=True, nogil=True)
def _improve(places: Floats, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn stretches of an open way round while that makes it shorter (Croes 1958, Oper Res 6:791)."""
    n = len(order)
    better = True
    while better:
        better = False
        for i in range(1, n - 1):
            for j in range(i + 1, n):
                a, b, c = places[order[i - 1]], places[order[i]], places[order[j]]
                gain = np.hypot(a[0] - b[0], a[1] - b[1]) - np.hypot(a[0] - c[0], a[1] - c[1])
                if j + 1 < n:
                    d = places[order[j + 1]]
                    gain += np.hypot(c[0] - d[0], c[1] - d[1]) - np.hypot(b[0] - d[0], b[1] - d[1])
                if gain > 1e-9:
                    order[i : j + 1] = order[i : j + 1][::-1].copy()
                    better = True
    return order


def disk_radius_um(plan: Plan, field_um: tuple[float, float]) -> float:
    """Radius of what is exposed: that of the microscope, at least as far as the corners of the field."""
    return max(plan.microscope.illumination_radius_um, float(np.hypot(*field_um)) / 2)


def dose_mj_per_um2(plan: Plan, field_um: tuple[float, float]) -> float:
    """Most light that a field gets: readout and activation at their highest, for all frames of all colours."""
    area = np.pi * disk_radius_um(plan, field_um) ** 2
    total = 0.0
    for colour in plan.imaging:
        channel = plan.microscope.channels[colour.channel]
        power = colour.power_mw or channel.power_mw
        power += colour.density.highest_mw if colour.density else 0.0
        total += power * colour.frames * (colour.exposure_ms or channel.exposure_ms) / 1000
    return float(total / area)


def exposures_of_a_place(plan: Plan, field_um: tuple[float, float]) -> int:
    """How many fields may light the same place: one, but for objects that are covered, whose fields overlap."""
    if plan.objects.large != "cover":
        return 1
    reach = 2 * disk_radius_um(plan, field_um)
    part = 1 - plan.objects.cover_overlap_percent / 100
    # so many rows, and so many fields of each, have their middles nearer to a place than the light reaches
    per_axis = [int(reach / (part * side)) + 1 for side in field_um]
    return int(np.prod(per_axis))


def estimate(plan: Plan, *, shape_px: tuple[int, int], pixel_um: float) -> dict[str, Any]:
    """What a plan will take, before any laser is on: tiles, time, dose, disk.

    The number of fields is at most the quota, or as many disks as fit on the area; objects may be fewer. Where objects
    are covered, all of the area may be one object.
    """
    field = (shape_px[1] * pixel_um, shape_px[0] * pixel_um)
    rig = plan.microscope
    regions = regions_of(plan.scan, plan.affine)
    places = [tiles_of(region, field, plan.scan.overlap_percent) for region in regions]
    tiles = sum(map(len, places))
    rows = [int(count) for own in places for count in np.unique(own[:, 1], return_counts=True)[1]]
    size = {"width_um": field[0], "pixel_um": pixel_um, "move_s": _MOVE_S}
    scan_s = scanning.seconds(plan, rows, **size)
    scan = {"scan_s": scan_s}
    if plan.scan.mode == "continuous":
        scanning.check_axes(plan)
        stops = plan.replace(scan=plan.scan.replace(mode="sequential", exposure_ms=None))
        motion = scanning.motion_of(plan, plan.scan.channels[0], width_um=field[0], pixel_um=pixel_um)
        scan |= {
            "scan_sequential_s": scanning.seconds(stops, rows, **size),
            "scan_saved_s": scanning.seconds(stops, rows, **size) - scan_s,
            "scan_speed_um_s": motion.speed_um_s,
        }
    if plan.scan.exposure_ms is not None:
        scan["scan_light_percent"] = 100 * min(scanning.light_of(plan, name).part for name in plan.scan.channels)
    colours = [
        (colour.frames, colour.exposure_ms or rig.channels[colour.channel].exposure_ms) for colour in plan.imaging
    ]
    frames = sum(count for count, _ in colours)
    field_s = _MOVE_S + sum(count * exposure for count, exposure in colours) / 1000
    radius = disk_radius_um(plan, field)
    area = sum((r.bounds_um[2] - r.bounds_um[0]) * (r.bounds_um[3] - r.bounds_um[1]) for r in regions)
    fields = max(int(area / (np.pi * radius**2)), 1)
    if plan.objects.large == "cover":
        fields = sum(len(tiles_of(region, field, plan.objects.cover_overlap_percent)) for region in regions)
    elif plan.objects.quota is not None:
        per_group = plan.objects.fields_per_large if plan.objects.large == "random" else 1
        fields = min(fields, plan.objects.quota * per_group * len(regions) * max(len(plan.objects.classes), 1))
    pixels = shape_px[0] * shape_px[1] * _BYTES_PER_PIXEL
    return {
        "regions": len(regions),
        "tiles": tiles,
        **scan,
        "fields_at_most": fields,
        "frames_per_field": frames,
        "field_s": field_s,
        "time_at_most_min": (scan_s + fields * field_s) / 60,
        "dose_per_field_mj_per_um2": dose_mj_per_um2(plan, field),
        "dose_at_a_place_mj_per_um2": dose_mj_per_um2(plan, field) * exposures_of_a_place(plan, field),
        "dose_limit_mj_per_um2": plan.limits.dose_mj_per_um2,
        "disk_at_most_gb": pixels * (frames * fields + tiles * len(plan.scan.channels)) / 1e9,
    }
