"""Folders of TIFF files with one frame each, in the order of the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError
from lucule.io.movies._camera_notes import Acquired, micromanager_text
from lucule.io.movies.axes import pick
from lucule.io.movies.format import Choice, MovieFormat, Opened, Window
from lucule.io.movies.tiff import open_tiff

_ENDINGS: Final = (".tif", ".tiff")
# Micro-Manager 2 and 1.4
_NAMED: Final = re.compile(r"img_channel(?P<channel>\d+)_position(?P<position>\d+)_time(?P<time>\d+)_z(?P<z>\d+)$")
_OLD: Final = re.compile(r"img_(?P<time>\d+)_(?P<channel>.*)_(?P<z>\d+)$")
_HEAD_CHARS: Final = 100_000


class _Files:
    """One file for each frame."""

    def __init__(self, files: Sequence[Path], size: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._files = files
        self.shape = (len(files), *size)
        self.dtype = dtype

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number."""
        values = np.empty((len(frames), *(part.stop - part.start for part in window)), self.dtype)
        for place, number in enumerate(frames):
            path = self._files[number]
            opened = open_tiff(path, Choice()).frames
            try:
                if opened.shape != (1, *self.shape[1:]) or opened.dtype.newbyteorder("=") != self.dtype:
                    raise FormatError(
                        f"{path.name} does not fit the other frames",
                        received=f"{opened.shape} {opened.dtype}",
                        allowed=f"{(1, *self.shape[1:])} {self.dtype}",
                        next_step="take it out of the folder",
                    )
                values[place] = opened.read(np.zeros(1, np.int64), window)[0]
            finally:
                opened.close()
        return values

    def close(self) -> None:
        """Nothing stays open."""


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Key that sorts names as people number them: frame9 before frame10.

    Examples
    --------
    >>> [p.name for p in sorted([Path("f10.tif"), Path("f9.tif")], key=natural)]
    ['f9.tif', 'f10.tif']
    """
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"([0-9]+)", path.name)]


def _tiffs(folder: Path) -> list[Path]:
    """TIFF files of a folder in order, without hidden ones."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in _ENDINGS and not p.name.startswith("."))
    return sorted(found, key=natural)


def _is_folder(path: Path, _head: bytes) -> bool:
    return path.is_dir() and bool(_tiffs(path))


def _open(path: Path, choice: Choice) -> Opened:
    files = _tiffs(path)
    if len(files) == 1 or "_MMStack" in files[0].name:  # tiff finds the other files of a stack itself
        return open_tiff(files[0], choice)
    first = open_tiff(files[0], Choice())
    first.frames.close()
    if first.frames.shape[0] > 1:
        raise FormatError(
            f"{path.name} holds several movies",
            received=f"{len(files)} files, the first of {first.frames.shape[0]} frames",
            allowed="one file, or files of one frame each",
            next_step="name one of the files",
        )
    sizes, order = _grid(path, files)
    picked = pick(path, sizes, choice)
    ordered = [files[place] for place in order[picked.images]]
    said = _metadata(path)
    size = first.frames.shape[1:]
    return Opened(
        _Files(ordered, (size[0], size[1]), first.frames.dtype.newbyteorder("=")),
        files,
        picked.axes,
        picked.chosen,
        said.pixel_size_nm or first.pixel_size_nm,
        said.exposure_ms or first.exposure_ms,
        said.camera if said != Acquired() else first.camera,
        picked.notes,
    )


def _grid(folder: Path, files: Sequence[Path]) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Axes that the names of the files tell, and which file stands where on their grid."""
    matches = [_NAMED.match(file.stem) or _OLD.match(file.stem) for file in files]
    if not all(matches):
        return {"time": len(files)}, np.arange(len(files), dtype=np.int64)
    places = [match.groupdict() for match in matches if match is not None]
    axes: list[str] = [axis for axis in ("position", "time", "z", "channel") if axis in places[0]]
    ranks = {axis: {v: rank for rank, v in enumerate(sorted({place[axis] for place in places}))} for axis in axes}
    sizes = {axis: len(ranks[axis]) for axis in axes}
    grid = np.full(tuple(sizes.values()), -1, np.int64)
    for number, place in enumerate(places):
        grid[tuple(ranks[axis][place[axis]] for axis in axes)] = number
    if (grid < 0).any():
        raise FormatError(
            f"Frames are missing in {folder.name}",
            received=f"{len(files)} files",
            allowed=f"{grid.size}: " + ", ".join(f"{axis} {n}" for axis, n in sizes.items() if n > 1),
            next_step="copy the folder again, or take the incomplete time points out of it",
        )
    return sizes, grid.ravel()


def _metadata(folder: Path) -> Acquired:
    try:
        with (folder / "metadata.txt").open(encoding="utf-8", errors="replace") as stream:
            return micromanager_text(stream.read(_HEAD_CHARS))
    except OSError:
        return Acquired()


FORMAT = MovieFormat(
    "frames",
    "Folder of TIFF frames",
    _is_folder,
    _open,
    "sorted by the numbers in the names; channels, positions and planes of Micro-Manager's names are understood",
)
