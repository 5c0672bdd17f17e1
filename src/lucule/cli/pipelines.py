"""`lucule run` and `lucule report`: whole jobs over many inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import (
    ConfigOption,
    DropOption,
    DryRunOption,
    FormatOption,
    JsonOption,
    MapOption,
    PixelSizeOption,
    RegionOption,
    SetOption,
    UnitOption,
    WorkersOption,
    column_map,
)
from lucule.cli.session import Session, session


def run(
    workflow: Annotated[
        str,
        typer.Argument(
            help="Name of a workflow (clusters, compare, sarcomeres, axons, experiment), or a run.yaml to do again."
        ),
    ],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="Localization tables in any supported format.", readable=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for all results.")] = None,
    model: Annotated[str | None, typer.Option(help="A model by name or folder; see `lucule models`.")] = None,
    region: RegionOption = None,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    workers: WorkersOption = None,
    address: Annotated[str | None, typer.Option(help="Address of a dask scheduler, as tcp://head:8786.")] = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Run a workflow over many inputs; only what changed is done again."""
    with session(inputs=inputs or workflow, as_json=json, resumes=True) as current:
        from lucule import workflows
        from lucule.core import InputError
        from lucule.workflows import batch

        name, paths, stored = workflow, list(inputs or []), {}
        if workflow.endswith((".yaml", ".yml")):
            name, paths, stored = batch.read_run_file(Path(workflow), paths)
            out = out or Path(workflow).parent
            current.inputs = [str(path) for path in paths]
        if out is None:
            raise InputError("The output folder is not named", next_step="add --out RESULTS")
        module = workflows.load(name)
        settings = current.changed(
            module.Settings.parse(stored), config, set_, model=model, region=region,
            columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm, drop_invalid=drop_invalid or None,
            format=format_,
        )  # fmt: skip
        if dry_run:
            folders = batch.folder_names(paths)
            current.plan(settings, read=[str(path) for path in paths], write=[str(out / folder) for folder in folders])
            return
        outcomes = module.run(paths, out, settings, workers=workers, address=address, progress=current.progress)
        tell(current, outcomes, out)
        current.exit_code = batch.exit_code(outcomes)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that `lucule run` wrote.")],
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Write the report of finished results anew, without analysing anything."""
    with session(inputs=folder, as_json=json) as current:
        from lucule import workflows
        from lucule.workflows import batch

        name, paths, stored = batch.read_run_file(folder / "run.yaml", [])
        if dry_run:
            current.results = {"dry_run": True, "write": str(folder / "report.html")}
            return
        module = workflows.load(name)
        outcomes = batch.finished(paths, folder)
        module.write_report(folder, outcomes, module.Settings.parse(stored))
        tell(current, outcomes, folder)


def tell(current: Session, outcomes: list[Any], out: Path) -> None:
    """Put what came of the inputs of a workflow into the answer of its command."""
    current.warnings.clear()  # those of one input stand in its outcome
    for outcome in outcomes:
        current.warnings += [f"{outcome.name}: {warning}" for warning in outcome.warnings]
        if outcome.error:
            current.warnings.append(f"{outcome.name} failed. {outcome.error}")
    current.results = {
        "inputs": [{"input": outcome.source, "done": outcome.error is None, **outcome.summary} for outcome in outcomes],
        "report": str(out / "report.html"),
    }
