"""Localization tables straight from a scene, without images: what a program finds, as well as it can be known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import InputError, Localizations, Meta, step
from lucule.simulate.chain import Truth
from lucule.simulate.detection import (
    Detection,
    Limits,
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
from lucule.simulate.measured import COLUMNS, Optics, hits, measured
from lucule.simulate.optics import sample_map
from lucule.simulate.scenario import Scenario
from lucule.simulate.scene import Scene, load_scene
from lucule.simulate.streams import key, stream
from lucule.simulate.table import simulate

Floats: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = dict[str, NDArray[Any]]


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
        first_event += len(noise["frame"])
        tables += [_found(imaging, truth, known, detection, rows, channel), noise]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    if len(channels_of(resolved)) == 1:
        del columns["channel"]
    order = np.argsort(columns["frame"], kind="stable")
    return Localizations(pl.DataFrame({name: values[order] for name, values in columns.items()}), _meta(imaging))


def _found(
    imaging: Imaging, truth: Truth, known: Limits, detection: Detection, rows: NDArray[np.int64], channel: int
) -> Columns:
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
    of = merged.brightest
    background = _background(imaging, merged.x, merged.y, frame[of])
    height, width = (n * size for n, size in zip(imaging.shape, imaging.kernel.pixel_size_nm[::-1], strict=True))
    seen = (merged.x >= 0) & (merged.x < width) & (merged.y >= 0) & (merged.y < height)
    p = found_probability(known.flat.grid, detection.snr, merged.z, merged.photons, background)
    p *= merged.survival * seen
    random = key(imaging.seed, "localization")
    hit = np.flatnonzero(hits(random, event[of], frame[of], p))
    of = of[hit]
    who, when = molecule[of], frame[of]
    values = measured(
        known.precision.grid, _optics(imaging, known), random, event[of], when,
        merged.x[hit], merged.y[hit], merged.z[hit], merged.photons[hit], background[hit], True,
    )  # fmt: skip
    dyes = truth.dyes
    return _table(
        imaging,
        known,
        values,
        {
            "frame": when,
            "p": p[hit],
            "channel": np.full(len(of), channel, np.uint8),
            "event": event[of],
            "molecule": who,
            "epitope": dyes["epitope"][who],
            "structure": dyes["structure"][who],
            "true_label": dyes["label"][who],
            "true_x": x[of],
            "true_y": y[of],
            "true_z": z[of],
            "emitters": merged.emitters[hit],
        },
    )


def _noise(imaging: Imaging, known: Limits, detection: Detection, channel: int, first_event: int) -> Columns:
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
    # positions, photons and z are random already
    none = np.full(n, -1, np.int32)
    values = measured(
        known.precision.grid, _optics(imaging, known), np.uint64(0), none, frame, x, y, z, photons, background, False
    )
    return _table(
        imaging,
        known,
        values,
        {
            "frame": frame,
            "p": found_probability(known.flat.grid, detection.snr, z, photons, background),
            "channel": np.full(n, channel, np.uint8),
            "event": first_event + np.arange(n),
            "molecule": none,
            "epitope": none,
            "structure": none,
            "true_label": np.zeros(n, np.uint8),
            "true_x": x,
            "true_y": y,
            "true_z": z,
            "emitters": np.zeros(n, np.uint16),
        },
    )


def _optics(imaging: Imaging, known: Limits) -> Optics:
    kernel = imaging.kernel
    curves = kernel.model.curves if kernel.is_gaussian else kernel.model.curves[:0]
    return Optics(curves, known.tells_depth, *map(float, kernel.z_range_nm))


def _background(imaging: Imaging, x: Floats, y: Floats, frame: NDArray[np.uint32]) -> Floats:
    level = imaging.background
    if level.min() == level.max():
        values = np.full(len(x), float(level.flat[0]))
    else:
        values = sample_map(level, x, y, imaging.kernel.pixel_size_nm)
    if imaging.scene.background.decay_frames is not None:
        values = values * imaging.scene.background.over_time(frame)
    return values


_TYPES: Final[Mapping[str, Any]] = {
    "frame": np.uint32,
    **dict.fromkeys(("x", "y", "z", "photons", "background", "x_err", "y_err", "z_err", "sigma_x", "sigma_y", "p"),
                    np.float32),
    "channel": np.uint8, "event": np.uint32, "molecule": np.int32, "epitope": np.int32, "structure": np.int32,
    "true_label": np.uint8, "true_cluster": np.int32,
    "true_x": np.float32, "true_y": np.float32, "true_z": np.float32, "emitters": np.uint16,
}  # fmt: skip


def _table(imaging: Imaging, known: Limits, values: NDArray[np.float32], truth: Columns) -> Columns:
    told = {
        "z": known.tells_depth,
        "z_err": known.tells_depth,
        "sigma_x": imaging.kernel.is_gaussian,
        "sigma_y": imaging.kernel.is_gaussian,
    }
    columns = {name: column for name, column in zip(COLUMNS, values, strict=True) if told.get(name, True)}
    columns |= truth | {"true_cluster": truth["structure"]}
    return {name: columns[name].astype(kind, copy=False) for name, kind in _TYPES.items() if name in columns}


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
