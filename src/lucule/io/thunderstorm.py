"""ThunderSTORM CSV (Ovesny et al., Bioinformatics 2014).

Names carry units in brackets, `x [nm]`, and ThunderSTORM lets its user choose others than nm. `offset` is the
background of one pixel, `bkgstd` the standard deviation of the residuals. Frames are ImageJ slice numbers, hence from
1, and positions have half a pixel added to the fit, hence count from the outer corner of the upper left pixel (both
seen in ThunderSTORM's source: AnalysisPlugIn, MultipleLocationsImageFitting). Old files have one `uncertainty`, newer
ones `uncertainty_xy` and `uncertainty_z`; all come from Thompson's formula, not from the fit. The measurement protocol
that it saves beside a table (`NAME-protocol.txt`, JSON) gives the camera.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import polars as pl

from lucule.core import Camera, Localizations
from lucule.core.files import atomic_path
from lucule.io._columns import Field, is_length_unit, require
from lucule.io._csv_out import absolute, rows_per_batch
from lucule.io._text import Layout, layout, split_unit
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

FIELDS: Final = (
    Field("frame", "frame", first=1),
    Field("x", "x", "nm"),
    Field("y", "y", "nm"),
    Field("z", "z", "nm"),
    Field("photons", "intensity"),
    Field("background", "offset"),
    # lucule's writer adds these two when precision differs between x and y
    Field("x_err", "uncertainty_x", "nm"),
    Field("y_err", "uncertainty_y", "nm"),
    Field(("x_err", "y_err"), ("uncertainty_xy", "uncertainty"), "nm"),
    Field("z_err", "uncertainty_z", "nm"),
    Field("sigma_x", "sigma1", "nm"),
    Field("sigma_y", "sigma2", "nm"),
    Field(("sigma_x", "sigma_y"), "sigma", "nm"),
    Field("n_frames", "detections"),
    *(
        Field(name, name, own=True)
        for name in ("p", "channel", "event", "n_shared", "label", "p_label", "cluster", "field")
    ),
)
"""What ThunderSTORM's columns become; the last line is what lucule's writer adds."""

_COMPANIONS: Final = frozenset({"id", "frame", "sigma", "sigma1", "intensity", "uncertainty", "uncertainty_xy", "chi2"})


def is_thunderstorm(shape: Layout) -> bool:
    """Whether the names are ThunderSTORM's: x and y with a unit in brackets, and at least one companion."""
    with_unit = {base for base, unit in map(split_unit, shape.names) if is_length_unit(unit)}
    bracketed = any("[" in name for name in shape.names)
    return bracketed and {"x", "y"} <= with_unit and bool(_COMPANIONS & shape.base_names)


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return is_thunderstorm(layout(head))


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    require(shape.names, () if options.columns else ("x", "y"), path, "ThunderSTORM CSV")
    camera = _camera(path)
    size = camera.pixel_size_nm if camera is not None else None
    reading = read_table(path, shape, FIELDS, options, whole_numbers=("id",), stored_pixel_size=size)
    return Reading(reading.data, reading.meta.model_copy(update={"camera": camera}))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    camera = _camera(path)
    about = {"camera": camera.model_dump(mode="json")} if camera is not None else {}
    return inspect_table(path, open_layout(path, options), FIELDS, options, metadata=about)


def _camera(path: Path) -> Camera | None:
    """The camera settings of the protocol that ThunderSTORM saves beside a table, if it is there and whole."""
    protocol = path.with_name(f"{path.name.removesuffix('.gz').rpartition('.')[0] or path.name}-protocol.txt")
    try:
        settings = json.loads(protocol.read_text(encoding="utf-8"))["cameraSettings"]
        em_gain = bool(settings["isEmGain"])
        return Camera(
            kind="emccd" if em_gain else "scmos",
            pixel_size_nm=settings["pixelSize"],
            baseline=settings["offset"],
            electrons_per_count=settings["photons2ADU"],
            em_gain=settings["gain"] if em_gain else 1.0,
            quantum_efficiency=settings.get("quantumEfficiency", 1.0),
            read_noise_electrons=0.0 if em_gain else settings["readoutNoise"],
        )
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        return None  # it is a bonus: a table is complete without its protocol


def write(locs: Localizations, path: Path) -> None:
    """Write ThunderSTORM's names, units (nm, photon) and frames from 1; a column `id` counts the rows.

    `uncertainty_xy` is the root mean square of `x_err` and `y_err`; where they differ, both follow in columns of
    their own, which ThunderSTORM carries along and lucule reads back. Columns that ThunderSTORM does not know keep
    lucule's name. Numbers have as many digits as float32 needs.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for start, rows in rows_per_batch(locs):
            table = rows.select(_columns(locs, start))
            table.write_csv(stream, include_header=start == 0, quote_style="necessary")


def _columns(locs: Localizations, start: int) -> list[pl.Expr]:
    names = set(locs.columns)
    out: list[pl.Expr] = []
    if "id" not in names:
        out.append((pl.int_range(pl.len(), dtype=pl.Int64) + (start + 1)).alias("id"))
    else:
        out.append(pl.col("id"))
    if "frame" in names:
        out.append((pl.col("frame").cast(pl.Int64) + 1).alias("frame"))
    out += [absolute(locs, axis).alias(f"{axis} [nm]") for axis in "xyz" if axis in names]
    out += _pair(locs, ("sigma_x", "sigma_y"), "sigma [nm]", ("sigma1 [nm]", "sigma2 [nm]"))
    out += _named(names, {"photons": "intensity [photon]", "background": "offset [photon]"})
    uncertainty = _pair(locs, ("x_err", "y_err"), "uncertainty_xy [nm]", ("uncertainty_x [nm]", "uncertainty_y [nm]"))
    if len(uncertainty) == 2:
        out.append(((pl.col("x_err") ** 2 + pl.col("y_err") ** 2) / 2).sqrt().alias("uncertainty_xy [nm]"))
    out += uncertainty
    out += _named(names, {"z_err": "uncertainty_z [nm]", "n_frames": "detections"})
    done = {"id", "frame", *"xyz", "sigma_x", "sigma_y", "photons", "background", "x_err", "y_err", "z_err", "n_frames"}
    units = locs.meta.vendor.get("units", {})
    out += [pl.col(n).alias(f"{n} [{units[n]}]" if n in units else n) for n in locs.columns if n not in done]
    return out


def _named(names: set[str], targets: dict[str, str]) -> list[pl.Expr]:
    return [pl.col(name).alias(target) for name, target in targets.items() if name in names]


def _pair(locs: Localizations, pair: tuple[str, str], both: str, each: tuple[str, str]) -> list[pl.Expr]:
    present = [name for name in pair if name in locs]
    if len(present) == 2 and locs.data[pair[0]].equals(locs.data[pair[1]], null_equal=True):
        return [pl.col(pair[0]).alias(both)]
    return [pl.col(name).alias(each[pair.index(name)]) for name in present]


FORMAT: Final = Format(
    name="thunderstorm",
    title="ThunderSTORM CSV",
    extensions=(".csv",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    write=write,
    notes="frames from 1; origin at the outer corner; one uncertainty is x_err and y_err; camera from the protocol",
)
