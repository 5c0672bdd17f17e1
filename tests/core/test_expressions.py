"""The language of filter conditions."""

from __future__ import annotations

import polars as pl
import pytest

from lucule.core import ColumnError, InputError
from lucule.core.expressions import parse

TABLE = pl.DataFrame({"photons": [100.0, 600.0, 900.0], "x_err": [5.0, 30.0, 10.0], "frame": [0, 1, 2]})


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("photons > 500", [1, 2]),
        ("photons > 500 & x_err < 20", [2]),
        ("photons > 500 and x_err < 20", [2]),
        ("photons < 500 | x_err >= 30", [0, 1]),
        ("!(photons > 500)", [0]),
        ("~(photons > 500) || frame == 2", [0, 2]),
        ("frame != 1", [0, 2]),
        ("500 < photons <= 600", [1]),
        ("photons / x_err > 30 - 5 * 2", [2]),
        ("-photons < -500 && sqrt(photons) > 25", [2]),
        ("abs(x_err - 20) == 10", [1, 2]),
        ("frame % 2 == 0", [0, 2]),
        ("log10(photons) > 2 & photons ** 2 < 1e6", [1, 2]),
    ],
)
def test_conditions(text: str, frames: list[int]) -> None:
    assert TABLE.filter(parse(text, TABLE.columns))["frame"].to_list() == frames


@pytest.mark.parametrize(
    "text",
    ["", "photons >", "photons", "5", "__import__('os')", "photons.max() > 1", "photons[0] > 1", "open('f') == 1",
     "lambda: 1", "photons > 'a'", "photons in (1, 2)", "abs(photons, 2) > 1", "[photons > 1]"],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text, TABLE.columns)


def test_unknown_names_are_columns_errors() -> None:
    with pytest.raises(ColumnError, match="photon,"):
        parse("photon > 5", TABLE.columns)
