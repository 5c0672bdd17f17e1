"""Quick looks at a table that tell whether it should be corrected before it is analysed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lucule.core import Localizations

DRIFT_BIN_NM = 25.0
LARGEST_DRIFT_NM = 1000.0
LARGEST_IMAGE_PX = 2048
FEWEST_LOCALIZATIONS = 500
# height of the correlation peak in standard deviations of the correlation; unrelated random patterns stay below 6
SIGNIFICANT_PEAK = 8.0


@dataclass(frozen=True, slots=True)
class Drift:
    """Shift of the picture between the first and the last quarter of the movie, nm, with its resolution."""

    x_nm: float
    y_nm: float
    resolution_nm: float

    @property
    def length_nm(self) -> float:
        """Length of the shift in nm."""
        return float(np.hypot(self.x_nm, self.y_nm))

    @property
    def is_notable(self) -> bool:
        """Whether the shift is larger than what this quick look resolves."""
        return self.length_nm > 1.5 * self.resolution_nm


def duplicate_fraction(locs: Localizations) -> float:
    """Fraction of rows that repeat the frame and exact position of another row (0 for an empty table)."""
    if not len(locs):
        return 0.0
    keys = [name for name in ("frame", "channel", "x", "y", "z") if name in locs]
    return 1.0 - locs.data.select(keys).n_unique() / len(locs)


def drift_hint(locs: Localizations) -> Drift | None:
    """Estimate the drift over the movie from one cross-correlation; None when the data do not tell.

    The localizations of the first and of the last quarter of the frames are drawn as histograms, and the position of
    the peak of their cross-correlation is the shift. This is a hint, not a correction: structure that is too sparse
    gives no significant peak, and then nothing is said.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = rng.uniform(0, 20_000, (300, 2))
    >>> xy = np.repeat(spots, 20, axis=0) + rng.normal(0, 10, (6000, 2))
    >>> frame = rng.integers(0, 1000, 6000)
    >>> xy[:, 0] += 0.2 * frame  # 200 nm over the movie, 150 nm between the middles of its outer quarters
    >>> hint = drift_hint(Localizations({"x": xy[:, 0], "y": xy[:, 1], "frame": frame}))
    >>> abs(hint.x_nm - 150) < 15, abs(hint.y_nm) < 15
    (True, True)
    """
    if "frame" not in locs or len(locs) < FEWEST_LOCALIZATIONS:
        return None
    frame, xy = locs["frame"], locs.xy()
    early, late = np.quantile(frame, [0.25, 0.75])
    if late <= early:
        return None
    first, last = xy[frame <= early], xy[frame >= late]
    low, span = xy.min(axis=0), np.ptp(xy, axis=0)
    bin_nm = max(DRIFT_BIN_NM, float(span.max()) / LARGEST_IMAGE_PX)
    shape = np.ceil(span / bin_nm).astype(int) + 1
    reach = int(LARGEST_DRIFT_NM / bin_nm)
    correlation = _cross_correlation(_histogram(first, low, bin_nm, shape), _histogram(last, low, bin_nm, shape), reach)
    peak = np.unravel_index(np.argmax(correlation), correlation.shape)
    background = np.median(correlation)
    # the 1 stands for one chance coincidence, which is all it takes in a sparse table
    noise = np.hypot(np.median(np.abs(correlation - background)) * 1.4826, 1.0)
    if correlation[peak] - background < SIGNIFICANT_PEAK * noise:
        return None
    if min(peak) < 2 or max(peak) > 2 * reach - 2:
        return None
    x, y = ((centre - reach) * bin_nm for centre in _centroid(correlation, peak))
    return Drift(float(x), float(y), bin_nm)


def _histogram(
    xy: NDArray[np.float32], low: NDArray[np.float32], bin_nm: float, shape: NDArray[np.int_]
) -> NDArray[np.float32]:
    columns, rows = ((xy - low) / bin_nm).astype(np.int64).T
    counts = np.bincount(columns * shape[1] + rows, minlength=int(shape.prod())).reshape(shape)
    # the square root keeps one bright fiducial from deciding alone
    return np.sqrt(counts).astype(np.float32)


def _cross_correlation(a: NDArray[np.float32], b: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Correlation for shifts of b against a from -reach to +reach along both axes."""
    from scipy import fft

    size = [fft.next_fast_len(n + reach, real=True) for n in a.shape]
    product = np.conj(fft.rfft2(a - a.mean(), size, workers=-1)) * fft.rfft2(b - b.mean(), size, workers=-1)
    correlation = fft.irfft2(product, size, workers=-1)
    shifts = np.arange(-reach, reach + 1)
    picked: NDArray[np.float32] = correlation[np.ix_(shifts % size[0], shifts % size[1])]
    return picked


def _centroid(correlation: NDArray[np.float32], peak: tuple[np.intp, ...]) -> tuple[float, float]:
    """Centre of mass of the upper half of the peak, in bins."""
    i, j = int(peak[0]), int(peak[1])
    window = correlation[i - 2 : i + 3, j - 2 : j + 3]
    weight = np.clip(window - (window.max() + np.median(correlation)) / 2, 0, None)
    offsets = np.arange(-2, 3)
    return (
        i + float((weight.sum(axis=1) * offsets).sum() / weight.sum()),
        j + float((weight.sum(axis=0) * offsets).sum() / weight.sum()),
    )
