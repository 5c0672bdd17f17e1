"""From a plan to a report: scan a slide, find objects, image some of them, localize, classify, measure.

At the microscope (simulated unless the plan names another): a wide-field scan, objects in the overview, dSTORM movies
of chosen objects with control of the emitter density, as in Linke et al., Biophys. Rep. 5:100201 (2025). Then every
field goes through the cluster workflow, and one report opens all of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import Field

from lucule.core import SILENT, Config, InputError, Localizations, Progress
from lucule.core.config import dump_yaml
from lucule.core.files import atomic_path, write_text
from lucule.workflows import clusters
from lucule.workflows.batch import (
    OUTCOME_FILE,
    SECTION_FILE,
    Inputs,
    OnePath,
    Outcome,
    check_inputs,
    paths_of,
    run_all,
    save_outcome,
    write_page,
    write_run_file,
)

SECTIONS_FILE: Final = "sections.json"
RUN_FOLDER: Final = "run"
FIELDS_FOLDER: Final = "fields"
# how tables of fields, and of objects that several fields cover, are named
FIELD: Final = "field_"
OBJECT: Final = "object_"


class Settings(Config):
    """How the fields are analysed; what happens at the microscope stands in the plan.

    Attributes
    ----------
    model, min_points, false_discovery_rate, link_blinks, drop_single_molecules
        As in the cluster workflow.
    colour
        Which colour of a dual-colour plan is analysed.
    take_off_drift
        Whether the drift of each field is taken off; for fields that are joined, the plan says that (`stitch`).
    """

    model: str = "graph"
    min_points: int = Field(default=3, ge=2)
    false_discovery_rate: float = Field(default=0.1, gt=0, le=1)
    link_blinks: bool = True
    drop_single_molecules: bool = True
    colour: int = Field(default=0, ge=0, le=1)
    take_off_drift: bool = True

    def clusters(self) -> clusters.Settings:
        """Settings of the cluster workflow."""
        return clusters.Settings(**self.model_dump(exclude={"colour", "take_off_drift"}))


def run(
    inputs: Inputs,
    out: OnePath,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Do plans one after the other and write everything to the folder `out`.

    Each plan gets a folder with `run` (pictures, movies, ledger) and `fields` (tables of each field); `out` gets
    `report.html` and `run.yaml`. What is finished is not done again.

    Parameters
    ----------
    inputs
        Plans: YAML files, or names of packaged plans.
    workers
        Processes that share the fields of a plan.
    address
        Not used: there is one microscope.

    Returns
    -------
    list of Outcome
        One for each plan.

    Raises
    ------
    InputError
        There is no such plan, or `out` cannot be written to.
    """
    from lucule import models
    from lucule.acquire.plan import plan_path

    settings, out = settings or Settings(), Path(out)
    models.find(settings.model)
    if address is not None:
        raise InputError(
            "An experiment runs where the microscope is", received=address, next_step="leave --address out"
        )
    paths = [plan_path(path) for path in paths_of(inputs)]
    check_inputs(paths, out)
    write_run_file(out / "run.yaml", "experiment", paths, settings)
    # one microscope: plans follow each other, and workers share the fields of one
    outcomes = [
        outcome
        for path in paths
        for outcome in run_all(_Analysis(workers), [path], out, settings, workers=1, progress=progress)
    ]
    write_report(out, outcomes, settings)
    return outcomes


class _Analysis:
    """`analyse` with a number of workers, as `run_all` wants it."""

    def __init__(self, workers: int | None) -> None:
        self._workers = workers

    def __call__(self, path: Path, folder: Path, settings: Settings, progress: Progress) -> Outcome:
        return analyse(path, folder, settings, progress, workers=self._workers)


def analyse(
    path: Path, folder: Path, settings: Settings, progress: Progress = SILENT, *, workers: int | None = None
) -> Outcome:
    """Do one plan in `folder`; see `run`."""
    from lucule.acquire import experiment
    from lucule.acquire.plan import load_plan

    done = experiment.acquire(load_plan(path), folder / RUN_FOLDER, resume=True, progress=progress)
    tables = _tables(folder, settings)
    fields = folder / FIELDS_FOLDER
    outcomes = (
        run_all(_analyse_field, tables, fields, settings.clusters(), workers=workers, progress=progress)
        if tables
        else []
    )
    resolutions = {outcome.name: _resolution(Path(outcome.source)) for outcome in outcomes if outcome.error is None}
    failures = (*done.failures, *(f"{outcome.name} failed. {outcome.error}" for outcome in outcomes if outcome.error))
    warnings = (*failures, *done.notes)
    _save_sections(folder, path.stem, outcomes, resolutions, warnings, settings)
    summary = {**_flat(done.numbers), **_medians(outcomes, list(resolutions.values()))}
    outcome = Outcome(folder.name, str(path), summary, warnings, exit_code=1 if failures else 0)
    save_outcome(outcome, folder / OUTCOME_FILE)
    return outcome


def _analyse_field(path: Path, folder: Path, settings: clusters.Settings, progress: Progress) -> Outcome:
    """The cluster workflow inside the outlines of the field's objects, as far as they are known."""
    outlines = path.with_suffix(".geojson")
    region = outlines if outlines.exists() else None
    return clusters.analyse(path, folder, settings.replace(region=region), progress)


def _tables(folder: Path, settings: Settings) -> list[Path]:
    """Localizations as files, with the outlines of the objects beside them: of each field that was finished, and of
    each object that several fields cover, in the place of these.
    """
    from lucule.acquire import results
    from lucule.acquire.drifting import between_colours, without_drift
    from lucule.acquire.ledger import RunLedger

    run_folder, fields = folder / RUN_FOLDER, folder / FIELDS_FOLDER
    with RunLedger(run_folder) as ledger:
        joined = ledger.rows("joined", state="done", colour=settings.colour).to_dicts()
        done = ledger.rows("field", state="done").select("id", "objects").rows()
    covered = {int(number) for row in joined for number in row["fields"].split(",")}
    found = []
    for number, objects in done:
        if number in covered:
            continue
        path = fields / f"{FIELD}{number + 1:03d}.parquet"
        if not path.exists():
            locs = results.localizations(run_folder, number, colour=settings.colour)
            if settings.take_off_drift:
                locs, _ = without_drift(locs, as_at=between_colours(settings.colour))
            _save(locs, path, run_folder, objects)
        found.append(path)
    for row in joined:
        path = fields / f"{OBJECT}{int(row['objects'].split(',')[0]) + 1:03d}.parquet"
        # a field that was given up may have been taken since
        _save(Localizations.load(run_folder / row["path"]), path, run_folder, row["objects"])
        found.append(path)
    return [path for path in found if path.exists()]


def _save(locs: Localizations, path: Path, run_folder: Path, objects: str) -> None:
    from lucule import io
    from lucule.acquire import results

    if not len(locs):
        return
    region = results.region_of(run_folder, objects, locs)
    if region is not None:
        io.regions.write_geojson(region, path.with_suffix(".geojson"))
    locs.save(path)


def _resolution(path: Path) -> float | None:
    from lucule import process

    try:
        return process.frc(Localizations.load(path), compare=False).resolution_nm
    except InputError:
        return None


def _flat(numbers: dict[str, Any]) -> dict[str, Any]:
    """Counts by state as single numbers."""
    flat: dict[str, Any] = {}
    for key, value in numbers.items():
        flat |= {f"{key}_{state}": count for state, count in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _medians(outcomes: Sequence[Outcome], resolutions: Sequence[float | None]) -> dict[str, Any]:
    """Medians over fields of what the cluster workflow says, and the mean ring correlation with its spread."""
    known = [value for value in resolutions if value is not None]
    found: dict[str, Any] = {
        "frc_nm": float(np.mean(known)) if known else None,
        "frc_nm_sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }
    for key in ("clusters", "clusters_per_um2", "percent_clustered"):
        values = [outcome.summary[key] for outcome in outcomes if outcome.summary.get(key) is not None]
        found[key] = float(np.median(values)) if values else None
    return found


def _save_sections(
    folder: Path,
    name: str,
    outcomes: Sequence[Outcome],
    resolutions: dict[str, float | None],
    warnings: Sequence[str],
    settings: Settings,
) -> None:
    from lucule.acquire.experiment import plan_of
    from lucule.acquire.finder import Overview
    from lucule.acquire.ledger import RunLedger
    from lucule.view import report

    run_folder = folder / RUN_FOLDER
    plan = plan_of(run_folder)
    with RunLedger(run_folder) as ledger:
        tables = {table: ledger.rows(table) for table in ("tile", "object", "field", "burst", "event")}
        joined = ledger.rows("joined", colour=settings.colour)
        width, height = ledger.kept("field_um")
    overviews = {}
    for region in tables["tile"].filter(pl.col("state") == "done")["region"].unique(maintain_order=True):
        seen = Overview.load(run_folder / "overview" / f"{region}_{plan.scan.channels[0]}.npz")
        overviews[region] = (seen.image, seen.corner_um, seen.pixel_um)
    density = plan.imaging[0].density
    numbers = _by_number(outcomes, FIELD)
    section = report.experiment_section(
        name,
        overviews=overviews,
        objects=tables["object"],
        fields=tables["field"],
        bursts=tables["burst"].filter(pl.col("state") == "done"),
        events=tables["event"],
        field_um=(width, height),
        titles={number: outcome.name for number, outcome in numbers.items() if not outcome.error},
        resolution_nm={number: resolutions.get(outcome.name) for number, outcome in numbers.items()},
        joined=joined,
        object_titles={
            number: outcome.name for number, outcome in _by_number(outcomes, OBJECT).items() if not outcome.error
        },
        target_per_um2=density.target_per_um2 if density else None,
        plan=dump_yaml(plan.model_dump(mode="json", exclude_unset=True)),
        warnings=warnings,
    )
    with atomic_path(folder / SECTION_FILE) as temporary:
        section.save(temporary)
    write_text(folder / SECTIONS_FILE, json.dumps([outcome.name for outcome in outcomes if not outcome.error]))


def _by_number(outcomes: Sequence[Outcome], kind: str) -> dict[int, Outcome]:
    """Outcomes of fields, or of objects, by their number in the ledger."""
    own = [outcome for outcome in outcomes if outcome.name.startswith(kind)]
    return {int(outcome.name.removeprefix(kind)) - 1: outcome for outcome in own}


def write_report(out: Path, outcomes: Sequence[Outcome], settings: Settings) -> Path:
    """Write `report.html` from the finished sections, failed plans named at its top."""
    from lucule.view import report

    sections = []
    for outcome in outcomes:
        folder = out / outcome.name
        if not (folder / SECTIONS_FILE).exists():
            sections.append(report.Section(outcome.name, note=outcome.source, error=outcome.error))
            continue
        sections.append(report.Section.load(folder / SECTION_FILE))
        names = json.loads((folder / SECTIONS_FILE).read_text(encoding="utf-8"))
        sections += [report.Section.load(folder / FIELDS_FOLDER / name / SECTION_FILE) for name in names]
    return write_page(out, "Experiment", sections, settings)
