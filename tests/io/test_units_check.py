"""Wrong units and damaged values are noticed, and good tables raise no alarm."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from lucule.core import Localizations, Meta
from lucule.io.units_check import suspicions


def storm(n: int = 20_000, width_nm: float = 40_000, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """A plausible dSTORM table."""
    rng = np.random.default_rng(seed)
    return {
        "frame": np.sort(rng.integers(0, 5000, n)),
        "x": rng.uniform(0, width_nm, n),
        "y": rng.uniform(0, width_nm, n),
        "z": rng.normal(0, 200, n),
        "photons": rng.exponential(1500, n) + 200,
        "x_err": rng.uniform(5, 25, n),
        "y_err": rng.uniform(5, 25, n),
        "sigma_x": rng.normal(140, 10, n),
        "sigma_y": rng.normal(140, 10, n),
    }


LENGTHS = ("x", "y", "z", "x_err", "y_err", "sigma_x", "sigma_y")


def scaled(factor: float, only: tuple[str, ...] = LENGTHS, drop: tuple[str, ...] = ()) -> Localizations:
    table = storm()
    return Localizations({name: v * factor if name in only else v for name, v in table.items() if name not in drop})


def changed(**columns: Any) -> Localizations:
    return Localizations(storm() | columns)


def rounded() -> Localizations:
    return changed(x=np.round(storm()["x"]), y=np.round(storm()["y"]))


def repeated() -> Localizations:
    locs = scaled(1)
    return Localizations(pl.concat([locs.data, locs.data.head(1000)]))


PRECISION = ("x_err", "y_err")
WIDTH = ("sigma_x", "sigma_y")

CASES: dict[str, tuple[Callable[[], Localizations], str]] = {
    "pixels": (lambda: scaled(1 / 100), "positions look like pixels.*--unit px --pixel-size-nm SIZE"),
    "pixels, no widths": (lambda: scaled(1 / 100, drop=WIDTH), "positions look like pixels.*median precision is 0.1"),
    "pixels, nothing else known": (lambda: scaled(1 / 100, drop=WIDTH + PRECISION), "positions look like pixels"),
    "pixels but z in nm": (lambda: scaled(1 / 100, ("x", "y", *PRECISION, *WIDTH)), "positions look like pixels"),
    "micrometres": (lambda: scaled(1e-3), "positions look like micrometres.*--unit um"),
    "micrometres, no widths": (lambda: scaled(1e-3, drop=WIDTH), "positions look like micrometres"),
    "metres": (lambda: scaled(1e-9), "positions look like metres.*--unit m"),
    "picometres": (lambda: scaled(1e3), "positions span 40 mm"),
    "precision in pixels": (lambda: scaled(1e-3, PRECISION), "median precision is 0.0"),
    "precision larger than the PSF": (lambda: scaled(20, PRECISION), "x_err is larger than the PSF width sigma_x in"),
    "precision 0": (lambda: scaled(0, PRECISION), "x_err is zero or negative in 100.0%"),
    "frames from 1": (lambda: changed(frame=np.sort(np.arange(20_000) % 500 + 1)), "may count frames from 1"),
    "one frame": (lambda: changed(frame=np.full(20_000, 7)), "all localizations are in frame 7"),
    "flat z": (lambda: changed(z=np.zeros(20_000)), "z is 0 nm in every row; the table is treated as 2D"),
    "deep z": (lambda: scaled(100, ("z",)), "more than a PSF covers"),
    "z in um": (lambda: scaled(1e-4, ("z",)), "z spans 0.1.* nm; check its unit"),
    "normalized photons": (lambda: changed(photons=np.full(20_000, 0.4)), "median of photons is 0.4"),
    "counts": (lambda: changed(photons=np.full(20_000, 4e7)), "may be camera counts"),
    "negative photons": (lambda: changed(photons=np.linspace(-100, 5000, 20_000)), "photons are negative in 2.0%"),
    "repeated rows": (repeated, "4.8% of the localizations repeat the position"),
    "x everywhere the same": (lambda: changed(x=np.full(20_000, 5.0)), "x is the same in every row"),
    "rounded": (rounded, "positions are whole numbers of nm"),
    "outliers": (lambda: changed(x=np.append(storm()["x"][1:], 9e5)), "a few positions lie far off: x spans 9e"),
    "gaps": (lambda: changed(x_err=np.where(np.arange(20_000) % 4, 9, np.nan)), "x_err is missing in 25.00%"),
    "an empty column": (lambda: changed(x_err=np.full(20_000, np.nan)), "x_err is empty"),
    "p is no probability": (lambda: changed(p=np.full(20_000, 1.5)), "p is outside 0 to 1"),
    "empty": (lambda: Localizations({"x": [], "y": []}), "the table holds no localizations"),
    "dropped rows": (lambda: Localizations(storm(), Meta(vendor={"dropped_rows": 3})), "3 rows without a finite"),
    "notes of the reader": (lambda: Localizations(storm(), Meta(vendor={"notes": ["odd"]})), "odd"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_noticed(case: str) -> None:
    make, pattern = CASES[case]
    found = suspicions(make())
    assert any(re.search(pattern, text) for text in found), found


@pytest.mark.parametrize(
    "locs",
    [
        scaled(1),
        Localizations({"x": [1.5], "y": [2.5]}),
        Localizations({"x": [1.5, 3.0], "y": [2.5, 4.5], "frame": [1, 2]}),
        # averaged molecules: precision of 0.4 nm with a normal PSF (RESI)
        Localizations({**storm(), "x_err": np.full(20_000, 0.4), "y_err": np.full(20_000, 0.4)}),
        # MINFLUX: a field of 2 um, no widths, 2 nm precision, dense
        Localizations({**{k: v for k, v in storm(20_000, 2000).items() if k in "xyz"}, "x_err": np.full(20_000, 2.0)}),
    ],
    ids=["dSTORM", "one", "two", "averaged molecules", "MINFLUX"],
)
def test_no_false_alarm(locs: Localizations) -> None:
    assert suspicions(locs) == []


def test_only_one_complaint_about_the_unit() -> None:
    assert len([text for text in suspicions(scaled(1 / 100)) if "look like" in text]) == 1
