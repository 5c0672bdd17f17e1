"""Objects: outlines in the coordinates of the image, put together from tiles, and their table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.core.files import atomic_path, with_ending
from lucule.segment.instances import Floats, Labels
from lucule.segment.outlines import contour, fill
from lucule.segment.tiling import Window

if TYPE_CHECKING:
    from shapely import Polygon

# two outlines are the same object when they share so much of the smaller one
_SAME: Final = 0.5
_CUT_SAME: Final = 0.2
# a piece at the side of a window is of an object that was seen as a whole: of a rim alone a network paints beyond it
_CUT_KNOWN: Final = 0.05
_LARGEST_PX: Final = 400_000_000

SCHEMA: Final[dict[str, Any]] = {
    "image": pl.String,
    "object": pl.UInt32,
    "class": pl.String,
    "confidence": pl.Float32,
    "x_px": pl.Float64,
    "y_px": pl.Float64,
    "area_px": pl.Float64,
    "area_um2": pl.Float64,
    "stage_x_um": pl.Float64,
    "stage_y_um": pl.Float64,
    "at_edge": pl.Boolean,
    "outline": pl.Binary,
}
"""Columns of the table of objects; `outline` is well-known binary (WKB), in pixels of the image."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object, or the part of one that lies in a window.

    Attributes
    ----------
    outline
        Polygon in pixels of the image.
    class_number
        1 for the first class.
    confidence
        Mean probability of its class over its pixels.
    """

    outline: Polygon
    class_number: int
    confidence: float


def pieces(
    labels: Labels, classes: Floats, foreground: Floats, window: Window, zoom: tuple[float, float]
) -> list[Found]:
    """Objects of one window.

    Parameters
    ----------
    labels, classes, foreground
        What the network saw: `(rows, columns)`, `(classes + 1, rows, columns)`, `(rows, columns)`.
    window
        Where that lies in the image.
    zoom
        Pixels of the image (x, y) for a pixel of `labels`.
    """
    import shapely
    from scipy.ndimage import find_objects

    found = []
    for number, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        outline = contour(labels, foreground, number, box)
        if outline is None:
            continue
        own = labels[box] == number
        share = classes[(slice(1, None), *box)][:, own].mean(axis=1)
        placed = shapely.transform(outline, lambda xy: xy * zoom + (window.left, window.top))
        if placed.is_valid and placed.area > 0:
            found.append(Found(placed, int(share.argmax()) + 1, float(share.max())))
    return found


def merge(
    found: Sequence[Sequence[Found]], windows: Sequence[Window], first: int, shape: tuple[int, int], guard: float
) -> list[Found]:
    """Put the objects of all windows together.

    What lies well inside a tile of the first pass counts. What lies at a border between tiles counts as the second pass
    saw it. What is larger than the windows of the second pass is joined from its parts.

    Parameters
    ----------
    found, windows
        Objects of each window.
    first
        How many of the windows belong to the first pass.
    guard
        What comes so close to the side of a window is not trusted, pixels.
    """
    whole: list[Found] = []
    cut: list[Found] = []
    for number, (objects, window) in enumerate(zip(found, windows, strict=True)):
        inside = [item for item in objects if window.inside(item.outline.bounds, shape, guard)]
        chosen = {id(item) for item in inside}
        # in the second pass only what no tile showed as a whole is new
        whole += inside if number < first else _new(inside, whole, _SAME)
        cut += [item for item in objects if id(item) not in chosen]
    if cut:
        whole += _joined(_new(cut, whole, _CUT_KNOWN))
    return sorted(whole, key=lambda item: (item.outline.centroid.y, item.outline.centroid.x))


def _new(items: list[Found], known: list[Found], least: float) -> list[Found]:
    """Those items that do not share a part `least` of themselves, or of it, with one that is known."""
    if not items or not known:
        return list(items)
    owners, _ = _overlapping(items, known, least)
    seen = set(owners.tolist())
    return [item for number, item in enumerate(items) if number not in seen]


def _overlapping(items: list[Found], others: list[Found], least: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs (item, other) that share at least a part `least` of the smaller one."""
    import shapely

    left = np.array([item.outline for item in items])
    right = np.array([item.outline for item in others])
    i, j = shapely.STRtree(right).query(left, predicate="intersects")
    shared = shapely.area(shapely.intersection(left[i], right[j]))
    enough = shared >= least * np.minimum(shapely.area(left[i]), shapely.area(right[j]))
    return i[enough], j[enough]


def _joined(parts: list[Found]) -> list[Found]:
    """Join parts that overlap, those of one class only."""
    import shapely
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not parts:
        return []
    i, j = _overlapping(parts, parts, _CUT_SAME)
    kinds = np.array([part.class_number for part in parts])
    same = kinds[i] == kinds[j]
    graph = coo_matrix((np.ones(same.sum()), (i[same], j[same])), shape=(len(parts), len(parts)))
    _, group = connected_components(graph, directed=False)
    joined = []
    for number in range(group.max() + 1):
        members = [parts[k] for k in np.flatnonzero(group == number)]
        outline = shapely.union_all([member.outline for member in members])
        areas = [member.outline.area for member in members]
        largest = max(shapely.get_parts(outline), key=lambda part: part.area)
        joined.append(Found(largest, members[0].class_number,
                            float(np.average([member.confidence for member in members], weights=areas))))  # fmt: skip
    return joined


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """Objects of an image.

    Attributes
    ----------
    objects
        One row for each object, see `SCHEMA`. Positions are pixels from the outer corner of the first one.
    shape
        Rows and columns of the image.
    classes
        Names of the classes.
    reason
        Why there is no object; None where there are some.
    warnings
        What a reader must know first.
    """

    objects: pl.DataFrame
    shape: tuple[int, int]
    classes: tuple[str, ...]
    reason: str | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        found: Sequence[Found],
        *,
        image: str,
        shape: tuple[int, int],
        classes: tuple[str, ...],
        pixel_size_nm: float | None = None,
        stage: ArrayLike | None = None,
        reason: str | None = None,
        warnings: tuple[str, ...] = (),
    ) -> Segmentation:
        """Make the table of objects.

        Raises
        ------
        InputError
            `stage` is not an affine map.
        """
        import shapely

        outlines = np.array([item.outline for item in found], dtype=object)
        centres = shapely.get_coordinates(shapely.centroid(outlines)).reshape(-1, 2)
        areas = np.asarray(shapely.area(outlines), np.float64).reshape(-1)
        bounds = np.asarray(shapely.bounds(outlines), np.float64).reshape(-1, 4)
        at_edge = (bounds[:, :2] <= 0.5).any(axis=1) | (bounds[:, 2:] >= np.array(shape[::-1]) - 0.5).any(axis=1)
        places = stage_positions(centres, stage)
        n = len(found)
        table = pl.DataFrame(
            {
                "image": [image] * n,
                "object": np.arange(1, n + 1, dtype=np.uint32),
                "class": [classes[item.class_number - 1] for item in found],
                "confidence": [item.confidence for item in found],
                "x_px": centres[:, 0],
                "y_px": centres[:, 1],
                "area_px": areas,
                "area_um2": [None] * n if pixel_size_nm is None else areas * (pixel_size_nm / 1000) ** 2,
                "stage_x_um": [None] * n if places is None else places[:, 0],
                "stage_y_um": [None] * n if places is None else places[:, 1],
                "at_edge": at_edge,
                "outline": [shapely.to_wkb(outline) for outline in outlines],
            },
            schema=SCHEMA,
            strict=False,
        )
        return cls(table, shape, classes, reason, warnings)

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        return f"Segmentation({len(self)} objects, {self.shape[0]} x {self.shape[1]} pixels)"

    def outlines(self) -> NDArray[Any]:
        """Shapely polygons of the objects, pixels."""
        return outlines_of(self.objects)

    def labels(self) -> Labels:
        """Image of labels, int32 `(rows, columns)`: number of the object, 0 none.

        Raises
        ------
        InputError
            The image is too large for the memory of usual computers.
        """
        return self._painted(self.objects["object"].to_list())

    def class_image(self) -> Labels:
        """Image of classes, int32 `(rows, columns)`: 1 for the first class, 0 none."""
        return self._painted([self.classes.index(name) + 1 for name in self.objects["class"]])

    def _painted(self, values: list[int]) -> Labels:
        if self.shape[0] * self.shape[1] > _LARGEST_PX:
            raise InputError("The image is too large to be painted", received=f"{self.shape} pixels",
                             allowed=f"up to {_LARGEST_PX:,} pixels", next_step="use the outlines")  # fmt: skip
        painted = np.zeros(self.shape, np.int32)
        for outline, value in zip(self.outlines(), values, strict=True):
            painted[fill(outline, self.shape)] = value
        return painted


def outlines_of(table: pl.DataFrame) -> NDArray[Any]:
    """Shapely polygons of a table of objects, pixels."""
    import shapely

    polygons: NDArray[Any] = shapely.from_wkb(np.array(table["outline"].to_list(), dtype=object))
    return polygons


def stage_positions(xy_px: NDArray[np.float64], stage: ArrayLike | None) -> NDArray[np.float64] | None:
    """Stage positions (x, y) in um of positions `(n, 2)` in an image.

    Raises
    ------
    InputError
        `stage` is not an affine map `(2, 3)` that can be inverted.

    Examples
    --------
    >>> stage_positions(np.array([[10.0, 0.0]]), [[0.1, 0, 500], [0, -0.1, 300]]).tolist()
    [[501.0, 300.0]]
    """
    if stage is None:
        return None
    affine = np.asarray(stage, np.float64)
    if affine.shape != (2, 3) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:, :2])) < 1e-12:
        raise InputError("The map from pixels to the stage cannot be used", received=affine.tolist(),
                         allowed="two rows of three numbers: um per pixel in x and y, um of the corner")  # fmt: skip
    positions: NDArray[np.float64] = xy_px @ affine[:, :2].T + affine[:, 2]
    return positions


check_name: Final = partial(
    with_ending, allowed=(".parquet", ".csv"), otherwise="Objects cannot be written in this format"
)
"""Refuses a name under which no table of objects can be written, before anything is looked for."""


def save(table: pl.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table of objects as Parquet, or without outlines as CSV."""
    target = check_name(path)
    with atomic_path(target) as temporary:
        if target.suffix.lower() == ".csv":
            table.drop("outline").write_csv(temporary)
        else:
            table.write_parquet(temporary, compression="zstd")
    return target
