"""`lucule localize`: movies to localizations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lucule.cli.options import (
    ChannelOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    PlaneOption,
    PositionOption,
)
from lucule.cli.session import session

if TYPE_CHECKING:
    from lucule.core import Camera, Localizations
    from lucule.io import MovieInfo
    from lucule.io.movies import Movie


def localize(
    movie: Annotated[Path, typer.Argument(help="Movie: a file, one of several files, or a folder; see File formats.")],
    out: Annotated[Path, typer.Option("--out", help="Table to write; the ending chooses the format.")],
    method: Annotated[
        str, typer.Option(help="network: a trained network. fit: detection and maximum-likelihood fits.")
    ] = "network",
    model: Annotated[
        str | None,
        typer.Option(
            help="network: a network by name or folder, see `lucule models`; default localize_astigmatic. "
            "fit: gaussian, elliptical, astigmatic or spline; default: what the PSF is."
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            help="A packaged camera, a YAML file, or `movie`: as the movie says. Default: the network's; fit: `movie`."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="network: smallest probability; default: the network's.")
    ] = None,
    psf: Annotated[
        str | None,
        typer.Option(
            help="fit: a packaged PSF, a calibration (.h5) or a YAML file; default: a Gaussian of free width."
        ),
    ] = None,
    false_alarms: Annotated[
        float | None, typer.Option(help="fit: emitters that noise alone makes per frame; default 0.01.")
    ] = None,
    multi: Annotated[bool, typer.Option("--multi", help="fit: fit overlapping emitters together.")] = False,
    frames: Annotated[str | None, typer.Option(help="Some frames only, as FIRST:END, counted from 0.")] = None,
    roi: Annotated[
        str | None, typer.Option(help="A region only, as X0:X1,Y0:Y1 in pixels; positions stay those of whole frames.")
    ] = None,
    channel: ChannelOption = None,
    position: PositionOption = None,
    z: PlaneOption = None,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Find the emitters of every frame of a movie, with position, depth, photons and their errors.

    Finished frames are kept in a folder OUT.parts until the table is written: the same command goes on after an
    interruption.
    """
    with session(inputs=movie, as_json=json, resumes=True) as run:
        from lucule import io
        from lucule.io.reading import writer_of
        from lucule.localize.blocks import parts_folder, remove_parts

        with io.open_movie(movie, channel=channel, position=position, z=z) as opened:
            wanted = opened.part(frames=frame_range(frames, len(opened)), roi=region(roi, opened.shape[1:]))
            chosen = _chosen(method, model, camera_of(camera, opened.info), wanted, threshold, psf, false_alarms, multi,
                             device)  # fmt: skip
            if dry_run:
                run.results = {
                    "dry_run": True,
                    "frames": len(wanted),
                    "shape_px": list(wanted.shape[1:]),
                    "movie": opened.info.title,
                    "model": chosen.name,
                    "camera": chosen.camera.model_dump(mode="json"),
                    "write": str(out),
                }
                return
            writer_of(out)  # what cannot be written is refused before hours of work
            parts = parts_folder(out)
            locs = chosen.localize(wanted, keep=parts, progress=run.progress)
            io.write(locs, out)
            remove_parts(parts)
            run.results = {
                "frames": len(wanted),
                "localizations": len(locs),
                "localizations_per_frame": len(locs) / len(wanted),
                "model": chosen.name,
                "written": str(out),
            }


class _Chosen(NamedTuple):
    """A method with all but the movie: its name for the user, the camera, and what does it."""

    name: str
    camera: Camera
    localize: Callable[..., Localizations]


def _chosen(
    method: str,
    model: str | None,
    camera: Camera | None,
    movie: Movie,
    threshold: float | None,
    psf: str | None,
    false_alarms: float | None,
    multi: bool,
    device: str,
) -> _Chosen:
    """Bring the options of a method together, and refuse those of another one."""
    from lucule.core import InputError

    of_fit = {"--psf": psf, "--false-alarms": false_alarms, "--multi": multi or None}
    of_other = {"network": of_fit, "fit": {"--threshold": threshold}}
    if method not in of_other:
        raise InputError("There is no such method", received=method, allowed="network, fit")
    for option, value in of_other[method].items():
        if value is not None:
            other = "fit" if method == "network" else "network"
            raise InputError(f"{option} belongs to --method {other}", received=f"--method {method}")
    if method == "network":
        from lucule import localize as room

        predictor = room.load(model or "localize_astigmatic", camera=camera, device=device)
        return _Chosen(
            predictor.card.name, predictor.camera, partial(room.localize, model=predictor, threshold=threshold)
        )
    from lucule.localize import fitting
    from lucule.simulate.camera import sensor

    given = {"model": model, "false_alarms": false_alarms, "multi": multi or None}
    settings = fitting.FitSettings.parse({k: v for k, v in given.items() if v is not None}, source="The options")
    used = camera or movie.info.camera_with()
    fitter = fitting.prepare(sensor(used, movie.info.shape[1:]).crop(movie.window), psf, settings)
    return _Chosen(fitter.model, used, partial(fitting.fit, camera=used, psf=psf, settings=settings))


def camera_of(text: str | None, info: MovieInfo) -> Camera | None:
    """Give the camera that is asked for; what its file leaves open is taken from the movie.

    Raises
    ------
    InputError
        There is no such camera, or something is missing; the message names it.
    """
    from lucule.core.config import read_yaml
    from lucule.simulate import load_camera

    if text is None:
        return None
    if text == "movie":
        return info.camera_with()
    given = read_yaml(text) if text.endswith((".yaml", ".yml")) else None
    said: dict[str, Any] = {} if given is None else info.camera_values()
    return load_camera(text, **{key: value for key, value in said.items() if key not in (given or {})})


def frame_range(text: str | None, frames: int) -> tuple[int, int]:
    """Turn `FIRST:END` into two numbers; either may be missing.

    Examples
    --------
    >>> frame_range("10:", 50)
    (10, 50)
    """
    from lucule.core.errors import InputError

    first, _, end = (text or ":").partition(":")
    try:
        low, high = int(first or 0), int(end or frames)
    except ValueError:
        low = high = -1
    if not 0 <= low < high <= frames:
        raise InputError(
            "The frames cannot be used",
            received=text,
            allowed=f"FIRST:END from 0 to {frames}, for example 0:{min(frames, 500)}",
        )
    return low, high


def region(text: str | None, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Turn `X0:X1,Y0:Y1` into four numbers for frames of `(rows, columns)`; each may be missing.

    Examples
    --------
    >>> region("10:20,:30", (64, 48))
    (10, 20, 0, 30)
    """
    from lucule.core.errors import InputError

    rows, columns = shape
    horizontal, _, vertical = (text or ",").partition(",")
    try:
        left, _, right = (horizontal or ":").partition(":")
        top, _, bottom = (vertical or ":").partition(":")
        box = (int(left or 0), int(right or columns), int(top or 0), int(bottom or rows))
    except ValueError:
        box = (0, 0, 0, 0)
    if not (0 <= box[0] < box[1] <= columns and 0 <= box[2] < box[3] <= rows):
        raise InputError(
            "The region cannot be used",
            received=text,
            allowed=f"X0:X1,Y0:Y1 within 0:{columns},0:{rows} pixels, for example 0:{columns // 2},0:{rows // 2}",
        )
    return box
