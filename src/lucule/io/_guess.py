"""What the columns of an unknown table most likely are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lucule.io._columns import Field, is_length_unit
from lucule.io._text import Layout, split_unit

_UNIT: Final = r"(?P<unit>nm|nano|um|px|pix|pixels?|microns?|m)?"
_PICASSO: Final = frozenset({"lpx", "lpy"})
_WORDS: Final = r"(?:pos|position|coord|coordinate|loc|location|centre|center|centroid|abs)?"
# normalised name (lower case, letters and digits only) -> lucule column; the order decides
_PATTERNS: Final[tuple[tuple[str, str], ...]] = (
    *((axis, rf"{_WORDS}{axis}{_WORDS}{_UNIT}") for axis in "xyz"),
    *((f"{axis}_err", rf"{axis}(?:err|error|uncertainty|precision|sig|se|lp){_UNIT}") for axis in "xyz"),
    ("x_err", rf"(?:lpx|xlp|crlbx){_UNIT}"),
    ("y_err", rf"(?:lpy|ylp|crlby){_UNIT}"),
    ("z_err", rf"(?:lpz|zlp|crlbz|uncertaintyz){_UNIT}"),
    ("precision", rf"(?:uncertainty|uncertaintyxy|precision|locprec|localizationprecision|lp){_UNIT}"),
    ("frame", r"(?:frame|frames|frameno|framenumber|frameindex|frameidx|frameix|t|slice|imagenumber)"),
    ("photons", r"(?:photons?|phot|nphotons|photoncount|numberofphotons|intensityphotons?)"),
    ("background", r"(?:bg|background|bgphotons?|backgroundphotons?)"),
    ("sigma_x", rf"(?:sigmax|sx|psfx|psfsigmax){_UNIT}"),
    ("sigma_y", rf"(?:sigmay|sy|psfy|psfsigmay){_UNIT}"),
    ("channel", r"(?:channel|channelindex|chan|ch|colou?r)"),
)


def guess(names: Sequence[str]) -> tuple[Field, ...]:
    """Fields for the columns that are recognised by name; units where the name carries them.

    Examples
    --------
    >>> [(field.to, field.names, field.unit) for field in guess(["Frame", "PosX_nm", "PosY_nm", "q"])]
    [('x', 'PosX_nm', 'nm'), ('y', 'PosY_nm', 'nm'), ('frame', 'Frame', '')]
    """
    found: dict[str, Field] = {}
    taken: set[str] = set()
    for to, pattern in _PATTERNS:
        for name in names:
            if name in taken:
                continue
            base, written = split_unit(name)
            match = re.fullmatch(pattern, re.sub(r"[^a-z0-9]", "", base))
            if match is None:
                continue
            suffix = (match.groupdict().get("unit") or "").replace("nano", "nm")
            targets = ("x_err", "y_err") if to == "precision" else (to,)
            if any(target in found for target in targets):
                continue
            field = Field(targets if len(targets) > 1 else to, name, written if is_length_unit(written) else suffix)
            found |= dict.fromkeys(targets, field)
            taken.add(name)
            break
    return tuple(dict.fromkeys(found.values()))


def likely_unit(shape: Layout, column: str) -> str:
    """The unit that the first values of a position column suggest: camera frames are 5 to 200 um wide.

    Small numbers are um, but for the columns of Picasso, which counts in pixels.
    """
    i = shape.names.index(column)
    values = []
    for fields in shape.sample:
        try:
            values.append(abs(float(fields[i].replace(",", ".") if shape.decimal_comma else fields[i])))
        except (ValueError, IndexError):
            continue
    largest = max(values, default=0.0)
    if largest < 1e-3:
        return "m"
    if largest > 2500:
        return "nm"
    return "um" if largest < 60 and not _PICASSO & set(shape.names) else "px"
