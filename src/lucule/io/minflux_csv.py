"""MINFLUX tables as CSV, as pyMINFLUX and several publications write them: `tid, t (or tim), x, y, z`; nm.

One row per localization, `tid` numbers the traces and becomes `event`. Time is in s and kept as a vendor column; there
are no camera frames. Positions are relative to the middle of the scan, so negative values are normal. That y points
down is not verified.
"""

from __future__ import annotations

from typing import Final

from lucule.io._columns import Field
from lucule.io._text import Layout
from lucule.io._text_format import text_format
from lucule.io.format import Format


def _recognise(shape: Layout) -> bool:
    return {"tid", "x", "y"} <= shape.base_names and bool({"t", "tim"} & shape.base_names)


FORMAT: Final[Format] = text_format(
    name="minflux_csv",
    title="MINFLUX CSV",
    extensions=(".csv",),
    fields=(Field("x", "x", "nm"), Field("y", "y", "nm"), Field("z", "z", "nm"), Field("event", "tid")),
    recognise=_recognise,
    whole_numbers=("iid", "fluo"),
    notes="traces become events; no frames; direction of y not verified",
)
