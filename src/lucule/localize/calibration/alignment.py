"""Where each bead lies within its pixel, and at which height of the stage it is in focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.ndimage import gaussian_filter1d

from lucule.localize.calibration.beads import Bead, border_level
from lucule.localize.calibration.spline import Grid, Model, Samples, onto_planes

Floats: TypeAlias = NDArray[np.float64]

_COMPARED: Final = 8
_LARGEST_LAG_PX: Final = 2
_SMOOTH_PLANES: Final = 1.5
_LARGEST_STEP: Final = np.array([0.4, 0.4, 60.0])
_TINY: Final = 1e-9
# a bead of another shape: light that the average does not explain, beyond noise
_OTHER_SHAPE: Final = 0.2
_OUTLIER: Final = 4.0
_MAD: Final = 1.4826
# a bright bead counts at most this many times as much as the median one
_MOST_WEIGHT: Final = 3.0


@dataclass(frozen=True, eq=False)
class Placed:
    """A bead with its place.

    Attributes
    ----------
    bead
        The bead.
    offset_px
        (x, y) from the middle of its central pixel.
    focus_nm
        Height of the stage at which it is in focus.
    light, background
        Photons of each plane, and background per pixel.
    misfit
        Light that the average does not explain, beyond noise, as a part of the light.
    """

    bead: Bead
    offset_px: tuple[float, float]
    focus_nm: float
    light: Floats
    background: Floats
    misfit: float = np.nan

    @property
    def z_nm(self) -> Floats:
        """Height of the bead over the focus in each plane."""
        return self.bead.stage_nm - self.focus_nm

    def samples(self, most_weight: float) -> Samples:
        """Give the bead as samples of the PSF."""
        light = np.maximum(self.light, _TINY)
        planes = (self.bead.planes - self.background[:, None, None]) / light[:, None, None]
        return Samples(planes, self.z_nm, self.offset_px, min(self.bead.photons, most_weight), self.bead.seen)


def all_samples(placed: Sequence[Placed]) -> list[Samples]:
    """Samples of all beads, the weight of very bright ones limited."""
    most = _MOST_WEIGHT * float(np.median([p.bead.photons for p in placed]))
    return [p.samples(most) for p in placed]


def first_places(beads: Sequence[Bead]) -> list[Placed]:
    """Rough places: x and y from the centre of mass, the focus from cross-correlation along z.

    The reference is the one of the eight brightest beads that resembles the other seven most. Correlations are divided
    by the energy of the planes that overlap, so that a large shift is not worse for its fewer planes.
    """
    volumes = [_normalised(bead) for bead in beads]
    brightest = [int(i) for i in np.argsort([-bead.photons for bead in beads])[:_COMPARED]]
    shape = _padded(volumes)
    spectra = [rfftn(volume, shape, workers=1) for volume in volumes]
    likeness = [
        sum(_best_lag(volumes[i], volumes[j], spectra[i], spectra[j], shape)[1] for j in brightest) for i in brightest
    ]
    first = brightest[int(np.argmax(likeness))]
    placed = []
    for i, bead in enumerate(beads):
        lag, _ = _best_lag(volumes[first], volumes[i], spectra[first], spectra[i], shape)
        step = bead.stage_nm[1] - bead.stage_nm[0]
        background = border_level(bead.planes)
        light = (bead.planes - background[:, None, None]).sum(axis=(1, 2))
        # plane k of this bead looks like plane k + lag of the reference
        start = beads[first].stage_nm[0] - bead.stage_nm[0]
        placed.append(Placed(bead, _centre(bead), -lag * step - start, light, background))
    return placed


def _normalised(bead: Bead) -> Floats:
    volume = bead.planes - border_level(bead.planes)[:, None, None]
    volume = np.where(bead.seen, volume, 0.0)
    light = gaussian_filter1d(volume.sum(axis=(1, 2)), _SMOOTH_PLANES, mode="nearest")
    volume = volume / np.maximum(light, _TINY)[:, None, None]
    smooth: Floats = gaussian_filter1d(volume, _SMOOTH_PLANES, axis=0, mode="nearest")
    return smooth


def _centre(bead: Bead) -> tuple[float, float]:
    image = _normalised(bead).mean(axis=0)
    half = image.shape[0] // 2
    # the middle half only: at the rim there is more noise than light
    near = slice(half - half // 2, half + half // 2 + 1)
    image = np.clip(image[near, near], 0, None)
    at = np.arange(len(image)) - len(image) // 2
    total = max(image.sum(), _TINY)
    return float(image.sum(axis=0) @ at / total), float(image.sum(axis=1) @ at / total)


def _padded(volumes: Sequence[Floats]) -> tuple[int, int, int]:
    planes, side = max(len(v) for v in volumes), volumes[0].shape[1]
    across = next_fast_len(side + 2 * _LARGEST_LAG_PX, real=True)
    return next_fast_len(2 * planes, real=True), across, across


def _best_lag(
    reference: Floats, volume: Floats, a: NDArray[np.complex128], b: NDArray[np.complex128], shape: tuple[int, int, int]
) -> tuple[float, float]:
    """Planes by which `volume` must be moved to look like the reference, and how much it then does."""
    product = irfftn(a * np.conj(b), shape, workers=1)
    near = np.r_[0 : _LARGEST_LAG_PX + 1, -_LARGEST_LAG_PX:0]
    along = product[:, near][:, :, near].max(axis=(1, 2))
    least = min(len(reference), len(volume)) // 2
    energies = [np.concatenate([[0.0], np.cumsum((v**2).sum(axis=(1, 2)))]) for v in (reference, volume)]
    lags = np.arange(least - len(volume), len(reference) - least + 1)
    first, last = np.maximum(lags, 0), np.minimum(len(reference), len(volume) + lags)
    own = energies[0][last] - energies[0][first]
    other = energies[1][last - lags] - energies[1][first - lags]
    score = along[lags] / np.sqrt(np.maximum(own * other, _TINY**2))
    best = int(np.argmax(score))
    shift = 0.0
    if 0 < best < len(score) - 1:
        left, middle, right = score[best - 1 : best + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(lags[best] + shift), float(score[best])


def refine(placed: Placed, model: Model, *, steps: int = 2) -> Placed:
    """Move a bead to where the PSF fits it best: least squares for x, y and focus (Gauss and Newton).

    Photons and background of every plane are free and are eliminated, so that bleaching and an uneven lamp do no harm.
    """
    bead = placed.bead
    at = np.array([*placed.offset_px, placed.focus_nm])
    grid = model.grid
    seen = bead.seen.astype(np.float64)
    inside = np.ones(len(bead.stage_nm), bool)
    for _ in range(steps):
        z = bead.stage_nm - at[2]
        inside = (z >= grid.z_nm[0]) & (z <= grid.z_nm[-1])
        if inside.sum() < 3:
            break
        image, by_x, by_y, by_z = model.on(z[inside], (at[0], at[1]), slopes_too=True)
        data = bead.planes[inside]
        light, background = _levels(data, image, seen)
        residual = (data - light[:, None, None] * image - background[:, None, None]) * seen
        slopes = [_without_levels(slope, image, seen) * light[:, None, None] for slope in (by_x, by_y, -by_z)]
        # the noise of a plane grows with its light
        weight = 1 / np.maximum(light, _TINY * light.max() + _TINY)[:, None, None]
        normal = np.array([[float((weight * p * q).sum()) for q in slopes] for p in slopes])
        right = np.array([float((weight * p * residual).sum()) for p in slopes])
        normal[np.diag_indices(3)] *= 1 + 1e-6
        change = np.linalg.lstsq(normal, right, rcond=None)[0]
        at = at + np.clip(change, -_LARGEST_STEP, _LARGEST_STEP)
    z = bead.stage_nm - at[2]
    light, background = _levels(bead.planes, model.on(z, (at[0], at[1]))[0], seen)
    return replace(
        placed, offset_px=(float(at[0]), float(at[1])), focus_nm=float(at[2]), light=light, background=background
    )


def _levels(data: Floats, image: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """Photons and background of every plane, by least squares."""
    n = seen.sum()
    mean_image, mean_data = (image * seen).sum(axis=(1, 2)) / n, (data * seen).sum(axis=(1, 2)) / n
    centred = (image - mean_image[:, None, None]) * seen
    light = (centred * data).sum(axis=(1, 2)) / np.maximum((centred**2).sum(axis=(1, 2)), _TINY**2)
    return light, mean_data - light * mean_image


def _without_levels(slope: Floats, image: Floats, seen: Floats) -> Floats:
    """Part of a derivative that photons and background cannot imitate."""
    share, level = _levels(slope, image, seen)
    return (slope - share[:, None, None] * image - level[:, None, None]) * seen


def misfit(placed: Placed, model: Model) -> float:
    """Light of a bead that the PSF does not explain, beyond noise, relative to the light itself (root mean square)."""
    grid = model.grid
    samples = placed.samples(np.inf)
    seen, covered, left = onto_planes(samples, grid)
    expected = model.on(grid.z_nm[covered], placed.offset_px)[0]
    difference = (seen[covered] - expected)[:, samples.seen]
    # second differences of the planes show noise alone, with six times its variance
    noise = float(np.diff(samples.planes, n=2, axis=0)[:, samples.seen].var() / 6 * left[covered].mean())
    power = float((expected[:, samples.seen] ** 2).mean())
    return float(np.sqrt(max(float((difference**2).mean()) - noise, 0.0) / max(power, _TINY**2)))


def judge_shapes(placed: Sequence[Placed], model: Model, grid: Grid) -> tuple[list[Placed], list[Bead]]:
    """Part beads that look like the average from those that do not, or whose focus lies outside the stack."""
    known = [replace(p, misfit=misfit(p, model)) for p in placed]
    values = np.array([p.misfit for p in known])
    middle = float(np.median(values))
    limit = max(_OTHER_SHAPE, middle + _OUTLIER * _MAD * float(np.median(np.abs(values - middle))))
    kept, refused = [], []
    for p in known:
        covered = np.count_nonzero((p.z_nm >= grid.z_nm[0]) & (p.z_nm <= grid.z_nm[-1])) / len(p.z_nm)
        if not np.isfinite(p.misfit) or p.misfit > limit:
            refused.append(p.bead.rejected(f"other shape: {100 * p.misfit:.0f} % of its light differ from the average"))
        elif covered < 0.5:
            refused.append(p.bead.rejected(f"other height: in focus {p.focus_nm:+,.0f} nm from the middle"))
        else:
            kept.append(p)
    return kept, refused
