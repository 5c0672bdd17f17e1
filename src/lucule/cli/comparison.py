"""`lucule compare` and `lucule overlap`: conditions, and channels, against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucule.cli.options import ConfigOption, DryRunOption, JsonOption, RegionOption, SetOption, WorkersOption
from lucule.cli.session import session


def compare(
    inputs: Annotated[list[Path], typer.Argument(help="Tables of clusters (clusters.parquet) that lucule wrote.")],
    by: Annotated[
        Path | None, typer.Option("--by", help="CSV file with the columns file, condition [, cell, replicate].")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for all results.")] = None,
    workers: WorkersOption = None,
    address: Annotated[str | None, typer.Option(help="Address of a dask scheduler, as tcp://head:8786.")] = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Compare conditions: tests, effect sizes, plots and the methods sentence."""
    with session(inputs=inputs, as_json=json, resumes=True) as run:
        from lucule.core import InputError
        from lucule.workflows import batch
        from lucule.workflows import compare as workflow

        settings = run.changed(workflow.Settings(), config, set_, by=by)
        if out is None:
            raise InputError("The output folder is not named", next_step="add --out COMPARISON")
        if dry_run:
            run.plan(settings, read=[str(path) for path in inputs], write=str(out))
            return
        outcomes = workflow.run(inputs, out, settings, workers=workers, address=address, progress=run.progress)
        summary = workflow.load_summary(out) if any(own.error is None for own in outcomes) else None
        run.warnings += [f"{own.name} failed. {own.error}" for own in outcomes if own.error]
        run.exit_code = batch.exit_code(outcomes)
        files = {"written": str(out), "report": str(out / "report.html")}
        if summary is None:
            run.results = {"reason": "no input could be read"} | files
            return
        run.warnings += summary.pop("warnings")
        methods = summary.pop("methods")
        if not json:
            # what a reader of a terminal wants first; everything is in the tables
            del summary["pooled"]
            names = ("measure", "first", "second", "ratio", "p", "p_adjusted", "cliffs_delta")
            strata = ("channel", "label")
            summary["medians"] = [
                {k: row[k] for k in (*strata, "measure", "condition", "n", "median", "q1", "q3") if k in row}
                for row in summary["medians"]
            ]
            summary["tests"] = [
                {k: row[k] for k in (*strata, "measure", "n", "h", "df", "p", "epsilon_squared") if k in row}
                for row in summary["tests"]
            ]
            summary["pairs"] = [{k: row[k] for k in (*strata, *names) if k in row} for row in summary["pairs"]]
        run.results = summary | {"methods": methods} | files


def overlap(
    clusters: Annotated[Path, typer.Argument(help="Clusters of channel A, or of all channels (clusters.parquet).")],
    other: Annotated[Path | None, typer.Argument(help="Clusters of channel B, where they are in a file.")] = None,
    channels: Annotated[str, typer.Option(help="Channels A and B, where both are in one file.")] = "0,1",
    region: RegionOption = None,
    reach_nm: Annotated[float, typer.Option(help="Outlines that are so near count as touching, nm.", min=0)] = 0.0,
    shifts: Annotated[int, typer.Option(help="Random shifts of B against A.", min=19)] = 199,
    seed: Annotated[int, typer.Option(help="Of the shifts.", min=0)] = 1,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Ask how often clusters of two channels touch, hold and cover each other, against shifts of one channel."""
    paths = [clusters, *([other] if other else [])]
    with session(inputs=paths, as_json=json) as run:
        from lucule import cluster as room
        from lucule import io
        from lucule.core import InputError

        if dry_run:
            run.results = {"dry_run": True, "read": [str(path) for path in paths], "shifts": shifts, "seed": seed}
            return
        a = room.Clusters.load(clusters)
        if other is None:
            first, separator, second = channels.partition(",")
            if not (separator and first.strip().isdigit() and second.strip().isdigit()):
                raise InputError("Two channels are needed", received=channels, allowed="two numbers, such as 0,1")
            a, b = a.select(channel=int(first)), a.select(channel=int(second))
        else:
            b = room.Clusters.load(other)
        area = None if region is None else io.regions.read(region, pixel_size_nm=a.meta.pixel_size_nm)
        found = room.overlap(a, b, region=area, reach_nm=reach_nm, shifts=shifts, seed=seed)
        rows = found.table().fill_nan(None).to_dicts()
        run.results = found.summary() if json else {"overlap": rows, "shifts": shifts, "edge": found.edge}
