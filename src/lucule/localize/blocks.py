"""Movies block by block: bounded memory, and finished blocks kept, so that a killed run goes on where it was.

Every method of localization fits in as one function `find(block: Block) -> polars.DataFrame`. It sees counts `(n, rows,
columns)`, of which `block.own` are to be localized; the others are context, up to `reach` frames at both ends. Its
table has `frame`, counted from the first of the own frames, `x` and `y` in nm from the outer corner of the first pixel
of these counts, and whatever else the method finds: the same columns and types for every block, also when nothing is
found.
`in_blocks` moves frames and positions to where they are in the whole movie, checks the counts, and joins the tables:

    found, notes = in_blocks(movie, find, size=500, pixel_size_nm=(100, 100), keep=Keep(folder, key))
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import SILENT, FormatError, InputError, Progress
from lucule.core.files import atomic_path
from lucule.core.ledger import Ledger
from lucule.io.movies import Movie

_FRAMES_KEY: Final = "lucule.frames"
# a few bright spots may saturate; a frame with more is not to be trusted
_SATURATED_FRACTION: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Block:
    """Some frames of a movie.

    Attributes
    ----------
    counts
        Frames `(n, rows, columns)`.
    own
        Those of them that are to be localized.
    """

    counts: NDArray[Any]
    own: slice


@dataclass(frozen=True)
class Keep:
    """Where finished blocks are kept.

    Attributes
    ----------
    folder
        Holds them and the record of what is finished. It is the caller's to remove once the result is saved.
    key
        Fingerprint of all that decides the outcome: movie, settings, model, version. Blocks of another key are removed.
    seconds
        Blocks that took this long together are written at once.
    """

    folder: Path
    key: str
    seconds: float = 10.0


@dataclass
class _Seen:
    """What was noticed about the frames."""

    flat: int = 0
    first_flat: int | None = None
    saturated: int = 0
    first_saturated: int | None = None

    def add(self, flat: NDArray[np.int64], saturated: NDArray[np.int64]) -> None:
        """Count frames by number."""
        self.join(_Seen(len(flat), _first(flat), len(saturated), _first(saturated)))

    def join(self, later: _Seen) -> None:
        """Count those of later frames, too."""
        self.flat += later.flat
        self.saturated += later.saturated
        self.first_flat = later.first_flat if self.first_flat is None else self.first_flat
        self.first_saturated = later.first_saturated if self.first_saturated is None else self.first_saturated

    def notes(self, frames: int, limit: float) -> list[str]:
        """One sentence on each."""
        said = []
        if self.flat:
            said.append(
                f"{self.flat} of {frames} frames are empty: all pixels are equal (the first: {self.first_flat})"
            )
        if self.saturated:
            said.append(
                f"{self.saturated} of {frames} frames are saturated (the first: {self.first_saturated}): at least "
                f"{_SATURATED_FRACTION:.1%} of their pixels are at {limit:g} counts, and photons there are wrong"
            )
        return said


def _first(numbers: NDArray[np.int64]) -> int | None:
    return int(numbers[0]) if len(numbers) else None


def in_blocks(
    movie: Movie,
    find: Callable[[Block], pl.DataFrame],
    *,
    size: int,
    pixel_size_nm: tuple[float, float],
    reach: int = 0,
    saturation: float | None = None,
    keep: Keep | None = None,
    progress: Progress = SILENT,
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Localize a movie block by block.

    Parameters
    ----------
    movie
        The frames and the region that are wanted.
    find
        The method: see the top of this module.
    size
        Frames in a block; the result must not depend on it.
    pixel_size_nm
        Size of a pixel along (x, y).
    reach
        Frames before and after a block that the method wants to see.
    saturation
        Largest count of the camera; by default that of the type of the values.
    keep
        Where to keep finished blocks; None: they are not kept.

    Returns
    -------
    found
        Localizations of all frames in the order of frames; `frame` and positions are those of the whole movie.
    notes
        What a reader of the results must know about the frames: empty and saturated ones.

    Raises
    ------
    InputError
        A frame holds values that are no numbers.

    Examples
    --------
    >>> from lucule.io.movies import opened
    >>> def find(block):
    ...     frame, row, column = np.nonzero(block.counts[block.own] > 100)
    ...     return pl.DataFrame({"frame": frame, "x": (column + 0.5) * 100, "y": (row + 0.5) * 100})
    >>> spots = np.zeros((5, 8, 8), np.uint16) + np.arange(8, dtype=np.uint16)
    >>> spots[3, 2, 6] = 500
    >>> with opened(spots, frames=(1, 5), roi=(4, 8, 0, 8)) as movie:
    ...     in_blocks(movie, find, size=2, pixel_size_nm=(100, 100))[0].rows()
    [(3, 650.0, 250.0)]
    """
    total = movie.shape[0]
    limit = _largest(movie.dtype, saturation)
    parts = _Parts(keep)
    seen, position = _Seen(), 0
    tables: list[pl.DataFrame | Path] = []
    with progress.task("Localize", total, "frames") as task:
        try:
            while position < total:
                part = parts.finished.get(position)
                if part is not None:
                    tables += parts.flush()
                    end = part.end
                    seen.join(part.seen)
                    tables.append(part.path)
                else:
                    end = min(position + size, total, *(start for start in parts.finished if start > position))
                    table, noticed = _one(movie, find, (position, end), reach, pixel_size_nm, limit)
                    seen.join(noticed)
                    tables += parts.add(table, noticed, (position, end))
                task.advance(end - position)
                position = end
        finally:
            # an interruption loses nothing that is finished
            tables += parts.flush()
            if not tables and not parts.finished:
                parts.forget()
    found = pl.concat([table if isinstance(table, pl.DataFrame) else pl.read_parquet(table) for table in tables])
    return found, tuple(seen.notes(total, limit))


def _largest(dtype: np.dtype[Any], saturation: float | None) -> float:
    of_type = float(np.iinfo(dtype).max) if dtype.kind in "ui" else np.inf
    return of_type if saturation is None else min(of_type, float(saturation))


def _one(
    movie: Movie,
    find: Callable[[Block], pl.DataFrame],
    frames: tuple[int, int],
    reach: int,
    pixel_size_nm: tuple[float, float],
    limit: float,
) -> tuple[pl.DataFrame, _Seen]:
    start, end = frames
    low, high = max(start - reach, 0), min(end + reach, movie.shape[0])
    counts = movie[low:high]
    own = slice(start - low, end - low)
    first = movie.first + start
    smallest, largest = counts[own].min(axis=(1, 2)), counts[own].max(axis=(1, 2))
    bad = np.flatnonzero(~np.isfinite(smallest) | ~np.isfinite(largest))
    if len(bad):
        raise InputError("The movie holds values that are no numbers", received=f"frame {first + bad[0]}")
    bright = np.flatnonzero(largest >= limit)
    fraction = (counts[own][bright] >= limit).mean(axis=(1, 2)) if len(bright) else np.empty(0)
    noticed = _Seen()
    noticed.add(first + np.flatnonzero(smallest == largest), first + bright[fraction >= _SATURATED_FRACTION])
    table = find(Block(counts, own))
    left, top = movie.corner_px
    moved = [pl.col("frame").cast(pl.UInt32) + first]
    moved += [
        (pl.col(axis) + corner * pixel).cast(table.schema[axis])
        for axis, corner, pixel in zip("xy", (left, top), pixel_size_nm, strict=True)
    ]
    return table.with_columns(moved), noticed


@dataclass(frozen=True)
class _Part:
    path: Path
    end: int
    seen: _Seen


@dataclass
class _Parts:
    """Finished blocks on disk, and those of the last seconds."""

    keep: Keep | None
    finished: dict[int, _Part] = field(default_factory=dict)
    _ledger: Ledger | None = None
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _seen: _Seen = field(default_factory=_Seen)
    _frames: tuple[int, int] = (0, 0)
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.keep is None:
            return
        self._ledger = Ledger(self.keep.folder)
        for path in sorted(self.keep.folder.glob("*.parquet")):
            if not self._ledger.is_done(path.name, self.keep.key):
                path.unlink()
                continue
            start, end = (int(number) for number in path.stem.split("-"))
            seen = json.loads(pl.read_parquet_metadata(path)[_FRAMES_KEY])
            self.finished[start] = _Part(path, end, _Seen(**seen))

    def add(self, table: pl.DataFrame, seen: _Seen, frames: tuple[int, int]) -> Sequence[pl.DataFrame | Path]:
        """Take the table of a block; give what is finished with it."""
        if self.keep is None:
            return [table]
        if not self._waiting:
            self._frames, self._since = frames, time.monotonic()
        self._waiting.append(table)
        self._seen.join(seen)
        self._frames = (self._frames[0], frames[1])
        return self.flush() if time.monotonic() - self._since >= self.keep.seconds else []

    def flush(self) -> Sequence[Path]:
        """Write what waits."""
        if self.keep is None or self._ledger is None or not self._waiting:
            return []
        path = self.keep.folder / "{:010d}-{:010d}.parquet".format(*self._frames)
        with atomic_path(path) as temporary:
            pl.concat(self._waiting).write_parquet(temporary, metadata={_FRAMES_KEY: json.dumps(vars(self._seen))})
        self._ledger.record(path.name, self.keep.key, [path])
        self._waiting, self._seen = [], _Seen()
        return [path]

    def forget(self) -> None:
        """Remove the folder in which nothing is: there is nothing to go on from."""
        if self.keep is not None:
            with suppress(FormatError):
                remove_parts(self.keep.folder)


def parts_folder(out: Path) -> Path:
    """Folder for the finished blocks of a table that will be written to `out`.

    Examples
    --------
    >>> parts_folder(Path("result/locs.parquet")).name
    'locs.parquet.parts'
    """
    return out.with_name(out.name + ".parts")


def remove_parts(folder: Path) -> None:
    """Remove what `Keep` left, and nothing else.

    Raises
    ------
    FormatError
        Something else lies in the folder.
    """
    if not folder.is_dir():
        return
    others = [path.name for path in folder.iterdir() if path.suffix != ".parquet" and ".lucule.sqlite" not in path.name]
    if others:
        raise FormatError("This folder holds more than finished blocks", received=f"{folder}: {', '.join(others)}")
    shutil.rmtree(folder)
