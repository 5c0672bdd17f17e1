"""What is in the folder of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from lucule.acquire.ledger import RunLedger
from lucule.acquire.writing import ENDINGS
from lucule.core import InputError, Localizations, Region

PLAN_FILE: Final = "plan.yaml"
# events that are no faults
_QUIET: Final = ("decision", "find", "stop")


def table_of(burst: str) -> str:
    """Path of the localizations of a burst."""
    for ending in ENDINGS.values():
        burst = burst.removesuffix(ending)
    return burst + ".parquet"


def summary(ledger: RunLedger) -> dict[str, Any]:
    """Counts of everything in a ledger."""
    numbers: dict[str, Any] = {}
    for table in ("tile", "object", "field"):
        states = ledger.rows(table)["state"].value_counts().sort("state")
        numbers[f"{table}s"] = dict(states.iter_rows())
    if len(joined := ledger.rows("joined")):
        numbers["joined"] = dict(joined["state"].value_counts().sort("state").iter_rows())
    bursts = ledger.rows("burst", state="done")
    faults = ledger.rows("event").filter(~pl.col("kind").is_in(_QUIET))
    return numbers | {
        "frames": int(bursts["frames"].sum()),
        "localizations": int(bursts["localizations"].sum()),
        "faults": len(faults),
    }


def localizations(folder: str | os.PathLike[str], field: int, *, colour: int = 0) -> Localizations:
    """All localizations that were made while a field was imaged; the place on the stage is in `meta.origin_nm`.

    Raises
    ------
    InputError
        There is no such run, or the field has no finished burst of this colour.
    """
    path = Path(folder)
    if not (path / PLAN_FILE).exists():
        raise InputError("There is no run", received=folder, allowed=f"a folder with {PLAN_FILE}")
    with RunLedger(path) as ledger:
        bursts = ledger.rows("burst", field=field, colour=colour, state="done").sort("number")
        place = ledger.rows("field", id=field)
    if not len(bursts):
        raise InputError("The field has no finished burst", received=field)
    parts = [Localizations.load(path / table_of(name)) for name in bursts["path"]]
    rows, columns = parts[0].meta.shape_px or (0, 0)
    pixel = parts[0].meta.pixel_size_nm or (0.0, 0.0)
    # where the stage said that it was
    middle = [place[f"at_{axis}_um"][0] if place[f"at_{axis}_um"][0] is not None else place[f"{axis}_um"][0]
              for axis in "xy"]  # fmt: skip
    corner = [
        1000 * float(at) - size * count / 2 for at, size, count in zip(middle, pixel, (columns, rows), strict=True)
    ]
    meta = parts[0].meta.replace(n_frames=int(bursts["frames"].sum()), origin_nm=(corner[0], corner[1], 0.0))
    return Localizations(pl.concat([part.data for part in parts]), meta)


def region_of(folder: str | os.PathLike[str], objects: str, locs: Localizations) -> Region | None:
    """Outlines of objects (their numbers, comma-separated), in the coordinates of a table of them.

    None where they do not reach into it.
    """
    import shapely

    with RunLedger(folder) as ledger:
        chosen = pl.col("id").is_in([int(number) for number in objects.split(",")])
        outlines = shapely.from_wkb(ledger.rows("object").filter(chosen)["outline"].to_list())
    rows, columns = locs.meta.shape_px or (0, 0)
    width, height = locs.meta.pixel_size_nm or (0.0, 0.0)
    moved = shapely.transform(outlines, lambda um: 1000 * um - np.array(locs.meta.origin_nm[:2]))
    inside = shapely.intersection(shapely.union_all(moved), shapely.box(0, 0, columns * width, rows * height))
    parts = [part for part in shapely.get_parts(inside) if part.geom_type == "Polygon"]
    return Region.from_shape(shapely.MultiPolygon(parts)) if parts else None


def failed(ledger: RunLedger) -> list[str]:
    """One sentence for each piece of work that was given up."""
    return [
        f"{name} {row['id'] + 1} was given up: {row['reason']}"
        for table, name in (("tile", "picture"), ("field", "field"))
        for row in ledger.rows(table, state="failed").iter_rows(named=True)
    ] + [
        f"Object {int(row['objects'].split(',')[0]) + 1} was not joined: {row['reason']}"
        for row in ledger.rows("joined", state="failed").iter_rows(named=True)
    ]


def not_followed(ledger: RunLedger) -> list[str]:
    """One sentence for each covered object of which a field is missing, or whose overlaps do not fit."""
    found = []
    for row in ledger.rows("joined", state="done").iter_rows(named=True):
        name = f"Object {int(row['objects'].split(',')[0]) + 1}"
        if row["missing"]:
            names = ", ".join(str(int(field) + 1) for field in row["missing"].split(","))
            found.append(f"{name} is not complete: field {names} is missing")
        if row["reason"]:
            found.append(f"{name}: its fields lie where the stage said that they are, since {row['reason']}")
    return found


def nothing_found(ledger: RunLedger) -> list[str]:
    """One sentence for each region in which there was no object."""
    return [f"{row['subject']}: {row['message']}" for row in ledger.rows("event", kind="find").iter_rows(named=True)]
