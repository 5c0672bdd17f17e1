"""Objects that several fields cover: joined as soon as all their fields are finished, and again when one follows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from lucule.acquire import results
from lucule.acquire.control import Control
from lucule.acquire.drifting import FieldDrift, between_colours, without_drift
from lucule.acquire.engine import Engine, Skipped
from lucule.acquire.ledger import RunLedger
from lucule.acquire.plan import Plan, Stitching
from lucule.acquire.stitching import corrections, join
from lucule.acquire.worker import Worker
from lucule.core import Localizations

FOLDER: Final = "objects"


def join_covered(
    plan: Plan, folder: Path, *, ledger: RunLedger, engine: Engine, worker: Worker, control: Control
) -> None:
    """Join the fields of every covered object whose fields are finished, and that is not joined yet.

    A field that was given up is missing in the table, and the record says so; when it is taken after all, the object is
    joined again.
    """
    if plan.objects.large != "cover":
        return
    for (group,), rows in ledger.rows("field").group_by("group", maintain_order=True):
        fields = rows.sort("position")
        if len(fields) < 2 or not fields["state"].is_in(["done", "failed"]).all():
            continue
        present = fields.filter(pl.col("state") == "done")["id"].to_list()
        names, missing = _listed(present), _listed(fields.filter(pl.col("state") != "done")["id"].to_list())
        for colour in range(len(plan.imaging)):
            number = int(str(group)) * len(plan.imaging) + colour
            before = ledger.rows("joined", id=number).to_dicts()
            if before and before[0]["state"] == "done" and before[0]["fields"] == names:
                continue
            what = {key: fields[key][0] for key in ("region", "class", "objects")}
            what |= {"colour": colour, "fields": names, "missing": missing}
            first = int(what["objects"].split(",")[0])
            control.point(f"joining object {first + 1}")
            if not present:
                ledger.put("joined", number, **what, state="failed", reason="none of its fields was finished")
                continue
            path = folder / FOLDER / f"{first:04d}_{plan.imaging[colour].channel}_{colour}.parquet"
            shifts = _shifts(ledger, number - colour, names) if colour else None
            work = partial(worker.call, join_fields, folder, present, colour, plan.stitch, path, shifts)
            try:
                found = engine.attempt(f"object {first + 1}", work)
            except Skipped as skipped:
                ledger.put("joined", number, **what, state="failed", reason=skipped.reason)
                continue
            ledger.put("joined", number, **what, path=path.relative_to(folder).as_posix(), state="done", **found)


def _listed(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


def _shifts(ledger: RunLedger, number: int, fields: str) -> dict[str, Any] | None:
    """What the ledger holds of the shifts between the fields of a joined object; None where it is not joined."""
    for row in ledger.rows("joined", id=number, state="done", fields=fields).to_dicts():
        return {key: row[key] for key in ("overlaps", "corrections", "residual_nm", "reason")}
    return None


def join_fields(
    folder: Path, fields: list[int], colour: int, settings: Stitching, out: Path, shifts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Join fields and write the table: what a worker process does. What it found out is for the ledger.

    Both colours of a field were taken at one place of the stage: the corrections are those of the first. The drift is
    taken off to the instant between the two.

    Parameters
    ----------
    shifts
        What was found out of the shifts between these fields when the first colour was joined; None: it is found out.
    """
    if shifts is None:
        tables, drifts = _still(folder, fields, 0, settings)
        shifts = _measured(tables, fields, settings)
    if colour:
        tables, drifts = _still(folder, fields, colour, settings)
    joined = join(tables, fields, [(x, y) for x, y in json.loads(shifts["corrections"])])
    joined.save(out)
    return {
        **shifts,
        "localizations": len(joined),
        "twice": sum(map(len, tables)) - len(joined),
        "drift": json.dumps([drift.record(field) for drift, field in zip(drifts, fields, strict=True)]),
    }


def _measured(tables: list[Localizations], fields: list[int], settings: Stitching) -> dict[str, Any]:
    """Shifts between fields, as they stand in the ledger: read back, numbers are the same to the last bit."""
    found = corrections(tables, settings)
    return {
        "overlaps": json.dumps([overlap.record(fields) for overlap in found.overlaps]),
        "corrections": json.dumps(found.nm.tolist()),
        "residual_nm": found.residual_nm,
        "reason": found.note,
    }


def _still(
    folder: Path, fields: list[int], colour: int, settings: Stitching
) -> tuple[list[Localizations], list[FieldDrift]]:
    """Tables of fields with the drift of each taken off."""
    tables = [results.localizations(folder, field, colour=colour) for field in fields]
    if not settings.take_off_drift:
        return tables, [FieldDrift(note="the plan leaves it on")] * len(tables)
    still = [without_drift(table, as_at=between_colours(colour)) for table in tables]
    return [table for table, _ in still], [drift for _, drift in still]
