"""How likely localizations are under two lines, with the error of each: value, gradient and scores, compiled."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIDDLE, SLOPE, BEND, HALF, DIVERGENCE, LOG_WIDTH, LOGIT_SHARE, LOGIT_BACKGROUND = range(8)
PARAMETERS: Final = 8
"""Middle line c(v) = middle + slope t + bend t^2 and half distance h(v) = half + divergence t (nm), with t = v / scale;
logarithm of the width of a line (nm), logits of the share of the second line and of the background."""

_LOG_ROOT_2PI: Final = 0.9189385332046727


@njit(cache=True, nogil=True)
def two_lines(
    theta: Floats,
    u: Floats,
    t: Floats,
    variance: Floats,
    weight: Floats,
    nodes: Floats,
    shares: Floats,
    window: float,
    scores: Floats,
) -> float:
    """Negative log-likelihood of two lines; scores of every localization are written to `scores` `(n, 8)`.

    The density at (u, v) is (1 - b) [(1 - p) N(u; c - h, s^2 + e^2) + p N(u; c + h, s^2 + e^2)] + b / W, where N is
    summed over the `nodes` of the linker: how far (nm, outwards) a dye lies from the line of its epitope, with
    probability `shares`.
    """
    half, width2 = theta[3], np.exp(2 * theta[5])
    p = 1 / (1 + np.exp(-theta[6]))
    b = 1 / (1 + np.exp(-theta[7]))
    total = 0.0
    for i in range(u.size):
        middle = theta[0] + theta[1] * t[i] + theta[2] * t[i] * t[i]
        apart = half + theta[4] * t[i]
        var = width2 + variance[i]
        height = 1 / np.sqrt(2 * np.pi * var)
        left = right = 0.0
        pull_left = pull_right = 0.0
        spread = 0.0
        for k in range(nodes.size):
            a = u[i] - middle + apart + nodes[k]
            c = u[i] - middle - apart - nodes[k]
            la = shares[k] * height * np.exp(-0.5 * a * a / var)
            lc = shares[k] * height * np.exp(-0.5 * c * c / var)
            left += la
            right += lc
            pull_left += la * a / var
            pull_right += lc * c / var
            spread += (1 - p) * la * (a * a / var - 1) + p * lc * (c * c / var - 1)
        lines = (1 - p) * left + p * right
        density = (1 - b) * lines + b / window + 1e-300
        total -= weight[i] * np.log(density)
        w = (1 - b) / density
        towards_middle = w * ((1 - p) * pull_left + p * pull_right)
        apart_slope = w * (p * pull_right - (1 - p) * pull_left)
        scores[i, 0] = weight[i] * towards_middle
        scores[i, 1] = weight[i] * towards_middle * t[i]
        scores[i, 2] = weight[i] * towards_middle * t[i] * t[i]
        scores[i, 3] = weight[i] * apart_slope
        scores[i, 4] = weight[i] * apart_slope * t[i]
        scores[i, 5] = weight[i] * w * spread * width2 / var
        scores[i, 6] = weight[i] * w * p * (1 - p) * (right - left)
        scores[i, 7] = weight[i] * b * (1 - b) * (1 / window - lines) / density
    return total


@njit(cache=True, nogil=True)
def side_of(theta: Floats, u: Floats, t: Floats) -> NDArray[np.int64]:
    """Which line each localization is nearer to, 0 or 1."""
    side = np.empty(u.size, np.int64)
    for i in range(u.size):
        middle = theta[0] + theta[1] * t[i] + theta[2] * t[i] * t[i]
        side[i] = 1 if u[i] > middle else 0
    return side


def linker_nodes(length_nm: float, kind: str, angle_sd_deg: float = 30.0) -> tuple[Floats, Floats]:
    """Where dyes lie from the line of their epitopes, nm outwards, and how often.

    Parameters
    ----------
    length_nm
        From epitope to dye; 0: both at one place.
    kind
        `free`: linkers point anywhere; `faces`: away from either face of the disc; `outer`: away from the outer face.
    angle_sd_deg
        How much linkers on a face lean, as in TestSTORM.

    Examples
    --------
    >>> linker_nodes(0, "free")
    (array([0.]), array([1.]))
    >>> nodes, shares = linker_nodes(10, "free")
    >>> round(float((shares * nodes**2).sum()), 3)  # of a uniform distribution, length^2 / 3
    33.333
    """
    if length_nm == 0:
        return np.zeros(1), np.ones(1)
    if kind == "free":
        at, share = np.polynomial.legendre.leggauss(6)
        return length_nm * at, share / 2
    at, share = np.polynomial.hermite_e.hermegauss(7)
    outward = length_nm * np.cos(np.radians(angle_sd_deg) * at)
    share = share / share.sum()
    if kind == "outer":
        return outward, share
    return np.concatenate([outward, -outward]), np.concatenate([share, share]) / 2
