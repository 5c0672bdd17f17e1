"""`lucule average`: many particles of one structure, laid on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucule.cli.options import (
    ConfigOption,
    DropOption,
    DryRunOption,
    FormatOption,
    JsonOption,
    MapOption,
    PixelSizeOption,
    SetOption,
    UnitOption,
    column_map,
)
from lucule.cli.session import session


def average(
    table: Annotated[Path, typer.Argument(help="Localization table in any supported format.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    group: Annotated[
        str | None,
        typer.Option(help="Column that tells the particles apart; by default particle, cluster, group or field."),
    ] = None,
    symmetry: Annotated[str | None, typer.Option(help="auto, none, or the order of a rotational symmetry.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of different structures.", min=1, max=10)] = None,
    dimensions: Annotated[str | None, typer.Option(help="auto, 2 or 3.")] = None,
    tilt: Annotated[float | None, typer.Option(help="In 3D: largest tilt of a particle, degrees.")] = None,
    half_sets: Annotated[bool, typer.Option("--half-sets/--no-half-sets", help="Resolution from half sets.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the random starts.", min=0)] = 1,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Average many particles without a template, in 2D or 3D."""
    with session(inputs=table, as_json=json) as run:
        from lucule import io
        from lucule.workflows import averaging
        from lucule.workflows.reading import read_table

        settings = run.changed(
            averaging.Settings(), config, set_, group=group, classes=classes, tilt_deg=tilt,
            symmetry=int(symmetry) if symmetry and symmetry.isdigit() else symmetry,
            dimensions=int(dimensions) if dimensions and dimensions.isdigit() else dimensions,
            half_sets=None if half_sets else False,
            columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm, drop_invalid=drop_invalid or None,
            format=format_,
        )  # fmt: skip
        if dry_run:
            run.plan(settings, read=str(table), write=str(out))
            return
        locs = read_table(table, settings)
        run.warnings += io.suspicions(locs)
        result = averaging.run(locs, settings, seed=seed, progress=run.progress)
        run.warnings += result.warnings
        run.results = {"localizations": len(locs)} | result.summary()
        run.results["written"] = averaging.write(result, out, settings=settings, seed=seed, source=str(table))
