"""CSV of the SMLM Challenge (Sage et al., Nature Methods 2015 and 2019): `Ground-truth, frame, xnano, ynano, ...`.

The name `intensity ` ends with a blank. Frames count from 1 (the challenge's own simulator counts so), the origin is
the upper left corner of the image, `intensity` is in photons. `Ground-truth` numbers the fluorophores.
"""

from __future__ import annotations

from typing import Final

from lucule.io._columns import Field
from lucule.io._text_format import text_format
from lucule.io.format import Format

FORMAT: Final[Format] = text_format(
    name="smlm_challenge",
    title="SMLM Challenge CSV",
    extensions=(".csv",),
    fields=(
        Field("frame", "frame", first=1),
        Field("x", "xnano", "nm"),
        Field("y", "ynano", "nm"),
        Field("z", "znano", "nm"),
        Field("photons", "intensity"),
    ),
    recognise=lambda shape: {"frame", "xnano", "ynano"} <= shape.base_names,
    whole_numbers=("ground-truth",),
    notes="frames from 1; origin at the outer corner",
)
