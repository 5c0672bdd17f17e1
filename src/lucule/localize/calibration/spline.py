"""One spline through many beads: what a bead shows between its pixels is what another one shows on them.

Each bead samples the pixel-integrated PSF on a grid of its own, shifted by its place within a pixel and by its height.
The PSF is the cubic B-spline, with knots closer than the pixels, that comes nearest to all samples of all beads at once
(least squares). No bead is ever interpolated, which would widen the PSF. What the beads leave open is decided by a
penalty on third differences (Eilers and Marx 1996, Statistical Science 11, 89), whose weight is chosen by predicting
one half of the beads from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_solve_banded, cholesky_banded

from lucule.simulate.optics.bspline import slopes, spline_coefficients, weights

Floats: TypeAlias = NDArray[np.float64]

# as in the simulator: a cubic spline with such knots holds a diffraction pattern to 5e-4 of its peak
_KNOTS_NM: Final = 60.0
# along z no PSF changes faster than a period of wavelength / (n - sqrt(n^2 - NA^2)), 400 nm and more; a cubic spline
# with these knots holds that to 1e-3, and closer ones would only follow the noise
_KNOTS_Z_NM: Final = 60.0
_SMOOTHING: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Weights of the penalty that are tried, for beads of mean weight 1."""
_WITHOUT_CHOICE: Final = 1e-3
_RIDGE: Final = 1e-6
_DEPTHS_COMPARED: Final = 7


@dataclass(frozen=True)
class Grid:
    """Knots of the PSF around the emitter.

    Attributes
    ----------
    pixel_nm
        Camera pixel.
    per_pixel
        Knots for one pixel.
    side_px
        Side of the window in pixels, odd.
    z_nm
        Heights of the planes `(n,)`, regular.
    """

    pixel_nm: float
    per_pixel: int
    side_px: int
    z_nm: Floats

    @classmethod
    def of(cls, pixel_nm: float, window_nm: float, step_nm: float, reach_nm: tuple[float, float]) -> Grid:
        """Grid for a window, a distance of the measured planes, and a depth range."""
        side = 2 * ceil((window_nm / pixel_nm - 1) / 2) + 1
        step = max(step_nm, _KNOTS_Z_NM)
        low, high = ceil(reach_nm[0] / step - 1e-9), int(np.floor(reach_nm[1] / step + 1e-9))
        return cls(pixel_nm, ceil(pixel_nm / _KNOTS_NM), side, step * np.arange(low, high + 1, dtype=np.float64))

    @property
    def knots(self) -> int:
        """Knots along x and along y."""
        return self.per_pixel * self.side_px + 1

    @property
    def step_nm(self) -> float:
        """Distance of the planes."""
        return float(self.z_nm[1] - self.z_nm[0])

    def across(self, offset_px: float) -> Floats:
        """Places of the pixels of a bead on the knots, for a bead this far from the middle of its central pixel."""
        pixels = np.arange(self.side_px) - self.side_px // 2 - offset_px
        places: Floats = np.clip(pixels * self.per_pixel + (self.knots - 1) / 2, 0, self.knots - 1)
        return places

    def along(self, z_nm: Floats) -> Floats:
        """Heights in knots."""
        return (z_nm - self.z_nm[0]) / self.step_nm


@dataclass(frozen=True, eq=False)
class Samples:
    """One bead as samples of the PSF.

    Attributes
    ----------
    planes
        Light of one photon, background taken off, `(planes, side, side)`.
    z_nm
        Height of the bead over the focus in each plane.
    offset_px
        Place (x, y) from the middle of the central pixel.
    weight
        How much it counts, its photons for instance.
    seen
        Pixels that count, `(side, side)`.
    """

    planes: Floats
    z_nm: Floats
    offset_px: tuple[float, float]
    weight: float
    seen: NDArray[np.bool_]


def basis(places: Floats, knots: int, *, slope: bool = False) -> Floats:
    """Values (or derivatives by the knot) of the B-splines at places from 0 to knots - 1, `(places, knots + 2)`.

    Examples
    --------
    >>> basis(np.array([0.0, 1.5]), 4).sum(axis=1).round(6).tolist()
    [1.0, 1.0]
    """
    cell = np.clip(np.floor(places).astype(np.int64), 0, knots - 2)
    plain: Any = slopes if slope else weights  # the same formula, for an array
    parts = plain.py_func(places - cell)
    matrix = np.zeros((len(places), knots + 2))
    for k, part in enumerate(parts):
        matrix[np.arange(len(places)), cell + k] = part
    return matrix


def onto_planes(bead: Samples, grid: Grid) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Bring the planes of a bead to the heights of the grid, by a regression spline along z.

    Returns
    -------
    `(heights, side, side)`; at which heights the bead was measured; and the variance of noise there, for noise of
    variance 1 in the planes.
    """
    lowest, highest = bead.z_nm.min(), bead.z_nm.max()
    count = max(round((highest - lowest) / grid.step_nm), 1) + 1
    own_step = (highest - lowest) / (count - 1)
    matrix = basis((bead.z_nm - lowest) / own_step, count)
    # planes that were left out (step larger than planned) must not make the system singular
    bend = np.diff(np.eye(count + 2), n=2, axis=0)
    system = matrix.T @ matrix + _RIDGE * bend.T @ bend
    covered = (grid.z_nm > lowest - grid.step_nm / 2) & (grid.z_nm < highest + grid.step_nm / 2)
    wanted = basis(np.clip((grid.z_nm - lowest) / own_step, 0, count - 1), count)
    project = wanted @ np.linalg.solve(system, matrix.T)
    flat = bead.planes.reshape(len(bead.planes), -1)
    return (project @ flat).reshape(len(grid.z_nm), *bead.planes.shape[1:]), covered, (project**2).sum(axis=1)


class _Layout:
    """Band of the symmetric matrix of all unknowns of one plane, and the penalty in it."""

    def __init__(self, grid: Grid) -> None:
        self.n = grid.knots + 2
        third = sparse.csr_matrix(np.diff(np.eye(self.n), n=3, axis=0))
        same = sparse.identity(self.n, format="csr")
        roughness = third.T @ third
        self.penalty = (sparse.kron(same, roughness) + sparse.kron(roughness, same)).tocsr()

    def solve(self, system: sparse.csr_matrix, right: Floats) -> Floats:
        lower = sparse.tril(system).tocoo()
        below = lower.row - lower.col
        band = np.zeros((3 * self.n + 4, self.n**2))
        band[below, lower.col] = lower.data
        # a trace of the diagonal: corners of the window that no pixel touches
        band[0] += _RIDGE * band[0].max()
        factor = cholesky_banded(band, lower=True, check_finite=False)
        solved: Floats = cho_solve_banded((factor, True), right, check_finite=False)
        return solved


class Beads:
    """Beads as equations for the PSF; made once, solved for several penalties and several choices of beads."""

    def __init__(self, samples: Sequence[Samples], grid: Grid) -> None:
        self.grid = grid
        self._layout = _Layout(grid)
        self.weight = np.array([s.weight for s in samples])
        self.weight /= self.weight.mean()
        self.matrix: list[sparse.csr_matrix] = []
        self.values: list[Floats] = []
        covered = []
        for bead in samples:
            x, y = (sparse.csr_matrix(basis(grid.across(o), grid.knots)) for o in bead.offset_px)
            seen = bead.seen.ravel()
            self.matrix.append(sparse.kron(y, x).tocsr()[seen])
            planes, inside, _ = onto_planes(bead, grid)
            self.values.append(planes.reshape(len(planes), -1)[:, seen])
            covered.append(inside)
        self.covered = np.array(covered)
        self._normal = [w * (m.T @ m).tocsr() for w, m in zip(self.weight, self.matrix, strict=True)]

    def fit(self, chosen: Sequence[int], smoothing: float, planes: NDArray[np.int64] | None = None) -> Floats:
        """Coefficients of the planes, `(planes, (knots + 2)^2)`, from some of the beads.

        A plane that none of them covers is zero.
        """
        indices = np.arange(len(self.grid.z_nm)) if planes is None else planes
        result = np.zeros((len(indices), self._layout.n**2))
        sets: dict[bytes, list[int]] = {}
        for row, plane in enumerate(indices):
            sets.setdefault(self.covered[:, plane].tobytes(), []).append(row)
        for rows in sets.values():
            here = [i for i in chosen if self.covered[i, indices[rows[0]]]]
            if not here:
                continue
            # for mean weight 1, so that few beads are not smoothed more than many
            system = sum((self._normal[i] for i in here[1:]), self._normal[here[0]])
            system = system + smoothing * len(here) * self._layout.penalty
            light = sum(self.weight[i] * (self.matrix[i].T @ self.values[i][indices[rows]].T) for i in here)
            result[rows] = self._layout.solve(system, np.asarray(light)).T
        return result

    def stack(self, coefficients: Floats) -> Floats:
        """Values at the knots, `(planes, knots, knots)`."""
        knots = self.grid.knots
        at = basis(np.arange(knots, dtype=np.float64), knots)
        square = coefficients.reshape(len(coefficients), knots + 2, knots + 2)
        values: Floats = at @ square @ at.T
        return values

    def halves(self) -> tuple[list[int], list[int]]:
        """Two halves of the beads, alike in weight."""
        order = [int(i) for i in np.argsort(-self.weight)]
        return order[::2], order[1::2]

    def smoothing(self) -> float:
        """Choose the weight of the penalty: the one with which half of the beads predicts the other half best."""
        first, second = self.halves()
        if not second:
            return _WITHOUT_CHOICE
        many = np.flatnonzero(self.covered.all(axis=0))
        if len(many) < _DEPTHS_COMPARED:
            many = np.argsort(-self.covered.sum(axis=0), kind="stable")[:_DEPTHS_COMPARED]
        planes = np.unique(many[np.linspace(0, len(many) - 1, _DEPTHS_COMPARED).astype(int)])
        misses = []
        for candidate in _SMOOTHING:
            miss = 0.0
            for fitted, judged in ((first, second), (second, first)):
                coefficients = self.fit(fitted, candidate, planes)
                for i in judged:
                    at = self.covered[i, planes]
                    wrong = self.values[i][planes[at]] - (self.matrix[i] @ coefficients[at].T).T
                    miss += float(self.weight[i] * np.sum(wrong**2))
            misses.append(miss)
        return _SMOOTHING[int(np.argmin(misses))]


class Model:
    """The PSF as it stands, evaluated on the pixels and planes of a bead."""

    def __init__(self, stack: Floats, grid: Grid) -> None:
        self.grid = grid
        self._coefficients = spline_coefficients(stack)

    def on(self, z_nm: Floats, offset_px: tuple[float, float], *, slopes_too: bool = False) -> list[Floats]:
        """Light on the pixels `(planes, side, side)`, and with `slopes_too` its derivatives by x, y (px) and z (nm)."""
        grid, per_pixel = self.grid, self.grid.per_pixel
        height = np.clip(grid.along(z_nm), 0, len(grid.z_nm) - 1)
        places = [grid.across(offset) for offset in offset_px]
        bz = basis(height, len(grid.z_nm))
        bx, by = (basis(place, grid.knots) for place in places)
        rows = np.einsum("ri,zij->zrj", by, self._coefficients, optimize=True)
        image = rows @ bx.T

        def along_z(matrix: Floats, planes: Floats) -> Floats:
            return np.tensordot(matrix, planes, axes=1)

        found = [along_z(bz, image)]
        if slopes_too:
            dx, dy = (basis(place, grid.knots, slope=True) for place in places)
            found.append(-per_pixel * along_z(bz, rows @ dx.T))
            steep = np.einsum("ri,zij->zrj", dy, self._coefficients, optimize=True)
            found.append(-per_pixel * along_z(bz, steep @ bx.T))
            found.append(along_z(basis(height, len(grid.z_nm), slope=True), image) / grid.step_nm)
        return found
