"""NDTiff (Micro-Manager, pycro-manager): a folder of TIFF files with an index of all images.

The index is a sequence of records: axes as JSON, name of the file, place, size and type of the pixels, place of the
metadata (https://github.com/micro-manager/NDTiffStorage).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from lucule.core import FormatError
from lucule.io.movies._camera_notes import Acquired, micromanager
from lucule.io.movies._flat import FlatFrames
from lucule.io.movies.axes import pick
from lucule.io.movies.format import Choice, MovieFormat, Opened

_INDEX: Final = "NDTiff.index"
_NUMBERS: Final = struct.Struct("<IiiiiIii")
_LENGTH: Final = struct.Struct("<I")
_RGB: Final = 2
_MAGIC: Final = 483_729
# axes in the order in which images are counted; others follow by name
_ORDER: Final = ("position", "time", "z", "channel")


class _Image(NamedTuple):
    axes: dict[str, int | str]
    file: str
    offset: int
    columns: int
    rows: int
    kind: int
    metadata: tuple[int, int]


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _is_ndtiff(path: Path, head: bytes) -> bool:
    if not (_folder(path) / _INDEX).is_file():
        return False
    return path.is_dir() or path.name == _INDEX or head[8:12] in (struct.pack("<I", _MAGIC), struct.pack(">I", _MAGIC))


def _read_index(path: Path) -> list[_Image]:
    content = path.read_bytes()
    images: list[_Image] = []
    at = 0
    while at < len(content):
        try:
            texts = []
            for _ in range(2):
                (length,) = _LENGTH.unpack_from(content, at)
                texts.append(content[at + 4 : at + 4 + length].decode())
                at += 4 + length
            offset, columns, rows, kind, packed, start, length, _ = _NUMBERS.unpack_from(content, at)
            at += _NUMBERS.size
            axes = json.loads(texts[0])
        except (struct.error, ValueError) as error:
            raise FormatError(
                f"{path.name} is damaged or cut off: {error}",
                received=f"{len(images)} complete entries",
                next_step="copy the folder again",
            ) from None
        if packed:
            raise FormatError(f"{path.name} names compressed images", allowed="uncompressed images")
        images.append(_Image(axes, texts[1], offset, columns, rows, kind, (start, length)))
    return images


def _open(path: Path, choice: Choice) -> Opened:
    folder = _folder(path)
    images = _read_index(folder / _INDEX)
    if not images:
        raise FormatError(f"{folder.name} has no frames", received=f"an empty {_INDEX}")
    kinds = {(image.rows, image.columns, image.kind) for image in images}
    if len(kinds) > 1:
        raise FormatError(f"{folder.name} holds images of different sizes or types", received=str(sorted(kinds)))
    rows, columns, kind = kinds.pop()
    if kind == _RGB:
        raise FormatError(f"{folder.name} holds colour images", allowed="one value per pixel: what the camera counted")
    names = sorted({axis for image in images for axis in image.axes}, key=_place)
    values = {axis: sorted({image.axes.get(axis, 0) for image in images}, key=_sortable) for axis in names}
    sizes = {axis: len(found) for axis, found in values.items()}
    ranks = {axis: {value: rank for rank, value in enumerate(found)} for axis, found in values.items()}
    grid = np.full(tuple(sizes.values()), -1, np.int64)
    for place, image in enumerate(images):
        grid[tuple(ranks[axis][image.axes.get(axis, 0)] for axis in names)] = place
    picked = pick(folder, sizes, choice)
    order = grid.ravel()[picked.images]
    notes = picked.notes
    if (order < 0).any():
        missing = int((order < 0).sum())
        order = order[order >= 0]
        notes += (f"{missing} of {missing + len(order)} images were never taken and are left out",)
    files = sorted({image.file for image in images})
    numbers = {name: place for place, name in enumerate(files)}
    chosen = [images[place] for place in order]
    paths = [folder / name for name in files]
    for file in paths:
        if not file.is_file():
            raise FormatError(f"Frames are missing: there is no {file.name} in {folder.name}")
    frames = FlatFrames(
        paths,
        np.array([numbers[image.file] for image in chosen], np.int64),
        np.array([image.offset for image in chosen], np.int64),
        (rows, columns),
        np.dtype("u1" if kind == 0 else f"{_byte_order(paths[0])}u2"),
    )
    acquired = _metadata(folder / chosen[0].file, chosen[0])
    return Opened(
        frames,
        [folder / _INDEX, *paths],
        picked.axes,
        picked.chosen,
        acquired.pixel_size_nm,
        acquired.exposure_ms,
        acquired.camera,
        notes,
    )


def _place(axis: str) -> tuple[int, str]:
    return (_ORDER.index(axis), "") if axis in _ORDER else (len(_ORDER), axis)


def _sortable(value: int | str) -> tuple[int, int, str]:
    return (0, value, "") if isinstance(value, int) else (1, 0, value)


def _byte_order(file: Path) -> str:
    with file.open("rb") as stream:
        return ">" if stream.read(2) == b"MM" else "<"


def _metadata(file: Path, image: _Image) -> Acquired:
    start, length = image.metadata
    with file.open("rb") as stream:
        stream.seek(start)
        try:
            found: Any = json.loads(stream.read(length))
        except ValueError:
            return Acquired()
    return micromanager(found) if isinstance(found, dict) else Acquired()


FORMAT = MovieFormat(
    "ndtiff",
    "NDTiff",
    _is_ndtiff,
    _open,
    "folder with NDTiff.index; name the folder, the index or any of its files",
)
