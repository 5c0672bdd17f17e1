"""`lucule acquire`: a plan is done at a microscope, simulated or real."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import DryRunOption, JsonOption, SetOption
from lucule.cli.session import session
from lucule.cli.terminal import errors


def acquire(
    plan: Annotated[str | None, typer.Argument(help="A plan: YAML file, or the name of a packaged one (demo).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run; default: run_DATE_TIME.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Folder of a run to go on with.")] = None,
    live: Annotated[
        int | None,
        typer.Option("--live", min=0, max=65535, help="Port of the live page on this machine; 0: any."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Begin when Start is pressed on the live page.")] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Measure how the stage moves in the picture, and write it to this file."),
    ] = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Scan a sample, find objects and image them, as a plan says; `--dry-run` tells time, dose and disk before."""
    with session(inputs=plan or resume, as_json=json) as run:
        from lucule.acquire import experiment
        from lucule.acquire.control import Control
        from lucule.acquire.plan import load_plan
        from lucule.core import InputError
        from lucule.core.config import parse_assignments

        if (plan is None) == (resume is None) or (resume is not None and set_):
            raise InputError("Exactly one plan or one run is needed", allowed="lucule acquire PLAN, or --resume FOLDER")
        if wait and live is None:
            raise InputError("Nothing can be started without a page", received="--wait", next_step="add --live 8765")
        settings = load_plan(plan, parse_assignments(set_)) if plan else experiment.plan_of(resume or "")
        if calibrate is not None:
            run.results = _calibrate(settings, calibrate)
            return
        if dry_run:
            run.results = {"dry_run": True, **experiment.dry_run(settings)}
            return
        folder = resume or out or _folder()
        go_on = f"lucule acquire --resume {folder} goes on from there"
        run.after_interrupt = f"What is finished is kept; {go_on}"
        if not json:
            errors.print(f"Run: {folder}", soft_wrap=True, highlight=False)
        control = Control(waiting=wait)
        with _page(folder, control, live):
            done = experiment.acquire(
                settings, folder, resume=resume is not None, control=control, progress=run.progress
            )
        run.results = {"folder": str(done.folder), "stopped": done.stopped, **done.numbers}
        run.warnings += [*done.failures, *done.notes, *([f"It was stopped; {go_on}."] if done.stopped else [])]
        run.exit_code = 1 if done.failures else 0


def _folder() -> Path:
    from datetime import datetime

    return Path(f"run_{datetime.now().astimezone():%Y_%m_%d_%H%M%S}")


def _calibrate(plan: Any, path: Path) -> dict[str, Any]:
    from lucule.acquire.calibration import calibrate
    from lucule.acquire.microscope import Microscope

    with Microscope(plan.microscope) as microscope:
        found = calibrate(microscope, channel=plan.scan.channels[0], images=8)
    return {**found.model_dump(mode="json"), "written": str(found.to_yaml(path))}


def _page(folder: Path, control: Any, port: int | None) -> Any:
    """The live page, where it is asked for."""
    from contextlib import nullcontext

    if port is None:
        return nullcontext()
    from lucule.acquire.live import LivePage

    page = LivePage(folder, control, port=port)
    errors.print(f"Live page: {page.url}", soft_wrap=True)
    return page
