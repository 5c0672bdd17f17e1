"""From tables of clusters to conditions against each other.

For each table: take what is measured of its clusters. Then, for each cell: clusters per area, percentage of clustered
localizations, and the medians over its clusters. Then compare conditions by the Kruskal-Wallis and Dunn tests on the
values of the cells, as Williamson et al., Nat. Commun. 11:1493 (2020), with effect sizes, intervals, plots, and the
sentence for the methods section.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from pydantic import Field

from lucule import cluster, stats
from lucule.cluster.result import each_once
from lucule.core import SILENT, Config, InputError, Progress, package_version
from lucule.core.files import atomic_path, write_text
from lucule.core.ledger import Ledger
from lucule.core.patterns import PATTERNS
from lucule.workflows import conditions
from lucule.workflows.batch import (
    OUTCOME_FILE,
    Inputs,
    OnePath,
    Outcome,
    Stages,
    check_inputs,
    folder_names,
    load_outcome,
    paths_of,
    run_all,
    save_outcome,
    source_of,
    write_page,
    write_run_file,
)
from lucule.workflows.conditions import Assignment

MEASURED_FILE: Final = "measured.parquet"
SUMMARY_FILE: Final = "comparison.json"
COUNTS: Final = ("clusters_per_um2", "percent_clustered")
"""Measures that count clusters; all others are medians over them."""
FIGURE_DPI: Final = 300


class Settings(Config):
    """All that decides the outcome.

    Attributes
    ----------
    by
        Table of conditions, see `lucule.workflows.conditions`.
    measures
        What is compared, as in the summary of clusters; nothing: all that the tables have.
    adjust
        How the P values of pairs are adjusted: holm, bonferroni or none.
    alpha
        Level of significance.
    channel, label
        Only clusters of this channel and class; otherwise each is compared for itself.
    exclude_border
        Leave clusters that the border of the region cuts out of medians over clusters; they are still counted.
    resamples, seed
        Of the bootstrap.
    plot
        box or violin.
    """

    by: Path | None = None
    measures: tuple[str, ...] = ()
    adjust: stats.Adjustment = "holm"
    alpha: float = Field(default=0.05, gt=0, lt=1)
    channel: int | None = Field(default=None, ge=0)
    label: int | None = Field(default=None, ge=1)
    exclude_border: bool = False
    resamples: int = Field(default=2000, ge=100)
    seed: int = Field(default=1, ge=0)
    plot: Literal["box", "violin"] = "box"


def run(
    inputs: Inputs,
    out: OnePath,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Compare conditions and write everything to the folder `out`.

    `out` gets the tables `cells`, `medians`, `tests`, `pairs` (and `replicates`, `pooled`) as CSV and Parquet,
    `figures/` (PNG and PDF), `methods.txt`, `comparison.json`, `report.html` and `run.yaml`, and a folder for each
    input with what was taken from it. An input that was read before and has not changed is not read again. An input
    that fails is named in its outcome and in the report, and the others are compared without it.

    Parameters
    ----------
    inputs
        Tables of clusters that lucule wrote (`clusters.parquet`).
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
        There are no inputs, the table of conditions is missing or does not fit them, or `out` cannot be written to.
    """
    settings, out = settings or Settings(), Path(out)
    paths = paths_of(inputs)
    _assignments(paths, settings)
    check_inputs(paths, out)
    write_run_file(out / "run.yaml", "compare", paths, settings)
    outcomes = run_all(analyse, paths, out, settings, workers=workers, address=address, progress=progress)
    with progress.task("Compare"):
        write_report(out, outcomes, settings)
    return outcomes


def analyse(path: Path, folder: Path, settings: Settings, progress: Progress = SILENT) -> Outcome:
    """Take from one table what will be compared; see `run`."""
    stages = Stages(Ledger(folder.parent), folder, base=[package_version(), source_of(path)])

    def measured_stage() -> None:
        clusters = cluster.Clusters.load(path)
        slim = cluster.Clusters(clusters.table(), clusters.fields, None, clusters.meta)
        slim.save(folder / MEASURED_FILE)
        summary = slim.summary()
        kept = {name: summary[name] for name in ("clusters", "points", "area_um2", "area_from")}
        save_outcome(Outcome(folder.name, str(path), kept), folder / OUTCOME_FILE)

    del progress, settings  # a table is read at once, and what is taken from it does not depend on the settings
    stages.run("measured", {}, [MEASURED_FILE, OUTCOME_FILE], measured_stage)
    return load_outcome(folder / OUTCOME_FILE)


def write_report(out: Path, outcomes: Sequence[Outcome], settings: Settings) -> Path:
    """Compare what was taken from the inputs; write tables, figures, the methods sentence and `report.html`."""
    from lucule.view import report

    paths = [Path(outcome.source) for outcome in outcomes]
    folders = dict(zip(paths, folder_names(paths), strict=True))
    good = {path for path, outcome in zip(paths, outcomes, strict=True) if outcome.error is None}
    assigned = [own for own in _assignments(paths, settings) if own.path in good]
    failed = tuple(report.Section(own.name, note=own.source, error=own.error) for own in outcomes if own.error)
    sections = failed
    if assigned:
        loaded = {own.path: cluster.Clusters.load(out / folders[own.path] / MEASURED_FILE) for own in assigned}
        warnings = _warnings(loaded, outcomes, settings)
        cells = cell_table(assigned, loaded, settings)
        result = stats.compare(
            cells, _measures(cells, settings), adjust=settings.adjust, alpha=settings.alpha,
            resamples=settings.resamples, seed=settings.seed,
        )  # fmt: skip
        pooled = _pooled(assigned, loaded, result.tests, settings)
        figures = report.comparison_plots(result, kind=settings.plot)
        _save(out, result, pooled, figures, warnings)
        page = report.comparison_section(result, figures=figures, pooled=pooled, warnings=warnings)
        sections = (page, *failed)
    return write_page(out, "Comparison of conditions", sections, settings)


def cell_table(
    assigned: Sequence[Assignment], loaded: Mapping[Path, cluster.Clusters], settings: Settings
) -> pl.DataFrame:
    """One row per cell (and channel and class, where there are several): its condition and what is measured of it.

    Raises
    ------
    InputError
        No table has clusters of the channel or class that the settings ask for.
    """
    cells: dict[tuple[str, str], list[Assignment]] = {}
    for own in assigned:
        cells.setdefault((own.condition, own.cell), []).append(own)
    keys = _keys(loaded, settings)
    replicated = any(own.replicate is not None for own in assigned)
    rows = []
    for (condition, cell), members in cells.items():
        joined = cluster.concat([loaded[own.path] for own in members])
        for key in keys:
            row: dict[str, Any] = {"condition": condition, "unit": cell}
            if replicated:
                row["replicate"] = members[0].replicate
            rows.append(row | key | {"files": len(members)} | _values(joined, key, settings))
    return pl.DataFrame(rows, infer_schema_length=None)


def load_summary(out: Path) -> dict[str, Any] | None:
    """What `run` wrote to `comparison.json`; None where no input could be compared."""
    path = out / SUMMARY_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _assignments(inputs: Sequence[Path], settings: Settings) -> list[Assignment]:
    if settings.by is None:
        raise InputError(
            "The conditions are not named",
            next_step="add --by condition.csv, a table with the columns file and condition",
        )
    return conditions.match(inputs, settings.by)


def _keys(loaded: Mapping[Path, cluster.Clusters], settings: Settings) -> list[dict[str, int]]:
    """Channels and classes that are compared each for itself; one empty key where there is only one of each."""
    keys: list[dict[str, int]] = [{}]
    for name, wanted in (("channel", settings.channel), ("label", settings.label)):
        present = sorted(
            {value for own in loaded.values() if name in own.fields.columns for value in own.fields[name].to_list()}
        )
        if wanted is not None and wanted not in present:
            raise InputError(
                f"No table has clusters of this {name}",
                received=wanted,
                allowed=", ".join(str(value) for value in present) or f"no {name}: the tables have no such column",
            )
        chosen = present if wanted is None else [wanted]
        if len(present) > 1:
            keys = [key | {name: value} for key in keys for value in chosen]
    return keys


def _values(joined: cluster.Clusters, key: dict[str, int], settings: Settings) -> dict[str, Any]:
    """Counts and medians of one cell; a class that it has no clusters of is counted as none."""
    known = all(value in joined.fields[name] for name, value in key.items() if name in joined.fields.columns)
    chosen = joined.select(**key) if known and set(key) <= set(joined.fields.columns) else _none_of(joined)
    counted = chosen.summary()
    if settings.exclude_border:
        whole = chosen.data.filter(~pl.col("touches_border").fill_null(value=False))
        chosen = cluster.Clusters(whole, chosen.fields, None, chosen.meta)
    medians = chosen.summary()
    counts = {name: counted[name] for name in ("clusters", "points", "area_um2", *COUNTS)}
    return counts | {name: medians[name] for name in _names(medians)}


def _none_of(joined: cluster.Clusters) -> cluster.Clusters:
    fields = each_once(joined.fields, PATTERNS)
    nothing = fields.with_columns((pl.col(name) * 0).alias(name) for name in ("points_in_clusters", "clusters"))
    return cluster.Clusters(joined.data.clear(), nothing, None, joined.meta)


def _names(summary: Mapping[str, Any]) -> Iterator[str]:
    """Names of the medians over clusters in a summary."""
    return (name.removesuffix("_interval") for name in summary if name.endswith("_interval"))


def _measures(cells: pl.DataFrame, settings: Settings) -> list[str]:
    about = {"condition", "unit", "replicate", "channel", "label", "files", "clusters", "points", "area_um2"}
    present = [name for name in cells.columns if name not in about]
    if absent := [name for name in settings.measures if name not in present]:
        raise InputError("There is no such measure", received=", ".join(absent), allowed=", ".join(present))
    return list(settings.measures) or [name for name in present if cells[name].null_count() < cells.height]


def _pooled(
    assigned: Sequence[Assignment],
    loaded: Mapping[Path, cluster.Clusters],
    tests: pl.DataFrame,
    settings: Settings,
) -> pl.DataFrame:
    """Medians and quartiles over all clusters of each condition, whatever cell they are in."""
    by_condition: dict[str, list[cluster.Clusters]] = {}
    for own in assigned:
        by_condition.setdefault(own.condition, []).append(loaded[own.path])
    whole = {name: cluster.concat(parts) for name, parts in by_condition.items()}
    keys = [name for name in ("channel", "label") if name in tests.columns]
    rows = []
    for test in tests.iter_rows(named=True):
        if test["measure"] in COUNTS:
            continue
        key = {name: test[name] for name in keys}
        for name, joined in whole.items():
            chosen = joined.select(**key)
            if settings.exclude_border:
                rest = chosen.data.filter(~pl.col("touches_border").fill_null(value=False))
                chosen = cluster.Clusters(rest, chosen.fields, None, chosen.meta)
            summary = chosen.summary()
            low, high = summary[f"{test['measure']}_interval"] or (None, None)
            row = {"measure": test["measure"], "condition": name, "clusters": len(chosen)}
            rows.append(key | row | {"median": summary[test["measure"]], "q1": low, "q3": high})
    return pl.DataFrame(rows, infer_schema_length=None)


def _warnings(
    loaded: Mapping[Path, cluster.Clusters], outcomes: Sequence[Outcome], settings: Settings
) -> tuple[str, ...]:
    found = []
    if failed := [own.name for own in outcomes if own.error]:
        found.append(f"{len(failed)} of {len(outcomes)} inputs failed and take no part: {', '.join(failed[:5])}.")
    estimated = sum(not all(own.fields["area_from"] == "the region") for own in loaded.values())
    if estimated:
        found.append(
            f"The area of {estimated} of {len(loaded)} inputs was estimated from where localizations lie, as no region "
            "was named; clusters per µm² rest on it."
        )
    unknown = sum(own.data["touches_border"].null_count() == len(own) for own in loaded.values())
    if settings.exclude_border and unknown:
        found.append(f"{unknown} inputs were measured without a region, so that no border could exclude clusters.")
    return tuple(found)


def _save(
    out: Path, result: stats.Comparison, pooled: pl.DataFrame, figures: Mapping[str, Any], warnings: Sequence[str]
) -> None:
    result.save(out)
    for suffix, write in ((".csv", pl.DataFrame.write_csv), (".parquet", pl.DataFrame.write_parquet)):
        with atomic_path(out / f"pooled{suffix}") as temporary:
            write(pooled, temporary)
    for name, figure in figures.items():
        for suffix in (".png", ".pdf"):
            with atomic_path(out / "figures" / f"{name}{suffix}") as temporary:
                figure.savefig(temporary, dpi=FIGURE_DPI, facecolor="white")
    write_text(out / "methods.txt", result.methods() + "\n")
    summary = result.summary() | {"pooled": pooled.to_dicts(), "warnings": [*warnings, *result.warnings()]}
    write_text(out / SUMMARY_FILE, json.dumps(summary, indent=1, allow_nan=False))
