"""Other ways to a period, each as it is used in the field: what our own is measured against.

All give a period, nm, and a score that is the higher the more periodic the axon looks. `straight` methods see an axon
as a drawn rectangle: positions along the line between its ends.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from lucule.structures.axons.course import Course
from lucule.structures.axons.distances import pair_counts

Floats = NDArray[np.float64]

_BIN_NM: Final = 10.0
SHORTEST_NM: Final = 140.0
LONGEST_NM: Final = 300.0


def straight_positions(course: Course, xy_nm: Floats) -> Floats:
    """Positions of molecules along the straight line from the beginning to the end of an axon, nm."""
    chord = course.points_nm[-1] - course.points_nm[0]
    positions: Floats = (xy_nm - course.points_nm[0]) @ chord / np.linalg.norm(chord)
    return positions


def autocorrelation(along_nm: Floats) -> tuple[float, float]:
    """First peak of the autocorrelation of the density in bins of 10 nm.

    Score: its height over the mean of the values half a period to either side, as in the analysis of Zhuang's group
    (Han et al. 2017), where 0.27 is taken as periodic.

    Examples
    --------
    >>> rings = np.repeat(200.0 * np.arange(20), 10) + np.random.default_rng(1).normal(0, 10, 200)
    >>> period, amplitude = autocorrelation(rings)
    >>> bool(abs(period - 200) < 5 and amplitude > 0.27)
    True
    """
    density = _density(along_nm, _BIN_NM)
    values = density - density.mean()
    power = np.correlate(values, values, "full")[len(values) - 1 :]
    power = power / power[0] if power[0] > 0 else power
    lags = _BIN_NM * np.arange(len(power))
    inside = np.flatnonzero((lags >= SHORTEST_NM) & (lags <= LONGEST_NM))
    if not len(inside):
        return float("nan"), 0.0
    peak = inside[int(power[inside].argmax())]
    shift = 0.0
    if 0 < peak < len(power) - 1:
        curve = power[peak - 1] - 2 * power[peak] + power[peak + 1]
        shift = 0.5 * (power[peak - 1] - power[peak + 1]) / curve if curve < 0 else 0.0
    period = _BIN_NM * (peak + float(np.clip(shift, -0.5, 0.5)))
    valleys = np.interp([0.5 * period, 1.5 * period], lags, power)
    return float(period), float(power[peak] - valleys.mean())


def periodogram(along_nm: Floats) -> tuple[float, float]:
    """Maximum of |sum exp(2 pi i s / T)|^2 / n over T."""
    along = along_nm - along_nm.mean()
    periods = 1 / np.linspace(1 / LONGEST_NM, 1 / SHORTEST_NM, 3000)
    power = np.array([np.abs(np.exp(2j * np.pi * along / period).sum()) ** 2 for period in periods]) / len(along)
    return float(periods[power.argmax()]), float(power.max())


def ring_pattern(along_nm: Floats) -> tuple[float, float]:
    """Period of the ring pattern that correlates best with pieces of 1 um, as Gollum does on tiles (Barabas 2017).

    Gollum holds the period at 180 nm and reports the fraction of tiles with rings; here it is free, and the mean of
    the best correlations over all pieces is maximised.
    """
    density = _density(along_nm, _BIN_NM)
    long = min(int(1000 / _BIN_NM), len(density))
    pieces = density[: len(density) // long * long].reshape(-1, long)
    pieces = _standard(pieces)
    places: Floats = _BIN_NM * np.arange(long, dtype=np.float64)
    best = (float("nan"), -1.0)
    for period in np.arange(SHORTEST_NM, LONGEST_NM + 1, 2.0):
        patterns = _standard(_rings(places - np.arange(0, float(period), 15.0)[:, None], float(period), 30.0))
        score = float((pieces @ patterns.T).max(axis=1).mean())
        if score > best[1]:
            best = (float(period), score)
    return best


def _standard(rows: Floats) -> Floats:
    """Rows of mean 0 and length 1, so that products are correlations."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    standard: Floats = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return standard


def pair_histogram(along_nm: Floats) -> tuple[float, float]:
    """Highest bin of the pairwise distances along the axon between the shortest and the longest period.

    The counts are smoothed over 25 nm and divided by the number of places that such a pair can have.
    """
    distance, counts = pair_counts(along_nm, np.zeros(len(along_nm)), reach_nm=2 * LONGEST_NM)
    smooth = np.convolve(counts / np.maximum(np.ptp(along_nm) - distance, 1.0), np.ones(5) / 5, "same")
    inside = np.flatnonzero((distance >= SHORTEST_NM) & (distance <= LONGEST_NM))
    peak = inside[int(smooth[inside].argmax())]
    return float(distance[peak]), float(smooth[peak] / max(smooth[inside].mean(), 1e-12))


def relative_positions(along_nm: Floats) -> tuple[float, float]:
    """Least squares of five repeats on a falling background to the distances of pairs, after PERPL (Curd et al. 2021).

    Score: fraction by which the repeats lower the sum of squares below that of the background alone.
    """
    distance, counts = pair_counts(along_nm, np.zeros(len(along_nm)), reach_nm=5.5 * LONGEST_NM)

    def model(d: Floats, period: float, width: float, height: float, fall: float, start: float, slope: float) -> Floats:
        peaks = [np.exp(-fall * k - 0.5 * ((d - k * period) / width) ** 2) for k in range(1, 6)]
        expected: Floats = height * np.sum(peaks, axis=0) + start + slope * d
        return expected

    shown = distance > 0.4 * SHORTEST_NM
    d, c = distance[shown], counts[shown]
    slope, start = np.polyfit(d, c, 1)
    alone = float(((c - start - slope * d) ** 2).sum())
    best = (float("nan"), -1.0)
    low = (SHORTEST_NM, 8.0, 0.0, 0.0, -np.inf, -np.inf)
    high = (LONGEST_NM, 70.0, np.inf, 2.0, np.inf, np.inf)
    for first in np.arange(150.0, LONGEST_NM, 20.0):
        guess = (first, 30.0, max(float(c.std()), 1e-3), 0.1, start, slope)
        try:
            found, _ = curve_fit(model, d, c, p0=guess, bounds=(low, high), max_nfev=60)
        except RuntimeError:  # no convergence from here; the other starts may
            continue
        gain = 1 - float(((c - model(d, *found)) ** 2).sum()) / max(alone, 1e-12)
        if gain > best[1]:
            best = (float(found[0]), gain)
    return best


def _density(along: Floats, width: float) -> Floats:
    shifted = along - along.min()
    density: Floats = np.bincount((shifted / width).astype(np.int64)).astype(np.float64)
    return density


def _rings(places: Floats, period: float, width: float) -> Floats:
    away = (places + period / 2) % period - period / 2
    pattern: Floats = np.exp(-0.5 * (away / width) ** 2)
    return pattern
