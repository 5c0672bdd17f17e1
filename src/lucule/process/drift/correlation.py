"""Drift by redundant cross-correlation: pictures of segments, the shift of every pair, and what fits them all.

Wang et al. 2014, Opt Express 22:15982. Pictures are folded onto themselves where the field is large: shifts are small,
and what is folded adds a background to the correlation, not a peak.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from lucule.core import WorkError
from lucule.process.drift.pictures import correlation, picture, vertex
from lucule.process.drift.segments import Segments

Floats = NDArray[np.float64]

_LARGEST_PX: Final = 1024
_FEWEST_PAIRS: Final = 0.3
# height of a peak over the median of the correlation, in robust standard deviations
_SIGNIFICANT: Final = 6.0
_ROUNDS: Final = 5


def correlate(
    points: NDArray[np.float32], segments: Segments, *, pixel_nm: float, reach_nm: float
) -> tuple[Floats, Floats]:
    """Drift of each segment in the plane with mean 0, and its standard error from how pairs disagree, `(k, 2)` nm each.

    Parameters
    ----------
    points
        Sorted by time, `(n, 2)`.
    segments
        Of the rows.
    pixel_nm
        Pixel of the pictures.
    reach_nm
        Largest shift between any two segments.

    Raises
    ------
    WorkError
        Fewer than a third of the pairs have a significant peak, or those that have do not connect all segments.
    """
    from concurrent.futures import ThreadPoolExecutor

    from scipy import fft

    k = len(segments.middle)
    extent = np.ptp(points, axis=0) / pixel_nm + 2 * reach_nm / pixel_nm
    shape = tuple(int(fft.next_fast_len(min(int(side) + 2, _LARGEST_PX), real=True)) for side in extent)
    reach = min(int(reach_nm / pixel_nm), min(shape) // 2 - 3)
    cell = np.floor(points / pixel_nm).astype(np.int64)

    def spectrum(i: int) -> NDArray[np.complex64]:
        image = picture(cell[segments.starts[i] : segments.starts[i + 1]], shape).astype(np.float32)
        found: NDArray[np.complex64] = fft.rfft2(image - image.mean(), workers=1)
        return found

    with ThreadPoolExecutor(get_num_threads()) as pool:
        spectra = list(pool.map(spectrum, range(k)))
        pairs = [(a, b) for a in range(k) for b in range(a + 1, k)]
        shifts = list(pool.map(lambda pair: _shift(spectra[pair[0]], spectra[pair[1]], shape, reach), pairs))
    rows, values = [], []
    for (a, b), shift in zip(pairs, shifts, strict=True):
        if shift is not None:
            line = np.zeros(k)
            line[a], line[b] = -1.0, 1.0
            rows.append(line)
            values.append(shift)
    matrix = np.array(rows).reshape(-1, k)
    if len(rows) < _FEWEST_PAIRS * len(pairs) or np.linalg.matrix_rank(matrix) < k - 1:
        raise WorkError(
            "The segments of the movie do not resemble each other enough to be correlated",
            received=f"{len(rows)} of {len(pairs)} pairs with a significant peak",
            next_step="use fewer segments (--set localizations_per_segment=...), or fiducials",
        )
    drift = _fitted(matrix, np.array(values)) * pixel_nm
    residual = matrix @ drift - np.array(values) * pixel_nm
    scale = 1.4826 * np.median(np.abs(residual), axis=0)
    pairs_of = np.maximum(np.abs(matrix).sum(axis=0), 1)[:, None]
    return drift - drift.mean(axis=0), np.maximum(scale, 1e-3) / np.sqrt(pairs_of)


def _shift(
    a: NDArray[np.complex64], b: NDArray[np.complex64], shape: tuple[int, ...], reach: int
) -> tuple[float, float] | None:
    """Shift of b against a, pixels; None where no peak stands out."""
    from scipy import ndimage

    # structure is wider than a pixel, and so is its peak
    smooth = ndimage.gaussian_filter(correlation(a, b, shape, reach), 1.0)
    peak = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    middle = float(np.median(smooth))
    spread = 1.4826 * float(np.median(np.abs(smooth - middle)))
    i, j = int(peak[0]), int(peak[1])
    if smooth[i, j] - middle < _SIGNIFICANT * spread or min(i, j) < 2 or max(i, j) > 2 * reach - 2:
        return None
    # the top of the peak is a parabola, in the logarithm for a Gaussian one
    base = np.log(np.maximum(smooth[i - 1 : i + 2, j - 1 : j + 2] - middle, 1e-12))
    return i - reach + vertex(base[:, 1]), j - reach + vertex(base[1, :])


def _fitted(matrix: Floats, shifts: Floats) -> Floats:
    """Least squares over all pairs, with those that disagree counted less and less."""
    weight = np.ones(len(shifts))
    drift = np.zeros((matrix.shape[1], shifts.shape[1]))
    for _ in range(_ROUNDS):
        drift[:] = np.linalg.lstsq(matrix * weight[:, None], shifts * weight[:, None], rcond=None)[0]
        residual = np.linalg.norm(matrix @ drift - shifts, axis=1)
        scale = max(1.4826 * float(np.median(residual)), 0.05)
        weight = 1 / (1 + np.square(residual / (2 * scale)))
    return drift
