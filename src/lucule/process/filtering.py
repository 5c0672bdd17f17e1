"""Filters: conditions on columns, local density, duplicates; with a count of what each step takes away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import ColumnError, Config, InputError, Localizations, expressions, step
from lucule.process.presets import load_filter
from lucule.space import NeighbourGrid

_KEYS: Final = ("field", "channel", "frame", "x", "y", "z")


class FilterSettings(Config):
    """What is kept; steps are applied in this order.

    Attributes
    ----------
    preset
        Name of a packaged filter, such as `caml` or `sarcomere`.
    where
        Conditions such as `photons > 500 & x_err < 20`, one step each.
    drop_duplicates
        Keep one of several rows with the same frame and position.
    least_neighbours, within_nm
        Keep rows with at least so many others within this distance; None: no such step.
    most_neighbours
        Keep rows with at most so many others within `within_nm`: against beads and dirt.
    """

    preset: str | None = None
    where: tuple[str, ...] = ()
    drop_duplicates: bool = False
    least_neighbours: Annotated[int, Field(ge=1)] | None = None
    most_neighbours: Annotated[int, Field(ge=0)] | None = None
    within_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Filtering:
    """What a filter does to a table.

    Attributes
    ----------
    keep
        Which rows remain, `(n,)`.
    steps
        Name of each step, rows before it and rows that it takes away.
    """

    keep: NDArray[np.bool_]
    steps: tuple[tuple[str, int, int], ...]

    def table(self) -> pl.DataFrame:
        """Count of each step; percentages are of the rows that came in to it, and of the whole."""
        whole = max(len(self.keep), 1)
        return pl.DataFrame(
            [
                {"step": name, "before": before, "discarded": gone, "left": before - gone,
                 "percent_discarded": 100 * gone / max(before, 1), "percent_of_all": 100 * gone / whole}
                for name, before, gone in self.steps
            ],
            schema={"step": pl.String, "before": pl.Int64, "discarded": pl.Int64, "left": pl.Int64,
                    "percent_discarded": pl.Float64, "percent_of_all": pl.Float64},
        )  # fmt: skip


def plan_filter(locs: Localizations, settings: FilterSettings) -> Filtering:
    """Find which rows a filter keeps, and how many each step takes away, without making a table.

    Rows whose value is not a number fulfil no comparison and are discarded by conditions on that column.

    Raises
    ------
    ColumnError
        A condition names a column that the table does not have.
    InputError
        A condition cannot be read, there is no such preset, or nothing is asked for.

    Examples
    --------
    >>> locs = Localizations({"x": [0.0, 1.0, 2.0], "y": [0.0] * 3, "photons": [100, 600, 6000]})
    >>> plan_filter(locs, FilterSettings(where=("photons > 500", "photons < 5000"))).table()["discarded"].to_list()
    [1, 1]
    """
    conditions = [*(load_filter(settings.preset).steps if settings.preset else ()), *settings.where]
    by_density = settings.least_neighbours is not None or settings.most_neighbours is not None
    if by_density and settings.within_nm is None:
        raise InputError("A filter by density needs a distance", next_step="give within_nm, for example 50")
    if not (conditions or settings.drop_duplicates or by_density):
        raise InputError("The filter has no step", next_step='name one, for example --where "photons > 500"')
    keep = np.ones(len(locs), np.bool_)
    steps: list[tuple[str, int, int]] = []

    def take(name: str, fulfilled: NDArray[np.bool_]) -> None:
        before = int(keep.sum())
        keep[:] = keep & fulfilled
        steps.append((name, before, before - int(keep.sum())))

    if settings.drop_duplicates:
        take("duplicates", ~duplicates(locs))
    for condition in conditions:
        take(condition, _fulfilled(locs, condition, of_preset=condition not in settings.where))
    if by_density:
        counts = np.zeros(len(locs), np.int64)
        if keep.any():
            counts[keep] = NeighbourGrid(_points(locs)[keep]).count_within(settings.within_nm or 0.0)
        low, high = settings.least_neighbours or 0, settings.most_neighbours
        fits = (counts >= low) & (counts <= high if high is not None else True)
        limits = f"{low} to {high if high is not None else 'any number of'}"
        take(f"{limits} neighbours within {settings.within_nm:g} nm", fits)
    return Filtering(keep, tuple(steps))


@step
def filter_locs(locs: Localizations, *, settings: FilterSettings) -> Localizations:
    """Keep the rows that fulfil all steps of a filter. Errors are those of `plan_filter`."""
    kept = plan_filter(locs, settings).keep
    return Localizations(locs.data.filter(pl.Series(kept)), locs.meta)


def duplicates(locs: Localizations) -> NDArray[np.bool_]:
    """Rows that repeat frame and exact position of an earlier row.

    Examples
    --------
    >>> duplicates(Localizations({"x": [1.0, 2.0, 1.0], "y": [0.0, 0.0, 0.0]})).tolist()
    [False, False, True]
    """
    if not len(locs):
        return np.zeros(0, np.bool_)
    keys = [name for name in _KEYS if name in locs]
    first = locs.data.select(keys).with_row_index("_row").group_by(keys).agg(pl.col("_row").min())["_row"].to_numpy()
    repeated = np.ones(len(locs), np.bool_)
    repeated[first] = False
    return repeated


def cuts_of(conditions: Sequence[str], columns: Sequence[str]) -> dict[str, list[float]]:
    """Constants with which columns are compared: where a histogram shows the cut.

    Examples
    --------
    >>> cuts_of(["photons > 500 & x_err < 20"], ["photons", "x_err"])
    {'photons': [500.0], 'x_err': [20.0]}
    """
    found: dict[str, list[float]] = {}
    for condition in conditions:
        for column, value in expressions.comparisons(condition):
            if column in columns and value not in found.get(column, []):
                found.setdefault(column, []).append(value)
    return found


def conditions_of(settings: FilterSettings) -> list[str]:
    """All conditions of a filter, those of its preset first."""
    return [*(load_filter(settings.preset).steps if settings.preset else ()), *settings.where]


def _fulfilled(locs: Localizations, condition: str, *, of_preset: bool) -> NDArray[np.bool_]:
    try:
        expression = expressions.parse(condition, locs.columns)
    except ColumnError as error:
        step = "a preset needs its columns; use --where for others" if of_preset else None
        raise ColumnError(error.problem, received=error.received, allowed=error.allowed, next_step=step) from None
    if not len(locs):
        return np.zeros(0, np.bool_)
    value: Any = locs.data.select(_answer=expression)["_answer"]
    # polars ranks NaN above all numbers; a measurement that is missing fulfils no comparison
    used = [c for c, _ in expressions.comparisons(condition) if c in locs and locs.data[c].dtype.is_float()]
    fulfilled: NDArray[np.bool_] = value.fill_null(False).to_numpy().astype(np.bool_)
    for column in dict.fromkeys(used):
        fulfilled = fulfilled & ~np.isnan(locs[column])
    return fulfilled


def _points(locs: Localizations) -> NDArray[np.float32]:
    return locs.xyz() if locs.is_3d else locs.xy()
