"""Conditions against each other: medians, tests, effect sizes and the sentence that says how."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import ColumnError, InputError, package_version
from lucule.core.files import atomic_path
from lucule.stats import effects
from lucule.stats.ranks import Adjustment, dunn, kruskal_wallis

FEW_UNITS: Final = 5
"""With fewer units in a condition the chi-squared distribution of Kruskal and Wallis is rough."""
_STRATA: Final = ("channel", "label")
_ADJUSTED: Final = {
    "holm": "adjusted for the number of pairs after Holm",
    "bonferroni": "adjusted for the number of pairs after Bonferroni",
    "none": "not adjusted for the number of pairs",
}

_TEST_NUMBERS: Final = ("h", "p", "epsilon_squared", "low", "high")
_TEST_TYPES: Final[dict[str, Any]] = dict.fromkeys(_TEST_NUMBERS, pl.Float64) | {"df": pl.Int64, "reason": pl.String}
_OF_PAIRS: Final = (
    "z",
    "p",
    "p_adjusted",
    "difference",
    "difference_low",
    "difference_high",
    "ratio",
    "shift",
    "cliffs_delta",
    "delta_low",
    "delta_high",
)
_PAIR_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("measure", "first", "second"), pl.String),
    **dict.fromkeys(("n_first", "n_second"), pl.Int64),
    **dict.fromkeys(_OF_PAIRS, pl.Float64),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Result of `compare`. All tables have `channel` and `label` first where the units have them.

    Attributes
    ----------
    units
        The values that were compared, one row per unit (cell).
    conditions
        In the order in which they are shown.
    medians
        For each measure and condition: `n` (units with a value), `missing` (without), `median`, `q1`, `q3`, and the
        95 % interval of the median, `low` and `high`.
    tests
        For each measure Kruskal and Wallis: `conditions` and `n` that took part, `h`, `df`, `p`, `epsilon_squared` with
        `low` and `high` (none where no two conditions overlap: a bootstrap cannot tell then), and `reason` where there
        is no test.
    pairs
        For each measure and two conditions: Dunn's `z`, `p` and `p_adjusted`; `difference` of the medians (second less
        first) with `difference_low` and `difference_high`; `ratio` of the medians; `shift` (Hodges and Lehmann);
        `cliffs_delta` with `delta_low` and `delta_high`.
    settings
        `adjust`, `alpha`, `resamples`, `seed`.
    """

    units: pl.DataFrame
    conditions: tuple[str, ...]
    medians: pl.DataFrame
    tests: pl.DataFrame
    pairs: pl.DataFrame
    settings: dict[str, Any]

    def table(self) -> pl.DataFrame:
        """One row per measure and condition."""
        return self.medians

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what was compared."""
        return tuple(self.tests["measure"].unique(maintain_order=True))

    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before trusting the tests."""
        counts = {name: self.units.filter(pl.col("condition") == name)["unit"].n_unique() for name in self.conditions}
        found = []
        if len(counts) < 2:
            found.append("There is one condition only, so that nothing could be tested.")
        elif few := [f"{name} ({count})" for name, count in counts.items() if count < FEW_UNITS]:
            found.append(f"Fewer than {FEW_UNITS} cells make P values rough: {', '.join(few)}.")
        if "replicate" in self.units.columns:
            lone = [
                name
                for name in self.conditions
                if self.units.filter(pl.col("condition") == name)["replicate"].n_unique() < 2
            ]
            if lone:
                found.append(f"Only one replicate (experiment) stands behind {', '.join(lone)}.")
        return tuple(found)

    def replicates(self) -> pl.DataFrame | None:
        """Median of each measure in each replicate of each condition; None where no replicates are named."""
        if "replicate" not in self.units.columns:
            return None
        keys = [*(name for name in _STRATA if name in self.units.columns), "condition", "replicate"]
        values = [pl.col(name).fill_nan(None).median() for name in self.measures]
        return self.units.group_by(keys, maintain_order=True).agg(pl.len().alias("cells"), *values)

    def methods(self) -> str:
        """How it was done, ready for the methods section of a paper."""
        counts = self.units.group_by("condition").agg(pl.col("unit").n_unique().alias("n"))
        n = dict(zip(counts["condition"], counts["n"], strict=True))
        cells = ", ".join(f"{name}: {n[name]}" for name in self.conditions)
        text = (
            f"Each value stands for one cell, and what is measured per cluster is the median of the cell's clusters "
            f"(cells: {cells}). "
        )
        # with one cell for each condition, or equal values everywhere, nothing was tested
        if self.tests["p"].is_not_null().any():
            k = len(self.measures) * max(self.tests.height // max(len(self.measures), 1), 1)
            text += (
                f"Conditions were compared by the Kruskal\N{EN DASH}Wallis test, corrected for ties, and all pairs of "
                f"conditions by Dunn's test on the ranks of all cells; P values of pairs are two-sided and "
                f"{_ADJUSTED[self.settings['adjust']]}, and P < {self.settings['alpha']:g} was considered significant. "
                f"{k} measure{'s were' if k > 1 else ' was'} compared"
                f"{', without adjustment for their number' if k > 1 else ''}. "
                f"Effect sizes are \N{GREEK SMALL LETTER EPSILON}² of Kruskal\N{EN DASH}Wallis and Cliff's "
                f"\N{GREEK SMALL LETTER DELTA} of pairs (equal to the rank-biserial correlation). "
            )
        text += (
            f"Intervals are 95 % percentile intervals of a bootstrap ({self.settings['resamples']:,} resamples of the "
            f"cells of each condition, seed {self.settings['seed']}; that of \N{GREEK SMALL LETTER EPSILON}² corrected "
            f"for its bias); none are given below {effects.FEWEST_VALUES} cells. Cells count as independent of each "
            f"other. Calculations were done with lucule {package_version()} (numpy {version('numpy')}, "
            f"scipy {version('scipy')})."
        )
        return text

    def summary(self) -> dict[str, Any]:
        """All results in values that JSON can hold."""
        return {
            "conditions": {
                name: self.units.filter(pl.col("condition") == name)["unit"].n_unique() for name in self.conditions
            },
            "medians": self.medians.fill_nan(None).to_dicts(),
            "tests": self.tests.fill_nan(None).to_dicts(),
            "pairs": self.pairs.fill_nan(None).to_dicts(),
            "methods": self.methods(),
        }

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `cells`, `medians`, `tests`, `pairs` (and `replicates`), each as `.csv` and `.parquet`."""
        tables = {"cells": self.units, "medians": self.medians, "tests": self.tests, "pairs": self.pairs}
        of_replicates = self.replicates()
        if of_replicates is not None:
            tables["replicates"] = of_replicates
        written = []
        for name, table in tables.items():
            for suffix in (".csv", ".parquet"):
                path = Path(folder) / f"{name}{suffix}"
                with atomic_path(path) as temporary:
                    if suffix == ".csv":
                        table.write_csv(temporary)
                    else:
                        table.write_parquet(temporary)
                written.append(path)
        return written


def compare(
    units: pl.DataFrame,
    measures: Sequence[str],
    *,
    adjust: Adjustment = "holm",
    alpha: float = 0.05,
    resamples: int = 2000,
    seed: int = 1,
) -> Comparison:
    """Compare conditions in each of several measures.

    Parameters
    ----------
    units
        One row per unit of observation (one cell, and channel and class where there are several): `condition`, `unit`
        (its name), the columns that `measures` name, and where known `replicate`, `channel`, `label`. A value that is
        null or NaN takes no part and is counted as missing.
    measures
        Columns of `units`.
    adjust
        How P values of pairs are adjusted, see `lucule.stats.adjusted`.
    alpha
        Level of significance, for the methods sentence and for plots.
    resamples, seed
        Of the bootstrap.

    Returns
    -------
    comparison
        A condition without values of a measure takes no part in the test of that measure. Where there is no test,
        because only one condition has values or all values are equal, `tests` says why.

    Raises
    ------
    ColumnError
        A column is missing.
    InputError
        There are no units or no measures, or a number is not allowed.

    Examples
    --------
    >>> units = pl.DataFrame({"condition": ["a"] * 4 + ["b"] * 4, "unit": list("12345678"), "area": range(8)})
    >>> result = compare(units, ["area"])
    >>> result.medians["median"].to_list(), round(result.tests["p"][0], 4), result.pairs["cliffs_delta"][0]
    ([1.5, 5.5], 0.0209, 1.0)
    """
    if missing := [name for name in ("condition", "unit", *measures) if name not in units.columns]:
        raise ColumnError("Conditions cannot be compared", received=f"no column {', '.join(missing)}")
    if not units.height or not measures:
        raise InputError("There is nothing to compare", received=f"{units.height} cells, {len(measures)} measures")
    if not 0 < alpha < 1 or resamples < 100:
        raise InputError(
            "Conditions cannot be compared so",
            received=f"alpha = {alpha}, resamples = {resamples}",
            allowed="alpha between 0 and 1, at least 100 resamples",
        )
    conditions = tuple(units["condition"].unique(maintain_order=True))
    strata = [name for name in _STRATA if name in units.columns]
    keys = units.select(strata).unique().sort(strata).to_dicts() if strata else [{}]
    medians, tests, pairs = [], [], []
    for key in keys:
        own = units.filter([pl.col(name) == value for name, value in key.items()]) if key else units
        for measure in measures:
            # independent of which other measures and classes are compared
            rng = np.random.default_rng([seed, *measure.encode(), *(int(value) for value in key.values())])
            start = key | {"measure": measure}
            groups = {name: _values(own.filter(pl.col("condition") == name)[measure]) for name in conditions}
            counts = {name: own.filter(pl.col("condition") == name).height for name in conditions}
            drawn = {
                name: effects.medians(values, resamples, rng) if len(values) >= effects.FEWEST_VALUES else None
                for name, values in groups.items()
            }
            medians += [start | _median_row(name, groups[name], counts[name], drawn[name]) for name in conditions]
            tests.append(start | _test_row(groups, resamples, rng))
            pairs += [start | row for row in _pair_rows(groups, drawn, adjust, resamples, rng)]
    settings = {"adjust": adjust, "alpha": alpha, "resamples": resamples, "seed": seed}
    types = {name: units.schema[name] for name in strata}
    return Comparison(
        units,
        conditions,
        pl.DataFrame(medians, infer_schema_length=None, schema_overrides=types),
        pl.DataFrame(tests, infer_schema_length=None, schema_overrides=types | _TEST_TYPES),
        pl.DataFrame(pairs, schema=types | _PAIR_TYPES),
        settings,
    )


def _values(column: pl.Series) -> Floats:
    values = column.cast(pl.Float64).drop_nulls().to_numpy()
    return values[np.isfinite(values)]


def _median_row(name: str, values: Floats, count: int, drawn: Floats | None) -> dict[str, Any]:
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75]).tolist() if len(values) else (None, None, None)
    low, high = (None, None) if drawn is None else effects.percentile_interval(drawn)
    spread = {"median": median, "q1": q1, "q3": q3, "low": low, "high": high}
    return {"condition": name, "n": len(values), "missing": count - len(values), **spread}


def _test_row(groups: dict[str, Floats], resamples: int, rng: np.random.Generator) -> dict[str, Any]:
    present = [values for values in groups.values() if len(values)]
    row: dict[str, Any] = {"conditions": len(present), "n": sum(len(values) for values in present)}
    reason = _why_no_test(groups)
    if reason is not None:
        return row | dict.fromkeys(("h", "df", "p", "epsilon_squared", "low", "high")) | {"reason": reason}
    result = kruskal_wallis(present)
    low: float | None = None
    high: float | None = None
    if min(len(values) for values in present) >= effects.FEWEST_VALUES and _overlap(present):
        low, high = effects.epsilon_squared_interval(present, resamples, rng)
    found = {"h": result.h, "df": result.df, "p": result.p, "epsilon_squared": result.epsilon_squared}
    return row | found | {"low": low, "high": high, "reason": None}


def _overlap(groups: list[Floats]) -> bool:
    """Whether any two groups have a range in common; resamples of groups that have not differ as they do."""
    return any(abs(effects.cliffs_delta(a, b)) < 1 for a, b in combinations(groups, 2))


def _why_no_test(groups: dict[str, Floats]) -> str | None:
    present = [values for values in groups.values() if len(values)]
    if len(groups) < 2:
        return "there is one condition only"
    if len(present) < 2:
        return "fewer than two conditions have values"
    everything = np.concatenate(present)
    if (everything == everything[0]).all():
        return "all values are equal"
    if len(everything) == len(present):
        return "there is one cell per condition"
    return None


def _pair_rows(
    groups: dict[str, Floats],
    drawn: dict[str, Floats | None],
    adjust: Adjustment,
    resamples: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    present = {name: values for name, values in groups.items() if len(values)}
    tested = {}
    if _why_no_test(groups) is None:
        names = list(present)
        for pair in dunn(list(present.values()), adjust=adjust):
            numbers = {"z": pair.z, "p": pair.p, "p_adjusted": pair.p_adjusted}
            tested[names[pair.first], names[pair.second]] = numbers
    rows = []
    for first, second in combinations(groups, 2):
        a, b = groups[first], groups[second]
        row: dict[str, Any] = dict.fromkeys(_PAIR_TYPES)
        row |= {"first": first, "second": second, "n_first": len(a), "n_second": len(b)}
        row |= tested.get((first, second), {})
        if len(a) and len(b):
            middle = float(np.median(a)), float(np.median(b))
            row |= {
                "difference": middle[1] - middle[0],
                "ratio": middle[1] / middle[0] if middle[0] else None,
                "shift": effects.hodges_lehmann(a, b),
                "cliffs_delta": effects.cliffs_delta(a, b),
            }
        of_first, of_second = drawn[first], drawn[second]
        if of_first is not None and of_second is not None:
            row["difference_low"], row["difference_high"] = effects.percentile_interval(of_second - of_first)
            row["delta_low"], row["delta_high"] = effects.delta_interval(a, b, resamples, rng)
        del row["measure"]
        rows.append(row)
    return rows
