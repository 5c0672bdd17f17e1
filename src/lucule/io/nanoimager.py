"""ONI Nanoimager CSV: `Channel, Frame, X (nm), Y (nm), Z (nm), Photons, Background`, and more in newer files.

Channels and frames count from 0 (seen in a real file). Newer files repeat positions in pixels and give the PSF width in
pixels; the pixel size follows from the two. Where positions have their origin within pixel (0, 0) is not verified.
Z is 0 in 2D files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lucule.io._columns import Field
from lucule.io._pixel_scale import from_two_columns
from lucule.io._text import Layout, layout, split_unit
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

FIELDS: Final = (
    Field("frame", "frame"),
    Field("x", "X (nm)", "nm"),
    Field("y", "Y (nm)", "nm"),
    Field("z", "Z (nm)", "nm"),
    Field("photons", "photons"),
    Field("background", "background"),
    Field("x_err", "X precision (nm)", "nm"),
    Field("y_err", "Y precision (nm)", "nm"),
    Field("z_err", "Z precision (nm)", "nm"),
    Field("sigma_x", ("PSF Sigma X (nm)", "PSF Sigma X (pix)"), "nm"),
    Field("sigma_y", ("PSF Sigma Y (nm)", "PSF Sigma Y (pix)"), "nm"),
    Field("channel", ("channel", "channel index")),
)


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    names = layout(head).names
    bases = {split_unit(name)[0] for name in names}
    return {"X (nm)", "Y (nm)"} <= set(names) and "frame" in bases and bool({"channel", "channel index"} & bases)


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    return read_table(path, shape, _fields(shape, options), options, stored_pixel_size=_size(shape))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    shape = open_layout(path, options)
    return inspect_table(path, shape, _fields(shape, options), options, stored_pixel_size=_size(shape))


def _size(shape: Layout) -> tuple[float, float] | None:
    return from_two_columns(shape, ("X (nm)", "X (pix)"), ("Y (nm)", "Y (pix)"))


def _fields(shape: Layout, options: ReadOptions) -> tuple[Field, ...]:
    """Without a pixel size, widths in pixels stay what the vendor calls them."""
    known = _size(shape) is not None or options.pixel_size_nm is not None
    return FIELDS if known or "PSF Sigma X (nm)" in shape.names else tuple(f for f in FIELDS if "sigma" not in f.to)


FORMAT: Final = Format(
    name="nanoimager",
    title="ONI Nanoimager CSV",
    extensions=(".csv",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="frames and channels from 0; origin within the pixel not verified",
)
