"""How far one set of localizations is shifted against another that shows the same molecules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.process.drift.pictures import correlation, picture, vertex

Floats = NDArray[np.float64]

# pixel of the correlation, width of its smoothing, and width beyond which it is background (nm)
_PIXEL_NM: Final = 10.0
_SMOOTHING_NM: Final = 15.0
_BACKGROUND_NM: Final = 150.0
# the top counts when it stands so many times higher than anything else that is further away than a peak is wide
_CLEAR: Final = 1.8
_WIDTH_NM: Final = 60.0
# stripes of the field; at least so many must agree, or it may be one molecule that lies on a border between them
_BLOCKS: Final = 8
_AGREEING: Final = 3.0
_FEWEST: Final = 30
_LARGEST_PX: Final = 2048


@dataclass(frozen=True)
class Shift:
    """Shift of the second set against the first, and its standard error, nm.

    Attributes
    ----------
    x_nm, y_nm
        How far the second lies to the right of, and below the first.
    error_nm
        Standard error of each of the two, by leaving out parts of the field.
    """

    x_nm: float
    y_nm: float
    error_nm: float

    @property
    def length_nm(self) -> float:
        """Length of the shift."""
        return float(np.hypot(self.x_nm, self.y_nm))


def shift_between(
    first: NDArray[np.float32] | Floats, second: NDArray[np.float32] | Floats, *, reach_nm: float
) -> Shift | None:
    """Shift of the second set of points `(n, 2)` against the first; None where the two have no shift in common.

    Differences of all pairs of points are counted; those of pairs that show the same molecule agree. What changes
    slowly with the shift, such as the outline of a cell or of the overlap, does not count. The first set is divided
    into stripes along its longer side, and the answer without each of them tells the error: one molecule that blinks
    often decides nothing.

    Parameters
    ----------
    first, second
        Positions, nm.
    reach_nm
        Largest shift along each axis.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> places = np.repeat(rng.uniform(0, 5000, (200, 2)), 5, axis=0)
    >>> found = shift_between(places + rng.normal(0, 10, (1000, 2)),
    ...                       places + (80, -40) + rng.normal(0, 10, (1000, 2)), reach_nm=300)
    >>> bool(abs(found.x_nm - 80) < 5 and abs(found.y_nm + 40) < 5 and found.error_nm < 5)
    True
    """
    if min(len(first), len(second)) < _FEWEST:
        return None
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    longer = int(np.ptp(a, axis=0).argmax())
    # stripes with as many places each: localizations of one molecule are one place
    places = np.unique(np.floor(a / _WIDTH_NM), axis=0)[:, longer] * _WIDTH_NM
    edges = np.quantile(places, np.linspace(0, 1, _BLOCKS + 1)[1:-1])
    stripe = np.searchsorted(edges, a[:, longer], side="right")
    parts = np.array([_counted(a[stripe == number], b, reach_nm) for number in range(_BLOCKS)])
    whole = parts.sum(axis=0)
    top = _top(whole)
    if top is None or not _is_clear(whole, top) or _agreeing(parts, top) < _AGREEING:
        return None
    without = [_top(whole - part) for part in parts]
    known = np.array([place for place in without if place is not None])
    if len(known) < _BLOCKS:
        return None
    error = np.sqrt((_BLOCKS - 1) / _BLOCKS * np.square(known - known.mean(axis=0)).sum(axis=0).mean())
    middle = (whole.shape[0] - 1) / 2
    x, y = (top - middle) * _PIXEL_NM
    return Shift(float(x), float(y), float(error * _PIXEL_NM))


def _counted(a: Floats, b: Floats, reach_nm: float) -> Floats:
    """Pairs by their difference, less what is to be expected, `(2 r + 1, 2 r + 1)`."""
    from scipy import fft, ndimage

    reach = int(np.ceil(reach_nm / _PIXEL_NM))
    side = 2 * reach + 1
    if not len(a):
        return np.zeros((side, side))
    low, high = a.min(axis=0) - reach * _PIXEL_NM, a.max(axis=0) + reach * _PIXEL_NM
    near = b[((b >= low) & (b <= high)).all(axis=1)]
    # of a large field, what is folded onto itself adds a background and no peak
    shape = tuple(
        int(fft.next_fast_len(min(int(size / _PIXEL_NM) + side, _LARGEST_PX), real=True)) for size in high - low
    )

    def spectrum(points: Floats) -> NDArray[np.complex128]:
        found: NDArray[np.complex128] = fft.rfft2(picture(np.floor((points - low) / _PIXEL_NM).astype(np.int64), shape))
        return found

    window = correlation(spectrum(a), spectrum(near), shape, reach)
    fine = ndimage.gaussian_filter(window, _SMOOTHING_NM / _PIXEL_NM, mode="nearest")
    wide = ndimage.gaussian_filter(window, _BACKGROUND_NM / _PIXEL_NM, mode="nearest")
    found: Floats = fine - wide
    return found


def _top(counts: Floats) -> Floats | None:
    """The highest place, to parts of a pixel; None at the border."""
    i, j = (int(value) for value in np.unravel_index(int(counts.argmax()), counts.shape))
    if min(i, j) < 1 or max(i, j) > len(counts) - 2:
        return None
    near = counts[i - 1 : i + 2, j - 1 : j + 2]
    return np.array([i + vertex(near[:, 1]), j + vertex(near[1, :])])


def _agreeing(parts: Floats, top: Floats) -> float:
    """How many stripes make the top: 1 where one makes it alone, all where each adds the same."""
    row, column = np.rint(top).astype(int)
    share = np.clip(parts[:, row, column], 0, None)
    return float(share.sum() ** 2 / np.square(share).sum())


def _is_clear(counts: Floats, top: Floats) -> bool:
    rows, columns = np.ogrid[: counts.shape[0], : counts.shape[1]]
    away = np.hypot(rows - top[0], columns - top[1]) * _PIXEL_NM > _WIDTH_NM
    return bool(away.any() and counts.max() > _CLEAR * max(float(counts[away].max()), 1e-9))
