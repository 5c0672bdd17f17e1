"""Bursts on disk: OME-Zarr or OME-TIFF, complete under their name or not there at all, also after `kill -9`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lucule.acquire.faults import WritingFault
from lucule.core import FormatError
from lucule.core.files import atomic_path
from lucule.simulate import zarr_out

Format = Literal["zarr", "tiff"]
ENDINGS: Final[dict[Format, str]] = {"zarr": ".ome.zarr", "tiff": ".ome.tif"}
_BLOCKS_WAITING: Final = 4


def write_burst(
    path: Path,
    frames: Iterable[NDArray[Any]],
    *,
    shape: tuple[int, int, int],
    pixel_size_um: float,
    exposure_ms: float,
    notes: dict[str, str],
) -> Path:
    """Write a burst while it is taken; a thread writes, and the camera waits when the disk is slow.

    Parameters
    ----------
    path
        Its ending, .ome.zarr or .ome.tif, decides.
    frames
        As many as `shape` says.
    shape
        Frames, rows, columns.
    notes
        Kept in the file.

    Raises
    ------
    WritingFault
        The disk is full, or refuses.
    """
    blocks = _Blocks(frames, zarr_out.frames_per_chunk(shape))
    try:
        with blocks:
            if path.name.endswith(ENDINGS["zarr"]):
                zarr_out.write_movie(
                    path,
                    blocks,
                    shape=shape,
                    pixel_size_nm=(1000 * pixel_size_um, 1000 * pixel_size_um),
                    interval_s=exposure_ms / 1000,
                    notes=notes,
                )
            else:
                _write_tiff(path, blocks, shape, pixel_size_um, exposure_ms, notes)
    except OSError as error:
        raise WritingFault(f"The burst cannot be written: {error.strerror or error}", received=path) from error
    return path


class _Blocks:
    """Frames in blocks, taken by a thread of their own; what goes wrong there is raised here."""

    def __init__(self, frames: Iterable[NDArray[Any]], size: int) -> None:
        self._frames, self._size = frames, size
        self._queue: queue.Queue[NDArray[Any] | BaseException | None] = queue.Queue(_BLOCKS_WAITING)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> _Blocks:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _take(self) -> None:
        try:
            block: list[NDArray[Any]] = []
            for frame in self._frames:
                block.append(np.array(frame, np.uint16))
                if len(block) == self._size:
                    self._give(np.stack(block))
                    block = []
                if self._stopped.is_set():
                    return
            if block:
                self._give(np.stack(block))
            self._give(None)
        except BaseException as error:
            self._give(error)
        finally:
            if isinstance(self._frames, Iterator):
                getattr(self._frames, "close", lambda: None)()

    def _give(self, item: NDArray[Any] | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None

    def __iter__(self) -> Iterator[NDArray[Any]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


def _write_tiff(
    path: Path,
    blocks: Iterable[NDArray[Any]],
    shape: tuple[int, int, int],
    pixel_size_um: float,
    exposure_ms: float,
    notes: dict[str, str],
) -> None:
    import tifffile

    metadata = {
        "axes": "TYX",
        "PhysicalSizeX": pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_size_um,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": exposure_ms,
        "TimeIncrementUnit": "ms",
        "Description": "\n".join(f"{key}: {value}" for key, value in notes.items()),
    }
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, ome=True) as writer:
        frames = (frame for block in blocks for frame in block)
        writer.write(frames, shape=shape, dtype=np.uint16, photometric="minisblack", metadata=metadata)


def read_burst(path: Path) -> NDArray[np.uint16]:
    """Frames `(frames, rows, columns)` of a burst.

    Raises
    ------
    FormatError
        It is missing or damaged.
    """
    try:
        if path.name.endswith(ENDINGS["zarr"]):
            import zarr

            frames = np.asarray(zarr.open_array(path / "0", mode="r")[:])
        else:
            import tifffile

            frames = tifffile.imread(path)
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"The burst cannot be read: {error}", received=path) from None
    counts: NDArray[np.uint16] = frames.reshape(-1, *frames.shape[-2:])
    return counts
