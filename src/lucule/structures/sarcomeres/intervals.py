"""What is known of two lines before they are measured, and how well they are known afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config
from lucule.structures.sarcomeres.likelihood import (
    BEND,
    DIVERGENCE,
    HALF,
    LOG_WIDTH,
    LOGIT_BACKGROUND,
    MIDDLE,
    PARAMETERS,
    SLOPE,
    Floats,
    side_of,
    two_lines,
)

_BLOCK_NM: Final = 100.0
_BLOCK_ERRORS: Final = 6.0
_SHIFTS: Final = 4
STEP: Final = np.where(np.isin(np.arange(PARAMETERS), [MIDDLE, SLOPE, BEND, HALF, DIVERGENCE]), 0.02, 1e-3)
"""How far parameters are moved for numerical derivatives."""

# What is known of any double line before it is measured, as mean and standard deviation of the parameters: it is about
# straight, its lines are alike, some nm to some tens of nm wide, and few of its localizations are background. A handful
# of epitopes, each seen a hundred times, would otherwise be taken for lines themselves.
_BACKGROUND_BEFORE: Final = -4.6
_BEFORE_SD: Final = np.array([np.inf, np.inf, 60.0, np.inf, 15.0, np.nan, 0.8, 1.0])


class LineSettings(Config):
    """What is known beforehand about two lines.

    Attributes
    ----------
    linker_nm, linker
        Length from epitope to dye, and where linkers point: `free`, `faces` (away from both faces of a disc, as in
        TestSTORM) or `outer` (away from the middle). With 0 the distance is that of the dyes.
    error_nm
        Localization error where the table has none, nm.
    reach_nm
        Localizations farther from the middle line are not used, nm.
    bend
        Whether the middle line may be curved.
    divergence
        Whether the lines may diverge.
    width_nm, width_spread
        What is expected of the standard deviation of a line without the localization error, and by which factor (as a
        logarithm) it may differ. Where lines overlap, the distance depends on it; `measure` learns it from all
        sarcomeres of a table.
    confidence
        Of the intervals.
    """

    linker_nm: float = Field(default=0.0, ge=0)
    linker: Literal["free", "faces", "outer"] = "free"
    error_nm: float = Field(default=15.0, gt=0)
    reach_nm: float = Field(default=300.0, gt=0)
    bend: bool = True
    divergence: bool = True
    width_nm: float = Field(default=10.0, gt=0)
    width_spread: float = Field(default=0.6, gt=0)
    confidence: float = Field(default=0.95, gt=0, lt=1)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fit before its interval; `value` is the mean negative log-likelihood of all localizations."""

    value: float
    theta: Floats
    free: NDArray[np.int64]
    u: Floats
    t: Floats
    variance: Floats
    rows: NDArray[np.int64]
    scale: float
    window: float
    nodes: Floats
    shares: Floats
    origin: tuple[float, float]
    direction: tuple[float, float]


def scores_at(fitted: Fitted, theta: Floats) -> Floats:
    """Derivatives of the log-likelihood of every localization, `(n, 8)`, at some parameters."""
    n = len(fitted.u)
    scores = np.empty((n, PARAMETERS))
    two_lines(
        theta, fitted.u, fitted.t, fitted.variance, np.ones(n), fitted.nodes, fitted.shares, fitted.window, scores
    )
    return scores


def hessian_of(fitted: Fitted, settings: LineSettings) -> Floats:
    """Second derivatives of the negative log-likelihood by the free parameters, with what was known before."""
    free, theta = fitted.free, fitted.theta
    hessian = np.empty((len(free), len(free)))
    for i, parameter in enumerate(free):
        high, low = theta.copy(), theta.copy()
        high[parameter] += STEP[parameter]
        low[parameter] -= STEP[parameter]
        change = scores_at(fitted, low).sum(axis=0) - scores_at(fitted, high).sum(axis=0)
        hessian[i] = change[free] / (2 * STEP[parameter])
    repeats = len(fitted.u) / places(fitted.t * fitted.scale, fitted.variance)
    whole: Floats = (hessian + hessian.T) / 2 + np.diag(repeats / before(settings)[1][free] ** 2)
    return whole


def covariance_of(fitted: Fitted, hessian: Floats, groups: NDArray[Any] | None) -> tuple[Floats, int]:
    """Covariance of the free parameters, and the number of groups that it counts."""
    free = fitted.free
    inverse = np.linalg.pinv(hessian, rcond=1e-10)
    own = np.ascontiguousarray(scores_at(fitted, fitted.theta)[:, free])
    numbered = _blocks(fitted) if groups is None else [np.unique(groups[fitted.rows], return_inverse=True)[1]]
    middle = np.zeros_like(hessian)
    count = 0.0
    for number in numbered:
        groups_here = int(number.max()) + 1
        sums = np.stack([np.bincount(number, own[:, i]) for i in range(len(free))], axis=1)
        # each group pulls the fit towards itself; a jackknife in one step gives its score without that
        parts = _products(own, number, groups_here)
        whole = parts.sum(axis=0)
        left = np.eye(len(free)) - parts @ np.linalg.pinv(whole, rcond=1e-10)
        freed = np.linalg.solve(left + 1e-9 * np.eye(len(free)), sums[..., None])[..., 0]
        there = np.bincount(number).astype(np.float64)
        several = float(there.sum() ** 2 / (there**2).sum())
        middle += freed.T @ freed * (groups_here - 1) / groups_here / len(numbered)
        count += several / len(numbered)
    covariance: Floats = inverse @ middle @ inverse
    return covariance, int(count)


@njit(cache=True, nogil=True)
def _products(scores: Floats, number: NDArray[np.int64], groups: int) -> Floats:
    """Sums over each group of the products of the scores `(n, m)` of a localization, `(groups, m, m)`."""
    m = scores.shape[1]
    sums = np.zeros((groups, m, m))
    for row in range(number.size):
        for i in range(m):
            for j in range(m):
                sums[number[row], i, j] += scores[row, i] * scores[row, j]
    return sums


def _blocks(fitted: Fitted) -> list[NDArray[np.int64]]:
    """Numbers of blocks along each line, several times with other borders."""
    length = block_nm(fitted.variance)
    side = side_of(fitted.theta, fitted.u, fitted.t)
    v = fitted.t * fitted.scale
    numbers = []
    for shift in range(_SHIFTS):
        block = np.floor(v / length + shift / _SHIFTS).astype(np.int64)
        numbers.append(np.unique(2 * block + side, return_inverse=True)[1])
    return numbers


def before(settings: LineSettings) -> tuple[Floats, Floats]:
    """Means and standard deviations of the parameters before they are measured."""
    mean, sd = np.zeros(PARAMETERS), _BEFORE_SD.copy()
    mean[[LOG_WIDTH, LOGIT_BACKGROUND]] = math.log(settings.width_nm), _BACKGROUND_BEFORE
    sd[LOG_WIDTH] = settings.width_spread
    return mean, sd


def block_nm(variance: Floats) -> float:
    """Length along a line within which localizations may repeat the same error, nm."""
    return max(_BLOCK_NM, _BLOCK_ERRORS * float(np.sqrt(np.median(variance))))


def places(v: Floats, variance: Floats) -> float:
    """How many places along the two lines the localizations amount to."""
    there = np.bincount(np.unique(np.floor(v / block_nm(variance)).astype(np.int64), return_inverse=True)[1])
    return float(2 * there.sum() ** 2 / (there.astype(np.float64) ** 2).sum())
