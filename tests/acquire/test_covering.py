"""Whatever shape an object has, its fields leave nothing out, hang together, and are no more than a grid would take."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import affinity

from lucule.acquire.covering import covering

FIELD = (10.0, 8.0)
OVERLAP = 0.12


def blob(seed: int, radius: float) -> shapely.Geometry:
    """A round thing with lobes."""
    rng = np.random.default_rng(seed)
    turns = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    lobes = sum(rng.normal(0, 0.25 / k) * np.cos(k * turns + rng.uniform(0, 6)) for k in range(2, 7))
    r = radius * np.maximum(1 + lobes, 0.15)
    return shapely.Polygon(np.stack([r * np.cos(turns), r * np.sin(turns)], axis=1)).buffer(0)


comb = shapely.union_all([shapely.box(0, 0, 60, 3), *(shapely.box(x, 0, x + 2, 25) for x in range(0, 60, 12))])
SHAPES = {
    "just larger": shapely.Point(3, -2).buffer(5.4),
    "a little wider": shapely.box(0, 0, 10.4, 7),
    "a little higher": shapely.box(0, 0, 9, 8.3),
    "exactly two": shapely.box(0, 0, 18.8, 8),
    "rod": affinity.rotate(shapely.box(0, 0, 70, 1.5), 37),
    "hook": shapely.union_all([shapely.box(0, 0, 50, 4), shapely.box(0, 0, 4, 40)]),
    "ring": shapely.Point(0, 0).buffer(30).difference(shapely.Point(0, 0).buffer(26)),
    "crescent": shapely.Point(0, 0).buffer(25).difference(shapely.Point(9, 4).buffer(22)),
    "comb": comb,
    "comb, turned": affinity.rotate(comb, 90),
    "two parts": shapely.MultiPolygon([shapely.box(0, 0, 9, 7), shapely.box(30, 20, 45, 22)]),
} | {f"blob {seed}": blob(seed, 4 + 3 * seed) for seed in range(1, 13)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("overlap", [0.05, OVERLAP, 0.5])
def test_nothing_is_left_out_and_nothing_overlaps_more_than_asked(shape: shapely.Geometry, overlap: float) -> None:
    size = np.array(FIELD)
    middles = covering(shape, FIELD, overlap)
    boxes = shapely.box(*(middles - size / 2).T, *(middles + size / 2).T)
    assert shape.difference(shapely.union_all(boxes)).area < 1e-6 * shape.area
    away = np.abs(middles[:, None] - middles[None])[~np.eye(len(middles), dtype=bool)]
    assert ((away > (1 - overlap) * size - 1e-9).any(axis=1)).all()
    # every field shows some of it
    assert (shapely.area(shapely.intersection(boxes, shape)) > 0).all()
    assert len(middles) <= in_a_grid(shape, overlap)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "two parts"])
def test_fields_hang_together_by_what_two_of_them_see(name: str) -> None:
    from scipy.sparse.csgraph import connected_components

    middles, size = covering(SHAPES[name], FIELD, OVERLAP), np.array(FIELD)
    boxes = shapely.box(*(middles - size / 2).T, *(middles + size / 2).T)
    common = shapely.intersection(boxes[:, None], boxes[None])
    seen = shapely.area(shapely.intersection(common, SHAPES[name]))
    assert connected_components(seen > 1e-3)[0] == 1


def test_what_needs_fewer_gets_fewer() -> None:
    counts = {name: len(covering(shape, FIELD, OVERLAP)) for name, shape in SHAPES.items()}
    assert counts["a little wider"] == counts["a little higher"] == counts["exactly two"] == 2
    assert counts["just larger"] == 3  # the corners of its box are empty
    assert counts["hook"] == 11  # six along each side, the corner shared
    saved = {name: in_a_grid(shape, OVERLAP) - counts[name] for name, shape in SHAPES.items()}
    assert sum(saved.values()) > 10


def in_a_grid(shape: shapely.Geometry, overlap: float) -> int:
    """Fields that a grid over the box takes, without those that see nothing."""
    size = np.array(FIELD)
    low, high = np.array(shape.bounds[:2]), np.array(shape.bounds[2:])
    counts = np.ceil((high - low - overlap * size) / ((1 - overlap) * size) - 1e-9).astype(int).clip(1)
    steps = [np.linspace(0, 1, count) if count > 1 else np.array([0.5]) for count in counts]
    middles = low + size / 2 + np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2) * (high - low - size)
    return int(shapely.intersects(shape, shapely.box(*(middles - size / 2).T, *(middles + size / 2).T)).sum())
