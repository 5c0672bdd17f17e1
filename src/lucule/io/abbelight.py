"""Abbelight CSV: ThunderSTORM's columns and the two measurements of z from which `z` was made.

`z_SAF` (supercritical-angle fluorescence: height above the glass) and `z_Astigm` are kept as vendor columns; `z` is
taken as z. No file was at hand: the names come from the reader of bencardoen/smlmvis. That frames count from 1 and
positions from the outer corner, as in ThunderSTORM, is not verified.
"""

from __future__ import annotations

from typing import Final

from lucule.io._text import Layout
from lucule.io._text_format import text_format
from lucule.io.format import Format
from lucule.io.thunderstorm import FIELDS, is_thunderstorm


def _recognise(shape: Layout) -> bool:
    return is_thunderstorm(shape) and bool({"ratio_saf", "z_saf", "z_astigm"} & shape.base_names)


FORMAT: Final[Format] = text_format(
    name="abbelight",
    title="Abbelight CSV",
    extensions=(".csv",),
    fields=FIELDS,
    recognise=_recognise,
    whole_numbers=("id",),
    notes="z_SAF and z_Astigm are kept beside z; frame base and origin as ThunderSTORM, not verified",
)
