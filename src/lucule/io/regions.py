"""Regions drawn in other programs: ImageJ ROIs, GeoJSON, and masks or label images.

ImageJ counts the coordinates of area selections in pixels from the outer corner of pixel (0, 0), as lucule does, so
that they only need the size of a pixel. The outline of a mask follows the edges of its pixels.
"""

from __future__ import annotations

import functools
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError, InputError, Region
from lucule.core.files import write_text
from lucule.io._outlines import outlines

if TYPE_CHECKING:
    from roifile import ImagejRoi
    from shapely import MultiPolygon, Polygon

PixelSize = float | tuple[float, float]

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NM: Final = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "mm": 1e6, "m": 1e9}
_ELLIPSE_POINTS: Final = 200  # the polygon is smaller than the ellipse by less than 0.02 %


def read(path: str | os.PathLike[str], *, pixel_size_nm: PixelSize | None = None, page: int | None = None) -> Region:
    """Read a region from a file of any supported kind, recognised by its content; several areas are united.

    Parameters
    ----------
    path
        ImageJ `.roi` or a zip of them; GeoJSON (nm, or what its property `unit` says: `px`, `nm`, `um`); a mask or
        label image (TIFF), in which 0 is outside.
    pixel_size_nm
        Size of a pixel of the image on which the region was drawn, nm or (x, y). A mask of another size than the
        camera frame has other pixels than the camera.
    page
        Which page of a TIFF file with several, counted from 0.

    Raises
    ------
    InputError
        The pixel size is needed and not given, a selection encloses no area, or a page must be chosen.
    FormatError
        The file is damaged or of no supported kind.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = write_geojson(Region.rectangle(0, 0, 2000, 1000), pathlib.Path(tempfile.mkdtemp()) / "cell.geojson")
    >>> read(file).area_um2
    2.0
    """
    return Region.union(read_named(path, pixel_size_nm=pixel_size_nm, page=page).values())


def read_named(
    path: str | os.PathLike[str], *, pixel_size_nm: PixelSize | None = None, page: int | None = None
) -> dict[str, Region]:
    """Read the regions of a file one by one: ROIs and features by their name, labels by their number.

    Parameters and errors are those of `read`.
    """
    file = Path(path)
    head = _head(file)
    if page is not None and not head.startswith(_TIFF):
        raise InputError(f"{file} has no pages", received=f"page {page}", next_step="leave page out")
    if head.startswith(_TIFF):
        return _scaled(_mask(file, page), _mask_pixel_size(file, pixel_size_nm))
    if head.startswith((b"Iout", b"PK")):
        return _scaled(_imagej(file), _needed(file, pixel_size_nm))
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return _geojson(file, pixel_size_nm)
    raise FormatError(
        f"{file} holds no region that is understood",
        allowed="ImageJ .roi or .zip, GeoJSON, a mask or label image as TIFF",
    )


def read_imagej(path: str | os.PathLike[str]) -> list[tuple[str, Any]]:
    """Read ImageJ selections one by one as shapely geometries in pixels: areas, and lines and points as such.

    Raises
    ------
    InputError
        A selection is of another kind, such as text.
    FormatError
        The file is damaged.
    """
    from roifile import ROI_TYPE, ImagejRoi

    file = Path(path)
    found: list[tuple[str, Any]] = []
    for member, content in _roi_files(file):
        try:
            roi = ImagejRoi.frombytes(content)
            if roi.roitype in (ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.POINT):
                found.append((roi.name or member, _line(np.asarray(roi.coordinates(), dtype=float), roi.roitype)))
            else:
                found.append(_selection(content, member))
        except (ValueError, TypeError, IndexError, KeyError, RuntimeError, struct.error) as error:
            raise FormatError(f"{file}: selection {member} is damaged", received=str(error)) from None
    return found


def write_geojson(region: Region, path: str | os.PathLike[str], *, name: str | None = None) -> Path:
    """Write a region as GeoJSON, coordinates in nm."""
    properties = {"unit": "nm"} | ({"name": name} if name is not None else {})
    document = {"type": "Feature", "properties": properties, "geometry": region.to_geojson()}
    return write_text(path, json.dumps(document))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}", next_step="check the path") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from None
    if not head:
        raise FormatError(f"{path} is empty", received="0 bytes")
    return head


def _scaled(areas: dict[str, Polygon | MultiPolygon], size: tuple[float, float]) -> dict[str, Region]:
    import shapely

    return {name: Region.from_shape(shapely.transform(area, lambda xy: xy * size)) for name, area in areas.items()}


def _needed(path: Path, size: PixelSize | None) -> tuple[float, float]:
    if size is None:
        raise InputError(
            f"{path} is in pixels and does not say how large a pixel is",
            allowed="the size of a pixel of the image on which the region was drawn, in nm",
            next_step="add it, for example --pixel-size-nm 100 (in Python: read(path, pixel_size_nm=100))",
        )
    x, y = size if isinstance(size, tuple) else (size, size)
    if not (0 < x < 1e6 and 0 < y < 1e6):
        raise InputError("The pixel size must be positive", received=f"{size} nm", allowed="for example 100 nm")
    return float(x), float(y)


# -- ImageJ


def _imagej(path: Path) -> dict[str, Polygon | MultiPolygon]:
    areas: dict[str, Polygon | MultiPolygon] = {}
    for member, content in _roi_files(path):
        try:
            name, area = _selection(content, member)
        except (ValueError, TypeError, IndexError, KeyError, RuntimeError, struct.error) as error:
            raise FormatError(f"{path}: selection {member} is damaged", received=str(error)) from None
        number = sum(other == name or other.startswith(f"{name} (") for other in areas)
        areas[f"{name} ({number + 1})" if number else name] = area
    return areas


def _roi_files(path: Path) -> Iterator[tuple[str, bytes]]:
    if not zipfile.is_zipfile(path):
        yield path.stem, path.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".roi") and "__MACOSX" not in name]
            if not names:
                raise FormatError(f"{path} is a zip without ImageJ selections (.roi)")
            for name in names:
                yield Path(name).stem, archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FormatError(f"{path} is damaged", received=str(error), next_step="copy the file again") from None


def _selection(content: bytes, member: str) -> tuple[str, Polygon | MultiPolygon]:
    """Name and area (pixels) of one ImageJ selection."""
    import shapely
    from roifile import ROI_TYPE, ImagejRoi

    roi = ImagejRoi.frombytes(content)
    name = roi.name or member
    if roi.multi_coordinates is not None:
        # nested and touching parts of a composite selection count by the even-odd rule, as in ImageJ
        rings = [shapely.make_valid(shapely.Polygon(ring)) for ring in _rings(roi, name)]
        return name, functools.reduce(shapely.symmetric_difference, rings, shapely.Polygon())
    if roi.roitype == ROI_TYPE.RECT:
        return name, _rectangle(roi)
    if roi.roitype == ROI_TYPE.OVAL:
        return name, _oval(roi)
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        return name, shapely.make_valid(shapely.Polygon(np.asarray(roi.coordinates(), dtype=float)))
    raise InputError(
        f"Selection {name} encloses no area",
        received=roi.roitype.name.lower(),
        allowed="rectangle, oval, polygon, freehand, traced or composite",
    )


def _line(points: NDArray[Any], kind: Any) -> Any:
    import shapely
    from roifile import ROI_TYPE

    # ImageJ counts those of lines and points from the middle of pixel (0, 0)
    points = points.reshape(-1, 2) + 0.5
    return shapely.MultiPoint(points) if kind == ROI_TYPE.POINT or len(points) < 2 else shapely.LineString(points)


def _rings(roi: ImagejRoi, name: str) -> list[NDArray[Any]]:
    try:
        return [np.asarray(ring, dtype=float) for ring in roi.coordinates(multi=True) if len(ring) >= 3]
    except NotImplementedError:
        raise FormatError(
            f"Selection {name} has curved edges, which are not supported",
            next_step="in ImageJ, make a mask of it (Edit > Selection > Create Mask) and save that as TIFF",
        ) from None


def _bounds(roi: ImagejRoi) -> tuple[float, float, float, float]:
    """Left, top, width, height."""
    if roi.subpixelrect:
        return roi.xd, roi.yd, roi.widthd, roi.heightd
    return roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top


def _rectangle(roi: ImagejRoi) -> Polygon | MultiPolygon:
    import shapely

    left, top, width, height = _bounds(roi)
    box = shapely.box(left, top, left + width, top + height)
    radius = min(roi.rounded_rect_arc_size, width, height) / 2
    return box.buffer(-radius).buffer(radius, quad_segs=_ELLIPSE_POINTS // 4) if radius > 0 else box


def _oval(roi: ImagejRoi) -> Polygon | MultiPolygon:
    import shapely

    left, top, width, height = _bounds(roi)
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return shapely.Polygon(circle * (width / 2, height / 2) + (left + width / 2, top + height / 2))


# -- GeoJSON


def _geojson(path: Path, size: PixelSize | None) -> dict[str, Region]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise FormatError(f"{path} is not readable GeoJSON: {error}") from None
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    if not isinstance(features, list) or not features or not all(isinstance(item, dict) for item in features):
        raise FormatError(f"{path} holds no GeoJSON features", received=str(document.get("type")))
    regions: dict[str, Region] = {}
    for number, feature in enumerate(features):
        properties = feature.get("properties") or {}
        unit = properties.get("unit") or document.get("unit") or "nm"
        scale = _needed(path, size) if unit in ("px", "pixel") else (_NM.get(unit, 0.0),) * 2
        if not all(scale):
            raise FormatError(f"{path}: unit is not understood", received=unit, allowed=f"px, {', '.join(_NM)}")
        region = Region.from_geojson(feature)
        name = str(properties.get("name") or feature.get("id") or number + 1)
        name = f"{name} ({number + 1})" if name in regions else name
        regions[name] = _scaled({name: region.shape}, scale)[name]
    return regions


# -- masks and label images


def _mask(path: Path, page: int | None) -> dict[str, Polygon | MultiPolygon]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            axes, shape = tiff.series[0].axes, tiff.series[0].shape
            if axes[-2:] != "YX":
                raise FormatError(
                    f"{path} is a colour image, not a mask", received=f"axes {axes}", allowed="one number per pixel"
                )
            pages = int(np.prod(shape[:-2]))
            if pages > 1 and page is None:
                raise InputError(
                    f"{path} holds several masks",
                    received=f"{pages} pages",
                    next_step=f"choose one from 0 to {pages - 1}: read(path, page=0)",
                )
            if not 0 <= (page or 0) < pages:
                raise InputError(f"{path} has no such page", received=page, allowed=f"0 to {pages - 1}")
            image = tiff.series[0].asarray().reshape(pages, *shape[-2:])[page or 0]
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, OSError, struct.error, zlib.error) as error:
        raise FormatError(f"{path} is a damaged or unsupported TIFF file", received=str(error)) from None
    if image.dtype.kind == "f" and not (np.isfinite(image).all() and (image == np.round(image)).all()):
        raise FormatError(
            f"{path} is not a mask", received="fractions or NaN", allowed="0 outside, whole numbers inside"
        )
    if not image.any():
        raise InputError(f"The mask {path} is empty", received="0 in every pixel")
    return {str(label): area for label, area in outlines(image).items()}


def _mask_pixel_size(path: Path, size: PixelSize | None) -> tuple[float, float]:
    """The size given, else the one with which ImageJ saved the image."""
    import tifffile

    if size is None:
        with tifffile.TiffFile(path) as tiff:
            nm = _NM.get(str((tiff.imagej_metadata or {}).get("unit")).replace("\\u00B5", "µ"))
            tags = [tiff.pages.first.tags.get(name) for name in ("XResolution", "YResolution")]
        pixels_per_unit = [tag.value[0] / tag.value[1] for tag in tags if tag is not None and tag.value[1]]
        if nm is not None and len(pixels_per_unit) == 2 and all(pixels_per_unit):
            size = (nm / pixels_per_unit[0], nm / pixels_per_unit[1])
    return _needed(path, size)
