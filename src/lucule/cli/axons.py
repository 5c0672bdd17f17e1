"""`lucule period`: the period of the rings of axons."""

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


def period(
    inputs: Annotated[list[Path], typer.Argument(help="Localization tables in any supported format.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for all results.")] = None,
    shortest_nm: Annotated[float | None, typer.Option(help="Shortest period looked for, nm.")] = None,
    longest_nm: Annotated[float | None, typer.Option(help="Longest period looked for, nm.")] = None,
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
    """Find axons and measure the period of their rings, with its interval, or say that there is none."""
    with session(inputs=inputs, as_json=json, resumes=True) as run:
        from lucule.cli.pipelines import tell
        from lucule.core import InputError
        from lucule.workflows import axons, batch

        if out is None:
            raise InputError("The output folder is not named", next_step="add --out RESULTS")
        ranges = {"shortest_nm": shortest_nm, "longest_nm": longest_nm}
        settings = run.changed(
            axons.Settings(), config, set_, columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm,
            drop_invalid=drop_invalid or None, format=format_,
            period={key: value for key, value in ranges.items() if value is not None},
        )  # fmt: skip
        if dry_run:
            run.plan(settings, read=[str(path) for path in inputs], write=str(out))
            return
        outcomes = axons.run(inputs, out, settings, workers=workers, progress=run.progress)
        tell(run, outcomes, out)
        run.exit_code = batch.exit_code(outcomes)
