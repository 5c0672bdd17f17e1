"""Bead stacks and other measured PSFs: read, write, centre."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

from lucule.core import FormatError, InputError
from lucule.core.files import atomic_path
from lucule.simulate.optics.bspline import FEWEST_SAMPLES

_SIZES: Final = ("pixel_size_nm", "z_step_nm")


class Stack(NamedTuple):
    """A PSF sampled on a grid.

    Attributes
    ----------
    values
        `(z, y, x)`; planes go upwards.
    pixel_size_nm, z_step_nm
        Distance of the samples; None where the file does not say.
    oversampling
        Samples for one camera pixel.
    centre
        Position (z, y, x) of the emitter, counted in samples; None where the file does not say.
    """

    values: NDArray[np.float64]
    pixel_size_nm: float | None = None
    z_step_nm: float | None = None
    oversampling: int = 1
    centre: tuple[float, float, float] | None = None


def read_stack(path: str | os.PathLike[str]) -> Stack:
    """Read a stack from HDF5 (dataset `stack`), TIFF or .npy.

    Raises
    ------
    FormatError
        The file cannot be read, is of another format, or holds no stack of three dimensions.
    InputError
        There is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("There is no such PSF stack", received=file)
    suffix = file.suffix.lower()
    said: dict[str, Any] = {}
    try:
        if suffix in (".h5", ".hdf5"):
            with h5py.File(file, "r") as opened:
                if "stack" not in opened:
                    raise FormatError(
                        f"{file} holds no PSF stack", received=", ".join(opened), allowed="a dataset `stack`"
                    )
                dataset = opened["stack"]
                values = np.asarray(dataset[()])
                said = dict(dataset.attrs)
        elif suffix in (".tif", ".tiff"):
            values = tifffile.imread(file)
        elif suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            raise FormatError("Not a PSF stack", received=file.name, allowed=".h5, .hdf5, .tif, .tiff, .npy")
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise FormatError(f"{file} cannot be read as a PSF stack: {error}") from None
    if values.ndim != 3 or min(values.shape) < FEWEST_SAMPLES or values.dtype.kind not in "fiu":
        raise FormatError(
            f"{file} holds no PSF stack",
            received=f"shape {values.shape} of {values.dtype}",
            allowed=f"numbers (z, y, x), at least {FEWEST_SAMPLES} along each axis",
        )
    sizes = {name: float(said[name]) for name in _SIZES if name in said}
    centre = said.get("centre")
    return Stack(
        values.astype(np.float64),
        **sizes,
        oversampling=int(said.get("oversampling", 1)),
        centre=None if centre is None else (float(centre[0]), float(centre[1]), float(centre[2])),
    )


def save_stack(path: str | os.PathLike[str], stack: Stack) -> Path:
    """Write a stack with its sampling to HDF5.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = save_stack(folder + "/bead.h5", Stack(np.ones((5, 9, 9)), 100.0, 50.0))
    ...     read_stack(file).z_step_nm
    50.0
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as opened:
        put_stack(opened, stack)
    return Path(path)


def put_stack(opened: h5py.File, stack: Stack) -> None:
    """Write a stack into an open HDF5 file, where other things may stand beside it."""
    dataset = opened.create_dataset("stack", data=np.asarray(stack.values, dtype=np.float32), compression="gzip")
    dataset.attrs["oversampling"] = stack.oversampling
    for name in (*_SIZES, "centre"):
        value = getattr(stack, name)
        if value is not None:
            dataset.attrs[name] = value


def centre_of(values: NDArray[np.float64], plane: int) -> tuple[float, float]:
    """Centre of mass (y, x) of one plane in samples, after its border has been taken off as background."""
    image = values[plane]
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    light = np.clip(image - np.median(border), 0, None)
    if not np.isfinite(light).all() or light.sum() <= 0:
        raise InputError(
            "The PSF has no energy", received=f"plane {plane} of the stack holds no light above its border"
        )
    y, x = np.indices(image.shape)
    return float((y * light).sum() / light.sum()), float((x * light).sum() / light.sum())
