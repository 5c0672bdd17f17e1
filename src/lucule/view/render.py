"""From a table to a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError, Localizations, Region
from lucule.view import colours, raster
from lucule.view.frame import MAX_PIXELS, Frame, automatic_pixel_nm, bounds_of, make_frame, rows_inside
from lucule.view.paint import Paint, choose
from lucule.view.picture import ColourBar, Picture
from lucule.view.raster import Raster

Method = Literal["histogram", "gaussian", "points"]

PIXELS_PER_PRECISION: Final = {"histogram": 2.0, "gaussian": 4.0}
SPOT_DIAMETER_PX: Final = (3.0, 8.0)
POINTS_SIDE_PX: Final = 1000
CLIP_PERCENTILE: Final = 99.5
GAMMA: Final = {"histogram": 0.6, "gaussian": 0.7}
# where the hue carries the meaning, faint pixels are lifted more, so that their hue can be seen
COLOURED_GAMMA: Final = 0.45
DENSITY_COLORMAP: Final = "inferno"


def render(
    locs: Localizations,
    *,
    pixel_nm: float | None = None,
    method: Method = "histogram",
    colour_by: str | None = None,
    region: Region | None = None,
    colormap: str | None = None,
    colour_range: tuple[float, float] | None = None,
    label_names: Mapping[int, str] | None = None,
    sigma_nm: float | tuple[float, float] | None = None,
    spot_nm: float | None = None,
    clip_percentile: float = CLIP_PERCENTILE,
    gamma: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Draw a table on black: x to the right, y down.

    Parameters
    ----------
    locs
        The table.
    pixel_nm
        Side of a pixel, nm. Default: a round size with which the longer side has up to 2000 pixels, not below half
        the median localization precision.
    method
        `histogram` counts localizations per pixel. `gaussian` gives each localization a Gaussian of integral 1 and of
        its own localization precision, integrated over the pixels. `points` draws discs, for areas with few
        localizations.
    colour_by
        None: the colour shows density. `label`: clustered gold, not clustered blue. `cluster`: near clusters differ.
        `z` or any other column of numbers: the colour shows the mean value in the pixel, the brightness the density;
        localizations without a value (NaN) are not drawn, and the legend says so.
    region
        Area to draw; default: the extent of the table. The picture has the size of its bounding box.
    colormap
        `depth` or a colormap of matplotlib; default `inferno` for density and `depth` for numbers.
    colour_range
        Smallest and largest value of the colour table, in the unit of the column; default: percentiles 1 and 99.
    label_names
        Names of the labels for the legend.
    sigma_nm
        For `gaussian`: one width in nm for all; or (floor, ceiling) for the precision of each localization. Default:
        from `x_err` and `y_err`, at least 0.6 pixels and at most 4 times the median; where the precision is not a
        number, the ceiling.
    spot_nm
        For `points`: diameter of the discs, nm; default by density, 3 to 8 pixels.
    clip_percentile
        Percentile of the occupied pixels that is shown in full brightness.
    gamma
        Exponent of the brightness; below 1 lifts faint structures. Default: histogram 0.6, gaussian 0.7, coloured 0.45.
    max_pixels
        Largest picture; a guard against a mistyped pixel size or unit.

    Raises
    ------
    ColumnError
        The column to colour by, or `x_err` for `gaussian`, is missing.
    InputError
        The table is empty and no region is named, the picture would be too large, or a setting is out of range.

    Examples
    --------
    >>> locs = Localizations({"x": [12.0, 18.0, 55.0], "y": [5.0, 7.0, 31.0]})
    >>> picture = render(locs, pixel_nm=10, region=Region.rectangle(0, 0, 60, 40), colormap="gray")
    >>> picture.rgb[0, :, 0].tolist()
    [0, 255, 0, 0, 0, 0]
    """
    if method not in ("histogram", "gaussian", "points"):
        raise InputError("Unknown rendering method", received=method, allowed="histogram, gaussian, points")
    bounds = bounds_of(locs, region)
    if pixel_nm is None:
        pixel_nm = _automatic_pixel_nm(locs, bounds, method)
    frame = make_frame(bounds, pixel_nm, exact=region is not None, max_pixels=max_pixels)
    paint = choose(locs, colour_by, colormap=colormap, colour_range=colour_range, label_names=label_names)
    rows = _drawn_rows(locs, region, paint)
    if method == "points":
        return _points(locs, rows, frame, paint, spot_nm)
    if method == "histogram":
        drawn = raster.count(locs, rows, frame, paint)
    else:
        drawn = raster.spread(locs, rows, frame, paint, raster.widths(locs, sigma_nm, frame.pixel_nm))
    if gamma is None:
        gamma = COLOURED_GAMMA if paint.channels else GAMMA[method]
    return _develop(drawn, paint, frame, colormap or DENSITY_COLORMAP, clip_percentile, gamma)


def _develop(drawn: Raster, paint: Paint, frame: Frame, colormap: str, clip_percentile: float, gamma: float) -> Picture:
    """Numbers per pixel to colours: hue from the mean value, brightness from the density."""
    white = colours.white_level(drawn.density, percentile=clip_percentile, touched=drawn.touched)
    light = colours.brightness(drawn.density, white, gamma)
    origin = (frame.x_nm, frame.y_nm)
    if paint.channels == 0:
        table = colours.colour_table(colormap)
        # the axis of the legend is linear in density, so the table is bent by the gamma of the picture
        bent = table[np.round(np.linspace(0, 1, 256) ** gamma * 255).astype(np.intp)]
        return Picture(
            colours.look_up(light, table), frame.pixel_nm, origin, ColourBar(drawn.unit, 0.0, white * drawn.scale, bent)
        )
    hue: NDArray[Any] = drawn.sums / np.where(drawn.density > 0, drawn.density, 1).astype(np.float32)
    if paint.table is not None:
        hue = np.moveaxis(colours.look_up(hue[0], paint.table), -1, 0) / np.float32(255)
    return Picture(colours.shade(hue, light), frame.pixel_nm, origin, paint.legend)


def _points(
    locs: Localizations, rows: NDArray[np.intp] | None, frame: Frame, paint: Paint, spot_nm: float | None
) -> Picture:
    from lucule.view import kernels

    if spot_nm is not None and not spot_nm > 0:
        raise InputError("The spots need a diameter", received=f"{spot_nm} nm", allowed="more than 0 nm")
    shown = _near(locs, rows, frame)
    if spot_nm is None:
        spacing = np.sqrt(frame.width * frame.height / max(len(shown), 1))
        diameter = float(np.clip(0.4 * spacing, *SPOT_DIAMETER_PX))
    else:
        diameter = spot_nm / frame.pixel_nm
    shown = paint.back_to_front(shown)
    columns = (locs["x"][shown].astype(np.float64) - frame.x_nm) / frame.pixel_nm
    lines = (locs["y"][shown].astype(np.float64) - frame.y_nm) / frame.pixel_nm
    picture = np.zeros((frame.height, frame.width, 3), np.float32)
    kernels.points(columns, lines, diameter / 2, paint.colours(shown), picture)
    pixels = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    return Picture(pixels, frame.pixel_nm, (frame.x_nm, frame.y_nm), paint.legend)


def _automatic_pixel_nm(locs: Localizations, bounds: tuple[float, float, float, float], method: Method) -> float:
    if method == "points":
        return automatic_pixel_nm(bounds, side_px=POINTS_SIDE_PX)
    precision = raster.median_precision_nm(locs)
    # finer than half the precision a histogram falls apart into single pixels; Gaussians gain from twice as fine
    smallest = None if precision is None else precision / PIXELS_PER_PRECISION[method]
    return automatic_pixel_nm(bounds, smallest_nm=smallest)


def _drawn_rows(locs: Localizations, region: Region | None, paint: Paint) -> NDArray[np.intp] | None:
    # the frame itself cuts a rectangle, and Gaussians that reach in from outside belong to the picture
    inside = None if region is None or region.is_rectangle else rows_inside(locs, region)
    if inside is None or paint.rows is None:
        return paint.rows if inside is None else inside
    return np.intersect1d(inside, paint.rows, assume_unique=True)


def _near(locs: Localizations, rows: NDArray[np.intp] | None, frame: Frame) -> NDArray[np.intp]:
    """Rows that lie in the frame or so near that their disc may reach in."""
    x, y = locs["x"], locs["y"]
    x_min, y_min, x_max, y_max = frame.bounds_nm
    margin = SPOT_DIAMETER_PX[1] * frame.pixel_nm
    near = (x >= x_min - margin) & (x < x_max + margin) & (y >= y_min - margin) & (y < y_max + margin)
    if rows is not None:
        chosen = np.zeros(len(locs), bool)
        chosen[rows] = True
        near &= chosen
    return np.flatnonzero(near)
