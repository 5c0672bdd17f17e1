"""`lucule sarcomeres`: from tables to line distances, the average and a report."""

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
    WorkersOption,
    column_map,
)
from lucule.cli.session import session


def sarcomeres(
    tables: Annotated[list[Path], typer.Argument(help="Localization tables in any supported format.", readable=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for all results.")],
    model: Annotated[str | None, typer.Option(help="lines, varga (needs regions), or a folder.")] = None,
    regions: Annotated[
        Path | None, typer.Option("--regions", help="GeoJSON or ImageJ ROI with a part for each double line.")
    ] = None,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    workers: WorkersOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Find the double lines of sarcomeres, measure the distance of their lines, and average them."""
    with session(inputs=tables, as_json=json, resumes=True) as current:
        from lucule.cli.pipelines import tell
        from lucule.workflows import batch
        from lucule.workflows import sarcomeres as workflow

        settings = current.changed(
            workflow.Settings(), config, set_, model=model, regions=regions,
            columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm, drop_invalid=drop_invalid or None,
            format=format_,
        )  # fmt: skip
        if dry_run:
            folders = batch.folder_names(tables)
            current.plan(settings, read=[str(path) for path in tables], write=[str(out / folder) for folder in folders])
            return
        outcomes = workflow.run(tables, out, settings, workers=workers, progress=current.progress)
        tell(current, outcomes, out)
        current.exit_code = batch.exit_code(outcomes)
