"""How wide the lines of a table are, and how much that differs: learned from its sarcomeres together.

One sarcomere with overlapping lines cannot tell wide lines that are near from narrow ones that are far apart. Many of
one protein can, as far as their widths are alike; how alike they are is learned with the width (empirical Bayes).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.space import threads
from lucule.structures.sarcomeres.intervals import LineSettings
from lucule.structures.sarcomeres.likelihood import Floats
from lucule.structures.sarcomeres.line_distance import width_losses

_WIDTHS_NM: Final = (3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0)
_TRIED_SPREAD: Final = 0.05
_FEWEST: Final = 4
_LEARN_FROM: Final = 12
_POINTS: Final = 1000
_SPREADS: Final = (0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75)
# a few sarcomeres say little about how much widths differ: what is expected, as a logarithm, and how firmly
_EXPECTED_SPREAD: Final = 0.3
_FIRMNESS: Final = 0.7
_STEP: Final = 0.05


def with_learned_width(
    xy: Floats, error_nm: Floats | None, each: list[NDArray[np.int64]], settings: LineSettings
) -> LineSettings:
    """Settings with the width of the lines, and its spread, that describe some of the sarcomeres best together.

    Parameters
    ----------
    xy, error_nm
        All localizations `(n, 2)` and their errors `(n,)`, nm.
    each
        Rows of every double line. Fewer than 4 leave the settings as they are.
    """
    some = each[:: max(len(each) // _LEARN_FROM, 1)]
    if len(some) < _FEWEST:
        return settings
    narrow = settings.replace(width_spread=_TRIED_SPREAD)
    parts = [rows[:: max(len(rows) // _POINTS, 1)] for rows in some]

    def losses_of(i: int) -> Floats:
        own = None if error_nm is None else error_nm[parts[i]]
        return width_losses(xy[parts[i]], own, _WIDTHS_NM, narrow)

    losses = np.array(threads.each(losses_of, len(parts)))
    losses = losses[np.isfinite(losses).all(axis=1)]
    if len(losses) < _FEWEST:
        return settings
    width, spread = together(_WIDTHS_NM, losses)
    return settings.replace(width_nm=width, width_spread=spread)


def together(widths_nm: tuple[float, ...], losses: Floats) -> tuple[float, float]:
    """Median width, nm, and spread (of its logarithm) from the losses `(objects, widths)` of each object.

    Examples
    --------
    >>> widths = (3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0)
    >>> alike = np.array([[30.0, 12.0, 0.0, 12.0, 30.0, 50.0, 80.0]] * 8)
    >>> width, spread = together(widths, alike)
    >>> round(width), spread
    (8, 0.1)
    """
    from scipy.interpolate import PchipInterpolator
    from scipy.special import logsumexp

    nodes = np.log(widths_nm)
    at = np.arange(nodes[0], nodes[-1] + _STEP / 2, _STEP)
    curves = -PchipInterpolator(nodes, losses, axis=1)(np.minimum(at, nodes[-1]))
    best = -math.inf, 0.0, 0.0
    for spread in _SPREADS:
        firm = -0.5 * (math.log(spread / _EXPECTED_SPREAD) / _FIRMNESS) ** 2
        chance = -0.5 * ((at - at[:, None]) / spread) ** 2
        chance -= logsumexp(chance, axis=1, keepdims=True)
        # (medians, objects, widths)
        evidence = logsumexp(curves + chance[:, None], axis=2).sum(axis=1) + firm
        highest = int(evidence.argmax())
        best = max(best, (float(evidence[highest]), float(at[highest]), spread))
    return math.exp(best[1]), best[2]
