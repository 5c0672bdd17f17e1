"""From numbered double lines to a table of sarcomeres, and to one distance for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import Localizations
from lucule.space import threads
from lucule.structures.sarcomeres.complete import nearby, over_background, usual_background
from lucule.structures.sarcomeres.filters import hull_measures, members
from lucule.structures.sarcomeres.intervals import LineSettings
from lucule.structures.sarcomeres.likelihood import Floats
from lucule.structures.sarcomeres.line_distance import LineFit, checked, line_distance
from lucule.structures.sarcomeres.profiles import edge_separation, line_length_nm
from lucule.structures.sarcomeres.widths import with_learned_width

_FEWEST_FOR_TWO: Final = 8
_TWO_BY: Final = 6.0
_LEAST_SHARE: Final = 0.2
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """The line distance of many sarcomeres.

    Attributes
    ----------
    nm, interval_nm
        Mean and its 95 % interval; None where there is none.
    spread_nm
        Standard deviation from sarcomere to sarcomere, beyond the errors of the single distances.
    sarcomeres
        How many have a distance.
    reason
        Why there is no single distance.
    """

    nm: float | None
    interval_nm: tuple[float, float] | None
    spread_nm: float | None
    sarcomeres: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sarcomeres:
    """Measured double lines.

    Attributes
    ----------
    rows
        One row for each: position, localizations, distance with interval, shape; `reason` where there is no distance.
    fits
        The fit of each.
    aligned
        `sarcomere`, `u_nm`, `v_nm`, `x_err`: localizations of those with a distance, turned and moved to each other.
    distance
        Of all together.
    off_lines
        `(n,)`, which localizations of the table are in a double line but rather background to its fit.
    """

    rows: pl.DataFrame
    fits: tuple[LineFit, ...]
    aligned: pl.DataFrame
    distance: Distance
    off_lines: NDArray[np.bool_]

    def table(self) -> pl.DataFrame:
        """One row for each double line."""
        return self.rows

    def summary(self) -> dict[str, Any]:
        """The key numbers, as the command prints them."""
        told = self.rows.filter(pl.col("line_distance_nm").is_not_null())

        def median(name: str) -> float | None:
            values = told[name].drop_nans().drop_nulls()
            return float(values.median()) if len(values) else None  # type: ignore[arg-type]

        interval = self.distance.interval_nm
        return {
            "double_lines": self.rows.height,
            "sarcomeres_measured": self.distance.sarcomeres,
            "line_distance_nm": self.distance.nm,
            "line_distance_nm_interval": None if interval is None else list(interval),
            "line_distance_nm_reason": self.distance.reason,
            "line_distance_spread_nm": self.distance.spread_nm,
            "line_length_nm": median("line_length_nm"),
            "line_width_nm": median("line_width_nm"),
            "divergence_deg": median("divergence_deg"),
            "edge_over_middle": median("edge_over_middle"),
        }


def measure(locs: Localizations, number: NDArray[np.int32], settings: LineSettings | None = None) -> Sarcomeres:
    """Measure the double lines of a table.

    Parameters
    ----------
    locs
        All localizations; `x_err` and `y_err` are used where they are there.
    number
        `(n,)` double line of each, -1 for none.
    settings
        For the fit of the lines.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> x = rng.choice([-50, 50], 3000) + rng.normal(0, 10, 3000)
    >>> locs = Localizations({"x": x + 500, "y": rng.uniform(0, 1400, 3000), "x_err": np.full(3000, 10.0)})
    >>> measured = measure(locs, np.zeros(3000, np.int32))
    >>> abs(measured.summary()["line_distance_nm"] - 100) < 3
    True
    """
    settings = settings or LineSettings()
    xy = locs.xy().astype(np.float64)
    errors = errors_nm(locs)
    each = members(number)
    settings = with_learned_width(xy, errors, each, settings)
    owns = [None if errors is None else errors[mine] for mine in each]
    fits = threads.each(lambda i: line_distance(xy[each[i]], owns[i], settings=settings), len(each))
    rows, parts = [], []
    off_lines, variance = np.zeros(len(xy), np.bool_), checked(xy, errors, settings)[1]
    usual = usual_background(xy, number)
    for label, (mine, own, fit) in enumerate(zip(each, owns, fits, strict=True)):
        u, v = fit.coordinates(xy[mine])
        rows.append(_row(label, xy[mine], u, v, fit))
        if fit.reason is None:
            off_lines[_off_lines(fit, xy, variance, number, label, usual, settings)] = True
            part = {"sarcomere": np.full(len(mine), label, np.int32), "u_nm": u, "v_nm": v}
            parts.append(pl.DataFrame(part | {"x_err": np.full(len(mine), np.nan) if own is None else own}))
    empty = pl.DataFrame(schema={"sarcomere": pl.Int32, "u_nm": pl.Float64, "v_nm": pl.Float64, "x_err": pl.Float64})
    table = pl.DataFrame(rows, schema=_SCHEMA)
    told = table.filter(pl.col("line_distance_nm").is_not_null())
    distance = combine(told["line_distance_nm"].to_numpy(), told["line_distance_error_nm"].to_numpy(), table.height)
    return Sarcomeres(table, tuple(fits), pl.concat([empty, *parts]), distance, off_lines)


def _off_lines(
    fit: LineFit, xy: Floats, variance: Floats, number: NDArray[np.int32], label: int, usual: float,
    settings: LineSettings,
) -> NDArray[np.int64]:  # fmt: skip
    """Rows of a double line that are rather background, beside or between its lines, than on one of them.

    Background is what the fit finds in the double line, or, where that is more, what lies around it: labels leave
    little of it inside.
    """
    rows = np.flatnonzero(nearby(xy, number, label))
    mine = number[rows] == label
    u, v = fit.coordinates(xy[rows])
    width = np.sqrt(fit.width_nm**2 + variance[rows])
    around = 1 / over_background(u, v, width, fit.distance_nm / 2, mine, usual)
    inside = fit.background / (2 * settings.reach_nm)
    lines = (1 - fit.background) * fit.across(u[mine], v[mine], variance[rows[mine]], settings)
    return rows[mine][lines < max(inside, around)]


def combine(nm: Floats, error_nm: Floats, found: int | None = None) -> Distance:
    """One distance for all sarcomeres: a mean with random effects, or why there is none.

    Parameters
    ----------
    nm, error_nm
        `(n,)` distance of each sarcomere and its standard error.
    found
        Double lines that were found, measured or not.

    Notes
    -----
    The spread from sarcomere to sarcomere is that of DerSimonian and Laird (1986), the interval that of Hartung and
    Knapp (2001). Two populations are reported instead where two normal distributions describe the distances so much
    better that the Bayesian information criterion falls by more than 6.

    Examples
    --------
    >>> combine(np.array([118.0, 121.0, 120.0, 122.0]), np.full(4, 2.0)).nm
    120.25
    >>> combine(np.array([]), np.array([]), 0).reason
    'no double line was found'
    """
    from scipy.special import stdtrit

    n = len(nm)
    if n == 0:
        none = (
            "no double line was found" if not found else f"{found} double lines were found, and none could be measured"
        )
        return Distance(None, None, None, 0, none)
    if n == 1:
        half = 1.96 * float(error_nm[0])
        return Distance(float(nm[0]), (float(nm[0]) - half, float(nm[0]) + half), None, 1, None)
    if (two := _two_populations(nm, error_nm)) is not None:
        return Distance(None, None, float(np.std(nm, ddof=1)), n, two)
    variance = np.maximum(error_nm, 0.1) ** 2
    weight = 1 / variance
    mean = float((weight * nm).sum() / weight.sum())
    excess = float((weight * (nm - mean) ** 2).sum()) - (n - 1)
    between = max(excess / float(weight.sum() - (weight**2).sum() / weight.sum()), 0.0)
    weight = 1 / (variance + between)
    mean = float((weight * nm).sum() / weight.sum())
    error = math.sqrt(max(float((weight * (nm - mean) ** 2).sum()) / (n - 1), 1e-12) / float(weight.sum()))
    # never narrower than the errors of the single distances allow
    error = max(error, math.sqrt(1 / float((1 / variance).sum()))) if n < 4 else error
    half = float(stdtrit(n - 1, 0.5 + _CONFIDENCE / 2)) * error
    return Distance(mean, (mean - half, mean + half), math.sqrt(between), n, None)


def _two_populations(nm: Floats, error_nm: Floats) -> str | None:
    """A sentence on two populations of distances; None where one explains them."""
    if len(nm) < _FEWEST_FOR_TWO:
        return None
    order = np.sort(nm)
    variance = error_nm**2
    one = _loglikelihood(nm, variance, [float(nm.mean())], [1.0], float(np.std(nm)))
    best = None
    for cut in order[2:-2]:
        means = [float(nm[nm <= cut].mean()), float(nm[nm > cut].mean())]
        share = float((nm <= cut).mean())
        spread = math.sqrt(float(np.mean(np.where(nm <= cut, nm - means[0], nm - means[1]) ** 2)))
        value = _loglikelihood(nm, variance, means, [share, 1 - share], spread)
        if best is None or value > best[0]:
            best = value, means, share, spread
    if best is None:
        return None
    value, means, share, spread = best
    # two more parameters: a mean and a share
    gain = 2 * (value - one) - 2 * math.log(len(nm))
    if gain < _TWO_BY or not _LEAST_SHARE <= share <= 1 - _LEAST_SHARE or means[1] - means[0] < 3 * spread:
        return None
    counts = round(share * len(nm)), len(nm) - round(share * len(nm))
    return (
        f"two populations: {means[0]:.0f} nm ({counts[0]} sarcomeres) and {means[1]:.0f} nm ({counts[1]}); "
        "one mean would describe neither"
    )


def _loglikelihood(nm: Floats, variance: Floats, means: list[float], shares: list[float], spread: float) -> float:
    # the scatter that is seen contains the errors already
    total = np.maximum(spread**2, variance)
    parts = [
        s * np.exp(-0.5 * (nm - m) ** 2 / total) / np.sqrt(2 * np.pi * total)
        for m, s in zip(means, shares, strict=True)
    ]
    return float(np.log(np.sum(parts, axis=0) + 1e-300).sum())


def errors_nm(locs: Localizations) -> Floats | None:
    """Localization error of each in the plane, nm; None where the table has none."""
    if "x_err" not in locs:
        return None
    x = locs["x_err"].astype(np.float64)
    return np.sqrt((x**2 + locs["y_err"].astype(np.float64) ** 2) / 2) if "y_err" in locs else x


_SCHEMA: Final = {
    "sarcomere": pl.Int32, "x_nm": pl.Float64, "y_nm": pl.Float64, "angle_deg": pl.Float64, "localizations": pl.Int64,
    "line_distance_nm": pl.Float64, "line_distance_low_nm": pl.Float64, "line_distance_high_nm": pl.Float64,
    "line_distance_error_nm": pl.Float64, "line_width_nm": pl.Float64, "line_length_nm": pl.Float64,
    "bend_per_um": pl.Float64, "divergence_deg": pl.Float64, "edge_over_middle": pl.Float64,
    "share_of_second_line": pl.Float64, "background_fraction": pl.Float64, "hull_area_um2": pl.Float64,
    "hull_perimeter_um": pl.Float64, "hull_length_nm": pl.Float64, "reason": pl.String,
}  # fmt: skip


def _row(label: int, xy: Floats, u: Floats, v: Floats, fit: LineFit) -> dict[str, Any]:
    length = line_length_nm(v)
    told = fit.reason is None
    return {
        "sarcomere": label,
        "x_nm": float(xy[:, 0].mean()),
        "y_nm": float(xy[:, 1].mean()),
        "angle_deg": math.degrees(math.atan2(fit.direction[1], fit.direction[0])) % 180,
        "localizations": len(xy),
        "line_distance_nm": fit.distance_nm if told else None,
        "line_distance_low_nm": fit.interval_nm[0] if told else None,
        "line_distance_high_nm": fit.interval_nm[1] if told else None,
        "line_distance_error_nm": fit.error_nm if told else None,
        "line_width_nm": fit.width_nm,
        "line_length_nm": length,
        "bend_per_um": fit.bend_per_um,
        "divergence_deg": fit.divergence_deg,
        "edge_over_middle": edge_separation(u, v, length) if told else None,
        "share_of_second_line": fit.share,
        "background_fraction": fit.background,
        **hull_measures(xy),
        "reason": fit.reason,
    }
