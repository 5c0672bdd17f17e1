"""TIFF and its kin: BigTIFF, ImageJ (also its files beyond 4 GB), OME-TIFF, Micro-Manager stacks; one or more files."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError
from lucule.io.movies import _camera_notes as understood
from lucule.io.movies._camera_notes import Acquired, length_nm, number, time_ms
from lucule.io.movies._flat import FlatFrames
from lucule.io.movies.axes import Picked, named, pick
from lucule.io.movies.format import Choice, Frames, MovieFormat, Opened, Window

if TYPE_CHECKING:
    import tifffile

_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MICROMANAGER_TAG: Final = 51123
# of a description with one line for every frame, the part that is looked at
_SEARCHED_CHARS: Final = 200_000
_DAMAGE: Final = ("invalid page offset", "corrupted page list", "ImageJ series metadata invalid")


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a TIFF or BigTIFF."""
    return head.startswith(_MAGIC)


class _Pages:
    """Compressed frames, decoded page by page."""

    def __init__(self, pages: Sequence[Any], size: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._pages = pages
        self.shape = (len(pages), *size)
        self.dtype = dtype

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number; all of a frame must be decoded."""
        values = np.empty((len(frames), *(part.stop - part.start for part in window)), self.dtype)
        for place, number_ in enumerate(frames):
            page = self._pages[number_]
            stream = page.parent.filehandle
            if stream.closed:  # one of several files
                stream.open()
            try:
                values[place] = page.asarray().reshape(self.shape[1:])[window]
            except (ValueError, OSError, RuntimeError, zlib.error) as error:
                raise FormatError(f"{stream.name} is damaged: {error}", received=f"frame {number_}") from None
        return values

    def close(self) -> None:
        """Close the files."""
        for page in {id(page.parent): page for page in self._pages}.values():
            page.parent.filehandle.close()


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect what tifffile would tell the terminal."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, listener = logging.getLogger("tifffile"), Listener(logging.WARNING)
    before = logger.propagate, logger.level, logger.disabled, logger.manager.disable
    # the only sign of a damaged file is a message, which a program may have silenced
    logger.propagate, logger.disabled = False, False
    logger.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
        logger.propagate, level, logger.disabled, silenced = before
        logger.setLevel(level)
        logging.disable(silenced)


def open_tiff(path: Path, choice: Choice) -> Opened:
    """Open a movie of the TIFF family.

    Raises
    ------
    FormatError
        The file is damaged, cut off or incomplete, or holds no grey images of one size.
    """
    import tifffile

    with _overheard() as heard:
        try:
            file = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, OSError, ValueError, struct.error) as error:
            raise FormatError(f"{path.name} cannot be read as TIFF: {error}") from None
        try:
            return _opened(path, file, choice, heard)
        except (tifffile.TiffFileError, ValueError, IndexError, KeyError, struct.error) as error:
            file.close()
            raise _damaged(path, heard, str(error)) from None
        except BaseException:
            file.close()
            raise


def _damaged(path: Path, heard: Sequence[str], reason: str) -> FormatError:
    cut = any(sign in message for message in heard for sign in _DAMAGE)
    return FormatError(
        f"{path.name} is {'cut off' if cut else 'damaged'}",
        received=reason or f"{path.stat().st_size} bytes",
        next_step="copy the file again",
    )


def _opened(path: Path, file: tifffile.TiffFile, choice: Choice, heard: list[str]) -> Opened:
    if not len(file.pages):
        raise FormatError(f"{path.name} has no frames")
    series = file.series
    if any(sign in message for message in heard for sign in _DAMAGE[:2]) or (
        len(file.pages) == 1 and any(_DAMAGE[2] in message for message in heard)
    ):
        raise _damaged(path, heard, "")
    first = series[0]
    # a file with several images of one size holds several positions
    alike = [one for one in series if one.shape == first.shape and one.dtype == first.dtype]
    several = len(alike) if file.is_ome and len(alike) > 1 else 1
    piecewise = several == 1 and _in_pieces(series)
    if several == 1 and len(series) > 1 and not piecewise:
        raise FormatError(
            f"{path.name} holds images of different sizes",
            received=", ".join(sorted({str(one.shape) for one in series})),
            allowed="frames of one size",
        )
    page = first.keyframe
    axes, shape = first.get_axes(squeeze=False), first.get_shape(squeeze=False)
    sizes = named(axes.replace("Y", "").replace("X", ""), _lengths(axes, shape))
    if several > 1:
        sizes = {"position": several} | sizes
    every = [one for part in (alike if several > 1 else series if piecewise else [first]) for one in _images(part)]
    if piecewise:
        sizes = {"time": len(every)}
    if page.dtype is None or page.dtype.kind not in "uif":
        raise FormatError(
            f"{path.name} holds no counts",
            received=f"type {page.dtype}",
            allowed="unsigned, signed or floating numbers",
        )
    picked = pick(path, sizes, choice)
    acquired = _acquired(file)
    stopped = _stopped(path, file) if first.kind == "mmstack" and not first.is_multifile else ()
    frames, short = _frames(path, file, every, picked)
    return Opened(
        frames,
        sorted({Path(str(one.parent.filehandle.path)) for one in every if one is not None}),
        picked.axes,
        picked.chosen,
        acquired.pixel_size_nm,
        acquired.exposure_ms,
        acquired.camera,
        (*picked.notes, *stopped, *short),
    )


def _in_pieces(series: Sequence[tifffile.TiffPageSeries]) -> bool:
    """Whether a program wrote one movie frame by frame, or some frames at a time, each piece with its own shape."""
    frames = {(one.keyframe.imagelength, one.keyframe.imagewidth, one.dtype) for one in series}
    plain = all(one.kind in ("shaped", "generic", "uniform") and len(one.shape) <= 3 for one in series)
    return len(series) > 1 and len(frames) == 1 and plain


def _lengths(axes: str, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(length for axis, length in zip(axes, shape, strict=True) if axis not in "YX")


def _images(series: tifffile.TiffPageSeries) -> Sequence[Any]:
    """Pages of a series; where all its images lie behind one page, that page for each, with its number."""
    pages = list(series.pages)
    count = series.size // (series.keyframe.imagelength * series.keyframe.imagewidth)
    if len(pages) == 1 and count > 1:
        return [_Virtual(pages[0], position) for position in range(count)]
    return pages


class _Virtual:
    """One of the images that follow the only page of a file (ImageJ beyond 4 GB, and files of tifffile)."""

    def __init__(self, page: Any, position: int) -> None:
        self.parent, self.keyframe, self.is_final = page.parent, page, page.is_final
        self.dataoffsets = (page.dataoffsets[0] + position * page.nbytes,)


def _stopped(path: Path, file: tifffile.TiffFile) -> tuple[str, ...]:
    """A note when a lone file of a Micro-Manager stack holds less than was planned; tifffile gives what it holds."""
    metadata = file.micromanager_metadata or {}
    times, planned = metadata["IndexMap"][:, 2], int(metadata["Summary"].get("Frames", 1))
    if times.min() > 0:
        raise FormatError(
            f"Frames of {path.name} are missing",
            received=f"a file that begins at frame {times.min()}",
            next_step="put all files of the movie into one folder, under their own names",
        )
    held = int(times.max()) + 1
    return (_fewer(planned, held),) if held < planned else ()


def _fewer(planned: int, held: int) -> str:
    return f"it announces {planned} frames and holds {held}: stopped early, or files of it are missing"


def _frames(
    path: Path, file: tifffile.TiffFile, images: Sequence[Any], picked: Picked
) -> tuple[Frames, tuple[str, ...]]:
    """The picked images as frames, and a note when fewer are there than the file announces."""
    page = next(image for image in images if image is not None).keyframe
    size = (page.imagelength, page.imagewidth)
    wanted = [images[int(number_)] for number_ in picked.images]
    # a stack that was stopped keeps its announced length; the places of images never taken are empty
    there = np.array([image is not None and image.dataoffsets[:1] not in ((), (0,)) for image in wanted])
    notes: tuple[str, ...] = ()
    if not there.all():
        held = int(there.sum())
        if not held or there[:held].sum() < held:
            raise FormatError(
                f"Frames of {path.name} are missing",
                received=f"{held} of {len(there)} frames, the first gap at frame {int(np.argmin(there))}",
                next_step="put all files of the movie into one folder, under their own names",
            )
        notes = (_fewer(len(there), held),)
        wanted = wanted[:held]
    dtype = np.dtype(page.dtype)
    if not all(image.is_final for image in wanted):
        for image in wanted:
            if max(map(sum, zip(image.dataoffsets, image.databytecounts, strict=True))) > image.parent.filehandle.size:
                raise _damaged(path, _DAMAGE, f"{image.parent.filehandle.size} bytes")
        return _Pages(wanted, size, dtype), notes
    paths = sorted({str(image.parent.filehandle.path) for image in wanted})
    numbers = {name: place for place, name in enumerate(paths)}
    where = np.array([numbers[str(image.parent.filehandle.path)] for image in wanted], np.int64)
    offsets = np.array([image.dataoffsets[0] for image in wanted], np.int64)
    order = wanted[0].parent.byteorder
    file.close()
    return FlatFrames([Path(name) for name in paths], where, offsets, size, dtype.newbyteorder(order)), notes


def _acquired(file: tifffile.TiffFile) -> Acquired:
    """Metadata of the program that wrote the file."""
    page = file.pages.first
    tag = page.tags.get(_MICROMANAGER_TAG)
    summary = (file.micromanager_metadata or {}).get("Summary", {})
    if tag is not None or summary:
        of_image = tag.value if tag is not None and isinstance(tag.value, Mapping) else {}
        return understood.micromanager({**summary, **of_image})
    if file.is_ome:
        return understood.ome(page.description[:_SEARCHED_CHARS])
    if file.andor_metadata:
        return understood.andor(file.andor_metadata)
    if file.is_imagej:
        return _imagej(page, file.imagej_metadata or {})
    return Acquired()


def _imagej(page: tifffile.TiffPage, metadata: Mapping[str, Any]) -> Acquired:
    """ImageJ keeps pixels per unit as resolution, and the time from frame to frame."""
    sizes = []
    for axis in "XY":
        resolution = page.tags.valueof(f"{axis}Resolution")
        per_unit = resolution[0] / resolution[1] if resolution and resolution[1] else 0.0
        unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
        sizes.append(length_nm(1 / per_unit, unit) if per_unit else None)
    x, y = sizes
    interval = time_ms(number(metadata, "finterval"), str(metadata.get("tunit", "s")))
    return Acquired((x, y) if x and y else None, interval)


FORMAT = MovieFormat(
    "tiff",
    "TIFF, BigTIFF, ImageJ, OME-TIFF, Micro-Manager stack",
    lambda _path, head: is_tiff(head),
    open_tiff,
    "one or several files: name any of them; also ImageJ files beyond 4 GB",
)
