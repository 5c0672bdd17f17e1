"""From ring sums to a correlation curve, its crossing with a threshold, and the part that repeated blinks add to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.process.frc.spectra import Rings

Floats = NDArray[np.float64]
Threshold = Literal["1/7", "half-bit"]
THRESHOLDS: Final = ("1/7", "half-bit")

# standard deviation of the smoothing, in parts of all rings; widened where rings hold few samples
_SMOOTH: Final = 0.008
# how far the agreement up to the crossing must exceed what chance gives, in standard deviations
_SIGNIFICANT: Final = 4.0
# a crossing that uses more of the band than this needs smaller pixels
USABLE_BAND: Final = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A Fourier correlation against spatial frequency.

    Attributes
    ----------
    frequency
        1/nm, `(rings,)`.
    correlation
        Mean of all splits, `(rings,)`.
    smooth
        The same, smoothed; this is what crosses the threshold.
    samples
        Independent frequencies in each ring.
    """

    frequency: Floats
    correlation: Floats
    smooth: Floats
    samples: Floats

    def threshold(self, kind: Threshold) -> Floats:
        """1/7, or half a bit of information in each sample (van Heel & Schatz 2005, J Struct Biol 151:250)."""
        if kind == "1/7":
            return np.full(len(self.frequency), 1 / 7)
        root = np.sqrt(np.maximum(self.samples, 1))
        result: Floats = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
        return result

    def table(self) -> pl.DataFrame:
        """Frequency, correlation, its smoothed form and both thresholds."""
        return pl.DataFrame(
            {
                "frequency_per_nm": self.frequency,
                "correlation": self.correlation,
                "smooth": self.smooth,
                "half_bit": self.threshold("half-bit"),
            }
        )


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a curve falls below a threshold: the resolution in nm, or the reason why there is none."""

    resolution_nm: float | None
    reason: str | None = None


def curve_of(rings: Rings, spurious: Floats | None = None, splits: slice = slice(None)) -> Curve:
    """The mean correlation over splits; `spurious` (per split and ring, all tiles) is taken off where given."""
    cross = rings.cross[:, splits].sum(axis=0)
    power = np.sqrt(rings.first[:, splits].sum(axis=0) * rings.second[:, splits].sum(axis=0))
    if spurious is not None:
        cross, power = cross - spurious, power - spurious
    correlation = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    samples = rings.samples * len(rings.cross)
    mean = correlation.mean(axis=0)
    return Curve(rings.frequency, mean, smoothed(mean, samples), samples)


def smoothed(correlation: Floats, samples: Floats) -> Floats:
    """Gaussian mean over neighbouring rings, weighted by their samples."""
    from scipy.ndimage import gaussian_filter1d

    wanted = _SMOOTH * len(correlation)
    weight = np.maximum(samples, 1e-9)
    smooth: Floats = gaussian_filter1d(correlation * weight, wanted, mode="nearest") / gaussian_filter1d(
        weight, wanted, mode="nearest"
    )
    # the first rings are few and steep: there the curve is taken as it is
    keep = np.clip(np.arange(len(correlation)) / (3 * wanted), 0, 1)
    return keep * smooth + (1 - keep) * correlation


def crossing(curve: Curve, kind: Threshold = "1/7") -> Crossing:
    """The first frequency at which the smoothed curve falls below the threshold and stays there for a while."""
    limit = curve.threshold(kind)
    above = curve.smooth > limit
    stay = max(2, len(above) // 100)
    start = 1  # ring 0 holds the mean brightness
    nothing = Crossing(
        None,
        f"the halves do not agree even at {1 / curve.frequency[start]:.0f} nm: there are too few localizations "
        "for the structure, or none in common",
    )
    if not above[start : start + stay].any():
        return nothing
    first = start + int(np.argmax(above[start:]))
    below = np.flatnonzero(~above[first:])
    for offset in below:
        ring = first + int(offset)
        if not above[ring : ring + stay].any():
            break
    else:
        return Crossing(
            None,
            f"the halves agree down to the finest detail looked at, {1 / curve.frequency[-1]:.2g} nm: most "
            "localizations are repeats of few molecules, or rows are duplicates",
        )
    weight = curve.samples[start : ring + 1]
    if (curve.correlation[start : ring + 1] * weight).sum() < _SIGNIFICANT * np.sqrt(weight.sum()):
        return nothing
    drop = curve.smooth[ring - 1] - curve.smooth[ring]
    gap = (curve.smooth[ring - 1] - limit[ring - 1]) + (limit[ring] - curve.smooth[ring])
    part = np.clip((curve.smooth[ring - 1] - limit[ring - 1]) / gap, 0, 1) if drop > 0 and gap > 0 else 0.5
    frequency = curve.frequency[ring - 1] + part * (curve.frequency[ring] - curve.frequency[ring - 1])
    return Crossing(float(1 / frequency))


def returns_above(curve: Curve, resolution_nm: float, kind: Threshold = "1/7") -> float | None:
    """Finer detail, nm, at which the curve is above the threshold again: periodic structures do that."""
    ring = int(np.searchsorted(curve.frequency, 1 / resolution_nm))
    above = curve.smooth - curve.threshold(kind) > 3 / np.sqrt(np.maximum(curve.samples, 1) * _SMOOTH * len(curve.smooth))
    run = max(3, len(above) // 100)
    for start in range(ring + run, len(above) - run):
        if above[start : start + run].all():
            return float(1 / curve.frequency[start])
    return None


def decay(frequency: Floats, errors_nm: Floats) -> Floats:
    """What precision alone leaves of the agreement of two localizations of one molecule, per frequency.

    The mean over localizations of exp(-2 pi^2 s^2 q^2), squared: both have an error.
    """
    sample = errors_nm if len(errors_nm) <= 512 else np.quantile(errors_nm, (np.arange(512) + 0.5) / 512)
    mean: Floats = np.exp(-2 * np.pi**2 * np.square(np.outer(frequency, sample))).mean(axis=1)
    return mean**2


def spurious(rings: Rings, decay_of: Floats, repeats: float) -> Floats:
    """What `repeats` (Q) adds to the ring sums of a split, `(rings,)`: W Q / 4 times the decay, per sample.

    W is the sum of squared weights: for each localization of the whole there are on average Q others of the same
    molecule, of which a half lies in the other half of the table, for half of the localizations.
    """
    result: Floats = rings.weight * repeats / 4 * decay_of * rings.samples
    return result


def repeats_of(rings: Rings, decay_of: Floats) -> float | None:
    """Estimate Q, the mean number of further localizations of the same molecule in the other stretches of time.

    Structure makes halves agree at coarse frequencies; at fine ones only repeats of the same molecules do, and their
    part falls as the precision says. So cross spectrum over decay comes down to a plateau, which is W Q / 4 (Nieuwenhuizen
    et al. 2013, Nat Methods 10:557). None where the noise hides the plateau.
    """
    number = len(rings.frequency)
    cross = rings.cross.mean(axis=1).sum(axis=0)
    power = np.sqrt(rings.first.mean(axis=1).sum(axis=0) * rings.second.mean(axis=1).sum(axis=0))
    width = max(3, number // 24)
    found = []
    for start in range(width, number - width, max(1, width // 2)):
        part = slice(start, start + width)
        if decay_of[part].mean() < 0.02:
            break
        weight = decay_of[part] * rings.samples[part]
        norm = float((decay_of[part] * weight).sum()) * rings.weight / 4
        level = float((cross[part] * decay_of[part]).sum()) / norm
        noise = float(np.sqrt(((power[part] * decay_of[part]) ** 2 / np.maximum(rings.samples[part] * len(rings.cross), 1)).sum())) / norm
        found.append((level + noise, level, noise))
    if not found:
        return None
    levels, noises = np.array(found)[:, 1], np.array(found)[:, 2]
    # the second lowest, for a single one may lie low by chance
    _, lowest, around = sorted(found)[min(1, len(found) - 1)]
    # all parts of the plateau, not only the lowest, which noise has made the lowest
    plateau = levels - noises < lowest + around
    weight = 1 / noises[plateau] ** 2
    level = float((levels[plateau] * weight).sum() / weight.sum())
    noise = float(weight.sum() ** -0.5)
    return max(level, 0.0) if level > 2 * noise or noise < 0.3 else None


def summary_of(crossed: Crossing, name: str) -> dict[str, Any]:
    """A value with its reason where it has none."""
    return {name: crossed.resolution_nm} | ({f"{name}_reason": crossed.reason} if crossed.reason else {})
