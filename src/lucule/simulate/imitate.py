"""Fit a simulation to a table or movie: a scene that resembles the user's own data, for training on "my data".

Every quantity is measured on the data, and again on what is simulated with the present guess; what is set in the scene
follows from the ratio of both. Thresholds, merging and cut-off frames thus act on both sides alike. Of a movie, spots
are found and fitted first, in the user's and in the simulated ones alike.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from scipy import fft
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from lucule.core import Camera, ColumnError, InputError, Localizations
from lucule.core.config import dump_yaml
from lucule.core.files import write_text
from lucule.simulate.camera import load_camera
from lucule.simulate.crlb import crlb
from lucule.simulate.imaging import CameraLike, PSFLike, resolve_camera, resolve_psf
from lucule.simulate.localizations import localizations
from lucule.simulate.movie import Movie, movie
from lucule.simulate.optics import PSF, compile_psf
from lucule.simulate.scene import Scene
from lucule.simulate.spots import Frames, find_spots

Floats: TypeAlias = NDArray[np.float64]

_ROWS_MIN: Final = 500
_ROWS_MEASURED: Final = 300_000
_ROWS_SIMULATED, _ROWS_IN_MOVIES = 60_000, 10_000
_ROUNDS_OF_MOVIES: Final = 2
_SIDE_MIN_UM, _SIDE_MAX_UM = 5.0, 60.0
_CANDIDATES: Final = ("ideal", "prime95b", "emccd_ixon897")
_DRIFT_PIXEL_NM, _DRIFT_PIXELS_MAX, _DRIFT_REACH_NM, _DRIFT_PARTS = 20.0, 1000, 500.0, 6
# fewer cannot be told from none
_REPEATS_MIN: Final = 0.05
# where the data do not tell their precision or the width of the PSF
_USUAL_ERROR_NM, _USUAL_WIDTH_NM = 15.0, 130.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What is measured on a table; None where its columns do not tell.

    Attributes
    ----------
    localizations_per_um2, localizations_per_frame_um2
        Density over the occupied area, in all and for each frame.
    occupied_um2
        Area of the squares of about 1 um that are at least half as full as the median of those that hold anything.
    photons, photons_spread
        Median of a localization, and standard deviation of its logarithm.
    background
        Median photons per pixel.
    x_err_nm, sigma_nm
        Median precision and width of the PSF.
    frames_per_event
        Mean number of frames in which an ON period is localized.
    repeats
        Mean number of other ON periods of the same molecule that one of them has: those in the same place, in excess of
        those around it.
    decay_s
        Time in which the rate of localizations falls to 1 / e; infinite where it does not fall.
    drift_nm_per_min
        Steady drift (x, y).
    """

    localizations_per_um2: float
    localizations_per_frame_um2: float
    occupied_um2: float
    photons: float
    photons_spread: float
    background: float | None
    x_err_nm: float | None
    sigma_nm: float | None
    frames_per_event: float
    repeats: float
    decay_s: float
    drift_nm_per_min: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Imitation:
    """A scene that imitates a table or a movie.

    Attributes
    ----------
    scene
        The scene.
    data, imitated
        The same measurements on the data and on a simulation of the scene.
    errors
        Standard deviations of the measurements on the data: how much those on simulations of the scene differ from each
        other, for as many localizations as the data have (parametric bootstrap); None if there were no `repeats`.
    """

    scene: Scene
    data: Summary
    imitated: Summary
    errors: dict[str, float] | None = None

    def __repr__(self) -> str:
        scene = ", ".join(f"{name} ({layer.specimen.kind})" for name, layer in self.scene.layers.items())
        return f"Imitation({scene}; see .table() for what was measured, .save(path) for the scene)"

    def table(self) -> pl.DataFrame:
        """Both measurements beside each other: quantity, data, its error, imitation, and their ratio (null: none)."""
        data, imitated = _flat(self.data), _flat(self.imitated)
        errors = self.errors or {}
        rows = [(name, data[name], errors.get(name), imitated[name]) for name in data]
        kinds = {"quantity": pl.String, "data": pl.Float64, "error": pl.Float64, "imitation": pl.Float64}
        table = pl.DataFrame(rows, schema=kinds, orient="row")
        ratio = pl.col("imitation") / pl.col("data")
        return table.with_columns(ratio=pl.when(ratio.is_finite()).then(ratio))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the scene as YAML, for `lucule simulate PATH`."""
        return write_text(path, dump_yaml(self.scene.model_dump(mode="json", exclude_none=True)))


def imitate(
    data: Localizations | Frames | str | os.PathLike[str],
    *,
    scene: Scene | None = None,
    camera: CameraLike = None,
    psf: PSFLike = None,
    interval_s: float | None = None,
    rounds: int = 6,
    repeats: int = 4,
    seed: int = 1,
) -> Imitation:
    """Make a scene that resembles a table or movie in photons, background, precision, blinking, density and drift.

    Parameters
    ----------
    data
        Localizations with frame, x, y and photons, not linked or filtered; background, x_err and sigma_x are used where
        they are there. Or a movie: counts `(frames, rows, columns)`, a simulated `Movie`, or the path of a movie.
    scene
        A scene whose specimens and labelling are kept; by default single molecules at random, as dense as the data are
        where they lie.
    camera
        Needed for movies other than simulated ones. For a table by default that of its metadata, else the packaged one
        whose precision is nearest to that of the data.
    psf
        By default a Gaussian of the width that the data have, or the packaged astigmatic PSF for tables with z. A movie
        tells its width only.
    interval_s
        Time from frame to frame; by default the exposure in the table's metadata.
    rounds
        How often simulated and measured quantities are compared and adjusted.
    repeats
        How often the scene that was found is simulated again, for the errors of what was measured; 0, or 2 and more.
    seed
        Seed of the simulations.

    Raises
    ------
    ColumnError
        Frame or photons are missing.
    InputError
        Fewer than 500 localizations or spots, or the time between frames or the camera of a movie is not known.

    Examples
    --------
    >>> from lucule.simulate.scene import load_scene
    >>> known = load_scene("uniform", frames=1500, size_um=8, dye="af647")
    >>> found = imitate(localizations(known, seed=1), rounds=2, repeats=0)
    >>> bool(0.8 < found.scene.background_photons.limits[0] / 10 < 1.2)
    True
    """
    is_movie = not isinstance(data, Localizations)
    if isinstance(data, Movie):
        interval_s = interval_s or data.imaging.scene.acquisition.interval_s
    locs = find_spots(data, camera) if not isinstance(data, Localizations) else data
    _check(locs, rounds, repeats)
    interval = interval_s or (locs.meta.exposure_ms or 0.0) / 1000
    if not interval > 0:
        raise InputError("The time between frames is not known", next_step="give interval_s")
    wanted = measure(locs, interval_s=interval)
    frames = locs.meta.n_frames or int(locs["frame"].max()) + 1
    optics = resolve_psf(psf) if psf is not None else _psf_of(locs, wanted)
    device = _camera_of(locs, camera, optics, wanted)
    guess = _Guess.first(wanted, frames * interval, interval)
    start = scene or _single_molecules(wanted, _ROWS_IN_MOVIES if is_movie else _ROWS_SIMULATED)
    found, seen = start, wanted
    for step in range(rounds):
        found = _with_guess(start, guess, wanted, optics, device, frames, interval, own_density=scene is None)
        # tables are quick, and near enough to movies for the first rounds
        look = _look_at_movie if is_movie and step >= rounds - _ROUNDS_OF_MOVIES else _look_at_table
        seen = measure(look(found, seed + step), interval_s=interval)
        if step + 1 < rounds:
            guess = guess.adjusted(wanted, seen)
    if scene is None:
        side = float(np.clip(np.sqrt(wanted.occupied_um2), _SIDE_MIN_UM, _SIDE_MAX_UM))
        found = found.with_changes(size_um=(round(side, 2), round(side, 2)))
    again = [_look_at_table(found, seed + rounds + repeat) for repeat in range(repeats)]
    errors = _errors(again, len(locs), interval) if again else None
    return Imitation(found, wanted, seen, errors)


def _look_at_table(scene: Scene, seed: int) -> Localizations:
    return localizations(scene, seed=seed, outside="drop")


def _look_at_movie(scene: Scene, seed: int) -> Localizations:
    return find_spots(movie(scene, seed=seed, outside="drop")[0])


def _errors(tables: list[Localizations], rows: int, interval_s: float) -> dict[str, float]:
    """Spread of what is measured on simulated tables, for data of so many rows."""
    measured = [_flat(measure(table, interval_s=interval_s)) for table in tables]
    share = np.sqrt(np.mean([len(table) for table in tables]) / rows)
    found = {}
    for name in measured[0]:
        values = np.array([one[name] for one in measured if one[name] is not None])
        if len(values) == len(tables) and np.isfinite(values).all():
            found[name] = float(values.std(ddof=1) * share)
    return found


def _flat(summary: Summary) -> dict[str, float | None]:
    """What is compared, a number each; the area is left out, as an imitation may be of another size."""
    flat: dict[str, float | None] = {}
    for field in fields(Summary):
        value = getattr(summary, field.name)
        if isinstance(value, tuple):
            flat |= {f"{field.name}_{axis}": one for axis, one in zip("xy", value, strict=True)}
        elif field.name != "occupied_um2":
            flat[field.name] = value
    return flat


def measure(locs: Localizations, *, interval_s: float) -> Summary:
    """Measure what `imitate` compares; see `Summary`."""
    part, share = _part(locs)
    data = part.data.sort("frame")
    frame, x, y, photons = (data[name].to_numpy() for name in ("frame", "x", "y", "photons"))
    frames = locs.meta.n_frames or int(locs["frame"].max()) + 1
    area = _occupied_um2(x, y)
    error = _median(data, "x_err")
    reach = 4 * (error or _USUAL_ERROR_NM)
    starts = np.searchsorted(frame, np.arange(frames + 1)).astype(np.int64)
    event = _link(starts, x.astype(np.float64), y.astype(np.float64), reach)
    n_events = int(event.max()) + 1
    counts = np.bincount(event)
    drift = _drift(frame, x, y, frames, interval_s)
    minutes = frame * (interval_s / 60)
    still = (x - drift[0] * minutes, y - drift[1] * minutes)
    places = np.column_stack([np.bincount(event, weights=axis) / counts for axis in still])
    light = np.log(photons[photons > 0].astype(np.float64))
    low, high = np.quantile(light, [0.25, 0.75])
    return Summary(
        localizations_per_um2=len(frame) / area,
        localizations_per_frame_um2=len(frame) / area / frames,
        occupied_um2=area / share,
        photons=float(np.exp(np.median(light))),
        photons_spread=float((high - low) / 1.349),
        background=_median(data, "background"),
        x_err_nm=error,
        sigma_nm=_median(data, "sigma_x"),
        frames_per_event=len(frame) / n_events,
        repeats=_repeats(places, error or _USUAL_ERROR_NM),
        decay_s=_decay_s(frame, frames, interval_s),
        drift_nm_per_min=drift,
    )


@dataclass(frozen=True, slots=True)
class _Guess:
    """What is set in the scene and follows from comparisons."""

    photons_per_s: float
    event_cv: float
    on_time_s: float
    events_per_molecule: float
    molecules_per_um2: float
    bleach_time_s: float
    duration_s: float

    @classmethod
    def first(cls, data: Summary, duration_s: float, interval_s: float) -> _Guess:
        on_time = max(data.frames_per_event - 1, 0.2) * interval_s
        events = data.localizations_per_um2 / data.frames_per_event
        per_molecule = max(data.repeats, _REPEATS_MIN)
        rate = data.photons / interval_s
        return cls(rate, 0.0, on_time, per_molecule, events / per_molecule, data.decay_s, duration_s)

    def adjusted(self, data: Summary, seen: Summary) -> _Guess:
        spread = self.event_cv**2 + data.photons_spread**2 - seen.photons_spread**2
        longer = (data.frames_per_event - 0.99) / (seen.frames_per_event - 0.99)
        more = max(data.repeats, _REPEATS_MIN) / max(seen.repeats, _REPEATS_MIN)
        denser = data.localizations_per_um2 / seen.localizations_per_um2
        events = float(np.clip(self.events_per_molecule * np.clip(more, 0.3, 3.0), _REPEATS_MIN, 1e4))
        per_event = float(np.clip(longer, 0.3, 3.0))
        # more frames per event and more events per molecule make the table denser by themselves
        grown = events / self.events_per_molecule * data.frames_per_event / seen.frames_per_event
        return _Guess(
            self.photons_per_s * float(np.clip(data.photons / seen.photons, 0.3, 3.0)),
            float(np.sqrt(np.clip(spread, 0.0, 4.0))),
            self.on_time_s * per_event,
            events,
            self.molecules_per_um2 * float(np.clip(denser / grown, 0.2, 5.0)),
            self.bleach_time_s,
            self.duration_s,
        )

    @property
    def off_time_s(self) -> float:
        """OFF time that gives as many events while molecules bleach."""
        if not np.isfinite(self.bleach_time_s):
            active = self.duration_s
        else:
            active = self.bleach_time_s * -np.expm1(-self.duration_s / self.bleach_time_s)
        return float(active / self.events_per_molecule)


def _check(locs: Localizations, rounds: int, repeats: int) -> None:
    for name in ("frame", "photons"):
        if name not in locs:
            raise ColumnError(
                f"An imitation needs the column {name}", received=f"columns {', '.join(locs.columns)}",
                next_step="give the table as the localization program wrote it",
            )  # fmt: skip
    if len(locs) < _ROWS_MIN:
        raise InputError("Too few localizations to imitate", received=len(locs), allowed=f"{_ROWS_MIN} or more")
    if rounds < 1:
        raise InputError("An imitation needs rounds", received=rounds, allowed="1 or more")
    if repeats < 0 or repeats == 1:
        raise InputError("A spread cannot be told from this", received=f"repeats={repeats}", allowed="0, 2 or more")


def _single_molecules(data: Summary, rows: int) -> Scene:
    side = np.sqrt(rows / data.localizations_per_um2)
    side = float(np.clip(side, _SIDE_MIN_UM, _SIDE_MAX_UM))
    layer = {"specimen": {"kind": "uniform", "density_per_um2": 1.0}, "label": 0}
    return Scene.parse(
        {
            "title": "Imitation: single molecules at random",
            "field": {"size_um": round(side, 2), "axial_range_nm": 0.0},
            "layers": {"molecules": layer},
        },
        source="imitation",
    )


def _with_guess(
    start: Scene,
    guess: _Guess,
    data: Summary,
    psf: PSF,
    camera: Camera,
    frames: int,
    interval_s: float,
    *,
    own_density: bool,
) -> Scene:
    dye: dict[str, Any] = {
        "kind": "switching",
        "name": "imitation",
        "on_time_s": guess.on_time_s,
        "off_time_s": guess.off_time_s,
        "photons": {"kind": "rate", "photons_per_s": guess.photons_per_s, "event_cv": guess.event_cv},
    }
    if np.isfinite(guess.bleach_time_s):
        dye["bleach_time_s"] = guess.bleach_time_s
    changes: dict[str, Any] = {
        "dye": dye,
        "psf": psf.model_dump(mode="json"),
        "camera": camera,
        "acquisition": {"frames": frames, "interval_s": interval_s},
        "motion": {"linear_nm_per_min": (*data.drift_nm_per_min, 0.0)},
    }
    if data.background is not None:
        changes["background_photons"] = data.background
    if own_density:
        changes["molecules.specimen.density_per_um2"] = guess.molecules_per_um2
    # first, as a dye of the whole scene is refused where every layer has one of its own
    shared = start.with_changes(**{f"{name}.dye": None for name in start.layers})
    return shared.with_changes(**changes)


def _psf_of(locs: Localizations, data: Summary) -> PSF:
    if locs.is_3d:
        return resolve_psf("astigmatic")
    return resolve_psf({"kind": "gaussian", "sigma_nm": data.sigma_nm or _USUAL_WIDTH_NM, "depth_nm": None})


def _camera_of(locs: Localizations, camera: CameraLike, psf: PSF, data: Summary) -> Camera:
    if camera is not None:
        return resolve_camera(camera)
    if locs.meta.camera is not None:
        return locs.meta.camera
    pixel = locs.meta.pixel_size_nm or load_camera(_CANDIDATES[0]).pixel_size_nm
    cameras = [load_camera(name, pixel_size_nm=pixel) for name in _CANDIDATES]
    if data.x_err_nm is None:
        return cameras[-1]
    kernel = compile_psf(psf, pixel)
    middle = (0.3 * pixel[0], 0.3 * pixel[1], 0.0, data.photons, data.background or 0.0)
    mismatch = [
        abs(np.log(crlb(kernel, device, *middle, free_z=locs.is_3d).x_err[0] / data.x_err_nm)) for device in cameras
    ]
    return cameras[int(np.argmin(mismatch))]


def _part(locs: Localizations) -> tuple[Localizations, float]:
    """A window with not too many rows, and the share of the rows that it holds."""
    if len(locs) <= _ROWS_MEASURED:
        return locs, 1.0
    x, y = (locs[axis].astype(np.float64) for axis in "xy")
    middle = np.median(x), np.median(y)
    distance = np.maximum(np.abs(x - middle[0]), np.abs(y - middle[1]))
    limit = np.partition(distance, _ROWS_MEASURED)[_ROWS_MEASURED]
    kept = Localizations(locs.data.filter(pl.Series(distance < limit)), locs.meta)
    return kept, len(kept) / len(locs)


def _median(data: pl.DataFrame, name: str) -> float | None:
    return float(np.median(data[name].to_numpy())) if name in data.columns else None


def _occupied_um2(x: NDArray[Any], y: NDArray[Any]) -> float:
    sides = [max(float(np.ptp(axis)), 1.0) for axis in (x, y)]
    squares = [max(round(side / 1000), 1) for side in sides]
    counts, _, _ = np.histogram2d(x, y, bins=squares)
    inside = counts >= 0.5 * np.median(counts[counts > 0])
    area = inside.sum() * (sides[0] / squares[0]) * (sides[1] / squares[1]) / 1e6
    return float(area * len(x) / counts[inside].sum())


@njit(cache=True)
def _link(starts: NDArray[np.int64], x: Floats, y: Floats, reach: float) -> NDArray[np.int64]:
    """Number of the ON period of each localization: the nearest one in the frame before goes on."""
    event = np.full(len(x), -1, np.int64)
    following = 0
    for frame in range(len(starts) - 1):
        before = starts[frame - 1] if frame else 0
        continued = np.zeros(starts[frame] - before, np.bool_)
        for i in range(starts[frame], starts[frame + 1]):
            nearest, found = reach * reach, -1
            for j in range(before, starts[frame]):
                squared = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
                if squared < nearest and not continued[j - before]:
                    nearest, found = squared, j
            if found >= 0:
                event[i] = event[found]
                continued[found - before] = True
            else:
                event[i] = following
                following += 1
    return event


def _repeats(places: Floats, error_nm: float) -> float:
    """Other events in the same place for each event, less those in a ring of the same area around."""
    reach = 4 * error_nm
    tree = cKDTree(places)
    inner = tree.count_neighbors(tree, reach) - len(places)
    ring = tree.count_neighbors(tree, reach * np.sqrt(2)) - len(places) - inner
    return float(max(inner - ring, 0) / len(places))


def _decay_s(frame: NDArray[np.uint32], frames: int, interval_s: float) -> float:
    """Decay time of an exponential with the mean frame that the data have (maximum likelihood)."""
    mean = float(np.mean(frame + 0.5)) / frames
    if mean > 0.5 - 3 / np.sqrt(12 * len(frame)) or mean > 0.48:
        return float("inf")
    low, high = 1e-3, 1e3
    for _ in range(60):  # mean of a truncated exponential grows with its decay time
        middle = np.sqrt(low * high)
        expected = middle - 1 / np.expm1(1 / middle) if middle > 2e-3 else middle
        low, high = (middle, high) if expected < mean else (low, middle)
    return float(low * frames * interval_s)


def _drift(
    frame: NDArray[np.uint32], x: NDArray[Any], y: NDArray[Any], frames: int, interval_s: float
) -> tuple[float, float]:
    """Steady drift from correlations of pictures of parts of the movie; 0 where it cannot be told from none."""
    # a window around the middle, on a grid that transforms fast
    edges = []
    for axis in (x, y):
        pixels = next_fast_len(min(int(np.ptp(axis) / _DRIFT_PIXEL_NM) + 1, _DRIFT_PIXELS_MAX), real=True)
        edges.append(np.median(axis) + _DRIFT_PIXEL_NM * (np.arange(pixels + 1) - pixels / 2))
    if min(map(len, edges)) < 8:
        return 0.0, 0.0
    part = np.minimum(frame.astype(np.int64) * _DRIFT_PARTS // frames, _DRIFT_PARTS - 1)
    spectra, times = [], []
    for number in range(_DRIFT_PARTS):
        mine = part == number
        if mine.sum() < _ROWS_MIN / _DRIFT_PARTS:
            return 0.0, 0.0
        picture = gaussian_filter(np.histogram2d(x[mine], y[mine], bins=edges)[0], 1.0, mode="constant")
        spectra.append(fft.rfft2(picture - picture.mean()))
        times.append(float(frame[mine].mean()) * interval_s / 60)
    shape = (len(edges[0]) - 1, len(edges[1]) - 1)
    pairs = [(a, b) for a in range(_DRIFT_PARTS) for b in range(a + 1, _DRIFT_PARTS)]
    shifts = np.array([_peak(fft.irfft2(np.conj(spectra[a]) * spectra[b], s=shape)) for a, b in pairs])
    span = np.array([times[b] - times[a] for a, b in pairs])
    rate = (span @ shifts) / (span @ span) * _DRIFT_PIXEL_NM
    noise = np.std(shifts * _DRIFT_PIXEL_NM - np.outer(span, rate), axis=0) / np.sqrt(span @ span)
    return float(rate[0] * (abs(rate[0]) > 3 * noise[0])), float(rate[1] * (abs(rate[1]) > 3 * noise[1]))


def _peak(correlation: Floats) -> tuple[float, float]:
    """Position of the maximum near zero shift, in pixels, refined by a parabola along each axis."""
    reach = min(int(_DRIFT_REACH_NM / _DRIFT_PIXEL_NM), min(correlation.shape) // 2 - 2)
    middle = np.roll(correlation, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    at = np.array(np.unravel_index(np.argmax(middle[1:-1, 1:-1]), (2 * reach - 1, 2 * reach - 1))) + 1
    refined = []
    for axis in range(2):
        line = middle[:, at[1]] if axis == 0 else middle[at[0], :]
        left, top, right = line[at[axis] - 1 : at[axis] + 2]
        curve = left - 2 * top + right
        refined.append(at[axis] - reach + (0.5 * (left - right) / curve if curve < 0 else 0.0))
    return refined[0], refined[1]
