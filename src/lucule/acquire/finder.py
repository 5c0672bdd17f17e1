"""From the pictures of a scan to objects: an overview of each region, and how objects are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.acquire.plan import THRESHOLD_CLASS, Objects
from lucule.core.files import atomic_path

SCHEMA: Final = {
    "class": pl.String,
    "x_um": pl.Float64,
    "y_um": pl.Float64,
    "area_um2": pl.Float64,
    "confidence": pl.Float64,
    "outline": pl.String,
}
# objects must stand out from the background by so many of its standard deviations, or Otsu's threshold divides noise
_LEAST_CONTRAST: Final = 4.0
_SMOOTHING_UM: Final = 0.4


@dataclass(frozen=True)
class Overview:
    """One picture of a region, put together from its tiles.

    Attributes
    ----------
    image
        Counts, `(rows, columns)`; 0 where no tile is.
    corner_um
        Outer corner of pixel (0, 0) in the plane of the camera.
    pixel_um
        Size of a pixel.
    """

    image: NDArray[np.uint16]
    corner_um: tuple[float, float]
    pixel_um: float

    def save(self, path: Path) -> Path:
        """Write it to a .npz file."""
        with atomic_path(path) as temporary:
            np.savez(temporary, image=self.image, corner_um=self.corner_um, pixel_um=self.pixel_um)
        return path

    @classmethod
    def load(cls, path: Path) -> Overview:
        """Read what `save` wrote."""
        with np.load(path) as values:
            corner = values["corner_um"]
            return cls(values["image"], (float(corner[0]), float(corner[1])), float(values["pixel_um"]))


def assemble(
    tiles: Sequence[tuple[NDArray[Any], float, float]], *, tile_pixel_um: float, pixel_um: float | None, overlap: float
) -> Overview:
    """Put tiles together where the stage said that they are.

    Each gives its middle part; the outer half of the overlap only fills what nothing else shows, so that seams lie in
    the middle of overlaps.

    Parameters
    ----------
    tiles
        Picture, and the position (x, y) of its middle in the plane of the camera, um.
    tile_pixel_um, pixel_um
        Size of the pixels of the tiles, and of the overview, which are whole multiples; None: the same.
    overlap
        Part of a tile that its neighbour shows, too.
    """
    binning = max(round((pixel_um or tile_pixel_um) / tile_pixel_um), 1)
    size = tile_pixel_um * binning
    binned = [(_binned(image, binning), x, y) for image, x, y in tiles]
    rows, columns = binned[0][0].shape
    corners = np.array([(x - columns * size / 2, y - rows * size / 2) for _, x, y in binned])
    corner = corners.min(axis=0)
    first = np.rint((corners - corner) / size).astype(int)
    image = np.zeros(first.max(axis=0)[::-1] + np.array([rows, columns]), np.uint16)
    for cut in (0.0, overlap / 2):
        top, left = int(rows * cut), int(columns * cut)
        for (tile, _, _), (column, row) in zip(binned, first, strict=True):
            target = image[row + top : row + rows - top, column + left : column + columns - left]
            target[...] = tile[top : rows - top, left : columns - left]
    return Overview(image, (float(corner[0]), float(corner[1])), size)


def _binned(image: NDArray[Any], binning: int) -> NDArray[Any]:
    rows, columns = (size // binning * binning for size in image.shape)
    blocks = image[:rows, :columns].reshape(rows // binning, binning, columns // binning, binning)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))))


def find_in_overview(path: Path, settings: Objects, out: Path) -> str | None:
    """Find bright objects in an overview and write them to a Parquet file: what a worker process does.

    Returns
    -------
    Why there is none; None where there are some.
    """
    overview = Overview.load(path)
    outlines, reason = _threshold(overview, settings)
    _write(outlines, overview.corner_um, overview.pixel_um, out)
    return reason


def find_in_tiles(
    tiles: Sequence[tuple[Path, float, float]], pixel_um: float, settings: Objects, out: Path
) -> str | None:
    """Find objects in the tiles of a region with a network and write them to a Parquet file, in a worker process.

    The tiles are one image to the network, read window by window, so that no region is too large for the memory. It
    passes over it twice: over windows as large as it likes them, and over the borders between these, so that an object
    on a border is seen as a whole (`lucule.segment.tiling`).

    Parameters
    ----------
    tiles
        Picture, and the position (x, y) of its middle in the plane of the camera, um.
    pixel_um
        Size of a pixel of the tiles.

    Returns
    -------
    Why there is none; None where there are some.
    """
    import shapely

    from lucule import segment
    from lucule.segment.images import open_image
    from lucule.segment.mosaic import mosaic

    with open_image(tiles[0][0]) as first:
        rows, columns = first.shape
    corners = np.array([(x, y) for _, x, y in tiles]) - np.array([columns, rows]) * pixel_um / 2
    corner = corners.min(axis=0)
    placed = [
        (path, float(x), float(y)) for (path, _, _), (x, y) in zip(tiles, (corners - corner) / pixel_um, strict=True)
    ]
    found = segment.load(settings.model or "").predict(mosaic(placed), pixel_size_nm=1000 * pixel_um)
    table = found.objects
    outlines = list(zip(table["class"], table["confidence"], shapely.from_wkb(table["outline"].to_list()), strict=True))
    _write(outlines, (float(corner[0]), float(corner[1])), pixel_um, out)
    return found.reason


Outlines = list[tuple[str, float, Any]]


def _threshold(overview: Overview, settings: Objects) -> tuple[Outlines, str | None]:
    """Bright objects: Otsu's threshold (Otsu 1979, IEEE Trans SMC 9:62) of the smoothed overview."""
    import shapely
    from scipy.ndimage import binary_fill_holes, gaussian_filter
    from skimage.filters import threshold_otsu
    from skimage.measure import find_contours, label, regionprops

    seen = overview.image > 0
    values = gaussian_filter(overview.image.astype(np.float32), _SMOOTHING_UM / overview.pixel_um)
    if not seen.any() or np.ptp(values[seen]) == 0:
        return [], "The overview shows nothing: all its pixels are equal."
    threshold = float(threshold_otsu(values[seen]))  # type: ignore[no-untyped-call]
    above, below = values[seen & (values > threshold)], values[seen & (values <= threshold)]
    contrast = (above.mean() - below.mean()) / max(float(below.std()), 1e-9)
    if contrast < _LEAST_CONTRAST:
        return [], (
            f"No object stands out: the bright pixels lie {contrast:.1f} standard deviations of the dark ones above "
            f"them, at least {_LEAST_CONTRAST:g} are needed. Check focus, exposure and channel of the scan."
        )
    labels = label(binary_fill_holes(seen & (values > threshold)))  # type: ignore[no-untyped-call]
    least_px = max(settings.minimum_area_um2 / overview.pixel_um**2, 4)
    found: Outlines = []
    for region in regionprops(labels):  # type: ignore[no-untyped-call]
        if region.area < least_px:
            continue
        inside = np.pad(region.image, 1).astype(np.float32)
        contour = max(find_contours(inside, 0.5), key=len)  # type: ignore[no-untyped-call]
        # the middle of pixel (0, 0) is (0.5, 0.5), and one pixel was put around
        xy = contour[:, ::-1] - 0.5 + (region.bbox[1], region.bbox[0])
        polygon = shapely.simplify(shapely.make_valid(shapely.Polygon(xy)), 0.5)
        found.append((THRESHOLD_CLASS, 1.0, polygon))
    return found, None if found else f"Nothing is larger than {settings.minimum_area_um2:g} um2."


def _write(outlines: Outlines, corner_um: tuple[float, float], pixel_um: float, out: Path) -> None:
    """Write outlines in pixels as objects in um."""
    import shapely

    rows = []
    for name, confidence, outline in outlines:
        moved = shapely.transform(outline, lambda xy: xy * pixel_um + np.array(corner_um))
        centre = shapely.centroid(moved)
        rows.append((name, centre.x, centre.y, moved.area, float(confidence), shapely.to_wkb(moved, hex=True)))
    with atomic_path(out) as temporary:
        pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(temporary)
