"""DAX: bare 16-bit frames, described by an `.inf` text file of the same name (Zhuang lab)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lucule.core import FormatError
from lucule.io.movies._flat import one_file
from lucule.io.movies.format import Choice, MovieFormat, Opened
from lucule.io.movies.info import CameraNotes

_SIZE = re.compile(r"frame dimensions\s*=\s*(\d+)\s*x\s*(\d+)")
_COUNT = re.compile(r"number of frames\s*=\s*(\d+)")
_ORDER = re.compile(r"\b(big|little)[ -]endian")
_BINNING = re.compile(r"binning\s*=\s*(\d+)\s*x\s*(\d+)")
_REGION = re.compile(r"\b(x_start|x_end|y_start|y_end)\s*=\s*(\d+)")


def _description(path: Path) -> str:
    """Text of the `.inf` file beside `path`; empty when there is none."""
    try:
        return path.with_suffix(".inf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_dax(path: Path, _head: bytes) -> bool:
    # another file of this name, such as a table, has the same description beside it
    return path.suffix.lower() in (".dax", ".inf") and _SIZE.search(_description(path)) is not None


def _open(path: Path, _choice: Choice) -> Opened:
    text = _description(path)
    data = path.with_suffix(".dax") if path.suffix == ".inf" else path
    size, count, order = _SIZE.search(text), _COUNT.search(text), _ORDER.search(text)
    if size is None or count is None:
        raise FormatError(
            f"{path.with_suffix('.inf').name} does not describe the movie", allowed="frame dimensions, number of frames"
        )
    if not data.is_file():
        raise FormatError(f"The frames are missing: there is no {data.name} beside {path.name}")
    columns, rows = int(size[1]), int(size[2])  # width first
    frames, per_frame = int(count[1]), 2 * rows * columns
    notes: tuple[str, ...] = ()
    if frames * per_frame < data.stat().st_size:
        there = data.stat().st_size // per_frame
        notes = (f"{data.name} holds {there} frames; its .inf file announces {frames}, which are used",)
    dtype = np.dtype("<u2" if order is not None and order[1] == "little" else ">u2")
    binning, region = _BINNING.search(text), dict(_REGION.findall(text))
    return Opened(
        one_file(data, 0, (frames, rows, columns), dtype),
        [data, path.with_suffix(".inf")],
        camera=CameraNotes(
            binning=int(binning[1]) if binning and binning[1] == binning[2] else None,
            region_px=(int(region["x_start"]) - 1, int(region["y_start"]) - 1, columns, rows)
            if {"x_start", "y_start"} <= set(region)
            else None,
        ),
        notes=notes,
    )


FORMAT = MovieFormat(
    "dax", "DAX with .inf", _is_dax, _open, "big-endian unless the .inf file says otherwise; no pixel size, no exposure"
)
