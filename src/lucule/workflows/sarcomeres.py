"""From localization tables to the distance between the lines of sarcomeres.

For each table: read it and check it; label the localizations that are on double lines and group them by the centre they
point to, over the whole table or in given regions; filter; fit two lines to each; average them. Then one report for all
tables, with the average over them. After Varga et al., Sci. Rep. 13:1582 (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import SILENT, Localizations, Progress, WorkError, package_version, step
from lucule.core.files import atomic_path
from lucule.core.ledger import Ledger
from lucule.structures.sarcomeres import (
    FilterSettings,
    LineSettings,
    Sarcomeres,
    as_movie,
    average,
    boxes_of,
    complete,
    errors_nm,
    follow_up,
    group_by_centre,
    group_by_regions,
    grow_boxes,
    measure,
    sure,
)
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
from lucule.workflows.reading import ReadSettings, check, read_table, region_of

if TYPE_CHECKING:
    from lucule.view.report import Section

ALIGNED_FILE = "aligned.parquet"
_TABLE_UM = 1.0
_WIDE_NM = 15.0
# in a region neighbours are not told apart yet: what is joined there must be nearer than they are
_IN_REGION_NM = 250.0


class Settings(ReadSettings):
    """All that decides the outcome.

    Attributes
    ----------
    model
        Network that labels: `lines` or a trained one of its kind, or `varga`, which needs regions.
    regions
        GeoJSON, ImageJ ROI or mask with one part for each double line, from an image model or by hand; None: double
        lines are found in the whole table.
    fewest_in_region
        Regions grow until they hold that many localizations.
    filters
        What is filtered after the labelling.
    lines
        How two lines are fitted.
    """

    model: str = "lines"
    regions: Path | None = None
    fewest_in_region: int = Field(default=350, gt=0)
    filters: FilterSettings = FilterSettings()
    lines: LineSettings = LineSettings()


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

    Each input gets a folder with `localizations.parquet` (all rows in input order with `label`, `p_label` and
    `cluster`, the number of the double line), `sarcomeres.parquet` and `.csv`, `filters.csv` and `aligned.parquet`.
    `out` gets `report.html` and `run.yaml`. Work that is done already is not repeated. An input that fails is named in
    its outcome and in the report and does not stop the others.

    Returns
    -------
    list of Outcome
        One for each input, in order.

    Raises
    ------
    InputError
        There are no inputs, the model or the regions do not exist, or `out` cannot be written to.
    """
    from lucule import models

    settings, out = settings or Settings(), Path(out)
    paths = paths_of(inputs)
    models.find(settings.model)
    if settings.regions is not None:
        source_of(settings.regions)
    check_inputs(paths, out)
    write_run_file(out / "run.yaml", "sarcomeres", paths, settings)
    outcomes = run_all(analyse, paths, out, settings, workers=workers, address=address, progress=progress)
    write_report(out, outcomes, settings)
    return outcomes


def analyse(path: Path, folder: Path, settings: Settings, progress: Progress = SILENT) -> Outcome:
    """Analyse one table into `folder`; see `run`."""
    from lucule import models, view

    card = models.find(settings.model).card
    reading = settings.model_dump(mode="json", include=set(ReadSettings.model_fields))
    stages = Stages(
        Ledger(folder.parent), folder, base=[package_version(), source_of(path), reading, card.weights_sha256]
    )

    def find_stage() -> None:
        with progress.task(f"Read {path.name}"):
            locs = read_table(path, settings)
        find(locs, settings, progress=progress).save(folder / "steps" / "found.parquet")

    def measure_stage() -> None:
        found = Localizations.load(folder / "steps" / "found.parquet")
        number, steps = follow_up(found, found["cluster"], settings.filters)
        with progress.task("Measure double lines"):
            measured = measure(found, number, settings.lines)
        locs, steps = without_background(found, number, measured, steps)
        locs.save(folder / "localizations.parquet")
        _write(measured.table(), folder / "sarcomeres.parquet")
        _write(measured.table(), folder / "sarcomeres.csv")
        _write(steps, folder / "filters.csv")
        _write(measured.aligned, folder / ALIGNED_FILE)
        summary = measured.summary() | averaged(measured.aligned)
        warnings = (*check(locs), *doubts(locs, measured, settings))
        with progress.task("Draw"):
            section = view.report.sarcomere_section(
                folder.name, locs, measured, steps, average(measured.aligned), summary, warnings=warnings
            )
        section.save(folder / SECTION_FILE)
        save_outcome(Outcome(folder.name, str(path), summary, warnings), folder / OUTCOME_FILE)

    regions = None if settings.regions is None else source_of(settings.regions)
    fitting = settings.lines.model_dump(mode="json")
    finding = [settings.model, regions, settings.fewest_in_region, settings.filters.dbscan_nm, fitting]
    stages.run("find", finding, ["steps/found.parquet"], find_stage)
    measuring = settings.filters.model_dump(mode="json")
    results = ["localizations.parquet", "sarcomeres.parquet", "sarcomeres.csv", "filters.csv", ALIGNED_FILE,
               SECTION_FILE, OUTCOME_FILE]  # fmt: skip
    stages.run("measure", [finding, measuring], results, measure_stage)
    return load_outcome(folder / OUTCOME_FILE)


@step
def find(
    locs: Localizations, settings: Settings | None = None, *, device: str = "auto", progress: Progress = SILENT
) -> Localizations:
    """Label all localizations and number the double lines they are on.

    Returns
    -------
    Localizations
        All rows in input order with `label` (1: on a double line), `p_label` and `cluster` (-1: none).

    Raises
    ------
    InputError
        The model is of another kind, or it needs regions and there are none.
    """
    from lucule import models
    from lucule.classify import lines

    settings = settings or Settings()
    boxes = None if settings.regions is None else boxes_of(region_of(settings.regions, settings, locs))
    if models.find(settings.model).card.task != lines.TASK:
        label, probability = _in_subsets(locs, boxes, settings)
        number = group_by_regions(locs.xy(), label, boxes if boxes is not None else np.empty((0, 4)),
                                  epsilon_nm=min(settings.filters.dbscan_nm or 50.0, _IN_REGION_NM))  # fmt: skip
        return locs.with_columns(label=label, p_label=probability, cluster=number)
    said = lines.LineModel.load(settings.model, device).predict(locs.xy(), progress=progress)
    if boxes is None:
        number, chance = group_by_centre(said.chance, said.centre_nm), said.chance
        if sure(chance, number):
            number, joined = complete(locs.xy(), errors_nm(locs), number, settings.lines)
            chance = np.where(joined > 0, joined, chance)
        # what is on no double line as a whole is on none
        label = (number >= 0).astype(np.uint8)
        probability = np.where(label == 1, chance, 1 - chance)
        return locs.with_columns(label=label, p_label=probability, cluster=number)
    grown = grow_boxes(boxes, locs.xy(), fewest=settings.fewest_in_region)
    number = group_by_regions(
        locs.xy(), said.label, grown, epsilon_nm=min(settings.filters.dbscan_nm or 50.0, _IN_REGION_NM)
    )
    return locs.with_columns(label=said.label, p_label=said.probability, cluster=number)


def _in_subsets(
    locs: Localizations, boxes: NDArray[np.float64] | None, settings: Settings
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels by the paper's classifier, region by region; where regions overlap, the more certain label counts."""
    from lucule.classify import subsets
    from lucule.core import InputError
    from lucule.structures.sarcomeres.objects import inside_box

    if boxes is None:
        raise InputError(
            f"Model {settings.model} must know how many localizations a double line has, and needs regions for that",
            next_step="add --regions FILE.geojson, or leave out --model",
        )
    xy = locs.xy()
    label, probability = np.zeros(len(xy), np.uint8), np.zeros(len(xy), np.float32)
    grown = grow_boxes(boxes, xy, fewest=settings.fewest_in_region)
    for box, wide in zip(boxes, grown, strict=True):
        rows = np.flatnonzero(inside_box(xy, wide))
        count = int(inside_box(xy, box).sum())
        if not count:
            continue
        given, certain = subsets.label_in_subsets(xy[rows], count, model=settings.model)
        # a double line at the edge of one region lies whole in another, which knows better
        better = (given > label[rows]) | ((given == label[rows]) & (certain > probability[rows]))
        label[rows[better]], probability[rows[better]] = given[better], certain[better]
    return label, np.where(probability > 0, probability, 1).astype(np.float32)


def without_background(
    found: Localizations, number: NDArray[np.int32], measured: Sarcomeres, steps: pl.DataFrame
) -> tuple[Localizations, pl.DataFrame]:
    """Number what is on the lines: what the fits take for background, between them too, loses its number.

    Distances and profiles have been measured with it, as the fits allow for background.
    """
    off = measured.off_lines
    there = int((number >= 0).sum())
    last = {"step": "background to the fit", "before": there, "discarded": int(off.sum()),
            "percent": 100 * float(off.sum()) / max(there, 1)}  # fmt: skip
    locs = found.with_columns(cluster=np.where(off, -1, number).astype(np.int32))
    return locs, pl.concat([steps, pl.DataFrame([last], schema=steps.schema)])


def averaged(aligned: pl.DataFrame) -> dict[str, Any]:
    """How many double lines an average holds, and its resolution: Fourier correlation of halves of the sarcomeres."""
    from lucule import process

    count = aligned.select(pl.struct([c for c in ("file", "sarcomere") if c in aligned.columns]).n_unique()).item()
    result: dict[str, Any] = {
        "averaged": count, "average_frc_nm": None, "average_frc_nm_interval": None, "average_frc_nm_reason": None,
    }  # fmt: skip
    if count < 10:
        return result | {"average_frc_nm_reason": f"{count} averaged; halves need 10 sarcomeres"}
    try:
        found = process.frc(as_movie(aligned), settings=process.FrcSettings(split="blocks", pixel_nm=4.0))
    except WorkError as error:
        return result | {"average_frc_nm_reason": str(error)}
    interval = found.interval_nm
    return result | {
        "average_frc_nm": found.resolution_nm,
        "average_frc_nm_interval": None if interval is None else list(interval),
        "average_frc_nm_reason": found.reason,
    }


def doubts(locs: Localizations, measured: Sarcomeres, settings: Settings) -> list[str]:
    """What a reader must know before the line distance: one sentence each."""
    from lucule import models
    from lucule.classify import lines

    said = []
    extent = float(np.ptp(locs.xy(), axis=0).max()) / 1000 if len(locs) else 0.0
    if extent < _TABLE_UM:
        said.append(
            f"All positions lie within {1000 * extent:.3g} nm, less than one sarcomere: is their unit right? "
            "Say it with --unit um, m or px."
        )
    card = models.find(settings.model).card
    if card.task == lines.TASK:
        said += lines.check_range(locs, card)
        labelled = measured.rows.height and "p_label" in locs
        if labelled and not sure(locs["p_label"], np.where(locs["label"] == 1, locs["cluster"], -1)):
            said.append(
                "The network is not sure of most double lines that it found: there may be none in this table. Look at "
                "the picture before a number is used."
            )
    if measured.distance.reason is not None:
        said.append(f"There is no line distance: {measured.distance.reason}.")
    elif measured.distance.sarcomeres == 1:
        said.append("The line distance is that of a single sarcomere; its interval says nothing about others.")
    unclear = measured.rows.height - measured.distance.sarcomeres
    if unclear and measured.distance.sarcomeres:
        said.append(f"{unclear} of {measured.rows.height} double lines have no distance; the table names the reasons.")
    if settings.lines.linker_nm == 0 and measured.distance.sarcomeres:
        width = measured.summary()["line_width_nm"]
        if width > _WIDE_NM:
            said.append(
                f"The lines are {width:.0f} nm wide (standard deviation) beyond the localization error, as linkers "
                "between epitope and dye make them, or discs that lean. The distance given is that of the dyes and may "
                "be wrong by 10 nm and more. Tell linkers that are known: lines.linker and lines.linker_nm."
            )
    if "x_err" not in locs and measured.rows.height:
        said.append(
            f"The table has no localization errors; {settings.lines.error_nm:g} nm are assumed (lines.error_nm)."
        )
    return said


def write_report(out: Path, outcomes: Sequence[Outcome], settings: Settings) -> Path:
    """Write `report.html` from the finished sections, failed inputs named at its top."""
    from lucule.view import report

    sections = finished_sections(out, outcomes)
    summary = report.summarise(sections) if len(sections) > 1 else ()
    together = [_together(out, outcomes)] if sum(o.error is None for o in outcomes) > 1 else []
    return write_page(out, "Sarcomeres", [*together, *sections], settings, summary=summary)


def _together(out: Path, outcomes: Sequence[Outcome]) -> Section:
    """The section on the sarcomeres of all inputs."""
    from lucule.structures.sarcomeres import combine
    from lucule.view import report

    done = [outcome.name for outcome in outcomes if outcome.error is None]
    aligned = pl.concat([pl.read_parquet(out / name / ALIGNED_FILE).with_columns(file=pl.lit(name)) for name in done])
    tables = pl.concat([pl.read_parquet(out / name / "sarcomeres.parquet") for name in done])
    told = tables.filter(pl.col("line_distance_nm").is_not_null())
    distance = combine(told["line_distance_nm"].to_numpy(), told["line_distance_error_nm"].to_numpy(), tables.height)
    return report.all_sarcomeres_section(tables, distance, average(aligned), averaged(aligned))


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary)
