"""Annotations of every kind say the same about the same drawing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from roifile import ROI_TYPE, ImagejRoi

from lucule.core import InputError
from lucule.segment import annotations
from lucule.segment.annotations import IGNORE, from_array, pairs, read

SHAPE = (40, 60)
# two touching squares and one apart
SQUARES = ((5, 5, 15, 15), (15, 5, 25, 15), (40, 20, 50, 30))


def drawn() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    for number, (left, top, right, bottom) in enumerate(SQUARES, start=1):
        labels[top:bottom, left:right] = 10 * number
    return labels


def roi(points: list[tuple[float, float]], kind: ROI_TYPE = ROI_TYPE.POLYGON, name: str = "") -> bytes:
    selection = ImagejRoi.frompoints(np.array(points), name=name)
    selection.roitype = kind
    return selection.tobytes()


def corners(square: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    left, top, right, bottom = square
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


@pytest.mark.parametrize("bits", ["uint8", "uint16", "int32", "float32"])
def test_labels_keep_touching_objects_apart_at_any_bit_depth(tmp_path: Path, bits: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", drawn().astype(bits))
    found = read(tmp_path / "a.tif", SHAPE)
    assert found.count == 3
    assert np.array_equal(found.classes > 0, drawn() > 0)


def test_a_mask_joins_what_touches(tmp_path: Path) -> None:
    Pillow.fromarray((drawn() > 0).astype(np.uint8) * 255).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", SHAPE).count == 2


def test_palettes_are_numbers(tmp_path: Path) -> None:
    picture = Pillow.fromarray(drawn().astype(np.uint8)).convert("P")
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", SHAPE).count == 3


def test_imagej(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, square in enumerate(SQUARES):
            archive.writestr(f"00{number}.roi", roi(corners(square), name=f"000{number}-0010"))
    found = read(tmp_path / "a.zip", SHAPE)
    assert found.count == 3
    assert found.names == ("object",)
    assert np.array_equal(found.classes > 0, drawn() > 0)


def test_names_of_imagej_are_classes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for square, name in zip(SQUARES, ("cell", "cell-2", "node"), strict=True):
            archive.writestr(f"{name}.roi", roi(corners(square), name=name))
    found = read(tmp_path / "a.zip", SHAPE)
    assert found.names == ("cell", "node")
    assert np.unique(found.classes[drawn() == 30]).tolist() == [2]


def test_lines_of_imagej_are_strokes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.roi", roi([(6, 10), (24, 10)], ROI_TYPE.FREELINE, "cell"))
        archive.writestr("2.roi", roi([(3, 35), (50, 35)], ROI_TYPE.POLYLINE, "background"))
    found = read(tmp_path / "a.zip", SHAPE)
    assert not found.apart
    assert found.classes[10, 12] == 1
    assert found.classes[35, 20] == 0
    assert found.classes[20, 30] == IGNORE
    assert not found.objects.any()


@pytest.mark.parametrize(("unit", "scale"), [(None, 1.0), ("px", 1.0), ("nm", 100.0), ("um", 0.1)])
def test_geojson(tmp_path: Path, unit: str | None, scale: float) -> None:
    features = []
    for square, name in zip(SQUARES, ("cell", "cell", "node"), strict=True):
        ring = [[scale * x, scale * y] for x, y in [*corners(square), corners(square)[0]]]
        properties = {"classification": {"name": name}} | ({"unit": unit} if unit else {})
        features.append(
            {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = read(path, SHAPE, pixel_size_nm=100.0)
    assert found.count == 3
    assert found.names == ("cell", "node")
    assert np.array_equal(found.classes > 0, drawn() > 0)


def test_strokes_leave_the_rest_unknown() -> None:
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[2], strokes[10] = 1, 2
    found = from_array(strokes, kind="strokes")
    assert np.bincount(found.classes.ravel(), minlength=256)[[0, 1, IGNORE]].tolist() == [60, 60, 38 * 60]


def test_only_some_objects() -> None:
    whole = from_array(drawn())
    found = whole.only([1])
    assert found.count == 1
    assert np.unique(found.classes[drawn() == 20]).tolist() == [IGNORE]
    near = found.around_objects(3)
    assert near.classes[10, 3] == 0
    assert near.classes[35, 55] == IGNORE


@pytest.mark.parametrize(
    ("array", "kind", "names", "message"),
    [
        (np.zeros(SHAPE), "auto", ("a",), "no annotated object"),
        (np.full(SHAPE, 0.5), "auto", ("a",), "whole numbers"),
        (np.full(SHAPE, np.nan), "auto", ("a",), "whole numbers"),
        (np.zeros((3, *SHAPE)), "auto", ("a",), "rows, columns"),
        (np.full(SHAPE, 3), "classes", ("a", "b"), "more classes"),
        (np.full(SHAPE, 2), "strokes", ("a",), "at least one on the background"),
    ],
)
def test_what_cannot_be_used(array: np.ndarray, kind: str, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_array(array, kind=kind, names=names)


def test_another_size_than_the_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", drawn())
    with pytest.raises(InputError, match="does not fit its image"):
        read(tmp_path / "a.tif", (10, 10))


def test_names_of_files() -> None:
    images = [Path(f"i/{name}.tif") for name in ("s_1", "s_10", "t")]
    files = [Path(f"m/{name}") for name in ("s_1_labels.tif", "s_10.zip", "other.tif")]
    assert {image.stem: next(iter(parts.values())).name for image, parts in pairs(images, files)} == {
        "s_1": "s_1_labels.tif",
        "s_10": "s_10.zip",
    }
    with pytest.raises(InputError, match="two annotations"):
        pairs(images, [*files, Path("m/s_1.zip")])
    with pytest.raises(InputError, match="No image has an annotation"):
        pairs(images, files[2:])


def test_classes_from_files_of_their_own() -> None:
    found = annotations.combine(
        {"cell": from_array(drawn()), "node": from_array((drawn() == 30).astype(int))},
    )
    assert found.count == 3
    assert np.unique(found.classes[drawn() == 30]).tolist() == [2]
