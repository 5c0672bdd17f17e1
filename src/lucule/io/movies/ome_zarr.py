"""OME-Zarr (NGFF 0.4 on Zarr 2, 0.5 on Zarr 3) and bare Zarr arrays; full resolution is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError
from lucule.io.movies._camera_notes import length_nm, time_ms
from lucule.io.movies.axes import pick
from lucule.io.movies.format import Choice, MovieFormat, Opened, Window

_MARKS: Final = (".zgroup", ".zarray", "zarr.json")
_NAMES: Final = {"t": "time", "c": "channel", "z": "z"}


class _ZarrFrames:
    """Images of a Zarr array whose last two axes are rows and columns."""

    def __init__(self, arrays: Sequence[Any], images: NDArray[np.int64], sizes: Sequence[int]) -> None:
        first = arrays[0]
        self._arrays, self._images, self._sizes = arrays, images, tuple(sizes)
        self.shape = (len(images), first.shape[-2], first.shape[-1])
        self.dtype = np.dtype(first.dtype)

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number, each chunk once where they follow each other."""
        places = np.stack(np.unravel_index(self._images[frames], self._sizes), axis=1)
        values = np.empty((len(frames), *(part.stop - part.start for part in window)), self.dtype)
        steps = np.diff(places, axis=0)
        # runs along one axis, of one array
        along = (np.count_nonzero(steps, axis=1) == 1) & (steps.max(axis=1, initial=0) == 1) & (steps[:, 0] == 0)
        axis = np.where(along, np.abs(steps).argmax(axis=1), -1)
        begin = 0
        while begin < len(frames):
            end = begin + 1
            while end < len(frames) and axis[end - 1] >= 0 and axis[end - 1] == axis[begin]:
                end += 1
            array, *index = places[begin]
            where: list[Any] = [int(i) for i in index]
            if end > begin + 1:
                run = int(axis[begin]) - 1
                where[run] = slice(where[run], where[run] + end - begin)
            block = np.asarray(self._arrays[array][(*where, *window)])
            values[begin:end] = block.reshape(-1, *values.shape[1:])
            begin = end
        return values

    def close(self) -> None:
        """Nothing stays open."""


def _is_zarr(path: Path, _head: bytes) -> bool:
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def _open(path: Path, choice: Choice) -> Opened:
    import zarr

    try:
        root = zarr.open(path, mode="r")
        images = [root] if isinstance(root, zarr.Array) else _images(path, root)
        arrays = [image if isinstance(image, zarr.Array) else image[_level(image)["path"]] for image in images]
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise FormatError(f"{path.name} cannot be read as Zarr: {error}", next_step="copy the folder again") from None
    first = arrays[0]
    described = {} if isinstance(images[0], zarr.Array) else _multiscale(images[0])
    axes = described.get("axes") or [{"name": name} for name in "tczyx"[-first.ndim :]]
    if described == {} and first.ndim == 3:
        axes = [{"name": name} for name in "tyx"]
    if first.ndim < 2 or len(axes) != first.ndim or not all(first.shape):
        raise FormatError(
            f"{path.name} is no movie", received=f"shape {first.shape}", allowed="(frames, rows, columns)"
        )
    if any(array.shape != first.shape for array in arrays):
        raise FormatError(f"{path.name} holds images of different sizes", received=str([a.shape for a in arrays]))
    names = [_axis_name(axis) for axis in axes]
    sizes = {"position": len(arrays)} | {
        _NAMES.get(name, f"axis {name}"): length for name, length in zip(names[:-2], first.shape[:-2], strict=True)
    }
    picked = pick(path, sizes, choice)
    pixel, exposure = _scales(described, axes)
    return Opened(
        _ZarrFrames(arrays, picked.images, list(sizes.values())),
        sorted(file for file in path.rglob("*") if file.is_file()),
        picked.axes,
        picked.chosen,
        pixel,
        exposure,
        notes=picked.notes,
    )


def _axis_name(axis: Any) -> str:
    return str(axis["name"] if isinstance(axis, Mapping) else axis)


def _attributes(group: Any) -> Mapping[str, Any]:
    values = dict(group.attrs)
    inner = values.get("ome")
    return inner if isinstance(inner, Mapping) else values


def _multiscale(group: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _attributes(group)["multiscales"][0]
    return found


def _level(group: Any) -> Mapping[str, Any]:
    level: Mapping[str, Any] = _multiscale(group)["datasets"][0]
    return level


def _images(path: Path, root: Any) -> list[Any]:
    """Groups with an image each: the root itself, or its numbered children (several positions)."""
    if "multiscales" in _attributes(root):
        return [root]
    series = _attributes(root.get("OME")).get("series") if "OME" in root else None
    names = [str(name) for name in series] if series else sorted(root.group_keys(), key=lambda name: (len(name), name))
    found = [root[name] for name in names if "multiscales" in _attributes(root[name])]
    if not found:
        raise FormatError(
            f"{path.name} holds no image",
            allowed="OME-Zarr with multiscales, or one Zarr array (frames, rows, columns)",
        )
    return found


def _scales(described: Mapping[str, Any], axes: Sequence[Any]) -> tuple[tuple[float, float] | None, float | None]:
    """Pixel size (x, y) in nm and time from frame to frame in ms."""
    if not described:
        return None, None
    key = "coordinateTransformations"
    steps = [*described["datasets"][0].get(key, ()), *described.get(key, ())]
    scale = np.ones(len(axes))
    for step in steps:
        if step.get("type") == "scale":
            scale *= np.asarray(step["scale"], float)
    units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in axes]
    y, x = (length_nm(float(scale[k]), units[k]) for k in (-2, -1))
    times = [time_ms(float(s), u) for axis, s, u in zip(axes, scale, units, strict=True) if _axis_name(axis) == "t"]
    return ((x, y) if x and y else None), (times[0] if times else None)


FORMAT = MovieFormat(
    "ome_zarr", "OME-Zarr", _is_zarr, _open, "NGFF 0.4 and 0.5, also bare arrays; several images count as positions"
)
