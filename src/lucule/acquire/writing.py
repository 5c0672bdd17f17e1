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
# one is filled, one written, the others wait
_BLOCKS: Final = 6


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
    blocks = _Blocks(frames, (zarr_out.frames_per_chunk(shape), *shape[1:]))
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
    """Frames in blocks, taken by a thread of their own; what goes wrong there is raised here.

    The blocks are filled again and again, so that a long run needs no more memory than a short one: a block is valid
    until the next one is asked for.
    """

    def __init__(self, frames: Iterable[NDArray[Any]], shape: tuple[int, int, int]) -> None:
        self._frames = frames
        self._queue: queue.Queue[NDArray[Any] | BaseException | None] = queue.Queue()
        self._free: queue.Queue[NDArray[np.uint16]] = queue.Queue()
        for _ in range(_BLOCKS):
            self._free.put(np.empty(shape, np.uint16))
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
            block, filled = self._free.get(), 0
            for frame in self._frames:
                block[filled] = frame
                filled += 1
                if filled == len(block):
                    self._queue.put(block)
                    block, filled = self._another(), 0
                if self._stopped.is_set():
                    return
            if filled:
                self._queue.put(block[:filled])
            self._queue.put(None)
        except BaseException as error:
            self._queue.put(error)
        finally:
            if isinstance(self._frames, Iterator):
                getattr(self._frames, "close", lambda: None)()

    def _another(self) -> NDArray[np.uint16]:
        """Wait for a block that is written."""
        while not self._stopped.is_set():
            try:
                return self._free.get(timeout=0.1)
            except queue.Empty:
                continue
        return np.empty((0, 0, 0), np.uint16)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            self._free.put(item)


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
