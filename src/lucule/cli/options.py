"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from lucule.core.errors import InputError


def _above_zero(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is no number above 0.")
    return value


ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.", metavar="FILE.yaml")]
SetOption = Annotated[list[str], typer.Option("--set", help="One setting; may be repeated.", metavar="KEY=VALUE")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")]

FormatOption = Annotated[str | None, typer.Option("--format", help="Format of the input, where it is not recognised.")]
MapOption = Annotated[
    list[str],
    typer.Option("--map", help="Column of the file for a column of lucule, as x=PosX.", metavar="NAME=COLUMN"),
]
UnitOption = Annotated[str | None, typer.Option("--unit", help="Unit of the positions: nm, um, m or px.")]
PixelSizeOption = Annotated[
    float | None,
    typer.Option("--pixel-size-nm", callback=_above_zero, help="Size of a camera pixel, nm, where the file needs it."),
]
DropOption = Annotated[bool, typer.Option("--drop-invalid", help="Leave out rows whose position is not a number.")]
RegionOption = Annotated[Path | None, typer.Option("--region", help="ImageJ ROI or GeoJSON file.")]
ChannelOption = Annotated[int | None, typer.Option("--channel", help="Channel of a movie with several, from 0.")]
PositionOption = Annotated[int | None, typer.Option("--position", help="Position of a movie with several, from 0.")]
PlaneOption = Annotated[int | None, typer.Option("--z", help="Plane of a movie with several, from 0.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Processes that share the inputs.", min=1)]


def column_map(assignments: list[str]) -> dict[str, str]:
    """Turn `["x=PosX", "y=PosY"]` into a mapping; values are taken as they stand."""
    mapping = {}
    for assignment in assignments:
        name, separator, column = assignment.partition("=")
        if not (separator and name and column):
            raise InputError("--map needs NAME=COLUMN", received=assignment, allowed="for example --map x=PosX")
        mapping[name] = column
    return mapping
