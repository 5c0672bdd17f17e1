"""Localization tables straight from a scene, without images: what a program finds, as well as it can be known."""

from __future__ import annotations

import os
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import InputError, Localizations, Meta, step
from lucule.simulate.chain import Truth
from lucule.simulate.detection import (
    Detection,
    Limits,
    Merged,
    draw,
    false_positives_per_frame,
    found_probability,
    limits,
    merge,
    noise_photons,
)
from lucule.simulate.imaging import (
    CameraLike,
    Imaging,
    Outside,
    PSFLike,
    channel_of_layers,
    channels_of,
    prepare,
    seen_truth,
)
from lucule.simulate.optics import sample_map
from lucule.simulate.scenario import Scenario
from lucule.simulate.scene import Scene, load_scene
from lucule.simulate.streams import key, stream
from lucule.simulate.table import simulate

Floats: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = dict[str, NDArray[Any]]

_NORMALS: Final = 7  # x, y, z, photons, background, two widths


@step
def localizations(
    scene: Scene | Scenario | str | os.PathLike[str],
    *,
    seed: int = 1,
    frames: int | None = None,
    camera: CameraLike = None,
    psf: PSFLike = None,
    detection: Detection = Detection(),  # noqa: B008 (frozen)
    outside: Outside = "error",
) -> Localizations:
    """Simulate the table that an unbiased program at the precision limit gives for the movie of the same scene.

    Each emitter in each frame is found with a probability that depends on its photons and the background, and displaced
    by a normal error of the Cramer-Rao bound of the PSF and camera. Emitters too close to each other merge, fainter
    ones beside brighter ones may be missed, and noise gives false positives; see `Detection`.

    Parameters
    ----------
    scene
        A scene, the name of a packaged one, or a YAML file. A `Scenario` gives the table of `simulate`.
    seed
        The same seed gives the same bits, and the same molecules and blinking as in `movie`.
    frames
        Number of frames; by default that of the scene.
    camera, psf
        As for `movie`.
    detection
        Thresholds.
    outside
        What to do with emitters outside the depth range of the PSF: `error`, or `drop` them.

    Returns
    -------
    Localizations
        frame, x, y, photons, background, x_err, y_err and p; z and z_err where the PSF tells the depth; sigma_x and
        sigma_y for Gaussian PSFs; channel where the scene has several. With the truth: event, molecule, epitope,
        structure (-1 = none), true_label, true_cluster (= structure), true_x, true_y, true_z (the brightest emitter,
        drift included) and emitters (how many merged; 0 = false positive). False positives are events of their own.

    Raises
    ------
    InputError
        As `movie`; or frames, camera, PSF or detection were given for a `Scenario`, which has none.

    Examples
    --------
    >>> locs = localizations("origami", frames=100, seed=1)
    >>> bool(np.median(locs["x_err"]) < 10)
    True
    """
    if isinstance(scene, Scenario):
        if frames is not None or camera is not None or psf is not None or detection != Detection():
            raise InputError(
                "A scenario has positions only, neither frames nor optics", next_step="use a scene instead"
            )
        return simulate(scene, seed=seed)
    resolved = load_scene(scene) if frames is None else load_scene(scene, frames=frames)
    imaging = prepare(resolved, camera=camera, psf=psf, seed=seed)
    truth = seen_truth(imaging, outside=outside)
    known = limits(imaging)
    layers = channel_of_layers(resolved)
    tables = []
    first_event = len(truth.events)
    for channel in channels_of(resolved):
        rows = np.flatnonzero(layers[truth.dyes["layer"][truth.emitters["molecule"]]] == channel)
        noise = _noise(imaging, known, detection, channel, first_event)
        first_event += noise.height
        tables += [_found(imaging, truth, known, detection, rows, channel), noise]
    data = pl.concat(tables).sort("frame", maintain_order=True)
    if len(channels_of(resolved)) == 1:
        data = data.drop("channel")
    return Localizations(data, _meta(imaging))


def _found(
    imaging: Imaging, truth: Truth, known: Limits, detection: Detection, rows: NDArray[np.int64], channel: int
) -> pl.DataFrame:
    """Localizations of emitters."""
    emitters = truth.emitters
    every = len(rows) == len(emitters)
    frame, x, y, z, photons, event, molecule = (
        emitters[name] if every else emitters[name][rows]
        for name in ("frame", "x", "y", "z", "photons", "event", "molecule")
    )
    starts = np.searchsorted(frame, np.arange(imaging.scene.acquisition.frames + 1)).astype(np.int64)
    merged = merge(
        starts, x, y, z, photons,
        near_nm=detection.merge_sigma * known.width_nm, crowded_nm=detection.crowding_sigma * known.width_nm,
    )  # fmt: skip
    height, width = (n * size for n, size in zip(imaging.shape, imaging.kernel.pixel_size_nm[::-1], strict=True))
    seen = (merged.photons > 0) & (merged.x >= 0) & (merged.x < width) & (merged.y >= 0) & (merged.y < height)
    merged = Merged._make(column[seen] for column in merged)
    of = merged.brightest
    background = _background(imaging, merged.x, merged.y, frame[of])
    flat = known.flat.lookup(merged.z, merged.photons, background)
    noise = noise_photons(known.flat, merged.z, background)
    p = merged.survival * found_probability(merged.photons, flat, noise, detection.snr)
    random = draw(key(imaging.seed, "localization"), event[of].astype(np.int64), frame[of], _NORMALS)
    hit = random[0] < p
    of, p, random, background = of[hit], p[hit], random[:, hit], background[hit]
    position = (merged.x[hit], merged.y[hit], merged.z[hit])
    columns = _measured(imaging, known, position, merged.photons[hit], background, random[1:])
    dyes, who = truth.dyes, molecule[of]
    structure = dyes["structure"][who]
    return _table(
        columns
        | {
            "frame": frame[of],
            "p": p,
            "channel": np.full(len(of), channel),
            "event": event[of],
            "molecule": who,
            "epitope": dyes["epitope"][who],
            "structure": structure,
            "true_label": dyes["label"][who],
            "true_x": x[of],
            "true_y": y[of],
            "true_z": z[of],
            "emitters": merged.emitters[hit],
        }
    )


def _noise(imaging: Imaging, known: Limits, detection: Detection, channel: int, first_event: int) -> pl.DataFrame:
    """False positives: just above the threshold, anywhere."""
    rng = stream(imaging.seed, "false positives", channel)
    height, width = (n * size for n, size in zip(imaging.shape, imaging.kernel.pixel_size_nm[::-1], strict=True))
    frames = imaging.scene.acquisition.frames
    n = int(rng.poisson(frames * false_positives_per_frame(detection, height * width, known.width_nm)))
    frame = rng.integers(0, frames, n).astype(np.uint32)
    low, high = imaging.kernel.z_range_nm
    x, y, z = rng.uniform(0, width, n), rng.uniform(0, height, n), rng.uniform(low, high, n)
    background = _background(imaging, x, y, frame)
    if not known.tells_depth:
        z = np.full(n, min(max(0.0, low), high))
    sd = noise_photons(known.flat, z, background)
    # maxima of Gaussian noise exceed a high threshold by exponential amounts
    photons = sd * (detection.snr + rng.exponential(1 / detection.snr, n))
    p = found_probability(photons, known.flat.lookup(z, photons, background), sd, detection.snr)
    # positions, photons and z are random already
    columns = _measured(imaging, known, (x, y, z), photons, background, np.zeros((_NORMALS, n)))
    none = np.full(n, -1)
    return _table(
        columns
        | {
            "frame": frame,
            "p": p,
            "channel": np.full(n, channel),
            "event": first_event + np.arange(n),
            "molecule": none,
            "epitope": none,
            "structure": none,
            "true_label": np.zeros(n),
            "true_x": x,
            "true_y": y,
            "true_z": z,
            "emitters": np.zeros(n),
        }
    )


def _measured(
    imaging: Imaging, known: Limits, position: tuple[Floats, ...], photons: Floats, background: Floats, normals: Floats
) -> Columns:
    """What a program reports: the truth and a normal error of the size of the bound."""
    x, y, z = position
    bound = known.precision.lookup(z, photons, background)
    columns = {
        "x": x + bound.x_err * normals[0],
        "y": y + bound.y_err * normals[1],
        "photons": np.maximum(photons + bound.photons_err * normals[3], 1.0),
        "background": np.maximum(background + bound.background_err * normals[4], 0.0),
        "x_err": bound.x_err,
        "y_err": bound.y_err,
    }
    if known.tells_depth:
        low, high = imaging.kernel.z_range_nm
        # programs look for z in the range of their calibration
        z_err = np.minimum(bound.z_err, (high - low) / 2)
        z = np.clip(z + z_err * normals[2], low, high)
        columns |= {"z": z, "z_err": z_err}
    if imaging.kernel.is_gaussian:
        for i, axis in enumerate("xy"):
            sigma = _width_at(imaging.kernel.model.curves[i], z)
            if not known.tells_depth:  # a width of its own; else it follows from z
                sigma = np.maximum(sigma + columns[f"{axis}_err"] / np.sqrt(2) * normals[5 + i], 0.3 * sigma)
            columns[f"sigma_{axis}"] = sigma
    return columns


def _width_at(curve: Floats, z: Floats) -> Floats:
    """Width of a Gaussian at many z."""
    u = (z - curve[1]) / curve[2]
    width: Floats = curve[0] * np.sqrt(1 + u * u * (1 + u * (curve[3] + u * curve[4])))
    return width


def _background(imaging: Imaging, x: Floats, y: Floats, frame: NDArray[np.uint32]) -> Floats:
    level = imaging.background
    if level.min() == level.max():
        values = np.full(len(x), float(level.flat[0]))
    else:
        values = sample_map(level, x, y, imaging.kernel.pixel_size_nm)
    if imaging.scene.background.decay_frames is not None:
        values = values * imaging.scene.background.over_time(frame)
    return values


_TYPES: Final = {
    "frame": pl.UInt32,
    **dict.fromkeys(("x", "y", "z", "photons", "background", "x_err", "y_err", "z_err", "sigma_x", "sigma_y", "p"),
                    pl.Float32),
    "channel": pl.UInt8, "event": pl.UInt32, "molecule": pl.Int32, "epitope": pl.Int32, "structure": pl.Int32,
    "true_label": pl.UInt8, "true_cluster": pl.Int32,
    "true_x": pl.Float32, "true_y": pl.Float32, "true_z": pl.Float32, "emitters": pl.UInt16,
}  # fmt: skip


def _table(columns: Columns) -> pl.DataFrame:
    columns = columns | {"true_cluster": columns["structure"]}
    return pl.DataFrame([pl.Series(name, columns[name]).cast(kind) for name, kind in _TYPES.items() if name in columns])


def _meta(imaging: Imaging) -> Meta:
    times = imaging.scene.acquisition
    return Meta(
        camera=imaging.camera,
        pixel_size_nm=imaging.camera.pixel_size_nm,
        shape_px=imaging.shape,
        n_frames=times.frames,
        exposure_ms=1000 * (times.exposure_s or times.interval_s),
        errors="crlb",
        vendor={"simulation": {"scene": imaging.scene.title, "psf": imaging.kernel.psf.model_dump(mode="json")}},
    )
