"""Regions: ImageJ selections, GeoJSON, masks and label images."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from roifile import ROI_TYPE, ImagejRoi

from lucule import io
from lucule.core import FormatError, InputError, Region
from lucule.io import regions
from lucule.io._outlines import outlines

SQUARE = [[2, 3], [6, 3], [6, 5], [2, 5]]  # pixels: 4 wide, 2 high


def roi(kind: ROI_TYPE, *, bounds: tuple[int, int, int, int] = (2, 3, 6, 5), **more: Any) -> ImagejRoi:
    """A selection given by left, top, right, bottom."""
    selection = ImagejRoi(roitype=kind, **more)
    selection.left, selection.top, selection.right, selection.bottom = bounds
    return selection


def save_zip(path: Path, selections: dict[str, ImagejRoi]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, selection in selections.items():
            archive.writestr(f"{name}.roi", selection.tobytes())
    return path


# -- ImageJ


@pytest.mark.parametrize("subpixel", [False, True])
@pytest.mark.parametrize("kind", [ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED])
def test_polygons(tmp_path: Path, kind: ROI_TYPE, subpixel: bool) -> None:
    selection = ImagejRoi.frompoints(np.array(SQUARE, "f4" if subpixel else "i4"), name="cell")
    selection.roitype = kind
    path = tmp_path / "a.roi"
    path.write_bytes(selection.tobytes())
    region = regions.read(path, pixel_size_nm=100)
    assert region.bounds == (200, 300, 600, 500)
    assert region.area_um2 == pytest.approx(0.08)
    assert list(regions.read_named(path, pixel_size_nm=100)) == ["cell"]


def test_one_pixel(tmp_path: Path) -> None:
    """A selection of the pixel in column 3, row 5 holds a localization in its centre, and none beside it."""
    path = tmp_path / "a.roi"
    path.write_bytes(roi(ROI_TYPE.RECT, bounds=(3, 5, 4, 6)).tobytes())
    region = regions.read(path, pixel_size_nm=(100, 120))
    assert region.bounds == (300, 600, 400, 720)
    assert region.contains([[350, 660], [290, 660], [350, 725]]).tolist() == [True, False, False]


def test_rectangles(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    selection = roi(ROI_TYPE.RECT, rounded_rect_arc_size=1)
    path.write_bytes(selection.tobytes())
    rounded = regions.read(path, pixel_size_nm=1000)
    assert rounded.area_um2 == pytest.approx(8 - (4 - np.pi) / 4, rel=1e-4)


def test_ovals(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    path.write_bytes(roi(ROI_TYPE.OVAL).tobytes())
    region = regions.read(path, pixel_size_nm=1000)
    assert region.area_um2 == pytest.approx(np.pi * 2 * 1, rel=5e-4)
    assert region.bounds == pytest.approx((2000, 3000, 6000, 5000))


def test_composite_selections_have_holes(tmp_path: Path) -> None:
    def ring(low: float, high: float) -> list[float]:
        return [0, low, low, 1, high, low, 1, high, high, 1, low, high, 4]

    selection = roi(ROI_TYPE.RECT, bounds=(0, 0, 20, 20))
    selection.multi_coordinates = np.array(ring(0, 10) + ring(4, 6) + ring(15, 20), "f4")
    selection.shape_roi_size = selection.multi_coordinates.size
    path = tmp_path / "a.roi"
    path.write_bytes(selection.tobytes())
    region = regions.read(path, pixel_size_nm=1000)
    assert region.area_um2 == pytest.approx(100 - 4 + 25)
    assert region.contains([[5000, 5000], [1000, 1000], [16000, 16000]]).tolist() == [False, True, True]


def test_sets_are_united_or_read_one_by_one(tmp_path: Path) -> None:
    first, second = roi(ROI_TYPE.RECT), roi(ROI_TYPE.RECT, bounds=(4, 3, 8, 5))
    path = save_zip(tmp_path / "RoiSet.zip", {"0003-0004": first, "0003-0006": second})
    named = regions.read_named(path, pixel_size_nm=1000)
    assert {name: region.area_um2 for name, region in named.items()} == {"0003-0004": 8, "0003-0006": 8}
    assert regions.read(path, pixel_size_nm=1000).area_um2 == 12


def test_selections_of_one_name_are_all_kept(tmp_path: Path) -> None:
    path = save_zip(tmp_path / "a.zip", {"1": roi(ROI_TYPE.RECT, name="cell"), "2": roi(ROI_TYPE.OVAL, name="cell")})
    assert list(regions.read_named(path, pixel_size_nm=100)) == ["cell", "cell (2)"]


def test_the_pixel_size_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    path.write_bytes(roi(ROI_TYPE.RECT).tobytes())
    with pytest.raises(InputError, match="--pixel-size-nm"):
        regions.read(path)
    with pytest.raises(InputError, match="must be positive"):
        regions.read(path, pixel_size_nm=-3)


@pytest.mark.parametrize("kind", [ROI_TYPE.LINE, ROI_TYPE.POINT, ROI_TYPE.POLYLINE])
def test_lines_and_points_enclose_nothing(tmp_path: Path, kind: ROI_TYPE) -> None:
    selection = ImagejRoi.frompoints(SQUARE)
    selection.roitype = kind
    path = save_zip(tmp_path / "a.zip", {"line": selection})
    with pytest.raises(InputError, match="encloses no area"):
        regions.read(path, pixel_size_nm=100)


def test_damaged_selections(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    path.write_bytes(b"Iout" + bytes(3))
    with pytest.raises(FormatError, match="damaged"):
        regions.read(path, pixel_size_nm=100)
    save_zip(path, {"1": roi(ROI_TYPE.RECT)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match="damaged"):
        regions.read(path, pixel_size_nm=100)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "")
    with pytest.raises(FormatError, match="without ImageJ selections"):
        regions.read(path, pixel_size_nm=100)


# -- GeoJSON


def geojson(path: Path, *features: dict[str, Any], **more: Any) -> Path:
    document = features[0] if len(features) == 1 else {"type": "FeatureCollection", "features": list(features)}
    path.write_text(json.dumps(document | more))
    return path


def feature(**properties: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}
    return {"type": "Feature", "properties": properties or None, "geometry": geometry}


def test_geojson_is_in_nm_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    assert regions.read(geojson(path, feature())).bounds == (2, 3, 6, 5)
    assert regions.read(geojson(path, feature()["geometry"])).bounds == (2, 3, 6, 5)
    assert regions.read(geojson(path, feature(unit="um"))).bounds == (2000, 3000, 6000, 5000)
    geojson(path, feature(name="a"), feature(name="a"), unit="px")
    assert regions.read(path, pixel_size_nm=(10, 100)).bounds == (20, 300, 60, 500)
    assert list(regions.read_named(path, pixel_size_nm=1)) == ["a", "a (2)"]
    with pytest.raises(InputError, match="--pixel-size-nm"):
        regions.read(path)


def test_geojson_round_trip(tmp_path: Path) -> None:
    hole = [[1000, 1000], [2000, 1000], [1000, 2000]]
    region = Region.polygon([[0, 0], [5000, 0], [5000, 3000], [0, 3000]], holes=[hole])
    path = regions.write_geojson(region, tmp_path / "a.geojson", name="cell")
    assert regions.read(path).shape.equals(region.shape)
    assert list(regions.read_named(path)) == ["cell"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "no GeoJSON features"),
        ('{"type": "Point", "coordinates": [1, 2]}', "holds no area"),
        ('{"type": "Polygon", "coordinates": [[[1, 2]]]}', "damaged|no area"),
        ('{"type": "Feature", "properties": {"unit": "mile"}, "geometry": null}', "mile"),
    ],
)
def test_damaged_geojson(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InputError, match=message):
        regions.read(tmp_path / "a.geojson")


# -- masks


def test_one_pixel_of_a_mask(tmp_path: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[5, 3] = 255
    tifffile.imwrite(tmp_path / "a.tif", mask)
    region = regions.read(tmp_path / "a.tif", pixel_size_nm=(100, 120))
    assert region.bounds == (300, 600, 400, 720)
    assert region.contains([[350, 660]]).all()


def test_labels_by_number_and_parts_of_a_mask(tmp_path: Path) -> None:
    labels = np.array([[1, 1, 0, 0], [0, 0, 7, 7], [0, 0, 7, 0]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    named = regions.read_named(tmp_path / "a.tif", pixel_size_nm=1000)
    assert {name: region.area_um2 for name, region in named.items()} == {"1": 2, "7": 3}
    tifffile.imwrite(tmp_path / "b.tif", (labels > 0).astype(np.float32))
    named = regions.read_named(tmp_path / "b.tif", pixel_size_nm=1000)
    assert sorted(region.area_um2 for region in named.values()) == [2, 3]


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 3)))
def test_outlines_cover_exactly_the_pixels(labels: np.ndarray) -> None:
    found = outlines(labels)
    rows, columns = np.indices(labels.shape)
    centres = np.column_stack([columns.ravel(), rows.ravel()]) + 0.5
    covered = np.zeros(labels.size, int)
    for label, area in found.items():
        inside = Region.from_shape(area).contains(centres)
        assert area.area == pytest.approx(inside.sum())
        covered[inside] = label if len(np.unique(labels[labels > 0])) > 1 else labels.max()
    np.testing.assert_array_equal(covered, labels.ravel())


def test_straight_edges_have_no_points_between_corners() -> None:
    assert len(outlines(np.ones((50, 50), int))[1].exterior.coords) == 5


def test_a_page_must_be_chosen(tmp_path: Path) -> None:
    stack = np.zeros((2, 4, 4), np.uint8)
    stack[1, 1:3, 1:3] = 1
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, photometric="minisblack")
    with pytest.raises(InputError, match="several masks"):
        regions.read(path, pixel_size_nm=100)
    assert regions.read(path, pixel_size_nm=100, page=1).bounds == (100, 100, 300, 300)
    with pytest.raises(InputError, match="empty"):
        regions.read(path, pixel_size_nm=100, page=0)
    with pytest.raises(InputError, match="no such page"):
        regions.read(path, pixel_size_nm=100, page=2)


def test_the_pixel_size_with_which_imagej_saved_a_mask(tmp_path: Path) -> None:
    mask = np.ones((4, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", mask, imagej=True, resolution=(10, 5), metadata={"unit": "um"})
    assert regions.read(tmp_path / "a.tif").bounds == pytest.approx((0, 0, 400, 800))
    assert regions.read(tmp_path / "a.tif", pixel_size_nm=1).bounds == (0, 0, 4, 4)
    tifffile.imwrite(tmp_path / "b.tif", mask)
    with pytest.raises(InputError, match="--pixel-size-nm"):
        regions.read(tmp_path / "b.tif")


def test_images_that_are_no_masks(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 4, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match="colour image"):
        regions.read(path, pixel_size_nm=100)
    tifffile.imwrite(path, np.full((4, 4), 0.5, np.float32))
    with pytest.raises(FormatError, match="not a mask"):
        regions.read(path, pixel_size_nm=100)
    tifffile.imwrite(path, np.ones((64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="damaged"):
        regions.read(path, pixel_size_nm=100)


def test_files_that_hold_no_region(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(FormatError, match="no region"):
        regions.read(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        regions.read(path)
    with pytest.raises(InputError, match="no file"):
        regions.read(tmp_path / "b.roi")
    with pytest.raises(InputError, match="Cannot read"):
        regions.read(tmp_path)


@pytest.mark.parametrize(("table", "page"), [("01_storm", 0), ("03_storm", 2), ("07_storm", 6)])
def test_real_masks_hold_their_localizations(table: str, page: int, data_path: Any) -> None:
    """Masks of E. coli drawn on images with 80 nm pixels; the tables were cleaned with them."""
    locs = io.read(data_path(f"ecoli_storm/{table}.csv"))
    path = data_path("ecoli_storm/binary_storm.tif")
    assert regions.read(path, pixel_size_nm=80, page=page).contains(locs.xy()).mean() > 0.99
    assert regions.read(path, pixel_size_nm=80, page=1).contains(locs.xy()).mean() < 0.2


def test_real_labels(data_path: Any) -> None:
    path = data_path("nuclei/fluorescence/52b267e2_labels.tif")
    labels = tifffile.imread(path)
    named = regions.read_named(path, pixel_size_nm=1000)
    numbers, counts = np.unique(labels[labels > 0], return_counts=True)
    assert {name: round(region.area_um2) for name, region in named.items()} == {
        str(number): count for number, count in zip(numbers, counts, strict=True)
    }
