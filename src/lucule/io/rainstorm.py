"""rainSTORM CSV (Rees et al., 2013): `idx, frame_idx, x_coord, y_coord, I, sig_x, sig_y, ..., x_nm, y_nm, z_coord`.

Positions are taken from `x_nm` and `y_nm`; `z_coord` and the PSF widths are in pixels, whose size follows from
`x_nm` and `x_coord`. `Sum_signal_ph` is in photons, `I` and `Sum_signal` in counts. No file was at hand: the names come
from the readers of bencardoen/smlmvis and bencardoen/DataCurator.jl. Not verified: that frames count from 1 (it is a
MATLAB program), the origin, and the unit of `x_std` and `y_std`, which therefore stay vendor columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lucule.io._columns import Field
from lucule.io._pixel_scale import from_two_columns
from lucule.io._text import Layout, layout
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

FIELDS: Final = (
    Field("frame", "frame_idx", first=1),
    Field("x", "x_nm", "nm"),
    Field("y", "y_nm", "nm"),
    Field("z", "z_coord", "px"),
    Field("photons", "sum_signal_ph"),
    Field("sigma_x", "sig_x", "px"),
    Field("sigma_y", "sig_y", "px"),
)


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return {"frame_idx", "x_nm", "y_nm"} <= layout(head).base_names


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    return read_table(path, shape, FIELDS, options, stored_pixel_size=_size(shape), whole_numbers=("idx",))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    return inspect_table(path, open_layout(path, options), FIELDS, options)


def _size(shape: Layout) -> tuple[float, float] | None:
    return from_two_columns(shape, ("x_nm", "x_coord"), ("y_nm", "y_coord"))


FORMAT: Final = Format(
    name="rainstorm",
    title="rainSTORM CSV",
    extensions=(".csv",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="frames from 1 and origin not verified; z and widths scaled by the pixel size found in the file",
)
