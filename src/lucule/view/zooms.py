"""Windows worth a closer look: where there are many clusters, a typical number, and few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError, Localizations, Region
from lucule.view.frame import bounds_of, round_down

SIZE_NM: Final = 1500.0
# windows are tried at every quarter of their size
STEPS_PER_WINDOW: Final = 4
# bounds the lattice of positions; a field of view is rarely more than 50 windows wide
MOST_WINDOWS_PER_SIDE: Final = 500
# a window with hardly a localization shows nothing, even where it holds the outline of a cluster
LEAST_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Zoom:
    """A window: its area, why it was chosen, and the clusters (or localizations) in it."""

    region: Region
    reason: str
    clusters: int
    localizations: int


def choose_zooms(
    locs: Localizations,
    centres: ArrayLike | None = None,
    *,
    size_nm: float | None = None,
    region: Region | None = None,
) -> tuple[Zoom, ...]:
    """Up to three square windows that do not overlap: many, a typical number of, and few clusters.

    The same table always gives the same windows. "Typical" is the median over all windows that hold a cluster.

    Parameters
    ----------
    locs
        The table.
    centres
        Centres of the clusters `(m, 2)`, nm; without them (or with none) windows are chosen by localizations.
    size_nm
        Side of the windows, nm; default 1500 nm, less where the field of view is small. A field of view
        narrower than two windows has no zooms.
    region
        Where to look; default: everywhere.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> locs = Localizations({"x": rng.uniform(0, 9000, 5000), "y": rng.uniform(0, 9000, 5000)})
    >>> [zoom.reason for zoom in choose_zooms(locs, rng.uniform(0, 9000, (60, 2)))]
    ['many clusters', 'typical', 'few clusters']
    """
    if not len(locs):
        return ()
    x_min, y_min, x_max, y_max = bounds_of(locs, region)
    longest = max(x_max - x_min, y_max - y_min)
    if longest == 0:
        return ()
    if size_nm is None:
        size_nm = max(min(SIZE_NM, round_down(longest / 3)), longest / MOST_WINDOWS_PER_SIDE)
    if not size_nm >= longest / MOST_WINDOWS_PER_SIDE:
        raise InputError(
            "Unusable size of the zooms",
            received=f"{size_nm:g} nm",
            allowed=f"at least {longest / MOST_WINDOWS_PER_SIDE:.3g} nm for this field of view",
        )
    if longest < 2 * size_nm:
        return ()
    step = size_nm / STEPS_PER_WINDOW
    shape = tuple(max(STEPS_PER_WINDOW, int(side / step)) for side in (y_max - y_min, x_max - x_min))
    points = np.empty((0, 2)) if centres is None else np.asarray(centres, np.float64).reshape(-1, 2)
    n_locs = _in_windows(locs.xy(), (x_min, y_min), step, shape)
    n_clusters = _in_windows(points, (x_min, y_min), step, shape)
    noun, ranked = ("clusters", n_clusters) if n_clusters.any() else ("localizations", n_locs)
    zooms = []
    # among windows with equally many clusters, the one with most localizations in its middle shows most
    middle = _in_windows(locs.xy(), (x_min, y_min), step, shape, inner=STEPS_PER_WINDOW // 4)
    for reason, row, column in _pick(ranked, n_locs, middle, noun):
        left, top = x_min + column * step, y_min + row * step
        window = Region.rectangle(left, top, left + size_nm, top + size_nm)
        zooms.append(Zoom(window, reason, int(n_clusters[row, column]), int(n_locs[row, column])))
    return tuple(zooms)


def _in_windows(
    points: NDArray[np.floating],
    origin: tuple[float, float],
    step: float,
    shape: tuple[int, ...],
    inner: int = 0,
) -> NDArray[np.int64]:
    """Points in each window of `STEPS_PER_WINDOW` x `STEPS_PER_WINDOW` cells, `inner` cells off each side left out."""
    rows, columns = shape
    column = np.clip(((points[:, 0] - origin[0]) / step).astype(np.int64), -1, columns)
    row = np.clip(((points[:, 1] - origin[1]) / step).astype(np.int64), -1, rows)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    cells = np.bincount(row[inside] * columns + column[inside], minlength=rows * columns).reshape(rows, columns)
    total = np.zeros((rows + 1, columns + 1), np.int64)
    total[1:, 1:] = cells.cumsum(0).cumsum(1)
    n_rows, n_columns = rows + 1 - STEPS_PER_WINDOW, columns + 1 - STEPS_PER_WINDOW
    first, last = inner, STEPS_PER_WINDOW - inner
    top, bottom = slice(first, first + n_rows), slice(last, last + n_rows)
    left, right = slice(first, first + n_columns), slice(last, last + n_columns)
    windows: NDArray[np.int64] = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return windows


def _pick(
    ranked: NDArray[np.int64], n_locs: NDArray[np.int64], middle: NDArray[np.int64], noun: str
) -> list[tuple[str, int, int]]:
    """Rows and columns of the windows with the most, the median and the fewest; ties go to a fuller middle."""
    occupied = ranked > 0
    # judged by the middle, so that no window shows mostly the empty surroundings of a cell
    shown = middle if (occupied & (middle > 0)).any() else n_locs
    free = occupied & (shown >= LEAST_SHARE * np.median(shown[occupied])) & (shown > 0)
    typical = np.median(ranked[free])
    chosen = []
    for reason, distance in (
        (f"many {noun}", -ranked),
        ("typical", np.abs(ranked - typical)),
        (f"few {noun}", ranked),
    ):
        if not free.any():
            break
        best = free & (distance == distance[free].min())
        row, column = np.unravel_index(np.argmax(np.where(best, middle, -1)), ranked.shape)
        chosen.append((reason, int(row), int(column)))
        reach = STEPS_PER_WINDOW - 1
        free[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = False
    return chosen
