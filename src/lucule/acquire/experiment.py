"""The experiment at the microscope: scan, find, image; every finished piece of it stands in the ledger."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lucule.acquire import planner, scanning
from lucule.acquire.control import Control, End
from lucule.acquire.ledger import RunLedger
from lucule.acquire.microscope import Microscope
from lucule.acquire.plan import Plan, load_plan
from lucule.acquire.results import PLAN_FILE, failed, not_followed, nothing_found, summary
from lucule.acquire.run import Run
from lucule.acquire.watchdog import watched
from lucule.acquire.worker import Worker
from lucule.core import SILENT, InputError, Progress, WorkError, package_version
from lucule.core.ledger import fingerprint

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    Attributes
    ----------
    folder
        Where everything is.
    numbers
        Counts of tiles, objects and fields by state, of frames, localizations and faults.
    failures
        One sentence for each piece of work that was given up.
    notes
        Why nothing was found in a region, and what is missing of objects that several fields cover.
    stopped
        Whether someone stopped it.
    """

    folder: Path
    numbers: dict[str, Any]
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: bool = False


def acquire(
    plan: Plan | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    control: Control | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """Do what a plan says, or go on with a run that was interrupted.

    Parameters
    ----------
    plan
        A plan, its file, or the name of a packaged one.
    folder
        Where everything is written.
    resume
        Whether `folder` may hold a run that was begun; what is done there is not done again.
    control
        To watch, pause and stop it from another thread.

    Raises
    ------
    InputError
        The plan cannot be used, exceeds its limits, or the folder holds a run that is another one.
    WorkError
        Too many things failed one after the other. What is finished is kept.
    """
    plan, folder = load_plan(plan), Path(folder)
    begun = (folder / PLAN_FILE).exists()
    if begun and not resume:
        raise InputError(
            "The folder holds a run already", received=folder, next_step=f"lucule acquire --resume {folder}"
        )
    control = control or Control()
    try:
        done = _done(plan, folder, begun, control, progress)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        control.end("failed", str(error.strerror))
        raise WorkError(
            f"The run cannot be written: {error.strerror}",
            received=error.filename or folder,
            next_step=f"make room, then lucule acquire --resume {folder}",
        ) from None
    except BaseException as error:
        control.end("failed", "interrupted" if isinstance(error, KeyboardInterrupt) else str(error))
        raise
    counts = done.numbers["fields"]
    nothing = bool(done.failures) and not counts.get("done")
    how: End = "stopped" if done.stopped else "failed" if nothing else "finished"
    control.end(how, "fields: " + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none"))
    return done


def _done(plan: Plan, folder: Path, begun: bool, control: Control, progress: Progress) -> Summary:
    with Microscope(plan.microscope) as microscope:
        # before there is a folder: a plan that is refused leaves nothing
        check(plan, microscope)
        return _carried_out(plan, folder, begun, microscope, control, progress)


def _carried_out(
    plan: Plan, folder: Path, begun: bool, microscope: Microscope, control: Control, progress: Progress
) -> Summary:
    with RunLedger(folder) as ledger, Worker(control.beat) as worker:
        if begun:
            ledger.agree(fingerprints(plan))
        else:
            ledger.keep("fingerprints", fingerprints(plan))
            ledger.keep("field_um", microscope.field_um)
            plan.to_yaml(folder / PLAN_FILE)
        with watched(folder, limit_s=plan.watchdog_s):
            stopped = Run(plan, folder, ledger, microscope, worker, control, progress).all()
        return Summary(
            folder, summary(ledger), tuple(failed(ledger)), (*nothing_found(ledger), *not_followed(ledger)), stopped
        )


def plan_of(folder: str | os.PathLike[str]) -> Plan:
    """The plan of the run in a folder.

    Raises
    ------
    InputError
        There is no run.
    """
    path = Path(folder) / PLAN_FILE
    if not path.exists():
        raise InputError("There is no run to go on with", received=folder, allowed=f"a folder with {PLAN_FILE}")
    return Plan.from_yaml(path)


def dry_run(plan: Plan) -> dict[str, Any]:
    """What a plan will take; the configuration is loaded, no laser is switched on.

    Raises
    ------
    InputError
        The plan cannot be done at this microscope, or exceeds its limits.
    """
    with Microscope(plan.microscope) as microscope:
        check(plan, microscope)
        return planner.estimate(plan, shape_px=microscope.shape_px, pixel_um=microscope.pixel_size_um)


def fingerprints(plan: Plan) -> dict[str, str]:
    """Fingerprints of all that a run depends on."""
    model = "none"
    if plan.objects.model is not None:
        from lucule import models

        model = models.find(plan.objects.model).card.weights_sha256
    settings = plan.model_dump(mode="json", exclude={"microscope", "calibration", "errors", "watchdog_s"})
    return {
        "microscope": fingerprint(plan.microscope.model_dump(mode="json"), plan.microscope.configuration_text()),
        "calibration": fingerprint(plan.affine.model_dump(mode="json")),
        "model": model,
        "plan": fingerprint(settings),
        "version": package_version(),
    }


def check(plan: Plan, microscope: Microscope) -> None:
    """Refuse a plan that cannot be done at this microscope, before anything moves.

    Raises
    ------
    InputError
        Its light exceeds its limit, the scan leaves the range of the stage, there is no such network or it knows other
        classes, or a continuous scan is wanted of a stage that cannot do it.
    """
    check_dose(plan, microscope.field_um)
    _check_range(plan, microscope)
    _check_model(plan)
    if plan.scan.mode == "continuous":
        microscope.check_speed()
        scanning.check_axes(plan)


def _check_range(plan: Plan, microscope: Microscope) -> None:
    for region in planner.regions_of(plan.scan, plan.affine):
        tiles = planner.tiles_of(region, microscope.field_um, plan.scan.overlap_percent)
        places = np.array([plan.affine.to_stage(tile) for tile in tiles])
        if not plan.microscope.may_go_to(places).all():
            low, high = places.min(axis=0), places.max(axis=0)
            raise InputError(
                f"The scan of {region.name} leaves the range of the stage",
                received=f"tiles at x {low[0]:.6g} to {high[0]:.6g} um, y {low[1]:.6g} to {high[1]:.6g} um",
                allowed=f"x_min, y_min, x_max, y_max {plan.microscope.stage_limits_um} um",
                next_step="positions are in um; change scan, or stage_limits_um of the microscope",
            )


def _check_model(plan: Plan) -> None:
    if plan.objects.model is None:
        return
    from lucule import segment

    known = segment.load(plan.objects.model, device="cpu").classes
    if unknown := sorted({*plan.objects.classes} - {*known}):
        raise InputError(
            f"The network {plan.objects.model} knows no such class",
            received=", ".join(unknown),
            allowed=", ".join(known),
        )


def check_dose(plan: Plan, field_um: tuple[float, float]) -> None:
    """Refuse a plan whose light exceeds its limit, before any laser is on.

    Raises
    ------
    InputError
        It does.
    """
    dose, limit = planner.dose_mj_per_um2(plan, field_um), plan.limits.dose_mj_per_um2
    dose *= planner.exposures_of_a_place(plan, field_um)
    if limit is not None and dose > limit:
        raise InputError(
            "The plan exposes the sample to more light than it allows",
            received=f"{dose:.3g} mJ per um2",
            allowed=f"{limit:g} mJ per um2",
            next_step="fewer frames, less power, or another limit",
        )
