"""From localization tables to the period of every axon in them.

For each table: read it and check it; join what is seen of one molecule; find the axons and follow them; measure the
period of the rings of each along its centre line, or say why there is none; draw. Then one report for all tables. The
question is that of Linke et al., Biophys. Rep. 5:100201 (2025), figure 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lucule.core import SILENT, Progress, package_version
from lucule.core.files import atomic_path
from lucule.core.ledger import Ledger
from lucule.structures import axons
from lucule.workflows.batch import (
    OUTCOME_FILE,
    SECTION_FILE,
    Inputs,
    OnePath,
    Outcome,
    Stages,
    check_inputs,
    finished_sections,
    load_outcome,
    paths_of,
    run_all,
    save_outcome,
    source_of,
    write_page,
    write_run_file,
)
from lucule.workflows.reading import ReadSettings, check, read_table


class Settings(ReadSettings, axons.Settings):
    """All that decides the outcome: how a table is read, how axons are found, which periods are looked for."""


def run(
    inputs: Inputs,
    out: OnePath,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Analyse `inputs` and write everything to the folder `out`.

    Each input gets a folder with `axons.csv` (a row for each axon: period, interval, or the reason why there is none)
    and `courses.csv` (the centre lines). `out` gets `report.html` and `run.yaml`. Work that is done already is not
    repeated. An input that fails is named in its outcome and in the report and does not stop the others.

    Returns
    -------
    list of Outcome
        One for each input, in order.

    Raises
    ------
    InputError
        There are no inputs, or `out` cannot be written to.
    """
    settings, out = settings or Settings(), Path(out)
    paths = paths_of(inputs)
    check_inputs(paths, out)
    write_run_file(out / "run.yaml", "axons", paths, settings)
    outcomes = run_all(analyse, paths, out, settings, workers=workers, address=address, progress=progress)
    write_report(out, outcomes, settings)
    return outcomes


def analyse(path: Path, folder: Path, settings: Settings, progress: Progress = SILENT) -> Outcome:
    """Analyse one table into `folder`; see `run`."""
    stages = Stages(Ledger(folder.parent), folder, base=[package_version(), source_of(path)])

    def measure_stage() -> None:
        from lucule.view import report

        with progress.task(f"Read {path.name}"):
            locs = read_table(path, settings)
        own = axons.Settings(trace=settings.trace, period=settings.period)
        found = axons.measure(locs, settings=own, progress=progress)
        for name, table in (("axons.csv", found.table()), ("courses.csv", found.courses())):
            with atomic_path(folder / name) as temporary:
                table.write_csv(temporary, float_precision=3)
        warnings = (*check(locs), *_warnings(locs.columns, found))
        with progress.task("Draw"):
            section = report.axon_section(folder.name, locs, found, warnings=warnings)
        section.save(folder / SECTION_FILE)
        save_outcome(Outcome(folder.name, str(path), found.summary(), warnings), folder / OUTCOME_FILE)

    results = ["axons.csv", "courses.csv", SECTION_FILE, OUTCOME_FILE]
    stages.run("measure", settings.model_dump(mode="json"), results, measure_stage)
    return load_outcome(folder / OUTCOME_FILE)


def _warnings(columns: Sequence[str], found: axons.Axons) -> list[str]:
    said = [] if found.reason is None else [f"No axon was found: {found.reason}."]
    if not {"x_err", "y_err"} <= set(columns):
        said.append("The precision is not known; what lies within 24 nm is taken for one molecule.")
    for number, own in enumerate(found.periods):
        if own.remark:
            said.append(f"Axon {number}: {own.remark}. One number does not describe it.")
    return said


def write_report(out: Path, outcomes: Sequence[Outcome], settings: Settings) -> Path:
    """Write `report.html` from the finished sections, failed inputs named at its top."""
    from lucule.view import report

    sections = finished_sections(out, outcomes)
    summary = report.summarise(sections) if len(sections) > 1 else ()
    return write_page(out, "Axon periodicity", sections, settings, summary=summary)
