"""How far and how long to look for the same molecule: from the data, with the curves that justify it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from lucule.core import Localizations, WorkError
from lucule.process.linking.kernel import chains
from lucule.process.precision import Precision, precision
from lucule.process.series import Series, in_order

Floats = NDArray[np.float64]

# in the plane, 98.9 % of the pairs of one molecule are nearer than three times the error of their difference
SIGMAS: Final = 3.0
_LEAST_SIGMAS: Final = 1.5
_LONGEST_GAP: Final = 200
_SAMPLE: Final = 400_000


@dataclass(frozen=True, slots=True, eq=False)
class LinkChoice:
    """Radius and dark time, and what they rest on.

    Attributes
    ----------
    radius_nm, gap_frames
        What to use; where rows have errors of their own, the radius is the largest one.
    sigmas
        Reach in units of the error of the difference of two rows; infinite where a radius was given or errors are not
        known.
    distance_nm, lost, false
        For each radius the part of true pairs that lie beyond it, and the part of strangers among the pairs within.
    dark_frames, returns, chance
        For each dark time, how often something appears again within the radius where a molecule went dark, per molecule
        and frame, and how often something would by chance.
    why_radius, why_gap
        One sentence each.
    """

    radius_nm: float
    gap_frames: int
    sigmas: float
    distance_nm: Floats
    lost: Floats
    false: Floats
    dark_frames: NDArray[np.int64]
    returns: Floats
    chance: Floats
    why_radius: str
    why_gap: str

    def __str__(self) -> str:
        """Short, for the history of a table."""
        return f"{self.radius_nm:.2f} nm, {self.sigmas:.3g} errors, {self.gap_frames} dark frames"

    def radius_table(self) -> pl.DataFrame:
        """The curve behind the radius."""
        return pl.DataFrame({"radius_nm": self.distance_nm, "lost": self.lost, "false": self.false})

    def gap_table(self) -> pl.DataFrame:
        """The curve behind the dark time."""
        return pl.DataFrame({"dark_frames": self.dark_frames, "returns": self.returns, "chance": self.chance})


def choose_link(
    locs: Localizations, *, radius_nm: float | None = None, gap_frames: int | None = None, seed: int = 1
) -> LinkChoice:
    """Choose what is not given.

    The radius is three times the error of the difference of two localizations, less where more strangers are joined
    than true pairs lost. The error is that of the two rows (`x_err`, `y_err`), times the ratio of true to reported
    errors that the data show; without these columns, the precision from pairs. The dark time is the longest after which
    a reappearance at the same place is more often the same blink, interrupted, than a later one or a stranger.

    Raises
    ------
    WorkError
        A radius is wanted, and the table does not tell the precision.
    """
    series = in_order(locs, "Linking")
    empty = np.empty(0)
    distance, lost, false = empty, empty, empty
    why_radius, sigmas = "given", np.inf
    if radius_nm is None:
        found = precision(locs, seed=seed)
        typical, distance, lost, false, why_radius = _radius(found)
        radius_nm = typical
        if found.reported_nm is not None:
            scale = found.ratio or 1.0
            sigmas = typical / (np.sqrt(2) * (found.best_nm or found.reported_nm)) * scale
            largest = float(np.sqrt(np.percentile(variances(locs)[:, 0], 99)))
            radius_nm = float(np.sqrt(2) * sigmas * largest)
            why_radius += f"; for each pair by its own errors, {radius_nm:.0f} nm at most"
    dark, returns, chance, gap, why_gap = _gap(locs, series, radius_nm, sigmas)
    if gap_frames is not None:
        gap, why_gap = gap_frames, "given"
    return LinkChoice(radius_nm, gap, sigmas, distance, lost, false, dark, returns, chance, why_radius, why_gap)


def variances(locs: Localizations) -> NDArray[np.float32]:
    """Squared errors in the plane (mean of x and y) and along z, `(n, 2)` in nm^2.

    Rows whose error is not known (NaN, or 0) count as one of the least precise ones; without columns of errors all are
    1.
    """
    found = np.ones((len(locs), 2), np.float32)
    for column, names in enumerate((("x_err", "y_err"), ("z_err",))):
        if not len(locs) or any(name not in locs for name in names):
            continue
        squared = np.mean([locs[name].astype(np.float64) ** 2 for name in names], axis=0)
        known = np.isfinite(squared) & (squared > 0)
        if known.any():
            found[:, column] = np.where(known, squared, np.percentile(squared[known], 95))
        elif column == 0:
            break
    if "z_err" not in locs:
        found[:, 1] = 1e12  # z does not decide
    return found


def _radius(found: Precision) -> tuple[float, Floats, Floats, Floats, str]:
    sigma = found.best_nm
    if sigma is None:
        raise WorkError(
            "The radius cannot be chosen from the data: " + found.reasons.get("nena_nm", "the precision is not known"),
            next_step="give the radius, for example 50 nm with a dark time of 25 frames",
        )
    if found.nena_nm is None or sigma != found.nena_nm:
        why = f"{SIGMAS:.2g} times the error of a difference, from the reported precision of {sigma:.3g} nm"
        return SIGMAS * np.sqrt(2) * sigma, np.empty(0), np.empty(0), np.empty(0), why
    r = found.distances_nm
    same = r / (2 * sigma**2) * np.exp(-(r**2) / (4 * sigma**2)) * (r[1] - r[0]) * found.pairs
    other = np.maximum(found.fitted - same, 0)
    # a sum over steps of r: where all pairs are at one place it exceeds their number
    lost = np.clip(1 - np.cumsum(same) / max(float(found.pairs), 1.0), 0, 1)
    within = np.cumsum(found.fitted)
    false = np.cumsum(other) / np.maximum(within, 1e-9)
    unit = np.sqrt(2) * sigma
    # nearer than three errors only where strangers prevail over what would be lost
    balance = float(r[int(np.argmax(false > 0.5))]) if (false > 0.5).any() else np.inf
    radius = float(np.clip(balance, _LEAST_SIGMAS * unit, SIGMAS * unit))
    at = min(int(np.searchsorted(r, radius)), len(r) - 1)
    why = (f"{radius / unit:.2g} times the error of a difference ({unit:.3g} nm): {100 * lost[at]:.1f} % of the pairs "
           f"of one molecule lie beyond, {100 * false[at]:.1f} % of those within are strangers")  # fmt: skip
    return radius, r, lost, false, why


def _gap(
    locs: Localizations, series: Series, radius: float, sigmas: float
) -> tuple[NDArray[np.int64], Floats, Floats, int, str]:
    """Rates of return after each dark time, and the longest dark time within one blink."""
    order, time = series
    xy = locs.xy()[order]
    span = int(time[-1] - time[0]) + 1 if len(time) else 0
    longest = int(min(_LONGEST_GAP, span // 20))
    if longest < 4 or len(time) < 2:
        empty = np.empty(0)
        return np.empty(0, np.int64), empty, empty, 0, "the movie is too short to tell; none is bridged"
    known = variances(locs)[order]
    blink = chains(time, xy, radius=radius, radius_z=0, gap=0, variance=known, sigmas=sigmas)
    if np.isfinite(sigmas):  # from here on a typical one
        radius = float(min(radius, sigmas * np.sqrt(2 * np.median(known[:, 0]))))
    number = int(blink.max()) + 1
    size = np.bincount(blink, minlength=number)
    x, y = (np.bincount(blink, xy[:, axis].astype(np.float64), number) / size for axis in (0, 1))
    begin, end = np.full(number, np.iinfo(np.int64).max), np.zeros(number, np.int64)
    np.minimum.at(begin, blink, time)
    np.maximum.at(end, blink, time)
    rows = np.argsort(begin, kind="stable")
    x, y, begin, end = x[rows], y[rows], begin[rows], end[rows]
    use = number
    if number > _SAMPLE:  # the first stretch of the movie is enough
        use = _SAMPLE
    counts = np.zeros((2, longest + 1))
    _returns(x.astype(np.float32), y.astype(np.float32), begin, end, use, radius, longest, counts)
    dark = np.arange(1, longest + 1)
    seen = int((end[:use] + longest < time[-1]).sum())
    returns = counts[0, 1:] / max(seen, 1)
    # a ring of three times the area tells how often a stranger appears
    chance = np.full(longest, counts[1, 1:].mean() / 3 / max(seen, 1))
    excess = np.maximum(returns - chance, 0)
    slow = float(excess[longest // 2 :].mean())
    level = slow + float(chance[0])
    noise = np.sqrt(np.maximum(level, 1 / max(seen, 1)) / max(seen, 1))
    fast = excess - slow
    short = fast > max(level, 3 * noise)
    gap = int(np.argmin(short)) if not short.all() else longest
    if gap == 0:
        return dark, returns, chance, 0, "molecules that went dark come back after one frame no more often than later"
    why = (f"up to {gap} dark frames, a reappearance at the same place is more often the same blink than a later one "
           f"({1000 * returns[0]:.3g} per 1000 blinks after 1 frame, {1000 * level:.3g} in the long run)")  # fmt: skip
    return dark, returns, chance, gap, why


@njit(cache=True, nogil=True)
def _returns(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    use: int,
    radius: float,
    longest: int,
    counts: Floats,
) -> None:
    """Count, for each dark time, blinks that begin within the radius of others, and in the ring to twice the radius."""
    n = len(x)
    cell = 2 * radius
    size = 1 << 16
    heads = np.full(size, -1, np.int64)
    after = np.full(n, -1, np.int64)
    added = 0
    # blinks are added in the order of their beginning, so each looks back at those that ended before
    for i in range(n):
        ix, iy = int(np.floor(x[i] / cell)), int(np.floor(y[i] / cell))
        for cx in range(ix - 1, ix + 2):
            for cy in range(iy - 1, iy + 2):
                slot = ((cx * 73856093) ^ (cy * 19349663)) & (size - 1)
                before = -1
                j = heads[slot]
                while j >= 0:
                    following = after[j]
                    dark = begin[i] - end[j] - 1
                    if dark > longest:
                        if before < 0:
                            heads[slot] = following
                        else:
                            after[before] = following
                    else:
                        before = j
                        # cells of other places that share the slot fail the distance; each is met once a slot at most
                        if dark >= 1 and int(np.floor(x[j] / cell)) == cx and int(np.floor(y[j] / cell)) == cy:
                            far = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
                            if far <= radius * radius:
                                counts[0, dark] += 1
                            elif far <= 4 * radius * radius:
                                counts[1, dark] += 1
                    j = following
        if added < use:
            slot = ((ix * 73856093) ^ (iy * 19349663)) & (size - 1)
            after[i] = heads[slot]
            heads[slot] = i
            added += 1
