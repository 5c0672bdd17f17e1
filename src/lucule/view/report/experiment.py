"""The part of a report that shows what happened at the microscope."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lucule.view.report.model import Block, Code, Figure, Gallery, KeyValues, Link, Section, Table, Value, Warnings
from lucule.view.slide_map import course_plot, png, slide_map


def experiment_section(
    name: str,
    *,
    overviews: Mapping[str, tuple[Any, tuple[float, float], float]],
    objects: pl.DataFrame,
    fields: pl.DataFrame,
    bursts: pl.DataFrame,
    events: pl.DataFrame,
    field_um: tuple[float, float],
    titles: Mapping[int, str],
    resolution_nm: Mapping[int, float | None],
    joined: pl.DataFrame | None = None,
    object_titles: Mapping[int, str] | None = None,
    target_per_um2: float | None = None,
    plan: str = "",
    warnings: Sequence[str] = (),
) -> Section:
    """Slide, fields, density and decisions of one run.

    Parameters
    ----------
    name
        Title.
    overviews
        Region -> picture, corner (um), size of a pixel (um).
    objects, fields, bursts, events
        Tables of the ledger.
    field_um
        Width and height of a field.
    titles
        Field -> title of its own section.
    resolution_nm
        Field -> Fourier ring correlation.
    joined, object_titles
        Objects that several fields cover, as the ledger has them, and the title of the section of each.
    target_per_um2
        Wanted density of emitters.
    plan
        The plan as text.
    warnings
        What the reader must know first.
    """
    blocks: list[Block] = [Warnings(tuple(warnings))] if warnings else []
    blocks.append(_cards(objects, fields, bursts, resolution_nm))
    pictures = []
    for region, (image, corner, pixel) in overviews.items():
        here = pl.col("region") == region
        own = fields.filter(here)
        figure = slide_map(image, corner_um=corner, pixel_um=pixel, objects=objects.filter(here), fields=own,
                           field_um=field_um)  # fmt: skip
        alt = f"Overview of {region} with {objects.filter(here).height} objects and {own.height} fields."
        pictures.append(Figure(png(figure), alt, f"{region}: outlines are objects, squares are fields."))
    blocks.append(Gallery(tuple(pictures), title="Scan", size="large"))
    courses = {
        f"field {number + 1}": bursts.filter(pl.col("field") == number).sort("colour", "number")
        for number in fields["id"]
        if bursts.filter(pl.col("field") == number).height
    }
    if courses:
        course = Figure.of_plot(
            course_plot(courses, target_per_um2=target_per_um2),
            alt="Density of emitters and activation over the movies of all fields.",
        )
        blocks.append(Gallery((course,), title="Imaging", size="large"))
    blocks.append(_fields(fields, bursts, titles, resolution_nm))
    if joined is not None and joined.height:
        blocks.append(_joined(joined, object_titles or {}))
    if events.height:
        text = "\n".join(f"{row['kind']}: {row['subject']}: {row['message']}" for row in events.iter_rows(named=True))
        blocks.append(Code("Decisions and faults", text))
    if plan:
        blocks.append(Code("Plan", plan))
    return Section(name, tuple(blocks), note=f"{fields.height} fields, {int(bursts['frames'].sum()):,} frames")


def _cards(
    objects: pl.DataFrame, fields: pl.DataFrame, bursts: pl.DataFrame, resolution_nm: Mapping[int, float | None]
) -> KeyValues:
    known = pl.Series([value for value in resolution_nm.values() if value is not None], dtype=pl.Float64)
    done = fields.filter(pl.col("state") == "done").height
    values = [
        Value("Objects found", objects.height),
        Value("Fields imaged", done, note=f"of {fields.height} chosen"),
        Value("Frames", int(bursts["frames"].sum())),
    ]
    if len(known):
        spread = f"standard deviation {known.std():.1f} nm" if len(known) > 1 else "one field"
        values.append(Value("Fourier ring correlation", float(known.mean()), "nm", note=f"mean; {spread}"))  # type: ignore[arg-type]
    return KeyValues(tuple(values), style="cards")


def _fields(
    fields: pl.DataFrame, bursts: pl.DataFrame, titles: Mapping[int, str], resolution_nm: Mapping[int, float | None]
) -> Table:
    rows = []
    for row in fields.iter_rows(named=True):
        own = bursts.filter(pl.col("field") == row["id"])
        number = row["id"]
        label = str(number + 1)
        rows.append(
            (
                Link(label, titles[number]) if number in titles else label,
                row["state"],
                row["x_um"],
                row["y_um"],
                int(own["frames"].sum()),
                int(own["localizations"].sum()),
                resolution_nm.get(number),
                row["dose_mj_per_um2"],
                row["reason"] or "",
            )
        )
    columns = ("Field", "State", "x, µm", "y, µm", "Frames", "Spots", "FRC, nm", "Dose, mJ/µm²", "Why it ended")
    return Table(columns, tuple(rows), title="Fields")


def _joined(joined: pl.DataFrame, titles: Mapping[int, str]) -> Table:
    """What was done about the objects that several fields cover."""
    rows = []
    for row in joined.iter_rows(named=True):
        number = int(row["objects"].split(",")[0])
        label = str(number + 1)
        overlaps = json.loads(row["overlaps"] or "[]")
        followed = sum(overlap["note"] is None for overlap in overlaps)
        moved = [math.hypot(*shift) for shift in json.loads(row["corrections"] or "[]")]
        notes = [row["reason"]] if row["reason"] else []
        notes += [f"without field {_listed(row['missing'])}"] if row["missing"] else []
        notes += [f"{_listed(o['fields'])}: {o['note']}" for o in overlaps if o["note"] and not row["reason"]]
        drifts = json.loads(row["drift"] or "[]")
        taken = [math.hypot(drift["x_nm"], drift["y_nm"]) for drift in drifts if drift["note"] is None]
        notes += [f"drift of field {drift['field'] + 1}: {drift['note']}" for drift in drifts if drift["x_nm"] is None]
        rows.append(
            (
                Link(label, titles[number]) if number in titles else label,
                _listed(row["fields"]),
                row["localizations"],
                row["twice"],
                f"{followed} of {len(overlaps)}",
                max(taken, default=None),
                max(moved, default=None),
                row["residual_nm"],
                "; ".join(notes),
            )
        )
    columns = ("Object", "Fields", "Spots", "Left out: seen twice", "Overlaps that fit",
               "Drift taken off, up to, nm", "Moved by up to, nm", "Left over, nm", "Notes")  # fmt: skip
    return Table(columns, tuple(rows), title="Objects joined from several fields")


def _listed(fields: str | Sequence[int]) -> str:
    """Fields as people count them."""
    numbers = [int(number) for number in (fields.split(",") if isinstance(fields, str) else fields) if number != ""]
    return ", ".join(str(number + 1) for number in numbers)
