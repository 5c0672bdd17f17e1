from __future__ import annotations

import numpy as np
import pytest
import shapely

from lucule.core import InputError, Localizations, Region
from lucule.view import Picture, overlay
from lucule.view.colours import BLUE, GOLD


def black(side: int = 100, pixel_nm: float = 10.0, origin: tuple[float, float] = (0.0, 0.0)) -> Picture:
    return Picture(np.zeros((side, side, 3), np.uint8), pixel_nm, origin)


def lit(picture: Picture) -> np.ndarray:
    return picture.rgb.max(axis=2) > 100


def test_outlines_follow_shells_and_holes() -> None:
    ring = shapely.Polygon(
        [(200, 200), (800, 200), (800, 800), (200, 800)], [[(400, 400), (600, 400), (600, 600), (400, 600)]]
    )
    drawn = overlay.outlines(black(), [ring])
    light = lit(drawn)
    assert light[20, 50]
    assert light[50, 20]
    assert light[40, 50]  # the hole
    assert not light[50, 50]
    assert not light[30, 50]
    assert not light[10, 10]
    assert not black().rgb.any()  # the picture that was drawn over is unchanged


def test_the_length_of_a_line_is_drawn_with_its_width() -> None:
    square = shapely.box(205, 205, 805, 805)
    cover = overlay.outlines(black(), [square], line_px=2.0, colour=(255, 255, 255)).rgb[..., 0].sum() / 255
    assert cover == pytest.approx(4 * 60 * 2, rel=0.03)


def test_positions_follow_the_origin_of_the_picture() -> None:
    drawn = overlay.outlines(black(origin=(5000.0, 3000.0)), [shapely.box(5200, 3100, 5400, 3300)])
    rows, columns = np.nonzero(lit(drawn))
    assert (rows.min(), rows.max()) == pytest.approx((10, 30), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((20, 40), abs=1)


def test_neighbouring_outlines_differ_in_colour() -> None:
    drawn = overlay.outlines(
        black(), [shapely.box(100, 100, 300, 300), shapely.box(500, 100, 700, 300)], colour="neighbours"
    )
    assert drawn.rgb[10, 20].tolist() != drawn.rgb[10, 60].tolist()
    assert drawn.rgb[10, 20].any()


def test_multipolygons_empty_and_missing_outlines() -> None:
    two = shapely.MultiPolygon([shapely.box(100, 100, 200, 200), shapely.box(400, 400, 500, 500)])
    drawn = lit(overlay.outlines(black(), [None, shapely.Polygon(), two]))
    assert drawn[10, 15]
    assert drawn[40, 45]
    assert not drawn[20, 40]
    assert overlay.outlines(black(), []).rgb.shape == (100, 100, 3)
    assert not overlay.outlines(black(), [None]).rgb.any()


def test_outlines_outside_the_picture_are_cut() -> None:
    shapes = [shapely.box(-500, -500, -100, -100), shapely.box(-50, 300, 5000, 600)]
    drawn = lit(overlay.outlines(black(), shapes))
    assert drawn[30, 99]
    assert not drawn[:20].any()


def test_boxes_and_their_names() -> None:
    regions = [Region.rectangle(200, 300, 500, 600), Region.rectangle(0, 0, 100, 100)]
    plain, named = overlay.boxes(black(), regions), overlay.boxes(black(), regions, names="AB")
    assert lit(plain)[30, 35]
    assert lit(named).sum() > lit(plain).sum()
    assert overlay.boxes(black(), []).rgb.shape == (100, 100, 3)
    with pytest.raises(InputError, match="one name"):
        overlay.boxes(black(), regions, names="A")


def test_labelled_points_over_a_picture() -> None:
    locs = Localizations({"x": [205.0, 705.0], "y": [205.0, 305.0], "label": np.array([1, 0], np.uint8)})
    drawn = overlay.labelled_points(black(), locs, spot_nm=60)
    assert drawn.rgb[20, 20].tolist() == list(GOLD)
    assert drawn.rgb[30, 70].tolist() == list(BLUE)
    assert drawn.legend is not None


def test_clustered_points_lie_on_top() -> None:
    locs = Localizations({"x": [205.0, 205.0], "y": [205.0, 205.0], "label": np.array([1, 0], np.uint8)})
    assert overlay.labelled_points(black(), locs).rgb[20, 20].tolist() == list(GOLD)


def test_sizes_that_cannot_be() -> None:
    locs = Localizations({"x": [5.0], "y": [5.0], "label": np.array([1], np.uint8)})
    with pytest.raises(InputError, match="width"):
        overlay.outlines(black(), [shapely.box(0, 0, 10, 10)], line_px=0)
    with pytest.raises(InputError, match="diameter"):
        overlay.labelled_points(black(), locs, spot_nm=-1)
