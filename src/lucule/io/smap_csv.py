"""CSV with the names of SMAP (Ries, Nature Methods 2020): `frame, xnm, ynm, znm, phot, bg, locprecnm, ...`; nm.

SMAP reads any CSV whose names are its own (its conversion file `csv_mainSMAPFields`). Frames and files count from 1, as
in all of MATLAB, and so do pixels: the centre of the first pixel lies at one pixel size, half a pixel beyond lucule's
convention. That half pixel is added on writing and taken off on reading where the pixel size is known.
`locprecnm` is one precision for x and y; `xnmerr` and `ynmerr` are the two of the fit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from lucule.core import Localizations
from lucule.core.files import atomic_path
from lucule.io._columns import Field
from lucule.io._csv_out import absolute, rows_per_batch
from lucule.io._text import layout
from lucule.io._text_format import inspect_table, open_layout, read_table, to_corner
from lucule.io.format import Contents, Format, Reading, ReadOptions

# lucule -> SMAP, in the order in which they are written
NAMES: Final = {
    "photons": "phot",
    "background": "bg",
    "x_err": "xnmerr",
    "y_err": "ynmerr",
    "z_err": "locprecznm",
    "sigma_x": "PSFxnm",
    "sigma_y": "PSFynm",
    "event": "groupindex",
}
FIELDS: Final = (
    Field("frame", "frame", first=1),
    Field("x", "xnm", "nm"),
    Field("y", "ynm", "nm"),
    Field("z", "znm", "nm"),
    Field("photons", "phot"),
    Field("background", "bg"),
    Field("x_err", "xnmerr", "nm"),
    Field("y_err", "ynmerr", "nm"),
    Field(("x_err", "y_err"), "locprecnm", "nm"),
    Field("z_err", ("locprecznm", "zerr", "znmerr"), "nm"),
    Field("sigma_x", "psfxnm", "nm"),
    Field("sigma_y", "psfynm", "nm"),
    Field("event", "groupindex"),
    Field("field", "filenumber", first=1),
    *(Field(name, name, own=True) for name in ("channel", "n_frames", "n_shared", "p", "label", "p_label", "cluster")),
)


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return {"xnm", "ynm"} <= layout(head).base_names


def _read(path: Path, options: ReadOptions) -> Reading:
    reading = read_table(path, open_layout(path, options), FIELDS, options)
    return to_corner(reading, options, -0.5, "half a pixel before pixel (0, 0)")


def _inspect(path: Path, options: ReadOptions) -> Contents:
    return inspect_table(path, open_layout(path, options), FIELDS, options)


def write(locs: Localizations, path: Path) -> None:
    """Write the columns under SMAP's names; `locprecnm` is the root mean square of `x_err` and `y_err`."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for start, rows in rows_per_batch(locs):
            rows.select(_columns(locs)).write_csv(stream, include_header=start == 0)


def _columns(locs: Localizations) -> list[pl.Expr]:
    names = set(locs.columns)
    half = [size / 2 for size in locs.meta.pixel_size_nm or (0.0, 0.0)] + [0.0]
    out = [(pl.col("frame").cast(pl.Int64) + 1).alias("frame")] if "frame" in names else []
    for axis, shift in zip("xyz", half, strict=True):
        if axis in names:
            moved = absolute(locs, axis)
            out.append((moved.cast(pl.Float64) + shift if shift else moved).alias(f"{axis}nm"))
    errors = [name for name in ("x_err", "y_err") if name in names]
    if errors:
        out.append((pl.sum_horizontal(pl.col(name) ** 2 for name in errors) / len(errors)).sqrt().alias("locprecnm"))
    out += [pl.col(name).alias(theirs) for name, theirs in NAMES.items() if name in names]
    if "field" in names:
        out.append((pl.col("field").cast(pl.Int64) + 1).alias("filenumber"))
    done = {"frame", "x", "y", "z", "field", *NAMES}
    return out + [pl.col(name) for name in locs.columns if name not in done]


FORMAT: Final = Format(
    name="smap_csv",
    title="SMAP-readable CSV",
    extensions=(".csv",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    write=write,
    notes="frames from 1; pixel centres are whole pixels from 1, moved by half a pixel where its size is known",
)
