"""`lucule info` and `lucule convert`: what a file is, and the same table in another format."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lucule.cli.options import (
    ChannelOption,
    ConfigOption,
    DropOption,
    DryRunOption,
    FormatOption,
    JsonOption,
    MapOption,
    PixelSizeOption,
    PlaneOption,
    PositionOption,
    RegionOption,
    SetOption,
    UnitOption,
    column_map,
)
from lucule.cli.session import session

if TYPE_CHECKING:
    from lucule.io import Movie

_FRAMES_LOOKED_AT = 20


def info(
    files: Annotated[list[Path], typer.Argument(help="Localization tables or movies in any supported format.")],
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    format_: FormatOption = None,
    channel: ChannelOption = None,
    position: PositionOption = None,
    z: PlaneOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Show what a table or movie is: format, units, ranges, history, camera, and what looks wrong."""
    with session(inputs=files, as_json=json) as run:
        from lucule import io
        from lucule.workflows.reading import ReadSettings, check

        settings = run.changed(
            ReadSettings(),
            config,
            set_,
            columns=column_map(map_),
            unit=unit,
            pixel_size_nm=pixel_size_nm,
            format=format_,
        )
        if dry_run:
            run.plan(settings, read=[str(path) for path in files])
            return
        reports: dict[str, dict[str, Any]] = {}
        for path in files:
            if settings.format is None and io.movies.sniff(path) is not None:
                with io.open_movie(path, channel=channel, position=position, z=z) as movie:
                    reports[str(path)] = _describe_movie(movie)
                run.warnings += [f"{path.name}: {warning}" for warning in reports[str(path)]["warnings"]]
                continue
            found = io.inspect(path)
            report: dict[str, Any] = {"format": found.title, "size_bytes": found.size_bytes}
            locs = io.read(
                path,
                format=settings.format,
                columns=settings.columns or None,
                unit=settings.unit,
                pixel_size_nm=settings.pixel_size_nm,
                drop_invalid=True,
            )
            report |= _describe(locs)
            report["warnings"] = check(locs)
            run.warnings += [f"{path.name}: {warning}" for warning in report["warnings"]]
            reports[str(path)] = report
        run.results = reports if len(files) > 1 else reports[str(files[0])]


def _describe_movie(movie: Movie) -> dict[str, Any]:
    import numpy as np

    info = movie.info
    frames, rows, columns = info.shape
    some = movie[:: max(frames // _FRAMES_LOOKED_AT, 1)][:_FRAMES_LOOKED_AT]
    described: dict[str, Any] = {
        "format": info.title,
        "size_bytes": info.size_bytes,
        "frames": frames,
        "rows": rows,
        "columns": columns,
        "dtype": info.dtype,
        "axes": [f"{axis} {length}" for axis, length in info.axes.items()],
        "chosen": [f"{axis} {element}" for axis, element in info.chosen.items()],
        "pixel_size_nm": info.pixel_size_nm and list(info.pixel_size_nm),
        "exposure_ms": info.exposure_ms,
        "counts_min": float(some.min()),
        "counts_median": float(np.median(some)),
        "counts_max": float(some.max()),
        "camera": {key: value for key, value in asdict(info.camera).items() if value is not None},
    }
    return described | {"camera_needs": info.unsaid, "warnings": list(info.notes)}


def _describe(locs: Any) -> dict[str, Any]:
    import numpy as np

    from lucule.core import COLUMNS

    columns = []
    for name in locs.columns:
        values = locs.data[name]
        known = COLUMNS.get(name)
        row: dict[str, Any] = {
            "column": name,
            "unit": known.unit if known else "",
            "min": None,
            "median": None,
            "max": None,
        }
        if values.dtype.is_numeric() and len(values):
            finite = values.drop_nans() if values.dtype.is_float() else values
            row |= {"min": finite.min(), "median": finite.median(), "max": finite.max()}
        columns.append(row | {"meaning": known.meaning if known else "kept from the file"})
    meta = locs.meta
    described: dict[str, Any] = {"rows": len(locs), "columns": columns}
    if len(locs):
        width, height = (float(np.ptp(locs[axis])) / 1000 for axis in "xy")
        described |= {"width_um": width, "height_um": height, "dimensions": 3 if locs.is_3d else 2}
    described["metadata"] = meta.model_dump(mode="json", exclude={"history", "vendor"}, exclude_none=True)
    described["history"] = [
        {"step": step.function, "parameters": step.parameters, "seed": step.seed, "version": step.version}
        for step in meta.history
    ]
    return described


def convert(
    file: Annotated[Path, typer.Argument(help="Localization table in any supported format.")],
    out: Annotated[Path, typer.Option("--out", help="File to write; its ending chooses the format.")],
    to: Annotated[str | None, typer.Option("--to", help="Format to write, where the ending does not tell.")] = None,
    layout: Annotated[str, typer.Option(help="Rows of a Parquet file: input (order kept) or tiles.")] = "input",
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    filter_: Annotated[
        str | None, typer.Option("--filter", help='Keep rows, as in "photons > 500 & x_err < 25".')
    ] = None,
    region: RegionOption = None,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Write a table in another format, with units, axes and frame numbers converted."""
    with session(inputs=file, as_json=json) as run:
        from lucule import io
        from lucule.workflows.reading import ReadSettings, read_table

        settings = run.changed(
            ReadSettings(),
            config,
            set_,
            columns=column_map(map_),
            unit=unit,
            pixel_size_nm=pixel_size_nm,
            drop_invalid=drop_invalid or None,
            filter=filter_,
            format=format_,
        )
        if dry_run:
            run.plan(settings, read=str(file), write=str(out))
            return
        locs = read_table(file, settings)
        if region is not None:
            locs = locs.crop(io.regions.read(region, pixel_size_nm=settings.pixel_size_nm))
        if layout == "input":
            io.write(locs, out, format=to)
        else:
            locs.save(out, layout=layout)
        run.results = {"rows": len(locs), "written": str(out)}
