"""Things drawn over a picture: outlines of clusters, labelled localizations, the windows of zooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError, Localizations, Region
from lucule.view import colours
from lucule.view.annotate import font, font_size
from lucule.view.colours import RGB
from lucule.view.paint import choose
from lucule.view.picture import Picture

LINE_PX: Final = 1.6
BOX_COLOUR: Final[RGB] = colours.WHITE


def outlines(
    picture: Picture,
    shapes: ArrayLike,
    *,
    colour: RGB | Literal["neighbours"] = colours.WHITE,
    line_px: float = LINE_PX,
) -> Picture:
    """Draw the outlines of `shapes`, holes included, as smooth lines.

    Parameters
    ----------
    picture
        What to draw over.
    shapes
        Shapely polygons or multipolygons `(m,)`, nm in the frame of the table, as from `Clusters.outlines()`; empty
        and missing ones are passed over.
    colour
        One colour (0 to 255), or `neighbours`: near outlines differ.
    line_px
        Width of the lines, pixels.

    Examples
    --------
    >>> from shapely import box
    >>> black = Picture(np.zeros((40, 40, 3), np.uint8), pixel_nm=10, origin_nm=(0, 0))
    >>> drawn = outlines(black, [box(100, 100, 300, 300)])
    >>> bool(drawn.rgb[20, 10].any()), bool(drawn.rgb[20, 20].any())
    (True, False)
    """
    import shapely

    if not line_px > 0:
        raise InputError("A line needs a width", received=f"{line_px} pixels", allowed="more than 0 pixels")
    geometries = np.asarray(shapes, dtype=object).reshape(-1)
    present = np.array([g is not None and not g.is_empty for g in geometries], dtype=bool)
    if not present.any():
        return picture
    geometries = geometries[present]
    if colour == "neighbours":
        centroids = shapely.get_coordinates(shapely.centroid(geometries))
        palette = colours.cluster_palette(centroids)
    else:
        palette = np.tile(colours.unit(colour), (len(geometries), 1))
    # a zoom shows a handful of the outlines of a whole field of view
    x_min, y_min, x_max, y_max = picture.frame.bounds_nm
    margin = (line_px + 1) * picture.pixel_nm
    left, top, right, bottom = shapely.bounds(geometries).T
    seen = (right > x_min - margin) & (left < x_max + margin) & (bottom > y_min - margin) & (top < y_max + margin)
    geometries, palette = geometries[seen], palette[seen]
    if not len(geometries):
        return picture
    parts, owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, point_ring = shapely.get_coordinates(rings, return_index=True)
    pixels = picture.to_pixels(points)
    follows = point_ring[1:] == point_ring[:-1]
    owners = owner[ring_part[point_ring[:-1]]][follows].astype(np.int32)
    return _stroke(picture, pixels[:-1][follows], pixels[1:][follows], owners, palette, line_px)


def boxes(
    picture: Picture,
    regions: Sequence[Region],
    *,
    names: Sequence[str] = (),
    colour: RGB = BOX_COLOUR,
    line_px: float | None = None,
) -> Picture:
    """Draw the bounding box of each region, with its name beside it, as in the overview of a figure with zooms."""
    if names and len(names) != len(regions):
        raise InputError("Each box needs one name", received=f"{len(names)} names", allowed=f"{len(regions)}")
    if not regions:
        return picture
    side = max(picture.rgb.shape[:2])
    width = max(1.5, side / 600) if line_px is None else line_px
    corners = np.array([[[b[0], b[1]], [b[2], b[1]], [b[2], b[3]], [b[0], b[3]]] for b in (r.bounds for r in regions)])
    starts = picture.to_pixels(corners)
    ends = picture.to_pixels(np.roll(corners, -1, axis=1))
    owners = np.repeat(np.arange(len(regions), dtype=np.int32), 4)
    palette = np.tile(colours.unit(colour), (len(regions), 1))
    drawn = _stroke(picture, starts, ends, owners, palette, width)
    return (
        _write_names(drawn, starts.reshape(-1, 4, 2), names, colour, font_size(*picture.rgb.shape[:2]))
        if names
        else drawn
    )


def labelled_points(
    picture: Picture,
    locs: Localizations,
    *,
    colour_by: str = "label",
    spot_nm: float | None = None,
    label_names: Mapping[int, str] | None = None,
) -> Picture:
    """Draw each localization as a disc over a picture (of density, of a wide-field image), coloured by a column.

    `spot_nm` is the diameter of a disc, nm; default 3 pixels. The legend becomes that of the column.
    """
    from lucule.view import kernels

    paint = choose(locs, colour_by, colormap=None, colour_range=None, label_names=label_names)
    rows = np.arange(len(locs)) if paint.rows is None else paint.rows
    rows = paint.back_to_front(rows)
    radius = 1.5 if spot_nm is None else spot_nm / picture.pixel_nm / 2
    if not radius > 0:
        raise InputError("The spots need a diameter", received=f"{spot_nm} nm", allowed="more than 0 nm")
    pixels = picture.to_pixels(locs.xy()[rows])
    canvas = picture.rgb.astype(np.float32) / np.float32(255)
    kernels.points(pixels[:, 0], pixels[:, 1], radius, paint.colours(rows), canvas)
    return replace(picture, rgb=np.round(canvas * 255).astype(np.uint8), legend=paint.legend)


def _stroke(
    picture: Picture,
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    owners: NDArray[np.int32],
    palette: NDArray[np.float32],
    line_px: float,
) -> Picture:
    from lucule.view import kernels

    cover = np.zeros(picture.rgb.shape[:2], np.float32)
    owner = np.zeros(picture.rgb.shape[:2], np.int32)
    kernels.lines(
        np.ascontiguousarray(starts.reshape(-1, 2)),
        np.ascontiguousarray(ends.reshape(-1, 2)),
        owners,
        line_px,
        cover,
        owner,
    )
    rgb = picture.rgb.copy()
    touched = cover > 0
    share = cover[touched][:, None]
    rgb[touched] = np.round(rgb[touched] * (1 - share) + 255 * palette[owner[touched]] * share)
    return picture.with_rgb(rgb)


def _write_names(
    picture: Picture, corners: NDArray[np.float64], names: Sequence[str], colour: RGB, size: int
) -> Picture:
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.ascontiguousarray(picture.rgb))
    draw = ImageDraw.Draw(image)
    halo = max(1, round(size / 10))
    options: dict[str, Any] = {"font": font(size), "fill": colour, "stroke_width": halo, "stroke_fill": (0, 0, 0)}
    for name, box in zip(names, corners, strict=True):
        left, top, bottom = box[:, 0].min(), box[:, 1].min(), box[:, 1].max()
        x = float(np.clip(left, halo, image.width - draw.textlength(name, font=options["font"]) - halo))
        above = top - 1.35 * size >= 0
        draw.text(
            (x, top - 0.3 * size if above else bottom + 0.3 * size), name, anchor="ls" if above else "lt", **options
        )
    return picture.with_rgb(np.asarray(image).copy())
