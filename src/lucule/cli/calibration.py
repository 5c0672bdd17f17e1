"""`lucule calibrate psf|pupil|camera`: the optics and the camera from measurements, before anything is localized."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import ConfigOption, DryRunOption, JsonOption, SetOption
from lucule.cli.session import session
from lucule.core.errors import InputError

PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", help="Quality page (.png, .svg or .pdf); default: a .png beside the output."),
]

calibrate = typer.Typer(help="PSF from beads or a movie; camera from dark and flat frames.", no_args_is_help=True)


@calibrate.command()
def psf(
    beads: Annotated[list[Path], typer.Argument(help="Stack of beads, one plane per frame; or several of one camera.")],
    step_nm: Annotated[float, typer.Option(help="Distance of neighbouring planes, nm.")],
    camera: Annotated[str, typer.Option(help="A packaged camera or a YAML file.")],
    out: Annotated[Path, typer.Option("--out", help="Calibration to write (.h5).")],
    direction: Annotated[
        str | None,
        typer.Option(
            help="What moves from frame to frame: sample-up (away from the objective; default) or objective-up."
        ),
    ] = None,
    frames_per_step: Annotated[int | None, typer.Option(help="Frames taken at each height.", min=1)] = None,
    window_nm: Annotated[
        float | None, typer.Option(help="Side of the square that holds the PSF; default 2500.")
    ] = None,
    z_factor: Annotated[
        float | None, typer.Option(help="Way of the focal plane in the sample for one of the stage; default 1.")
    ] = None,
    plot: PlotOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Measure the PSF on beads: spline and astigmatic Gaussian, wobble, depth range, precision, and a quality page."""
    with session(inputs=beads, as_json=json) as run:
        from lucule.localize import calibration as room
        from lucule.localize.calibration import file
        from lucule.simulate import load_camera
        from lucule.view import curves

        start = room.PsfSettings.parse({"step_nm": step_nm}, source="--step-nm")
        settings = run.changed(start, config, set_, direction=direction, frames_per_step=frames_per_step,
                               window_nm=window_nm, z_factor=z_factor)  # fmt: skip
        file.check_name(out)
        page = curves.check_name(plot or out.with_suffix(".png"))
        if dry_run:
            run.plan(settings, read=[str(path) for path in beads], camera=camera, write=str(out), plot=str(page))
            return
        found = room.calibrate_psf(list(beads), load_camera(camera), settings=settings, progress=run.progress)
        run.warnings += found.warnings
        found.save(out)
        from lucule.view import calibration as pages

        curves.save_figure(pages.psf_page(found), page)
        run.results = found.summary() | {"written": str(out), "plot": str(page)}


@calibrate.command()
def pupil(
    movie: Annotated[Path, typer.Argument(help="An ordinary movie, with some spots that stand alone.")],
    psf: Annotated[str, typer.Option(help="The start: a packaged PSF with a pupil (tetrapod, ...) or a YAML file.")],
    camera: Annotated[str, typer.Option(help="A packaged camera or a YAML file.")],
    out: Annotated[Path, typer.Option("--out", help="PSF to write (.yaml), for --psf of other commands.")],
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Find the aberrations of a PSF (Zernike coefficients of its pupil) in a movie, where no beads were taken."""
    with session(inputs=movie, as_json=json) as run:
        from lucule.core.files import with_ending
        from lucule.localize import calibration as room
        from lucule.simulate import load_camera, load_psf

        with_ending(out, (".yaml", ".yml"), "This PSF is a YAML file")
        start, sensor = load_psf(psf), load_camera(camera)
        if dry_run:
            run.plan(start, read=str(movie), camera=camera, write=str(out))
            return
        found = room.pupil_from_movie(movie, sensor, start, progress=run.progress)
        run.warnings += found.warnings
        run.results = found.summary() | {"written": str(found.psf.to_yaml(out))}


@calibrate.command()
def camera(
    files: Annotated[
        list[Path] | None, typer.Argument(help="The dark movie first, then flat movies of one or more levels.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Camera to write (.yaml); maps lie beside it.")] = None,
    movie: Annotated[
        Path | None, typer.Option("--movie", help="Estimate from this ordinary movie instead of dark and flat frames.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--camera", help="A packaged camera or a YAML file, for what cannot be measured."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="scmos, emccd or ideal, where --camera is not given.")] = None,
    pixel_size_nm: Annotated[float | None, typer.Option(help="Size of a pixel in the sample, nm.")] = None,
    em_gain: Annotated[float | None, typer.Option(help="EM gain that was set.")] = None,
    quantum_efficiency: Annotated[float | None, typer.Option(help="Electrons for one photon.")] = None,
    maps: Annotated[
        bool | None, typer.Option("--maps/--no-maps", help="Maps of all pixels; default: for an sCMOS.")
    ] = None,
    plot: PlotOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Measure gain, baseline and read noise of a camera."""
    with session(inputs=movie or files, as_json=json) as run:
        from lucule.localize import calibration as room
        from lucule.localize.calibration.camera import check_name
        from lucule.view import curves

        known = _base(base, kind=kind, pixel_size_nm=pixel_size_nm, em_gain=em_gain,
                      quantum_efficiency=quantum_efficiency)  # fmt: skip
        if bool(files) == (movie is not None):
            raise InputError(
                "Give dark and flat movies, or one ordinary movie", received="both" if files else "neither",
                next_step="lucule calibrate camera dark.tif flat_1.tif flat_2.tif --out camera.yaml, or --movie FILE",
            )  # fmt: skip
        if dry_run:
            run.results = {
                "dry_run": True,
                "dark": str(files[0]) if files else None,
                "flats": [str(path) for path in (files or [])[1:]],
                "movie": movie and str(movie),
                "camera": known.model_dump(mode="json"),
                "write": out and str(out),
            }
            return
        page = plot or (out and out.with_suffix(".png"))
        if out is not None:
            check_name(out)
        if page is not None:
            curves.check_name(page)
        if movie is not None:
            found = room.camera_from_movie(movie, known, progress=run.progress)
        else:
            dark, *flats = files or []
            found = room.calibrate_camera(dark, flats, known, maps=maps, progress=run.progress)
        run.warnings += found.warnings
        run.results = found.summary()
        if out is None:
            run.warnings.append("No camera was written, because --out is not given.")
        else:
            run.results["written"] = [str(path) for path in found.save(out)]
        if page is not None:
            from lucule.view import calibration as pages

            run.results["plot"] = str(curves.save_figure(pages.camera_page(found), page))


def _base(name: str | None, **given: Any) -> Any:
    """Camera for what is not measured: a known one with changes, or one of the options alone."""
    from lucule.core import Camera
    from lucule.simulate import load_camera

    changes = {key: value for key, value in given.items() if value is not None}
    if name is not None:
        return load_camera(name, **changes)
    missing = [f"--{key.replace('_', '-')}" for key in ("kind", "pixel_size_nm") if key not in changes]
    if missing:
        raise InputError(
            "What cannot be measured is missing", received=f"no {' and no '.join(missing)}",
            next_step="name a camera of the same make with --camera (see `lucule simulate list`), or give these",
        )  # fmt: skip
    return Camera.parse(changes, source="The options")
