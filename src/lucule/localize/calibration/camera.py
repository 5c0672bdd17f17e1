"""The camera from dark and flat frames: photon transfer.

Under steady light the variance of a pixel grows with its mean count m as K F2 (m - baseline) + dark variance: K are the
counts for one electron of the sensor, F2 is the squared excess noise factor of an EM register (Janesick 2007, Photon
Transfer; Huang et al. 2013, Nature Methods 10, 653). A flat field need not be flat; each pixel is compared with itself,
and the flicker of the lamp is taken off by the mean of each frame.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import tifffile
from numpy.typing import NDArray

from lucule.core import SILENT, Camera, InputError, Progress
from lucule.core.config import dump_yaml
from lucule.core.files import atomic_path, with_ending, write_text
from lucule.localize.calibration.reading import Source, blocks, clipping_level, frames_of

Floats: TypeAlias = NDArray[np.float64]

EXCESS: Final = 2.0
"""Squared excess noise factor of an EM register at high gain."""
_FEWEST_FRAMES: Final = 20
_CLIPPED_SHARE: Final = 1e-3
_BINS: Final = 40
_INTERVAL: Final = 1.96
_BLOCKS: Final = 20
# a dark movie noisier than this, in electrons before any register, shows light
_LOUD_DARK: Final = 15.0
_BENT: Final = 0.03


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of every pixel of a movie, in counts, `(rows, columns)`.

    Attributes
    ----------
    name
        File.
    frames
        Number of frames.
    clipped
        Part of the pixels that reached the largest count.
    flicker
        Standard deviation of the light over its mean, taken off the variance; 0 for a dark movie.
    """

    name: str
    frames: int
    mean: Floats
    variance: Floats
    clipped: float
    flicker: float = 0.0


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """A measured camera.

    Attributes
    ----------
    camera
        The camera with one number for all pixels; `save` writes maps beside it where they were measured.
    counts_per_electron, counts_per_electron_interval
        Counts for one electron of the sensor, behind the register where there is one, with the 95 % interval.
    baseline, baseline_interval
        Counts in the dark.
    read_noise_electrons
        Median, electrons on the sensor (before a register).
    transfer
        Points of the photon transfer: mean above the baseline and variance above that of the dark, counts, `(n, 2)`.
    method
        How it was measured: `photon transfer` or `movie`.
    maps
        Maps by field of `Camera` (`baseline`, `electrons_per_count`, `read_noise_electrons`); empty for one number.
    quality
        Further numbers; the unit is in the name.
    warnings
        What the user should know.
    """

    camera: Camera
    counts_per_electron: float
    counts_per_electron_interval: tuple[float, float]
    baseline: float
    baseline_interval: tuple[float, float]
    read_noise_electrons: float
    transfer: Floats
    method: str
    maps: dict[str, NDArray[np.float32]]
    quality: dict[str, Any]
    warnings: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Give the numbers, units in the names."""
        return {
            "method": self.method,
            "counts_per_electron": self.counts_per_electron,
            "counts_per_electron_interval": list(self.counts_per_electron_interval),
            "photons_per_count": 1 / (self.counts_per_electron * self.camera.quantum_efficiency),
            "baseline_counts": self.baseline,
            "baseline_counts_interval": list(self.baseline_interval),
            "read_noise_electrons": self.read_noise_electrons,
            **self.quality,
        }

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the camera as YAML, and its maps as TIFF files beside it; give all paths.

        Raises
        ------
        InputError
            The name does not end in .yaml or .yml.
        """
        target = check_name(path)
        values = self.camera.model_dump(mode="json", exclude_defaults=True) | {"kind": self.camera.kind}
        written = []
        for field, values_of_pixels in self.maps.items():
            name = f"{target.stem}_{field}.tif"
            with atomic_path(target.with_name(name)) as temporary:
                tifffile.imwrite(temporary, values_of_pixels, compression="zlib")
            written.append(target.with_name(name))
            values[field] = name
        return [write_text(target, dump_yaml(values)), *written]


check_name: Final = partial(with_ending, allowed=(".yaml", ".yml"), otherwise="A camera is a YAML file")
"""Refuses a name under which no camera can be written, before anything is measured."""


def calibrate_camera(
    dark: Source,
    flats: Sequence[Source],
    base: Camera,
    *,
    maps: bool | None = None,
    progress: Progress = SILENT,
) -> CameraCalibration:
    """Measure baseline, read noise and gain from dark and flat frames.

    Parameters
    ----------
    dark
        Movie with the shutter closed, with the exposure time of the experiment.
    flats
        Movies of steady, even light; one or more levels, several are better. Their frames need not be even over the
        field.
    base
        What cannot be measured here: kind, pixel size, quantum efficiency, `em_gain`, saturation.
    maps
        One value for every pixel instead of one for all; None: for an sCMOS.

    Returns
    -------
    CameraCalibration
        For an EM register only the ratio of EM gain to electrons per count can be measured this way; `em_gain` is
        taken from `base`, and the squared excess noise factor to be 2. The maps of the gain are pulled towards their
        mean as far as their noise demands (empirical Bayes).

    Raises
    ------
    InputError
        No flat, too few frames, different sizes, a dark movie brighter than a flat one, or saturated flats only.

    Examples
    --------
    >>> from lucule.simulate.camera import expose, load_camera
    >>> camera = load_camera("emccd_ixon897")
    >>> dark = expose(np.zeros((100, 32, 32), np.float32), camera, seed=1)
    >>> flat = expose(np.full((100, 32, 32), 200, np.float32), camera, seed=2)
    >>> round(calibrate_camera(dark, [flat], camera).counts_per_electron, 1)  # 100 / 12
    8.3
    """
    if not flats:
        raise InputError(
            "There are no flat frames", received="the dark movie alone",
            next_step="add movies of steady light: lucule calibrate camera dark.tif flat_1.tif flat_2.tif; or estimate "
            "the gain from an ordinary movie with --movie",
        )  # fmt: skip
    warnings: list[str] = []
    with progress.task("Camera", 1 + len(flats), "movies") as task:
        black = moments(dark, base, None)
        task.advance()
        bright: list[Moments] = []
        for flat in flats:
            bright.append(moments(flat, base, black.mean))
            task.advance()
    bright = _usable(black, bright, warnings)
    excess = EXCESS if base.em_gain > 1 else 1.0
    slope, interval, transfer, bent = _transfer(black, bright)
    gain, gain_interval = slope / excess, (interval[0] / excess, interval[1] / excess)
    read_noise = np.sqrt(black.variance)
    _remark(black, bright, gain, excess, bent, warnings)
    per_count = base.em_gain / gain
    pixels, frames = black.mean.size, black.frames
    offset = float(black.mean.mean())
    error = float(np.sqrt(black.variance.mean() / (pixels * frames)))
    measured: dict[str, NDArray[np.float32]] = {}
    quality: dict[str, Any] = {
        "squared_excess_noise_factor": f"{excess:g}, assumed" if excess > 1 else "1, no register",
        "flats_used": len(bright),
        "frames": [black.frames, *(m.frames for m in bright)],
        "pixels": list(black.mean.shape),
        "largest_nonlinearity": bent,
        "lamp_flicker": max(m.flicker for m in bright),
        "baseline_spread_counts": _true_spread(black.mean, black.variance / frames),
    }
    if maps if maps is not None else base.kind == "scmos":
        gains, spread = _gain_map(black, bright, slope)
        gains = gains / excess
        quality["gain_spread"] = spread
        per_pixel = base.em_gain / gains
        measured = {
            "baseline": black.mean.astype(np.float32),
            "electrons_per_count": per_pixel.astype(np.float32),
            "read_noise_electrons": (read_noise * per_pixel).astype(np.float32),
        }
    noise = float(np.median(read_noise)) if base.kind == "scmos" else float(np.sqrt(black.variance.mean()))
    # what an EM register adds in the dark is part of the measured noise
    camera = base.without_pattern(
        baseline=round(offset, 3), electrons_per_count=per_count, read_noise_electrons=noise * per_count,
        spurious_charge_electrons=0.0,
    )  # fmt: skip
    return CameraCalibration(
        camera, gain, gain_interval, offset, (offset - _INTERVAL * error, offset + _INTERVAL * error), noise / gain,
        transfer, "photon transfer", measured, quality, tuple(warnings),
    )  # fmt: skip


def moments(movie: Source, base: Camera, dark: Floats | None) -> Moments:
    """Mean and variance of every pixel; with `dark`, a map of the baseline, the flicker of the light is taken off.

    Raises
    ------
    InputError
        Too few frames, or another size than the dark movie.
    """
    name = Path(movie).name if isinstance(movie, str | os.PathLike) else "array"
    what = "flat movie" if dark is not None else "dark movie"
    with frames_of(movie, what) as frames:
        total, rows, columns = frames.shape
        if total < _FEWEST_FRAMES:
            raise InputError(
                f"The {what} {name} is too short", received=f"{total} frames",
                allowed=f"{_FEWEST_FRAMES} or more; 200 and more for maps",
            )  # fmt: skip
        if dark is not None and dark.shape != (rows, columns):
            raise InputError(
                f"The {what} {name} and the dark movie differ in size", received=f"{rows} x {columns} pixels",
                allowed=f"{dark.shape[0]} x {dark.shape[1]}",
            )  # fmt: skip
        shift = dark if dark is not None else np.asarray(frames[0:1][0], np.float64)
        first = np.zeros((rows, columns))
        second = np.zeros((rows, columns))
        levels = []
        clipped = np.zeros((rows, columns), bool)
        for _, block in blocks(frames, what):
            clipped |= (block >= clipping_level(block, base.saturation)).any(axis=0)
            values = block - shift
            if dark is not None:
                level = values.mean(axis=(1, 2))
                levels.append(level)
                values = values / np.where(level > 0, level, 1.0)[:, None, None]
            first += values.sum(axis=0)
            second += np.einsum("frc,frc->rc", values, values)
    mean = first / total
    variance = np.maximum(second / total - mean**2, 0) * total / (total - 1)
    flicker = 0.0
    if dark is not None:
        light = np.concatenate(levels)
        middle = max(float(light.mean()), 0.0)
        # what is darker than the dark has no light to be scaled by; its mean is told as it is
        mean = mean * middle if middle > 0 else np.full_like(mean, light.mean())
        variance = variance * middle**2
        noise = float(variance.mean()) / variance.size
        flicker = float(np.sqrt(max(light.var() - noise, 0.0)) / middle) if middle > 0 else 0.0
    return Moments(name, total, mean + shift, variance, float(clipped.mean()), flicker)


def _usable(black: Moments, bright: Sequence[Moments], warnings: list[str]) -> list[Moments]:
    kept = []
    for flat in bright:
        if flat.clipped > _CLIPPED_SHARE:
            warnings.append(
                f"{flat.name} is saturated in {100 * flat.clipped:.1f} % of its pixels and left out; give less light."
            )
            continue
        light = float(np.mean(flat.mean - black.mean))
        error = float(np.sqrt(np.mean(flat.variance / flat.frames + black.variance / black.frames) / flat.mean.size))
        if light <= 5 * error or flat.variance.mean() <= black.variance.mean():
            raise InputError(
                f"The flat movie {flat.name} is not brighter than the dark movie {black.name}",
                received=f"means {flat.mean.mean():.2f} and {black.mean.mean():.2f} counts, variances "
                f"{flat.variance.mean():.3g} and {black.variance.mean():.3g}",
                next_step="name the dark movie first, then the flat ones",
            )
        kept.append(flat)
    if not kept:
        raise InputError(
            "All flat movies are saturated", received=", ".join(flat.name for flat in bright),
            next_step="record them again with less light or a shorter exposure",
        )  # fmt: skip
    return kept


def _transfer(black: Moments, bright: Sequence[Moments]) -> tuple[float, tuple[float, float], Floats, float]:
    """Slope of variance against mean through the dark point, its interval, the points, and the largest deviation.

    The line is fitted with weights from the expected variance of a variance, 2 v^2 / (frames - 1), where v is what the
    line itself says: weights from the measured values would favour those that came out small.
    """
    m = np.stack([flat.mean - black.mean for flat in bright])
    v = np.stack([flat.variance - black.variance for flat in bright])
    frames = np.array([flat.frames for flat in bright])[:, None, None]
    slope = float(v.sum() / m.sum())
    parts: Floats = np.empty((2, 0))
    for _ in range(3):
        # the mean over the field of each movie is known well; pixel by pixel the weight would follow the noise of m
        expected = np.maximum(slope * m.mean(axis=(1, 2), keepdims=True) + black.variance.mean(), 1e-12)
        weight = (frames - 1) / (2 * expected**2)
        above, below = (weight * v * m).sum(axis=0).ravel(), (weight * m * m).sum(axis=0).ravel()
        # noise of m in m^2: the sum of squares is too large by its variance
        below = below - (weight * (v + 2 * black.variance) / frames).sum(axis=0).ravel()
        parts = np.stack([above, below])
        slope = float(parts[0].sum() / parts[1].sum())
    blocks_of = np.array_split(np.random.default_rng(0).permutation(parts.shape[1]), min(_BLOCKS, parts.shape[1]))
    sums = np.stack([parts[:, block].sum(axis=1) for block in blocks_of])
    without = parts.sum(axis=1) - sums
    jackknife = without[:, 0] / without[:, 1]
    error = float(np.sqrt((len(sums) - 1) / len(sums) * np.sum((jackknife - jackknife.mean()) ** 2)))
    points = _points(m, v)
    levels = np.stack([m.mean(axis=(1, 2)), v.mean(axis=(1, 2))], axis=1)
    bent = float(np.abs(levels[:, 1] / (slope * levels[:, 0]) - 1).max()) if len(levels) > 1 else 0.0
    return slope, (slope - _INTERVAL * error, slope + _INTERVAL * error), points, bent


def _points(m: Floats, v: Floats) -> Floats:
    """Means of mean and variance in bins of the mean, for each movie, for the plot."""
    points = []
    for mean, variance in zip(m.reshape(len(m), -1), v.reshape(len(v), -1), strict=True):
        order = np.argsort(mean)
        groups = np.array_split(order, min(max(_BINS // len(m), 1), len(order)))
        points += [(mean[g].mean(), variance[g].mean()) for g in groups]
    return np.array(points)


def _gain_map(black: Moments, bright: Sequence[Moments], slope: float) -> tuple[Floats, float]:
    """Slope of every pixel, pulled towards the mean by the part of its spread that is noise; and the true spread."""
    above, below, error = np.zeros_like(black.mean), np.zeros_like(black.mean), np.zeros_like(black.mean)
    for flat in bright:
        m, v = flat.mean - black.mean, flat.variance - black.variance
        expected = np.maximum(slope * m.mean() + black.variance.mean(), 1e-12)
        weight = (flat.frames - 1) / (2 * expected**2)
        above += weight * v * m
        below += weight * m * m
        own = 2 * (np.maximum(slope * m, 0) + black.variance) ** 2 / (flat.frames - 1)
        error += (weight * m) ** 2 * (own + 2 * black.variance**2 / (black.frames - 1))
    known = below > 0
    raw = np.where(known, above / np.where(known, below, 1), slope)
    noise = np.where(known, error / np.where(known, below, 1) ** 2, np.inf)
    middle = float(np.median(raw))
    spread = _true_spread(raw, noise)
    share = spread**2 / (spread**2 + noise)
    # a pixel far beyond noise and spread is a fault of its own and keeps its value
    shrunk = np.where(np.abs(raw - middle) > 6 * np.sqrt(spread**2 + noise), raw, middle + share * (raw - middle))
    return np.maximum(shrunk, 0.05 * slope) * (slope / middle), spread / middle


def _true_spread(values: Floats, noise_variance: Floats) -> float:
    """Standard deviation of values beyond their noise, from the middle of the distribution."""
    low, high = np.percentile(values, (15.87, 84.13))
    usual = float(np.median(noise_variance))
    return float(np.sqrt(max(((high - low) / 2) ** 2 - usual, 0.0)))


def _remark(
    black: Moments, bright: Sequence[Moments], gain: float, excess: float, bent: float, warnings: list[str]
) -> None:
    dark_electrons = float(np.sqrt(np.median(black.variance) / excess)) / gain
    if dark_electrons > _LOUD_DARK:
        warnings.append(
            f"{black.name} has a noise of {dark_electrons:.0f} electrons. Was the shutter closed? "
            "If it shows light, the baseline is too high."
        )
    if len(bright) == 1:
        warnings.append("There is one usable flat level, so that a bend of the response cannot be seen; add others.")
    elif bent > _BENT:
        warnings.append(f"Variance and mean do not lie on one line: {100 * bent:.0f} % off. Is a flat near saturation?")
    if black.clipped > _CLIPPED_SHARE or float((black.mean <= 0).mean()) > _CLIPPED_SHARE:
        warnings.append(f"{black.name} touches the ends of the counts: noise and baseline may be wrong.")
