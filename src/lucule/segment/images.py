"""Images of any bit depth, grey or in colour, read in windows, with a brightness that networks can rely on."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError, InputError

Floats: TypeAlias = NDArray[np.float32]

CHANNELS: Final = 3
"""What networks see: grey images come three times."""
_TIFF: Final = (".tif", ".tiff", ".btf", ".stk", ".lsm")
_CONVERTED: Final = ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
ENDINGS: Final = (*_TIFF, *_PICTURES, ".npy")
# percentiles that become 0 and 1
_LOW, _HIGH = 1.0, 99.8
# the range from 0 to 1 is at least so many standard deviations of the noise, so that empty images stay dark
_NOISE_RANGE: Final = 10.0
_SAMPLE_SIDE_PX, _SAMPLES = 256, 64


def image_files(where: str | os.PathLike[str], endings: Sequence[str] = ENDINGS) -> list[Path]:
    """Files of a folder that have one of the endings, or the one file that is named.

    Raises
    ------
    InputError
        There is no such file or folder, or the folder holds none.
    """
    path = Path(where)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError("There is no such file or folder", received=path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in endings and not file.name.startswith("."))
    if not files:
        raise InputError("The folder holds no file that is understood", received=path, allowed=", ".join(endings))
    return files


def check_length(value: float | None, what: str, unit: str) -> None:
    """Refuse a length that is none.

    Raises
    ------
    InputError
        It is no finite number above 0.
    """
    if value is not None and not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} cannot be used", received=f"{value} {unit}", allowed=f"a number above 0, {unit}")


@dataclass(frozen=True, eq=False)
class Image:
    """An image that is read in windows.

    Attributes
    ----------
    data
        Array-like: `(rows, columns)`, or with one more axis of channels, first or last.
    channels
        Number of channels.
    last
        Whether channels are the last axis.
    name
        For messages and tables.
    """

    data: Any
    channels: int
    last: bool
    name: str = "image"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        if self.channels == 1 and len(self.data.shape) == 2:
            return tuple(self.data.shape)
        return tuple(self.data.shape[:2] if self.last else self.data.shape[1:])

    @property
    def colour(self) -> bool:
        """Whether the channels are red, green and blue of one picture, not colours of fluorescence."""
        return self.channels == CHANNELS and self.last

    def window(self, rows: slice, columns: slice) -> Floats:
        """Part of the image as float32 `(channels, rows, columns)`."""
        if len(self.data.shape) == 2:
            part = np.asarray(self.data[rows, columns])[None]
        elif self.last:
            part = np.moveaxis(np.asarray(self.data[rows, columns]), -1, 0)[: self.channels]
        else:
            part = np.asarray(self.data[:, rows, columns])
        # what is beyond the range of float32 becomes infinite, which counts as no number
        with np.errstate(over="ignore"):
            return part.astype(np.float32)

    def whole(self) -> Floats:
        """All of it, `(channels, rows, columns)`."""
        return self.window(slice(None), slice(None))


def as_image(array: Any, name: str = "image") -> Image:
    """Take an array as an image: `(rows, columns)`, or with up to 4 channels first or last (4: the last is alpha).

    Raises
    ------
    InputError
        It has no such shape.

    Examples
    --------
    >>> as_image(np.zeros((20, 30, 3), np.uint8)).shape
    (20, 30)
    """
    shape = tuple(getattr(array, "shape", ()))
    dtype = np.dtype(getattr(array, "dtype", object))
    if dtype.kind not in "buif":
        raise InputError(f"{name} does not hold real numbers", received=f"type {dtype}",
                         allowed="integers, floating point numbers, or true and false")  # fmt: skip
    if len(shape) == 2 and min(shape) > 0:
        return Image(array, 1, False, name)
    if len(shape) == 3 and min(shape) > 0:
        if shape[2] <= 4 and shape[2] < shape[0]:
            alpha = shape[2] in (2, 4) and str(array.dtype) == "uint8"
            return Image(array, min(shape[2] - alpha, CHANNELS), True, name)
        if shape[0] <= CHANNELS:
            return Image(array, shape[0], False, name)
    raise InputError(
        f"{name} is not an image that is understood",
        received=f"shape {shape}",
        allowed=f"(rows, columns), (1 to {CHANNELS} channels, rows, columns) or (rows, columns, 3)",
        next_step="save one plane, and of more channels those that show the objects",
    )


@contextmanager
def open_image(source: Any) -> Iterator[Image]:
    """Open a file (TIFF also of several gigabytes, PNG, JPEG, .npy) for reading in windows; arrays are taken as such.

    Raises
    ------
    FormatError
        The file cannot be read.
    InputError
        There is no such file, or it holds no single image.
    """
    if isinstance(source, Image):
        yield source
        return
    if not isinstance(source, str | os.PathLike):
        yield as_image(source)
        return
    path = Path(source)
    if not path.is_file():
        raise InputError("There is no such image", received=path, allowed=", ".join(ENDINGS))
    ending = path.suffix.lower()
    if ending == ".npy":
        yield as_image(_npy(path), path.name)
    elif ending in _PICTURES:
        yield as_image(_picture(path), path.name)
    else:
        with _tiff(path) as image:
            yield image


def _npy(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from None


def _picture(path: Path) -> NDArray[Any]:
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            picture = Pillow.open(path)
        with picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1:
                raise InputError(f"{path.name} holds more than one image", received=f"{frames} frames",
                                 next_step="save single frames")  # fmt: skip
            # palettes hold numbers that mean colours, except in annotations, which `annotations` reads itself
            return np.asarray(picture.convert("RGB") if picture.mode in _CONVERTED else picture)
    except Pillow.DecompressionBombError:
        raise FormatError(f"{path} is too large to be read as a whole", next_step="save it as TIFF, which is read in "
                          "windows") from None  # fmt: skip
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise FormatError(f"{path} cannot be read: {error}") from None


@contextmanager
def _tiff(path: Path) -> Iterator[Image]:
    import tifffile

    try:
        file = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}", allowed=", ".join(ENDINGS)) from None
    with file:
        if not file.series:
            raise FormatError(f"{path} holds no image")
        series = file.series[0]
        axes, shape = series.axes, series.shape
        kept = [axis for axis, size in zip(axes, shape, strict=True) if size > 1 or axis in "YX"]
        planes = [axis for axis in kept if axis not in "YXSC" and not (axis in "QI" and len(kept) == 3)]
        if planes:
            raise InputError(
                f"{path.name} holds more than one image",
                received=f"axes {axes}, shape {shape}",
                allowed="rows, columns and channels",
                next_step="save single planes, for example a projection",
            )
        squeezed = tuple(size for axis, size in zip(axes, shape, strict=True) if size > 1 or axis in "YX")
        try:
            data: Any
            if series.dataoffset is not None:
                dtype = series.dtype.newbyteorder(file.byteorder)
                data = np.memmap(path, dtype, "r", series.dataoffset, squeezed)
            elif series.size < 64_000_000:
                data = series.asarray().reshape(squeezed)
            else:
                data = _windowed(series, squeezed)
        except (ValueError, OSError, KeyError, IndexError, RuntimeError, zlib.error) as error:
            raise FormatError(f"{path} cannot be read: {error}", next_step="copy the file again") from None
        yield as_image(data, path.name)


def _windowed(series: Any, shape: tuple[int, ...]) -> Any:
    """Compressed or tiled pages too large for the memory: blocks are read when they are looked at."""
    import zarr

    array: Any = zarr.open(series.aszarr(level=0), mode="r")
    return array if tuple(array.shape) == shape else array[...].reshape(shape)


@dataclass(frozen=True, slots=True)
class Brightness:
    """What is dark and what is bright in an image, one number for each channel.

    Attributes
    ----------
    low, high
        Counts that become 0 and 1.
    noise
        Standard deviation of the noise from pixel to pixel.
    only
        The one channel that carries light, of a grey image in false colour; None in all others.
    dark
        Whether objects are darker than what is around them: the network then sees the negative of the image.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    noise: tuple[float, ...]
    only: int | None = None
    dark: bool = False

    @property
    def background(self) -> float:
        """Counts of what is no object, the least conspicuous ones."""
        return max(self.high) if self.dark else min(self.low)

    @property
    def contrast(self) -> float:
        """Range over noise, of the channel where it is largest."""
        return max(
            (high - low) / noise if noise > 0 else (np.inf if high > low else 0.0)
            for low, high, noise in zip(self.low, self.high, self.noise, strict=True)
        )


def brightness(image: Any) -> Brightness:
    """Measure the brightness of an image, of large ones in windows spread over it.

    Examples
    --------
    >>> ramp = np.linspace(0, 1000, 256 * 256).reshape(256, 256)
    >>> found = brightness(ramp)
    >>> round(found.low[0]), round(found.high[0])
    (10, 998)
    """
    source = image if isinstance(image, Image) else as_image(image)
    parts = [source.window(*place) for place in _samples(source.shape)]
    values = np.concatenate([part.reshape(source.channels, -1) for part in parts], axis=1)
    finite = np.isfinite(values).all(axis=0)
    if not finite.any():
        raise InputError(f"{source.name} holds no number", received="NaN or infinity in every pixel")
    values = values[:, finite]
    low, high = np.percentile(values, (_LOW, _HIGH), axis=1)
    noise = np.median([[_noise(channel) for channel in part] for part in parts], axis=0)
    only = None
    if source.colour:
        if (high > low).sum() == 1:
            only = int(np.argmax(high - low))
        measured = slice(None) if only is None else only
        low, high = np.full_like(low, low[measured].min()), np.full_like(high, high[measured].max())
    # where few pixels differ from all others, these few are what is bright or dark
    flat = high <= low
    low, high = np.where(flat, values.min(axis=1), low), np.where(flat, values.max(axis=1), high)
    return Brightness(tuple(map(float, low)), tuple(map(float, high)), tuple(map(float, noise)), only)


def normalised(part: Floats, scale: Brightness) -> Floats:
    """Bring counts `(channels, rows, columns)` to what networks see, `(3, rows, columns)` from about 0 to 1."""
    low, high, noise = (
        np.asarray(values, np.float32)[:, None, None] for values in (scale.low, scale.high, scale.noise)
    )
    span = np.maximum(high - low, np.maximum(_NOISE_RANGE * noise, np.float32(1e-12)))
    above = high - part if scale.dark else part - low
    seen = np.nan_to_num(above / span, nan=0.0, posinf=3.0, neginf=-0.5).clip(-0.5, 3.0)
    if scale.only is not None:
        seen = seen[[scale.only]]
    if len(seen) == 1:
        return np.repeat(seen, CHANNELS, axis=0)
    return np.concatenate([seen, seen.mean(axis=0, keepdims=True)]) if len(seen) == 2 else seen


def _samples(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    per_side = int(_SAMPLES**0.5)
    starts = []
    for size in shape:
        number = min(per_side, ceil(size / _SAMPLE_SIDE_PX))
        starts.append(np.linspace(0, max(size - _SAMPLE_SIDE_PX, 0), number).astype(int))
    return [
        (slice(row, row + _SAMPLE_SIDE_PX), slice(column, column + _SAMPLE_SIDE_PX))
        for row in starts[0]
        for column in starts[1]
    ]


def _noise(plane: Floats) -> float:
    """Standard deviation of the noise: the median of what a Laplacian leaves.

    After Immerkaer 1996, Computer Vision and Image Understanding 64, 300.
    """
    if min(plane.shape) < 3:
        return 0.0
    x = np.nan_to_num(plane, posinf=0, neginf=0).astype(np.float64)
    inner = x[:-2] - 2 * x[1:-1] + x[2:]
    left = inner[:, :-2] - 2 * inner[:, 1:-1] + inner[:, 2:]
    return float(np.median(np.abs(left)) / 0.6745 / 6)
