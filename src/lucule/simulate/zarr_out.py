"""Movies as OME-Zarr: OME-NGFF 0.4 on Zarr 2, chunks of whole frames.

The format is a few JSON files and compressed chunks, so that no further package is needed to write it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError

_CHUNK_BYTES: Final = 4_000_000


def frames_per_chunk(shape: tuple[int, int, int]) -> int:
    """How many frames of a movie `(frames, rows, columns)` of uint16 are one chunk."""
    return min(max(_CHUNK_BYTES // (2 * shape[1] * shape[2]), 1), shape[0])


def write_movie(
    path: Path,
    chunks: Iterable[NDArray[np.uint16]],
    *,
    shape: tuple[int, int, int],
    pixel_size_nm: tuple[float, float],
    interval_s: float,
    notes: dict[str, str],
) -> Path:
    """Write a movie; it appears under its name only when it is complete.

    Parameters
    ----------
    path
        A folder whose name ends in .zarr; an older movie there is replaced.
    chunks
        Blocks of `frames_per_chunk(shape)` frames, in order; the last may be shorter.
    shape, pixel_size_nm, interval_s
        Frames, rows and columns; size of a pixel along (x, y); time from frame to frame.
    notes
        Kept as attributes under `lucule`.

    Raises
    ------
    InputError
        There is something else under this name, or the folder cannot be written.
    """
    if path.exists() and not (path / ".zgroup").exists():
        raise InputError("There is something else than a Zarr group", received=path, next_step="give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    except OSError as error:
        raise InputError(f"Cannot write to {path.parent}: {error.strerror}", received=path) from error
    try:
        group = temporary / path.name
        size = (frames_per_chunk(shape), *shape[1:])
        _json(group / ".zgroup", {"zarr_format": 2})
        _json(group / ".zattrs", _attributes(path.name, pixel_size_nm, interval_s, notes))
        _json(group / "0" / ".zarray", _array(shape, size))
        for number, block in enumerate(chunks):
            whole = np.zeros(size, "<u2")
            whole[: len(block)] = block
            target = group / "0" / str(number) / "0" / "0"
            target.parent.mkdir(parents=True)
            target.write_bytes(zlib.compress(whole.tobytes(), 1))
        if path.exists():
            shutil.rmtree(path)
        group.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _array(shape: tuple[int, int, int], chunks: tuple[int, ...]) -> dict[str, Any]:
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunks),
        "dtype": "<u2",
        "compressor": {"id": "zlib", "level": 1},
        "fill_value": 0,
        "filters": None,
        "order": "C",
        "dimension_separator": "/",
    }


def _attributes(
    name: str, pixel_size_nm: tuple[float, float], interval_s: float, notes: dict[str, str]
) -> dict[str, Any]:
    space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    scale = [interval_s, pixel_size_nm[1] / 1000, pixel_size_nm[0] / 1000]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    axes = [{"name": "t", "type": "time", "unit": "second"}, *space]
    multiscale = {"version": "0.4", "name": name.split(".")[0], "axes": axes, "datasets": [level]}
    return {"multiscales": [multiscale], "lucule": notes}
