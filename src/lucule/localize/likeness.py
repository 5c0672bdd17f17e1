"""Training frames like the user's own movie: its light, density and blinking, widened into ranges."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import SILENT, Camera, InputError, Localizations, Progress
from lucule.io.movies import Movie, opened
from lucule.localize.fitting import fit
from lucule.localize.scenes import SceneSettings
from lucule.simulate.imitate import Summary, measure
from lucule.simulate.optics.psf import PSF

# parts of the movie that are looked at, frames in each, and how many localizations they must give in all
_PARTS: Final = 4
_FRAMES: Final = 250
_ENOUGH: Final = 200
# an emitter that is on throughout a frame gives about what the brighter part of the localizations has
_FULL_FRAME: Final = 0.7
_EITHER_WAY: Final = 2.0
_DENSEST: Final = 2.0  # for a um2: more cannot be told apart by anybody
_SHORTEST: Final = 0.3


@dataclass(frozen=True)
class Likeness:
    """What a movie is like.

    Attributes
    ----------
    localizations, frames
        How many localizations in how many frames this rests on.
    density_per_um2
        Localizations in a frame for a um2, where there are any.
    photons, photons_spread
        Of an emitter that is on throughout a frame; standard deviation of the logarithm between emitters.
    background_photons
        Median background of a pixel.
    background_unevenness
        Spread of the background over the field, as a fraction of it.
    on_frames
        Mean ON time, frames.
    """

    localizations: int
    frames: int
    density_per_um2: float
    photons: float
    photons_spread: float
    background_photons: float
    background_unevenness: float
    on_frames: float

    def widened(self, settings: SceneSettings) -> SceneSettings:
        """Training scenes around this movie.

        All ranges reach to half and to twice of what was seen. The density reaches further: the fits see less of
        crowded frames, and a network must also be right where a movie is nearly empty.

        Examples
        --------
        >>> seen = Likeness(900, 500, 0.1, 2000.0, 0.3, 25.0, 0.1, 1.5)
        >>> seen.widened(SceneSettings()).photons
        (1000.0, 4000.0)
        """

        def around(value: float) -> tuple[float, float]:
            return value / _EITHER_WAY, value * _EITHER_WAY

        background = max(self.background_photons, 0.5)
        return settings.replace(
            density_per_um2=(self.density_per_um2 / 8, min(4 * self.density_per_um2, _DENSEST)),
            photons=around(self.photons),
            photons_spread=(0.5 * self.photons_spread, min(1.5 * self.photons_spread, 1.0)),
            photons_per_background=around(self.photons / background),
            background_photons=around(background),
            background_unevenness=(0.0, min(max(2 * self.background_unevenness, 0.2), 1.0)),
            on_frames=around(self.on_frames),
        )


def like(
    movie: Movie | str | os.PathLike[str] | NDArray[Any],
    *,
    camera: Camera,
    psf: PSF | str | None = None,
    progress: Progress = SILENT,
) -> Likeness:
    """Measure light, density and blinking of a movie with the classical path.

    Parameters
    ----------
    movie
        Path of a movie, an open one, or counts `(frames, rows, columns)`. Up to 1000 frames in four parts are used.
    camera, psf
        As for `lucule.localize.fitting.fit`.

    Raises
    ------
    InputError
        Fewer than 200 emitters are found.

    Examples
    --------
    >>> from lucule import simulate
    >>> frames, truth = simulate.movie("uniform", frames=200, camera="ideal", psf="gaussian_2d", seed=1)
    >>> like(frames[:], camera=frames.imaging.camera, psf="gaussian_2d").localizations > 200
    True
    """
    with opened(movie) as source:
        parts = _parts(len(source))
        tables = [fit(source, camera=camera, psf=psf, frames=part, progress=progress) for part in parts]
    total = sum(map(len, tables))
    if total < _ENOUGH:
        raise InputError(
            "Too few emitters are found in the movie to learn from",
            received=f"{total} in {sum(end - first for first, end in parts)} frames",
            allowed=f"{_ENOUGH} or more",
            next_step="check the camera and the PSF, or train without --like",
        )
    summaries = [_summary(table, part) for table, part in zip(tables, parts, strict=True) if len(table)]
    weights = [len(table) for table in tables if len(table)]
    photons = np.concatenate([table["photons"] for table in tables]).astype(np.float64)
    background = np.concatenate([table["background"] for table in tables]).astype(np.float64)
    low, middle, high = np.percentile(background, [16, 50, 84])

    def mean(name: str) -> float:
        return float(np.average([getattr(summary, name) for summary in summaries], weights=weights))

    return Likeness(
        localizations=total,
        frames=sum(end - first for first, end in parts),
        density_per_um2=mean("localizations_per_frame_um2"),
        photons=float(np.quantile(photons, _FULL_FRAME)),
        photons_spread=mean("photons_spread"),
        background_photons=float(middle),
        background_unevenness=float((high - low) / 2 / max(middle, 0.5)),
        # an exponential ON time of mean t touches t + 1 frames
        on_frames=max(mean("frames_per_event") - 1, _SHORTEST),
    )


def _parts(frames: int) -> list[tuple[int, int]]:
    """Where to look: consecutive frames tell how long emitters are on, parts far apart how it changes."""
    if frames <= _PARTS * _FRAMES:
        return [(0, frames)]
    starts = np.linspace(0, frames - _FRAMES, _PARTS).astype(int)
    return [(int(start), int(start) + _FRAMES) for start in starts]


def _summary(table: Localizations, part: tuple[int, int]) -> Summary:
    first, end = part
    moved = table.with_columns(frame=table["frame"] - np.uint32(first))
    return measure(Localizations(moved.data, moved.meta.model_copy(update={"n_frames": end - first})), interval_s=1.0)
