"""`lucule localize`: movies to localizations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucule.cli.options import DeviceOption, DryRunOption, JsonOption
from lucule.cli.session import session


def localize(
    movie: Annotated[Path, typer.Argument(help="Movie: TIFF (also BigTIFF, OME-TIFF) or .npy, frames of one channel.")],
    out: Annotated[Path, typer.Option("--out", help="Table to write; the ending chooses the format.")],
    model: Annotated[
        str, typer.Option(help="A network by name or folder; see `lucule models`.")
    ] = "localize_astigmatic",
    method: Annotated[str, typer.Option(help="network.")] = "network",
    camera: Annotated[
        str | None, typer.Option(help="A packaged camera or a YAML file; default: the network's.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Smallest probability; default: the network's.")] = None,
    frames: Annotated[str | None, typer.Option(help="Some frames only, as FIRST:END, counted from 0.")] = None,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Find the emitters of every frame of a movie, with position, depth, photons and their errors."""
    with session(inputs=movie, as_json=json) as run:
        from lucule import localize as room
        from lucule.core import InputError
        from lucule.simulate import load_camera

        if method != "network":
            raise InputError("There is no such method", received=method, allowed="network")
        predictor = room.load(model, camera=load_camera(camera) if camera else None, device=device)
        with room.open_movie(movie) as opened:
            first, end = frame_range(frames, opened.shape[0])
            if dry_run:
                run.results = {
                    "dry_run": True,
                    "frames": end - first,
                    "shape_px": list(opened.shape[1:]),
                    "model": predictor.card.name,
                    "camera": predictor.camera.model_dump(mode="json"),
                    "write": str(out),
                }
                return
        locs = room.localize(movie, model=predictor, frames=(first, end), threshold=threshold, progress=run.progress)
        locs.save(out)
        run.results = {
            "frames": end - first,
            "localizations": len(locs),
            "localizations_per_frame": len(locs) / (end - first),
            "model": predictor.card.name,
            "written": str(out),
        }


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
