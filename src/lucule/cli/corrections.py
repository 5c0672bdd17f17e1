"""`lucule correct drift|link|filter|register` and `lucule resolution`: before and after the analysis of a table."""

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
    SetOption,
    UnitOption,
    column_map,
)
from lucule.cli.session import Session, session
from lucule.core.errors import InputError

Table = Annotated[Path, typer.Argument(help="Localization table in any supported format.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Table to write.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Picture to write (.png, .svg or .pdf).")]

correct = typer.Typer(help="Drift, linking, filters and registration of a table.", no_args_is_help=True)


def _read(run: Session, path: Path, map_: list[str], unit: str | None, pixel_size_nm: float | None,
          drop_invalid: bool, format_: str | None) -> Any:  # fmt: skip
    from lucule import io
    from lucule.workflows.reading import ReadSettings, read_table

    settings = run.changed(ReadSettings(), None, [], columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm,
                           drop_invalid=drop_invalid or None, format=format_)  # fmt: skip
    locs = read_table(path, settings)
    run.warnings += io.suspicions(locs)
    return locs


def _written(run: Session, locs: Any, out: Path | None) -> dict[str, Any]:
    from lucule import io

    if out is None:
        run.warnings.append("No table was written, because --out is not given.")
        return {}
    return {"written": str(io.write(locs, out))}


@correct.command()
def drift(
    table: Table,
    out: OutOption = None,
    method: Annotated[str | None, typer.Option(help="auto, fiducials, rcc, aim or entropy.")] = None,
    plot: PlotOption = None,
    curve_out: Annotated[
        Path | None, typer.Option("--curve", help="Table of the curve to write (.csv, .parquet).")
    ] = None,
    apply: Annotated[Path | None, typer.Option("--apply", help="Apply the curve of this CSV or Parquet file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.", min=0)] = 1,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Estimate the drift in x, y and z, with its uncertainty, and take it off."""
    with session(inputs=table, as_json=json) as run:
        from lucule import process

        settings = run.changed(process.DriftSettings(), config, set_, method=method)
        if dry_run:
            run.plan(settings, read=str(table), write=out and str(out))
            return
        locs = _read(run, table, map_, unit, pixel_size_nm, drop_invalid, format_)
        with run.progress.task("Drift"):
            if apply is not None:
                curve = process.read_curve(_table_of(apply))
            else:
                curve = process.estimate_drift(locs, settings=settings, seed=seed)
        run.warnings += curve.warnings
        run.results = {"localizations": len(locs)} | curve.summary()
        if apply is not None:
            corrected = process.apply_drift(locs, curve)
        else:  # so that the history says how the curve was made
            corrected = process.correct_drift(locs, settings=settings, seed=seed, curve=curve)
        run.results |= _written(run, corrected, out)
        if curve_out is not None:
            _save(curve.table(), curve_out)
            run.results["curve"] = str(curve_out)
        if plot is not None:
            from lucule.view import curves

            run.results["plot"] = str(curves.save_figure(curves.drift_plot(curve), plot))


@correct.command()
def link(
    table: Table,
    out: OutOption = None,
    radius: Annotated[str | None, typer.Option(help="nm, or auto.")] = None,
    gap: Annotated[str | None, typer.Option(help="Dark frames to bridge, or auto.")] = None,
    keep_rows: Annotated[
        bool, typer.Option("--keep-rows", help="Number the blinks (event) and keep all rows.")
    ] = False,
    per_molecule: Annotated[
        float | None, typer.Option("--events-per-molecule", help="Calibration, for the count of molecules.")
    ] = None,
    plot: PlotOption = None,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Join repeated localizations of one blink, and report how the molecules switch."""
    with session(inputs=table, as_json=json) as run:
        from lucule import process

        given = {"radius_nm": _number(radius, "--radius"), "gap_frames": _number(gap, "--gap")}
        settings = run.changed(process.LinkSettings(), config, set_, **given)
        if dry_run:
            run.plan(settings, read=str(table), write=out and str(out))
            return
        locs = _read(run, table, map_, unit, pixel_size_nm, drop_invalid, format_)
        with run.progress.task("Linking"):
            choice = process.choose_link(
                locs,
                radius_nm=None if settings.radius_nm == "auto" else settings.radius_nm,
                gap_frames=None if settings.gap_frames == "auto" else settings.gap_frames,
            )
            marked = process.mark_events(locs, settings=settings, choice=choice) if keep_rows else None
            linked = (
                process.link(locs, settings=settings, choice=choice) if marked is None else process.join_events(marked)
            )
            statistics = process.blinking(linked, events_per_molecule=per_molecule)
        run.results = {
            "localizations": len(locs), "radius_nm": choice.radius_nm, "why_radius": choice.why_radius,
            "gap_frames": choice.gap_frames, "why_gap": choice.why_gap, **statistics.summary(),
        }  # fmt: skip
        run.results |= _written(run, linked if marked is None else marked, out)
        if plot is not None:
            from lucule.view import curves

            run.results["plot"] = str(curves.save_figure(curves.link_plot(choice), plot))


@correct.command(name="filter")
def filter_(
    table: Table,
    out: OutOption = None,
    where: Annotated[
        list[str], typer.Option("--where", help='As in "photons > 500 & x_err < 20"; may be repeated.')
    ] = [],  # noqa: B006
    preset: Annotated[str | None, typer.Option(help="A packaged filter: caml or sarcomere.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what each step takes away.")] = False,
    plot: PlotOption = None,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Keep what fulfils conditions, and say how much each of them takes away."""
    with session(inputs=table, as_json=json) as run:
        from lucule import process
        from lucule.process.filtering import conditions_of, cuts_of

        settings = run.changed(process.FilterSettings(), config, set_, preset=preset, where=where)
        if dry_run:
            run.plan(settings, read=str(table), write=out and str(out))
            return
        locs = _read(run, table, map_, unit, pixel_size_nm, drop_invalid, format_)
        planned = process.plan_filter(locs, settings)
        kept = int(planned.keep.sum())
        run.results = {"localizations": len(locs), "kept": kept, "percent_kept": 100 * kept / len(locs)}
        if show or json:
            run.results["steps"] = planned.table().to_dicts()
        if not kept:
            run.warnings.append("Nothing fulfils the filter.")
        if out is not None or not show:
            run.results |= _written(run, process.filter_locs(locs, settings=settings), out)
        if plot is not None:
            from lucule.view import curves

            figure = curves.filter_plot(locs, planned.keep, cuts_of(conditions_of(settings), locs.columns))
            run.results["plot"] = str(curves.save_figure(figure, plot))


@correct.command()
def register(
    table: Table,
    reference: Annotated[Path, typer.Option("--reference", help="Table that stays.")],
    out: OutOption = None,
    beads: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet: x, y, reference_x, reference_y; or x, y, channel. None: structures serve."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="auto, shift, affine or smooth.")] = None,
    plot: PlotOption = None,
    residuals: Annotated[
        Path | None, typer.Option("--residuals", help="Residual map to write (.csv, .parquet).")
    ] = None,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Bring a channel or table into the coordinates of another one."""
    with session(inputs=table, as_json=json) as run:
        from lucule import process

        settings = run.changed(process.RegisterSettings(), config, set_, kind=kind)
        if dry_run:
            run.plan(settings, read=[str(table), str(reference)], write=out and str(out))
            return
        locs, fixed = (
            _read(run, path, map_, unit, pixel_size_nm, drop_invalid, format_) for path in (table, reference)
        )
        points = _table_of(beads) if beads is not None else None
        with run.progress.task("Registration"):
            found = process.estimate_registration(locs, fixed, beads=points, settings=settings)
        run.results = {"localizations": len(locs)} | found.summary()
        run.results |= _written(run, process.apply_registration(locs, found), out)
        if residuals is not None:
            _save(found.residuals(), residuals)
            run.results["residuals"] = str(residuals)
        if plot is not None:
            from lucule.view import curves

            run.results["plot"] = str(curves.save_figure(curves.registration_plot(found), plot))


def resolution(
    table: Table,
    split: Annotated[str | None, typer.Option(help="blocks (of time), random or halves.")] = None,
    threshold: Annotated[str | None, typer.Option(help="1/7 or half-bit.")] = None,
    course: Annotated[bool, typer.Option("--course", help="Also against the length of the movie.")] = False,
    map_out: Annotated[
        Path | None, typer.Option("--frc-map", help="Resolution over the field (.csv, .parquet).")
    ] = None,
    curve_out: Annotated[
        Path | None, typer.Option("--curve", help="Correlation curve to write (.csv, .parquet).")
    ] = None,
    plot: PlotOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits.", min=0)] = 1,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Precision, Fourier correlation and density of a table, and which of them limits it."""
    with session(inputs=table, as_json=json) as run:
        from lucule import process

        settings = run.changed(process.FrcSettings(), config, set_, split=split, threshold=threshold)
        if dry_run:
            run.plan(settings, read=str(table), course=course)
            return
        locs = _read(run, table, map_, unit, pixel_size_nm, drop_invalid, format_)
        with run.progress.task("Resolution"):
            found = process.resolution(locs, settings=settings, course=course, seed=seed)
        run.warnings += found.warnings
        run.results = {"localizations": len(locs)} | found.summary()
        if found.course is not None:
            run.results["course"] = found.course.table().to_dicts()
        if map_out is not None:
            _save(process.frc_map(locs, seed=seed), map_out)
            run.results["frc_map"] = str(map_out)
        if found.frc is not None and curve_out is not None:
            _save(found.frc.table(), curve_out)
            run.results["curve"] = str(curve_out)
        if plot is not None:
            from lucule.view import curves

            if found.frc is None:
                raise InputError("There is no curve to draw", received=found.reasons.get("frc_nm"))
            run.results["plot"] = str(curves.save_figure(curves.frc_plot(found.frc), plot))


def _number(text: str | None, option: str) -> float | int | str | None:
    if text is None or text == "auto":
        return text
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise InputError(f"{option} is not a number", received=text, allowed="a number, or auto") from None


def _table_of(path: Path) -> Any:
    """A small table of numbers, as it stands in a CSV or Parquet file."""
    import polars as pl

    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read as a table", received=str(error).splitlines()[0]) from None


def _save(table: Any, path: Path) -> None:
    from lucule.core.files import atomic_path, with_ending

    with_ending(path, (".csv", ".parquet"), "A table cannot be written in this format")
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary)
