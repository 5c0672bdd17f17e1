"""From localization tables to a cluster report.

For each table: read it and check it; label every localization as clustered or not with a packaged network; group the
clustered ones; outline and measure the clusters; draw them. Then one report for all tables. After Williamson et al.,
Nat. Commun. 11:1493 (2020).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import SILENT, Localizations, Progress, Region, package_version, step
from lucule.core.ledger import Ledger
from lucule.core.patterns import PATTERNS, numbers_rows
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

_FEWEST_TO_LINK = 100
# columns of a blink that decide about its cluster
_SEEN = {"x", "y", "z", "x_err", "y_err", "z_err", "frame", "photons", *PATTERNS}

log = logging.getLogger(__name__)


class LabelSettings(ReadSettings):
    """How a table is read and labelled.

    Attributes
    ----------
    model
        Packaged model by name, or the folder of a trained one.
    """

    model: str = "graph"


class Settings(LabelSettings):
    """All that decides the outcome.

    Attributes
    ----------
    region
        ImageJ ROI, GeoJSON or mask; clusters are measured inside it only.
    min_points
        Fewest localizations of a cluster.
    false_discovery_rate
        Largest fraction of the clusters that is expected to be chance clumps of the background; 1 keeps all groups.
    link_blinks
        Where frames and errors are known, the graph network sees each blink once: localizations that follow each other
        at one place are linked for it, with radius and dark time from the data. All of them get what it says of the
        blink.
    drop_single_molecules
        Where frames and errors are known, the graph network's clusters that are one molecule that blinks rather than
        several are dropped; see `lucule.cluster.without_single_molecules`.
    intervals
        Random halves from which each measure of each cluster gets an interval, even; 0 for none, 40 are enough.
    """

    region: Path | None = None
    min_points: int = Field(default=3, ge=2)
    false_discovery_rate: float = Field(default=0.1, gt=0, le=1)
    link_blinks: bool = True
    drop_single_molecules: bool = True
    intervals: int = Field(default=0, ge=0, multiple_of=2)


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

    Each input gets a folder with `localizations.parquet` (all rows in input order with `label`, `p_label`, `cluster`),
    `clusters.parquet` and `clusters.csv`. `out` gets `report.html` and `run.yaml`. Work that is done already is not
    repeated. An input that fails is named in its outcome and in the report and does not stop the others.

    Parameters
    ----------
    inputs
        Localization tables in any supported format.
    out
        Folder, made where it does not exist.
    workers, address
        Processes that share the inputs, or the address of a dask scheduler.

    Returns
    -------
    list of Outcome
        One for each input, in order.

    Raises
    ------
    InputError
        There are no inputs, the model or the region does not exist, or `out` cannot be written to.
    """
    from lucule import models

    settings, out = settings or Settings(), Path(out)
    paths = paths_of(inputs)
    models.find(settings.model)
    if settings.region is not None:
        source_of(settings.region)
    check_inputs(paths, out)
    write_run_file(out / "run.yaml", "clusters", paths, settings)
    outcomes = run_all(analyse, paths, out, settings, workers=workers, address=address, progress=progress)
    write_report(out, outcomes, settings)
    return outcomes


def analyse(path: Path, folder: Path, settings: Settings, progress: Progress = SILENT) -> Outcome:
    """Analyse one table into `folder`; see `run`."""
    from lucule import classify, cluster, models, view

    card = models.find(settings.model).card
    reading = settings.model_dump(mode="json", include=set(ReadSettings.model_fields))
    stages = Stages(
        Ledger(folder.parent), folder, base=[package_version(), source_of(path), reading, card.weights_sha256]
    )
    labelled_path, grouped_path = folder / "steps" / "labelled.parquet", folder / "localizations.parquet"

    def label_stage() -> None:
        with progress.task(f"Read {path.name}"):
            locs = read_table(path, settings)
        label(locs, settings, progress=progress).save(labelled_path)

    def group_stage() -> None:
        group(Localizations.load(labelled_path), settings, progress=progress).save(grouped_path)

    def find_stage() -> None:
        with progress.task(f"Read {path.name}"):
            locs = read_table(path, settings)
        find(locs, settings, progress=progress).save(grouped_path)

    def measure_stage() -> None:
        locs = Localizations.load(grouped_path)
        region = read_region(settings, locs)
        clusters = cluster.measure(locs, region=region, intervals=settings.intervals, progress=progress)
        clusters.save(folder / "clusters.parquet")
        clusters.save(folder / "clusters.csv")
        warnings = (*check(locs), *classify.check_range(locs, card))
        with progress.task("Draw"):
            names = dict(enumerate(card.classes))
            section = view.report.cluster_section(
                folder.name, locs, clusters, warnings=warnings, region=region, label_names=names
            )
        section.save(folder / SECTION_FILE)
        save_outcome(Outcome(folder.name, str(path), clusters.summary(), warnings), folder / OUTCOME_FILE)

    grouping = {"min_points": settings.min_points, "false_discovery_rate": settings.false_discovery_rate}
    region = None if settings.region is None else source_of(settings.region)
    if card.task == classify.graph.TASK:
        grouping |= {
            "link_blinks": settings.link_blinks,
            "drop_single_molecules": settings.drop_single_molecules,
        }
        stages.run("find", grouping, ["localizations.parquet"], find_stage)
    else:
        stages.run("label", {}, ["steps/labelled.parquet"], label_stage)
        stages.run("group", grouping, ["localizations.parquet"], group_stage)
    results = ["clusters.parquet", "clusters.csv", SECTION_FILE, OUTCOME_FILE]
    stages.run("measure", [grouping, region, settings.intervals], results, measure_stage)
    return load_outcome(folder / OUTCOME_FILE)


def label(
    locs: Localizations, settings: LabelSettings, *, device: str = "auto", progress: Progress = SILENT
) -> Localizations:
    """Label every localization with the network that `settings` name."""
    from lucule import classify

    return classify.classify(locs, model=settings.model, device=device, progress=progress)


def group(locs: Localizations, settings: Settings, *, progress: Progress = SILENT) -> Localizations:
    """Group the labelled localizations as `settings` say."""
    from lucule import cluster

    return cluster.group(
        locs,
        min_points=settings.min_points,
        false_discovery_rate=settings.false_discovery_rate,
        progress=progress,
    )


@step
def find(
    locs: Localizations, settings: Settings | None = None, *, device: str = "auto", progress: Progress = SILENT
) -> Localizations:
    """Give every localization its label and its cluster, with the model that `settings` name.

    A graph network says at once which localizations are clustered and which belong together; a classifier labels, and
    the labelled ones are grouped.
    """
    from lucule import cluster, models
    from lucule.classify.graph import TASK, GraphModel

    settings = settings or Settings()
    if models.find(settings.model).card.task != TASK:
        return group(label(locs, settings, device=device, progress=progress), settings, progress=progress)
    seen = with_plausible_errors(locs)
    blinks, blink_of = as_blinks(seen) if settings.link_blinks else (seen, None)
    said = GraphModel.load(settings.model, device).predict(blinks, progress=progress)
    found = cluster.from_affinities(
        blinks,
        said.probability,
        said.neighbours,
        said.log_odds,
        min_points=settings.min_points,
        false_discovery_rate=settings.false_discovery_rate,
    )
    if settings.drop_single_molecules and "event" not in locs:
        found = cluster.without_single_molecules(found)
    row = slice(None) if blink_of is None else blink_of
    return locs.with_columns(**{name: found[name][row] for name in ("label", "p_label", "cluster")})


def with_plausible_errors(locs: Localizations) -> Localizations:
    """The table with the median in place of errors and photons that are not positive numbers.

    Localization programs leave them so where a fit failed. One of them must not take the errors of all other rows out
    of use; where more than half are so, the column says nothing and stays as it is.
    """
    filled = {}
    for name in sorted({"x_err", "y_err", "z_err", "photons"} & set(locs.columns)):
        values = locs[name]
        known = np.isfinite(values) & (values > 0)
        unknown = len(values) - int(np.count_nonzero(known))
        if not 0 < unknown <= len(values) / 2:
            continue
        typical = np.median(values[known])
        filled[name] = np.where(known, values, typical)
        log.warning("%s is not a positive number in %d of %d rows; for finding clusters their median, %.3g, stands in "
                    "for it.", name, unknown, len(values), typical)  # fmt: skip
    return locs.with_columns(**filled) if filled else locs


def as_blinks(locs: Localizations) -> tuple[Localizations, NDArray[np.int32] | None]:
    """One row for each blink, and the blink of each localization; the table itself where that cannot be told."""
    from lucule import process

    told = {"frame", "x_err", "y_err"} <= set(locs.columns) and "event" not in locs
    if not told or len(locs) < _FEWEST_TO_LINK or not (np.ptp(locs["frame"]) > 0 and (locs["x_err"] > 0).all()):
        return locs, None
    if numbers_rows(locs["frame"]):
        return locs, None
    choice = process.choose_link(locs)
    marked = process.mark_events(locs, choice=choice)
    linked, event = process.join_events(marked), marked["event"]
    if len(linked) == len(locs):
        return locs, None
    log.info(
        "%d localizations are %d blinks (%.0f nm, %d frames)",
        len(locs),
        len(linked),
        choice.radius_nm,
        choice.gap_frames,
    )
    row = np.empty(int(event.max()) + 1, np.int32)
    row[linked["event"]] = np.arange(len(linked))
    # of large tables memory is short: what nobody looks at is not kept
    seen = [name for name in linked.columns if name in _SEEN]
    return Localizations(linked.data.select(seen), linked.meta), row[event]


def read_region(settings: Settings, locs: Localizations) -> Region | None:
    """The region that `settings` name; pixels count in the pixel size given, or else that of the table."""
    return None if settings.region is None else region_of(settings.region, settings, locs)


def write_report(out: Path, outcomes: Sequence[Outcome], settings: Settings) -> Path:
    """Write `report.html` from the finished sections, failed inputs named at its top."""
    from lucule.view import report

    sections = finished_sections(out, outcomes)
    summary = report.summarise(sections) if len(sections) > 1 else ()
    return write_page(out, "Clusters", sections, settings, summary=summary)
