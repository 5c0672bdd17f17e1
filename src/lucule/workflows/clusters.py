"""From localization tables to a cluster report.

For each table: read it and check it; label every localization as clustered or not with a packaged network; group the
clustered ones; outline and measure the clusters; draw them. Then one report for all tables. After Williamson et al.,
Nat. Commun. 11:1493 (2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lucule import io, process
from lucule.core import SILENT, Config, InputError, Localizations, Progress, Region, package_version
from lucule.core.files import file_sha256, write_text
from lucule.core.ledger import Ledger
from lucule.workflows.batch import (
    Outcome,
    Stages,
    check_inputs,
    folder_names,
    load_outcome,
    run_all,
    save_outcome,
    versions,
    write_run_file,
)


class Settings(Config):
    """All that decides the outcome. The defaults need no change for a table in a known format.

    Attributes
    ----------
    columns, unit, pixel_size_nm, drop_invalid
        As in `lucule.io.read`.
    filter
        Condition on the columns, such as `photons > 500 & x_err < 25`; only the rows that fulfil it are analysed.
    region
        ImageJ ROI or GeoJSON file; clusters are measured inside it only.
    model
        Packaged model by name, or the folder of a trained one.
    min_points
        Fewest localizations of a cluster.
    """

    columns: dict[str, str] = {}
    unit: str | None = None
    pixel_size_nm: float | None = None
    drop_invalid: bool = False
    filter: str | None = None
    region: Path | None = None
    model: str = "XPILJZ"
    min_points: int = 3


def run(
    inputs: Sequence[Path],
    out: Path,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Analyse `inputs` and write everything to the folder `out`.

    Each input gets a folder with `localizations.parquet` (all rows in input order with `label`, `p_label`, `cluster`),
    `clusters.parquet`, `clusters.csv` and pictures. `out` gets `report.html` and `run.yaml`. Work that is done already
    is not repeated. An input that fails is named in its outcome and in the report and does not stop the others.

    Returns
    -------
    list of Outcome
        One for each input, in order.

    Raises
    ------
    InputError
        There are no inputs, or `out` cannot be written to.
    """
    settings = settings or Settings()
    check_inputs(inputs, out)
    write_run_file(out / "run.yaml", "clusters", inputs, settings)
    outcomes = run_all(analyse, inputs, out, settings, workers=workers, address=address, progress=progress)
    write_report(out, outcomes, settings)
    return outcomes


def analyse(path: Path, folder: Path, settings: Settings, progress: Progress = SILENT) -> Outcome:
    """Analyse one table; see `run`."""
    from lucule import classify, cluster, models

    model = models.find(settings.model)
    region = None if settings.region is None else io.regions.read(settings.region, pixel_size_nm=settings.pixel_size_nm)
    stages = Stages(
        Ledger(folder.parent),
        folder,
        base=f"{package_version()} {_content_hash(path)} {settings.model_dump_json(exclude={'region', 'min_points'})}",
    )
    labelled_path, table_path = folder / "steps" / "labelled.parquet", folder / "localizations.parquet"

    def label() -> None:
        with progress.task(f"Read {path.name}"):
            table = read(path, settings)
        classify.classify(table, model=settings.model, progress=progress).save(labelled_path)

    def group() -> None:
        grouped = cluster.group(Localizations.load(labelled_path), min_points=settings.min_points, progress=progress)
        grouped.save(table_path)

    def measure() -> None:
        grouped = Localizations.load(table_path)
        clusters = cluster.measure(grouped, region=region, progress=progress)
        clusters.save(folder / "clusters.parquet")
        clusters.save(folder / "clusters.csv")
        warnings = [*check(grouped), *classify.check_range(grouped, model.card)]
        outcome = Outcome(folder.name, str(path), summary=clusters.summary(), warnings=tuple(warnings))
        write_text(folder / "section.html", draw(outcome, grouped, clusters, progress))
        save_outcome(outcome, folder / "outcome.json")

    grouping = {"min_points": settings.min_points}
    stages.run("label", model.card.sha256, ["steps/labelled.parquet"], label)
    stages.run("group", [model.card.sha256, grouping], ["localizations.parquet"], group)
    stages.run(
        "measure",
        [model.card.sha256, grouping, region.to_geojson() if region else None],
        ["clusters.parquet", "clusters.csv", "section.html", "outcome.json"],
        measure,
    )
    return load_outcome(folder / "outcome.json")
