"""How good localizations are, against the truth: functions, and `LocalizationScore` that collects many frames.

Definitions are those of the SMLM Challenge 2016 (Sage et al. 2019, Nature Methods 16:387). Emitters that are left out
of a score (near the border, or faint) may be found or not; a localization that is paired with one counts neither way.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.localize.matching import Matches, MatchSettings, match

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

# weight of an error of one nm against one percent of the Jaccard index
_PER_NM_LATERAL, _PER_NM_AXIAL = 1.0, 0.5
_DIRECTIONS: Final = 180


def jaccard(pairs: int, wrong: int, missed: int) -> float:
    """Jaccard index TP / (TP + FP + FN); NaN where there is nothing at all.

    Examples
    --------
    >>> jaccard(pairs=6, wrong=2, missed=4)
    0.5
    """
    total = pairs + wrong + missed
    return pairs / total if total else float("nan")


def efficiency(jaccard_index: float, rmse_nm: float, per_nm: float) -> float:
    """Efficiency of the challenge: 1 - sqrt((1 - JI)^2 + (a RMSE)^2), with a in percent per nm.

    Examples
    --------
    >>> efficiency(0.7, 40.0, 1.0)
    0.5
    """
    return 1 - sqrt((1 - jaccard_index) ** 2 + (per_nm / 100 * rmse_nm) ** 2)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a set of localizations; lengths in nm.

    Attributes
    ----------
    pairs, wrong, missed
        True positives, false positives, false negatives.
    jaccard, precision, recall
        TP / (TP + FP + FN), TP / (TP + FP), TP / (TP + FN).
    lateral_nm, axial_nm, volume_nm
        Root mean square errors: sqrt(mean(dx^2 + dy^2)), sqrt(mean(dz^2)), and of all three.
    efficiency_lateral, efficiency_axial, efficiency_3d
        Efficiencies (1 is perfect, they can be negative); the last one is the mean of the others.
    """

    pairs: int
    wrong: int
    missed: int
    jaccard: float
    precision: float
    recall: float
    lateral_nm: float
    axial_nm: float
    volume_nm: float
    efficiency_lateral: float
    efficiency_axial: float
    efficiency_3d: float

    def table(self) -> pl.DataFrame:
        """Give one row."""
        return pl.DataFrame([asdict(self)])


def score(difference_nm: ArrayLike, wrong: int, missed: int) -> Scores:
    """Scores from the differences of pairs `(pairs, 3)` in nm and the numbers of those without a partner.

    Examples
    --------
    >>> scores = score([[30, 40, 0], [0, 0, 100]], wrong=1, missed=1)
    >>> scores.jaccard, round(scores.lateral_nm, 2), round(scores.axial_nm, 2)
    (0.5, 35.36, 70.71)
    """
    difference = np.asarray(difference_nm, dtype=np.float64).reshape(-1, 3)
    pairs = len(difference)
    index = jaccard(pairs, wrong, missed)
    lateral = axial = float("nan")
    if pairs:
        squares = (difference**2).mean(axis=0)
        lateral, axial = sqrt(squares[0] + squares[1]), sqrt(squares[2])
    of_plane, of_depth = efficiency(index, lateral, _PER_NM_LATERAL), efficiency(index, axial, _PER_NM_AXIAL)
    return Scores(
        pairs=pairs,
        wrong=wrong,
        missed=missed,
        jaccard=index,
        precision=pairs / (pairs + wrong) if pairs + wrong else float("nan"),
        recall=pairs / (pairs + missed) if pairs + missed else float("nan"),
        lateral_nm=lateral,
        axial_nm=axial,
        volume_nm=sqrt(lateral**2 + axial**2),
        efficiency_lateral=of_plane,
        efficiency_axial=of_depth,
        efficiency_3d=(of_plane + of_depth) / 2,
    )


def score_matches(
    matches: Matches, *, left_out: ArrayLike | None = None, found_left_out: ArrayLike | None = None
) -> Scores:
    """Scores of matches, where some emitters and some localizations are left out.

    Parameters
    ----------
    matches
        From `match`.
    left_out
        Which emitters do not count, `(emitters,)` bool.
    found_left_out
        Which localizations do not count if they have no partner, `(localizations,)` bool.
    """
    pair_counts = np.ones(len(matches.true), bool)
    missed, wrong = matches.missed, matches.wrong
    if left_out is not None:
        out = np.asarray(left_out, bool)
        pair_counts, missed = ~out[matches.true], missed[~out[missed]]
    if found_left_out is not None:
        wrong = wrong[~np.asarray(found_left_out, bool)[wrong]]
    return score(matches.difference_nm[pair_counts], len(wrong), len(missed))


def near_border(xyz: ArrayLike, size_nm: tuple[float, float], border_nm: float) -> Bools:
    """Which positions `(n, 2)` or `(n, 3)` lie within `border_nm` of the edge of a field (x, y); 450 in the challenge.

    Examples
    --------
    >>> near_border([[100, 3000], [3000, 3000]], (6400, 6400), 450).tolist()
    [True, False]
    """
    points = np.asarray(xyz, dtype=np.float64).reshape(-1, np.shape(xyz)[-1] if np.size(xyz) else 3)[:, :2]
    return ((points < border_nm) | (points > np.asarray(size_nm) - border_nm)).any(axis=1)


def faint(photons: ArrayLike, quantile: float = 0.25) -> Bools:
    """Which emitters are fainter than a quantile of all; the challenge's second setting leaves out 25 %."""
    values = np.asarray(photons, dtype=np.float64)
    return values < np.quantile(values, quantile) if values.size else np.zeros(0, bool)


class LocalizationScore:
    """Collects localizations and emitters over many calls, and scores them together.

    Parameters
    ----------
    settings
        Gates and method of matching.
    size_nm, border_nm
        Field (x, y) and the width of the border that does not count.
    photon_quantile
        Emitters fainter than this quantile of their call do not count.

    Examples
    --------
    >>> metric = LocalizationScore()
    >>> metric.update([0], [[0, 0, 0]], [0], [[3, 4, 10]])
    >>> metric.update([0], [[0, 0, 0]], [0], [[0, 900, 0]])
    >>> scores = metric.compute()
    >>> scores.pairs, scores.wrong, scores.missed, scores.lateral_nm
    (1, 1, 1, 5.0)
    """

    higher_is_better = True

    def __init__(
        self,
        settings: MatchSettings | None = None,
        *,
        size_nm: tuple[float, float] | None = None,
        border_nm: float = 0.0,
        photon_quantile: float = 0.0,
    ) -> None:
        if border_nm > 0 and size_nm is None:
            raise InputError("A border needs the size of the field", received=f"border_nm={border_nm:g}")
        self.settings = settings or MatchSettings()
        self._size, self._border, self._quantile = size_nm, border_nm, photon_quantile
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._difference: list[Floats] = []
        self._wrong = self._missed = 0

    def update(
        self,
        found_frame: ArrayLike,
        found_xyz: ArrayLike,
        true_frame: ArrayLike,
        true_xyz: ArrayLike,
        true_photons: ArrayLike | None = None,
    ) -> None:
        """Add localizations and emitters; calls do not share frames."""
        matches = match(found_frame, found_xyz, true_frame, true_xyz, self.settings)
        out = np.zeros(len(np.asarray(true_frame)), bool)
        found_out = np.zeros(len(np.asarray(found_frame)), bool)
        if self._quantile > 0:
            if true_photons is None:
                raise InputError("A photon quantile needs the photons of the emitters", received="None")
            out |= faint(true_photons, self._quantile)
        if self._border > 0 and self._size is not None:
            out |= near_border(true_xyz, self._size, self._border)
            found_out |= near_border(found_xyz, self._size, self._border)
        part = score_matches(matches, left_out=out, found_left_out=found_out)
        self._difference.append(matches.difference_nm[~out[matches.true]])
        self._wrong += part.wrong
        self._missed += part.missed

    def compute(self) -> Scores:
        """Scores of all that was added."""
        difference = np.concatenate(self._difference) if self._difference else np.empty((0, 3))
        return score(difference, self._wrong, self._missed)


def correct_wobble(xyz: ArrayLike, z_nm: ArrayLike, shift_nm: ArrayLike) -> Floats:
    """Subtract the lateral shift of the PSF with depth.

    Parameters
    ----------
    xyz
        Positions `(n, 3)`.
    z_nm, shift_nm
        Depths, rising, `(k,)`, and the shift (dx, dy) of a bead there, `(k, 2)`; constant beyond the ends.

    Examples
    --------
    >>> correct_wobble([[100, 100, 50]], [0, 100], [[0, 0], [20, -10]]).tolist()
    [[90.0, 105.0, 50.0]]
    """
    points, depths = np.array(xyz, dtype=np.float64), np.asarray(z_nm, dtype=np.float64)
    shift = np.asarray(shift_nm, dtype=np.float64)
    for axis in (0, 1):
        points[:, axis] -= np.interp(points[:, 2], depths, shift[:, axis])
    return points


def checkerboard(xy: ArrayLike, pixel_size_nm: float, *, period_px: float = 1.0) -> float:
    """How strongly positions repeat with the camera's pixels: about 1 for none, much more for a checkerboard artefact.

    Energy of the positions at the pixel's period along x and y, over its mean over all directions at the same period.
    That mean holds what a structure itself has at this scale; for points without structure it is one over the number.

    Parameters
    ----------
    xy
        Positions in nm, `(n, 2)` or more columns.
    pixel_size_nm
        Size of a pixel.
    period_px
        Period in pixels; 2 shows artefacts of networks that work at half resolution.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> xy = rng.uniform(0, 6400, (5000, 2))
    >>> drawn_to_centres = 100 * np.floor(xy / 100) + 50 + 0.9 * (xy % 100 - 50)
    >>> checkerboard(xy, 100) < 4, checkerboard(drawn_to_centres, 100) > 20
    (True, True)
    """
    points = np.asarray(xy, dtype=np.float64)[:, :2] / (pixel_size_nm * period_px)
    angle = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    energy = np.array([abs(np.exp(2j * np.pi * (points @ (np.cos(a), np.sin(a)))).mean()) ** 2 for a in angle])
    axes = energy[[0, _DIRECTIONS // 2]]
    others = np.delete(energy, [0, _DIRECTIONS // 2])
    return float(axes.mean() / others.mean())


def error_over_bound(difference_nm: ArrayLike, bound_nm: ArrayLike) -> Floats:
    """Root mean square of error over lower bound for x, y, z: 1 is at the limit.

    Parameters
    ----------
    difference_nm, bound_nm
        Errors and their bounds (or predicted standard deviations: then this is the width of the pulls), `(n, 3)`.

    Examples
    --------
    >>> error_over_bound([[3, 4, 0], [-3, -4, 0]], [[3, 2, 1], [3, 2, 1]]).tolist()
    [1.0, 2.0, 0.0]
    """
    pulls = np.asarray(difference_nm, dtype=np.float64) / np.asarray(bound_nm, dtype=np.float64)
    root: Floats = np.sqrt((pulls**2).mean(axis=0))
    return root


def pull_width(difference_nm: ArrayLike, said_nm: ArrayLike) -> Floats:
    """Width of the errors in units of those that were said: 1 where these are right, whatever the tails do.

    Parameters
    ----------
    difference_nm, said_nm
        Error and its predicted standard deviation, `(n, ...)`.

    Returns
    -------
    Floats
        Half of what lies between the quantiles 0.16 and 0.84 along the first axis, `(...)`.

    Examples
    --------
    >>> errors = np.random.default_rng(1).normal(size=(10_000, 2)) * [3, 6]
    >>> pull_width(errors, np.full_like(errors, 3.0)).round(1).tolist()
    [1.0, 2.0]
    """
    low, high = np.quantile(np.asarray(difference_nm) / np.asarray(said_nm), [0.1587, 0.8413], axis=0)
    return np.asarray((high - low) / 2)


def calibration_error(p: ArrayLike, hit: ArrayLike, *, bins: int = 10) -> float:
    """Expected calibration error: mean distance of predicted probabilities from how often they are right.

    Examples
    --------
    >>> calibration_error([0.8] * 10, [True] * 8 + [False] * 2)
    0.0
    """
    chance, right = np.asarray(p, dtype=np.float64), np.asarray(hit, dtype=np.float64)
    if not chance.size:
        return float("nan")
    which = np.minimum((chance * bins).astype(np.int64), bins - 1)
    gaps = np.abs(np.bincount(which, chance, bins) - np.bincount(which, right, bins))
    return float(np.round(gaps.sum() / chance.size, 12))
