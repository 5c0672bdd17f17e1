"""Nikon ND2, through the package nd2."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError
from lucule.io.movies import _camera_notes as understood
from lucule.io.movies._camera_notes import length_nm
from lucule.io.movies.axes import named, pick
from lucule.io.movies.format import Choice, MovieFormat, Opened, Window

if TYPE_CHECKING:
    import nd2

# today's files, and those from before 2013
_MAGIC: Final = (b"\xda\xce\xbe\n", b"\x00\x00\x00\x0cjP  \r\n\x87\n")


class _Nd2Frames:
    """Images of an open ND2 file; those of several channels lie together in one image."""

    def __init__(self, file: nd2.ND2File, images: NDArray[np.int64], channels: int) -> None:
        self._file, self._images, self._channels = file, images, channels
        self.shape = (len(images), file.sizes["Y"], file.sizes["X"])
        self.dtype = np.dtype(file.dtype)

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number."""
        values = np.empty((len(frames), *(part.stop - part.start for part in window)), self.dtype)
        for place, number in enumerate(frames):
            image, channel = divmod(int(self._images[number]), self._channels)
            try:
                pixels = self._file.read_frame(image)
            except (ValueError, IndexError, OSError, struct.error) as error:
                raise FormatError(
                    f"{Path(self._file.path).name} is damaged or cut off: {error}", received=f"frame {number}"
                ) from None
            values[place] = pixels.reshape(-1, *self.shape[1:])[channel][window]
        return values

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open(path: Path, choice: Choice) -> Opened:
    import nd2

    file = None
    try:
        file = nd2.ND2File(path)
        lengths = dict(file.sizes)
        # within an image of the file: channels, or the colours of a colour camera
        inner = {axis: lengths.pop(axis) for axis in "CS" if axis in lengths}
        letters = "".join(axis for axis in lengths if axis not in "YX")
        sizes = named(letters + "".join(inner), (*(lengths[axis] for axis in letters), *inner.values()))
        picked = pick(path, sizes, choice)
        acquired = understood.nikon("\n".join(str(text) for text in file.text_info.values()))
        voxel = file.voxel_size()
        x, y = length_nm(float(voxel.x), "um"), length_nm(float(voxel.y), "um")
        frames = _Nd2Frames(file, picked.images, inner.get("C", 1))
    except BaseException as error:
        if file is not None:
            file.close()
        if isinstance(error, ValueError | OSError | struct.error | KeyError | IndexError):
            raise FormatError(f"{path.name} cannot be read as ND2: {error}", next_step="copy the file again") from None
        raise
    return Opened(
        frames,
        [path],
        picked.axes,
        picked.chosen,
        (x, y) if x and y else None,
        acquired.exposure_ms,
        acquired.camera,
        picked.notes,
    )


FORMAT = MovieFormat(
    "nd2",
    "Nikon ND2",
    lambda _path, head: head.startswith(_MAGIC),
    _open,
    "exposure and EM gain from NIS-Elements' text",
)
