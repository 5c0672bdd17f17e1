"""Regions: what lies inside, what they cost, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError, Region

SQUARE = [(0, 0), (100, 0), (100, 100), (0, 100)]


def test_polygon_with_hole() -> None:
    region = Region.polygon(SQUARE, holes=[[(40, 40), (60, 40), (60, 60), (40, 60)]])
    assert region.area_um2 == pytest.approx((100**2 - 20**2) / 1e6)
    assert region.contains([[50, 50], [10, 10], [150, 50]]).tolist() == [False, True, False]
    assert not region.is_rectangle


def test_rectangles_tile_the_plane() -> None:
    """A point on a shared edge belongs to one of two neighbours."""
    left, right = Region.rectangle(0, 0, 50, 100), Region.rectangle(50, 0, 100, 100)
    points = np.array([[50.0, 10.0], [0.0, 0.0], [49.9, 99.9]])
    assert (left.contains(points).astype(int) + right.contains(points)).tolist() == [1, 1, 1]


def test_fraction_inside_a_disc_is_its_area() -> None:
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    disc = Region.polygon(np.column_stack([500 + 400 * np.cos(angles), 500 + 400 * np.sin(angles)]))
    points = np.random.default_rng(1).uniform(0, 1000, (200_000, 2))
    assert disc.contains(points).mean() == pytest.approx(np.pi * 0.4**2, abs=0.004)
    assert disc.area_um2 == pytest.approx(np.pi * 0.16, rel=1e-3)


def test_geojson_round_trip() -> None:
    region = Region.union(
        [Region.polygon(SQUARE, holes=[[(40, 40), (60, 40), (60, 60)]]), Region.rectangle(200, 0, 300, 5)]
    )
    again = Region.from_geojson(region.to_geojson())
    assert again.shape.equals(region.shape)
    collection = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": region.to_geojson()}]}
    assert Region.from_geojson(collection, scale_nm=2).area_um2 == pytest.approx(4 * region.area_um2)


def test_crossing_outline_is_mended() -> None:
    bow_tie = Region.polygon([(0, 0), (100, 100), (100, 0), (0, 100)])
    assert bow_tie.area_um2 == pytest.approx(5000 / 1e6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Region.rectangle(10, 0, 0, 10),
        lambda: Region.polygon([(0, 0), (1, 1)]),
        lambda: Region.polygon([(0, 0), (1, 1), (2, 2)]),
        lambda: Region.polygon([(0, 0), (1, np.nan), (2, 2)]),
        lambda: Region.from_geojson({"type": "Point", "coordinates": [0, 0]}),
        lambda: Region.from_geojson({"type": "Polygon", "coordinates": "text"}),
        lambda: Region.from_geojson({"type": "Feature", "geometry": None}),
    ],
)
def test_bad_regions(make) -> None:
    with pytest.raises(InputError):
        make()
