"""`lucule localize`: movies to localizations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from lucule.core import Camera
    from lucule.io import MovieInfo


def localize(
    movie: Annotated[Path, typer.Argument(help="Movie: a file, one of several files, or a folder; see File formats.")],
    out: Annotated[Path, typer.Option("--out", help="Table to write; the ending chooses the format.")],
    model: Annotated[
        str, typer.Option(help="A network by name or folder; see `lucule models`.")
    ] = "localize_astigmatic",
    method: Annotated[str, typer.Option(help="network.")] = "network",
    camera: Annotated[
        str | None,
        typer.Option(help="A packaged camera, a YAML file, or `movie`: as the movie says. Default: the network's."),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Smallest probability; default: the network's.")] = None,
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
    with session(inputs=movie, as_json=json) as run:
        from lucule import io
        from lucule import localize as room
        from lucule.core import InputError
        from lucule.localize.blocks import parts_folder, remove_parts

        if method != "network":
            raise InputError("There is no such method", received=method, allowed="network")
        with io.open_movie(movie, channel=channel, position=position, z=z) as opened:
            wanted = opened.part(frames=frame_range(frames, len(opened)), roi=region(roi, opened.shape[1:]))
            predictor = room.load(model, camera=camera_of(camera, opened.info), device=device)
            if dry_run:
                run.results = {
                    "dry_run": True,
                    "frames": len(wanted),
                    "shape_px": list(wanted.shape[1:]),
                    "movie": opened.info.title,
                    "model": predictor.card.name,
                    "camera": predictor.camera.model_dump(mode="json"),
                    "write": str(out),
                }
                return
            parts = parts_folder(out)
            locs = room.localize(wanted, model=predictor, threshold=threshold, keep=parts, progress=run.progress)
            io.write(locs, out)
            remove_parts(parts)
            run.results = {
                "frames": len(wanted),
                "localizations": len(locs),
                "localizations_per_frame": len(locs) / len(wanted),
                "model": predictor.card.name,
                "written": str(out),
            }


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
            "The frames cannot be used", received=text, allowed=f"FIRST:END from 0 to {frames}, for example 0:500"
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
