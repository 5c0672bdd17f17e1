"""From pixels to objects: cores, outlines, borders between tiles, tables."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
import shapely

from lucule.bench.segment import slide
from lucule.core import InputError
from lucule.segment.instances import cores, separate
from lucule.segment.objects import Found, Segmentation, merge, pieces, save
from lucule.segment.outlines import contour, fill
from lucule.segment.scores import scores
from lucule.segment.tiling import Window, first_pass, second_pass


def test_touching_objects_have_cores_of_their_own() -> None:
    labels = np.zeros((40, 80), np.int32)
    labels[5:35, 10:40], labels[5:35, 40:70] = 1, 2
    core = cores(labels)
    assert not core[:, 36:44].any()
    found = separate((labels > 0).astype(np.float32), core.astype(np.float32))
    assert scores(labels, found).recall == 1
    assert found.max() == 2


def test_a_core_stays_in_one_piece_where_an_object_has_a_neck() -> None:
    from scipy.ndimage import label

    labels = np.zeros((40, 90), np.int32)
    labels[5:35, 5:35] = labels[5:35, 55:85] = labels[12:28, 30:60] = 1
    assert label(cores(labels))[1] == 1


def test_foreground_without_a_core_is_an_object_and_specks_are_none() -> None:
    foreground = np.zeros((30, 30), np.float32)
    foreground[5:15, 5:15] = 0.9
    foreground[25, 25] = 0.9
    assert separate(foreground, np.zeros_like(foreground)).max() == 1
    assert separate(np.zeros_like(foreground), foreground).max() == 0


def test_outlines_keep_area_and_place_below_a_pixel() -> None:
    y, x = np.mgrid[:60, :60] + 0.5
    distance = np.hypot(x - 31.3, y - 28.6)
    probability = (1 / (1 + np.exp(distance - 17.4))).astype(np.float32)
    labels = (probability > 0.5).astype(np.int32)
    outline = contour(labels, probability, 1, (slice(0, 60), slice(0, 60)))
    assert outline is not None
    assert outline.area == pytest.approx(np.pi * 17.4**2, rel=0.005)
    assert (outline.centroid.x, outline.centroid.y) == pytest.approx((31.3, 28.6), abs=0.03)


def test_outlines_reach_the_edge_of_the_image_and_keep_holes() -> None:
    labels = np.ones((20, 20), np.int32)
    labels[8:12, 8:12] = 0
    outline = contour(labels, labels.astype(np.float32), 1, (slice(0, 20), slice(0, 20)))
    assert outline is not None
    assert outline.bounds == pytest.approx((0, 0, 20, 20), abs=0.01)
    assert outline.area == pytest.approx(400 - 16, abs=3)
    rows, columns = fill(outline, (20, 20))
    painted = np.zeros((20, 20), bool)
    painted[rows, columns] = True
    assert np.array_equal(painted, labels > 0)


def test_an_object_with_thousands_of_holes_is_outlined_within_seconds() -> None:
    rng = np.random.default_rng(1)
    labels = np.ones((400, 400), np.int32)
    labels[1:-1:4, 1:-1:4] = 0
    probability = np.where(labels > 0, rng.uniform(0.51, 0.6, labels.shape), 0.4).astype(np.float32)
    begun = time.process_time()
    outline = contour(labels, probability, 1, (slice(0, 400), slice(0, 400)))
    assert time.process_time() - begun < 5
    assert outline is not None
    assert len(outline.interiors) == 10_000
    rows, _ = fill(outline, labels.shape)
    assert len(rows) == labels.sum()


def truth_in_windows(labels: np.ndarray, side: int, reach: int, *, second: bool = True) -> Segmentation:
    """What a perfect network would find in each window, put together."""
    first = first_pass(labels.shape, side)
    windows = [*first, *(second_pass(labels.shape, side, reach) if second else [])]
    found = []
    for window in windows:
        part = labels[window.slices]
        inside = (part > 0).astype(np.float32)
        found.append(pieces(part, np.stack([1 - inside, inside]), inside, window, (1.0, 1.0)))
    return Segmentation.of(
        merge(found, windows, len(first), labels.shape, guard=4), image="a", shape=labels.shape, classes=("cell",)
    )


@pytest.mark.parametrize("side", [119, 210])
def test_borders_between_tiles_leave_no_trace(side: int) -> None:
    """With 324 objects, up to half of them on borders, the result does not depend on the tiles."""
    _, labels = slide(1, 830)
    result = scores(labels, truth_in_windows(labels, side, reach=60).labels())
    assert result.objects == 324
    assert result.recall == 1
    assert result.precision == 1
    assert result.duplicates == 0
    assert result.dice > 0.995


def test_without_the_second_pass_borders_cut_objects() -> None:
    _, labels = slide(1, 420)
    result = scores(labels, truth_in_windows(labels, 119, reach=60, second=False).labels())
    assert result.precision < 0.7
    assert result.duplicates > 0.3


def test_a_rim_at_the_side_of_a_window_is_no_object_of_its_own() -> None:
    """Of the rim of an object alone, networks paint beyond it."""
    whole = Found(shapely.Point(60, 50).buffer(20), 1, 0.9)
    rim, beside = Found(shapely.box(70, 44, 150, 56), 1, 0.7), Found(shapely.box(70, 80, 90, 95), 1, 0.8)
    shared = whole.outline.intersection(rim.outline).area / rim.outline.area
    assert 0.05 < shared < 0.2
    windows = [Window(0, 100, 0, 100), Window(0, 100, 70, 200)]
    found = merge([[whole], [rim, beside]], windows, 1, (100, 200), guard=4)
    assert [item.confidence for item in found] == [0.9, 0.8]


def test_objects_larger_than_any_window_are_joined() -> None:
    labels = np.zeros((300, 300), np.int32)
    labels[140:160, 10:290] = 1
    labels[170:290, 40:60] = 3
    labels[20:130, 40:60] = 2
    found = truth_in_windows(labels, 60, reach=20)
    assert len(found) == 3
    assert scores(labels, found.labels()).recall == 1


def test_windows_of_the_second_pass_lie_within_the_image() -> None:
    shape = (97, 205)
    for window in second_pass(shape, 50, 15):
        assert 0 <= window.top < window.bottom <= 97
        assert 0 <= window.left < window.right <= 205
    assert second_pass(shape, 500, 15) == []
    assert sum(window.rows_px * window.columns_px for window in first_pass(shape, 50)) == 97 * 205


def test_table() -> None:
    found = [Found(shapely.box(10, 20, 30, 40), 1, 0.9), Found(shapely.box(0, 50, 5, 60), 2, 0.8)]
    result = Segmentation.of(
        found, image="a.tif", shape=(100, 80), classes=("cell", "node"), pixel_size_nm=500,
        stage=[[0.5, 0, 1000], [0, -0.5, 2000]],
    )  # fmt: skip
    table = result.objects
    assert table["class"].to_list() == ["cell", "node"]
    assert table["x_px"].to_list() == [20, 2.5]
    assert table["area_um2"].to_list() == [100, 12.5]
    assert table["stage_x_um"].to_list() == [1010, 1001.25]
    assert table["stage_y_um"].to_list() == [1985, 1972.5]
    assert table["at_edge"].to_list() == [False, True]
    assert np.array_equal(np.unique(result.labels()), [0, 1, 2])
    assert (result.class_image() == 2).sum() == 50


def test_tables_without_objects_are_written_and_read(tmp_path) -> None:
    empty = Segmentation.of([], image="a", shape=(5, 5), classes=("cell",))
    assert pl.read_parquet(save(empty.objects, tmp_path / "a.parquet")).schema == empty.objects.schema
    assert not empty.labels().any()
    with pytest.raises(InputError, match="format"):
        save(empty.objects, tmp_path / "a.txt")
    with pytest.raises(InputError, match="stage"):
        Segmentation.of([], image="a", shape=(5, 5), classes=("cell",), stage=[[0, 0, 1], [0, 0, 1]])


def test_windows_guard_their_inner_sides_only() -> None:
    window = Window(0, 50, 50, 100)
    assert window.inside((60, 0, 90, 30), (50, 200), 8)
    assert not window.inside((60, 0, 95, 30), (50, 200), 8)
