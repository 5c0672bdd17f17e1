"""For tests of code that uses lucule: hypothesis strategies that make valid tables (needs hypothesis)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lucule.core import COLUMNS, Localizations, Meta
from lucule.core.schema import LARGEST_POSITION_NM, REQUIRED

_LARGEST: Final[dict[pl.DataType, int]] = {
    pl.UInt8(): 2**8 - 1,
    pl.UInt16(): 2**16 - 1,
    pl.UInt32(): 2**32 - 1,
    pl.Int32(): 2**31 - 1,
}


def localizations(
    *,
    min_size: int = 0,
    max_size: int = 30,
    columns: tuple[str, ...] = tuple(COLUMNS),
    vendor_columns: bool = True,
    missing_values: bool = True,
) -> st.SearchStrategy[Localizations]:
    """Tables with `min_size` to `max_size` rows and any of `columns`, x and y always among them.

    Parameters
    ----------
    columns
        lucule's columns that may appear.
    vendor_columns
        Whether columns of other names may appear.
    missing_values
        Whether columns of real numbers other than positions may hold NaN.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, database=None)
    ... @given(localizations(min_size=1))
    ... def check(locs):
    ...     assert len(locs) >= 1 and {"x", "y"} <= set(locs.columns)
    >>> check()
    """
    return _tables(min_size, max_size, columns, vendor_columns, missing_values)


@st.composite
def _tables(
    draw: st.DrawFn, min_size: int, max_size: int, columns: tuple[str, ...], vendor: bool, missing: bool
) -> Localizations:
    rows = draw(st.integers(min_size, max_size))
    optional = [name for name in columns if name not in REQUIRED]
    chosen = [*REQUIRED, *draw(st.lists(st.sampled_from(optional), unique=True) if optional else st.just([]))]
    data: dict[str, pl.Series] = {name: draw(_column(name, rows, missing)) for name in chosen}
    if vendor:
        for name in draw(st.lists(st.sampled_from(("chi2", "bkgstd", "log likelihood")), unique=True)):
            data[name] = pl.Series(name, draw(arrays.arrays(np.float64, rows, elements=_real(missing, 64))))
    size = draw(st.none() | st.tuples(*[st.floats(1, 500)] * 2))
    return Localizations(pl.DataFrame(data), Meta(pixel_size_nm=size))


def _column(name: str, rows: int, missing: bool) -> st.SearchStrategy[pl.Series]:
    dtype = COLUMNS[name].dtype
    if name in ("x", "y", "z"):
        limit = 0.875 * LARGEST_POSITION_NM  # formats in pixels may come back a little larger
        elements: st.SearchStrategy[Any] = st.floats(-limit, limit, width=32)
        kind: Any = np.float32
    elif name in ("p", "p_label"):
        elements, kind = st.floats(0, 1, width=32), np.float32
    elif dtype.is_float():
        elements, kind = _real(missing, 32), np.float32
    else:
        elements, kind = st.integers(-1 if name == "cluster" else 0, _LARGEST[dtype]), np.int64
    return arrays.arrays(kind, rows, elements=elements).map(lambda values: pl.Series(name, values, dtype))


def _real(missing: bool, width: Any) -> st.SearchStrategy[float]:
    return st.floats(allow_nan=missing, allow_infinity=False, width=width)
