from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError, Localizations, Region
from lucule.view import choose_zooms


def uneven(seed: int = 2) -> tuple[Localizations, np.ndarray]:
    """Clusters that get denser to the right, over localizations everywhere."""
    rng = np.random.default_rng(seed)
    centres = np.column_stack([20_000 * np.sqrt(rng.uniform(0, 1, 500)), rng.uniform(0, 12_000, 500)])
    x, y = rng.uniform(0, 20_000, 40_000), rng.uniform(0, 12_000, 40_000)
    return Localizations({"x": x, "y": y}), centres


def inside(points: np.ndarray, region: Region) -> int:
    return int(region.contains(points).sum())


def test_many_typical_and_few() -> None:
    locs, centres = uneven()
    zooms = choose_zooms(locs, centres)
    assert [zoom.reason for zoom in zooms] == ["many clusters", "typical", "few clusters"]
    many, typical, few = (zoom.clusters for zoom in zooms)
    assert many > typical > few >= 1
    for zoom in zooms:
        x_min, y_min, x_max, y_max = zoom.region.bounds
        assert x_max - x_min == pytest.approx(1500)
        assert y_max - y_min == pytest.approx(1500)
        assert x_min >= 0
        assert x_max <= 20_000
        assert inside(centres, zoom.region) == pytest.approx(zoom.clusters, abs=1)
        assert inside(locs.xy(), zoom.region) == pytest.approx(zoom.localizations, rel=0.01)


def test_windows_do_not_overlap() -> None:
    locs, centres = uneven()
    shapes = [zoom.region.shape for zoom in choose_zooms(locs, centres)]
    assert all(a.intersection(b).area == pytest.approx(0) for i, a in enumerate(shapes) for b in shapes[:i])


def test_the_same_table_in_any_order_gives_the_same_windows() -> None:
    locs, centres = uneven()
    rng = np.random.default_rng(9)
    shuffled = Localizations(locs.data[rng.permutation(len(locs))])
    first, second = choose_zooms(locs, centres), choose_zooms(shuffled, rng.permutation(centres))
    assert [zoom.region.bounds for zoom in first] == [zoom.region.bounds for zoom in second]


def test_without_clusters_localizations_decide() -> None:
    rng = np.random.default_rng(0)
    locs = Localizations({"x": rng.uniform(0, 9000, 2000), "y": rng.uniform(0, 9000, 2000)})
    for centres in (None, np.empty((0, 2))):
        zooms = choose_zooms(locs, centres)
        assert [zoom.reason for zoom in zooms] == ["many localizations", "typical", "few localizations"]
        assert zooms[0].localizations > zooms[1].localizations > zooms[2].localizations > 0


def test_a_region_limits_where_to_look() -> None:
    locs, centres = uneven()
    region = Region.rectangle(2000, 2000, 9000, 9000)
    for zoom in choose_zooms(locs, centres, region=region):
        x_min, y_min, x_max, y_max = zoom.region.bounds
        assert x_min >= 2000
        assert y_min >= 2000
        assert x_max <= 9000
        assert y_max <= 9000


@pytest.mark.parametrize("xy", [[], [(5.0, 5.0)], [(5.0, 5.0)] * 9])
def test_nothing_to_zoom_into(xy: list[tuple[float, float]]) -> None:
    points = np.array(xy, float).reshape(-1, 2)
    assert choose_zooms(Localizations({"x": points[:, 0], "y": points[:, 1]}), points) == ()


def test_small_fields_get_small_windows() -> None:
    rng = np.random.default_rng(0)
    locs = Localizations({"x": rng.uniform(0, 700, 2000), "y": rng.uniform(0, 700, 2000)})
    zooms = choose_zooms(locs, rng.uniform(0, 700, (50, 2)))
    assert zooms
    assert zooms[0].region.bounds[2] - zooms[0].region.bounds[0] == pytest.approx(200)
    assert choose_zooms(locs, size_nm=500) == ()


def test_narrow_and_huge_fields() -> None:
    rng = np.random.default_rng(0)
    narrow = Localizations({"x": rng.uniform(0, 40_000, 5000), "y": rng.uniform(0, 100, 5000)})
    assert len(choose_zooms(narrow)) == 3
    huge = Localizations({"x": rng.uniform(0, 900_000, 5000), "y": rng.uniform(0, 900_000, 5000)})
    assert choose_zooms(huge)[0].region.bounds[2] > 0
    with pytest.raises(InputError, match="size of the zooms"):
        choose_zooms(huge, size_nm=100)
    with pytest.raises(InputError, match="size of the zooms"):
        choose_zooms(narrow, size_nm=0)


def test_clusters_outside_the_table_are_no_reason() -> None:
    rng = np.random.default_rng(0)
    locs = Localizations({"x": rng.uniform(0, 9000, 2000), "y": rng.uniform(0, 9000, 2000)})
    assert len(choose_zooms(locs, np.array([[-90_000.0, 50.0]]))) == 3
