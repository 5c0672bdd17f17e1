"""The average as a density on a grid, and the tables of log densities that particles are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from lucule.structures.averaging import kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# part of the localizations that may lie anywhere: what keeps one stray localization from deciding a pose
STRAY: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A box of voxels around the origin; `shape` is (z, y, x), with one layer in 2D."""

    shape: tuple[int, int, int]
    voxel_nm: float
    pad: tuple[int, int, int]

    @classmethod
    def around(cls, radius_nm: float, voxel_nm: float, *, flat: bool, pad: int) -> Grid:
        """A box for structures of this radius, with `pad` voxels around."""
        half = int(np.ceil(radius_nm / voxel_nm)) + pad
        side = 2 * half + 1
        return cls((1 if flat else side, side, side), voxel_nm, (pad, pad, 0 if flat else pad))

    @property
    def origin_nm(self) -> Floats:
        """Centre of the first voxel, (x, y, z)."""
        return -(np.array(self.shape[::-1]) // 2) * self.voxel_nm

    @property
    def flat(self) -> bool:
        """Whether there is one layer only."""
        return self.shape[0] == 1

    def strides(self, steps: Ints) -> Ints:
        """Distances in the flat table of shifts by whole voxels `(n, 3)`, x first."""
        _, ny, nx = self.shape
        result: Ints = (steps[:, 2] * ny + steps[:, 1]) * nx + steps[:, 0]
        return result

    def axes(self) -> tuple[Floats, Floats, Floats]:
        """Positions of the voxels along x, y and z, nm."""
        low = self.origin_nm
        x, y, z = (low[i] + self.voxel_nm * np.arange(n) for i, n in enumerate(self.shape[::-1]))
        return x, y, z


def blurred(density: Floats, width_nm: float, grid: Grid) -> Floats:
    """Density smoothed by a Gaussian of standard deviation `width_nm`."""
    return _smoothings(density, np.array([width_nm]), grid)[0]


def log_tables(density: Floats, widths_nm: Floats, grid: Grid) -> NDArray[np.float32]:
    """Log of the density in units of a uniform one, `(widths, voxels)`, smoothed by each width."""
    size = int(np.prod(grid.shape))
    tables = np.empty((len(widths_nm), size), np.float32)
    for row, smooth in enumerate(_smoothings(density, widths_nm, grid)):
        smooth *= size / max(float(smooth.sum()), 1e-12)
        tables[row] = np.log((1 - STRAY) * smooth + STRAY).reshape(-1)
    return tables


def _smoothings(density: Floats, widths_nm: Floats, grid: Grid) -> list[Floats]:
    """The density smoothed by Gaussians of several widths."""
    widths = widths_nm / grid.voxel_nm
    if grid.flat:
        return [gaussian_filter(density, (0.0, w, w), mode="constant", truncate=3.0) for w in widths]
    # in space by its spectrum, which all widths share: several times faster
    padded = [fft.next_fast_len(side, real=True) for side in grid.shape]
    spectrum = fft.rfftn(density.astype(np.float32), padded)
    frequencies = [fft.fftfreq(side) for side in padded[:2]] + [fft.rfftfreq(padded[2])]
    smoothed = []
    for width in widths:
        z, y, x = (np.exp(-2 * (np.pi * width * f) ** 2).astype(np.float32) for f in frequencies)
        whole = fft.irfftn(spectrum * z[:, None, None] * y[:, None] * x, padded)
        inside = whole[tuple(slice(side) for side in grid.shape)]
        smoothed.append(np.maximum(inside, 0).astype(np.float64))
    return smoothed


def symmetrised(density: Floats, rotations: Floats, centre_nm: Floats, grid: Grid) -> Floats:
    """Mean of the density turned by each rotation about a centre."""
    total = np.zeros(grid.shape)
    source = np.ascontiguousarray(density, np.float64)
    for rotation in rotations:
        kernels.resample(source, rotation, grid.origin_nm, grid.voxel_nm, centre_nm, total)
    return total / len(rotations)


def centre_of(density: Floats, grid: Grid) -> Floats:
    """Centre of mass, nm (x, y, z)."""
    total = float(density.sum())
    return np.array([float((density * axis.reshape(shape)).sum()) / total for axis, shape in
                     zip(grid.axes(), ((1, 1, -1), (1, -1, 1), (-1, 1, 1)), strict=True)])  # fmt: skip
