"""From the network's places to the most probable ones: all emitters of a frame are fitted to it, from where they are.

The network finds and separates emitters and knows their neighbours in time; a short training leaves its places with an
error that does not fall with the light. Here the frame itself has a say: position, photons and local background of
every emitter are moved to the maximum of the likelihood of the frame times a Gaussian around what the network said
(maximum a posteriori). Bright, separate emitters come close to the precision of a fit; where spots overlap or are
faint, the network's word stands.

Emitters are visited in turn, each time with the light of all others taken off, and take Fisher scoring steps with the
noise of the camera (Mortensen et al. 2010, Nat Methods 7:377; Huang et al. 2013, Nat Methods 10:653).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.simulate.crlb import Noise
from lucule.simulate.optics import Kernel, kernels
from lucule.simulate.optics.kernels import Model

Floats: TypeAlias = NDArray[np.float64]

TRUST: Final = 0.5
"""Factor of the network's standard deviations. It was best on tubes of low and of high density that are used for
nothing else; at 1, faint emitters lose what the network has seen of them in the neighbouring frames."""
_HALF_PX: Final = 6
_SWEEPS: Final = 12
_ENOUGH_NM: Final = 0.2
_LARGEST_STEP_NM: Final = 40.0
# the network's background is trusted to this part of itself
_BACKGROUND_SPREAD: Final = 0.3
_PARAMETERS: Final = 5


def refine(
    photons: NDArray[np.float32],
    starts: NDArray[np.int64],
    said: Floats,
    sigma: Floats,
    kernel: Kernel,
    noise: Noise,
    *,
    trust: float = TRUST,
) -> tuple[Floats, Floats]:
    """Move emitters to their most probable places.

    Parameters
    ----------
    photons
        Frames in photons, `(frames, rows, columns)`.
    starts
        First emitter of each frame, and their number at the end, `(frames + 1,)`.
    said
        What the network said: x, y, z in nm, photons, background, `(n, 5)`.
    sigma
        Its standard deviations of the first four, `(n, 4)`.
    kernel, noise
        PSF and noise of the camera.
    trust
        Factor of these standard deviations; the larger, the more the frame counts.

    Returns
    -------
    The five parameters, and the standard deviations of x, y, z, photons and background, each `(n, 5)`.
    """
    spread = np.column_stack([trust * sigma, _BACKGROUND_SPREAD * said[:, 4] + 1.0])
    found = np.array(said, dtype=np.float64)
    error = np.empty_like(found)
    excess = noise.excess / noise.efficiency
    low, high = kernel.z_range_nm
    _refine(
        np.ascontiguousarray(photons, dtype=np.float32), starts, np.ascontiguousarray(said), spread, kernel.model,
        excess, noise.photons_per_pixel, low, high, found, error,
    )  # fmt: skip
    return found, error


@njit(cache=True, parallel=True)
def _refine(
    photons: NDArray[np.float32],
    starts: NDArray[np.int64],
    said: Floats,
    spread: Floats,
    model: Model,
    excess: float,
    dark: float,
    low: float,
    high: float,
    found: Floats,
    error: Floats,
) -> None:
    for frame in prange(photons.shape[0]):
        first, last = starts[frame], starts[frame + 1]
        if last > first:
            _frame(
                photons[frame], said[first:last], spread[first:last], model, excess, dark, low, high,
                found[first:last], error[first:last],
            )  # fmt: skip


@njit(cache=True)
def _frame(
    photons: NDArray[np.float32],
    said: Floats,
    spread: Floats,
    model: Model,
    excess: float,
    dark: float,
    low: float,
    high: float,
    found: Floats,
    error: Floats,
) -> None:
    n = len(said)
    rows, columns = photons.shape
    side = 2 * _HALF_PX + 1
    patches = np.zeros((n, 4, side, side))
    corner = np.empty((n, 2), np.int64)
    light = np.zeros((rows, columns))
    for i in range(n):
        corner[i, 0] = int(said[i, 1] // model.pixel[1]) - _HALF_PX
        corner[i, 1] = int(said[i, 0] // model.pixel[0]) - _HALF_PX
        kernels.patch(model, found[i, 0], found[i, 1], found[i, 2], corner[i, 0], corner[i, 1], patches[i])
        _add(light, patches[i, 0], corner[i], found[i, 3])
    information, step = np.empty((_PARAMETERS, _PARAMETERS)), np.empty(_PARAMETERS)
    for sweep in range(_SWEEPS):
        moved = 0.0
        for i in range(n):
            _add(light, patches[i, 0], corner[i], -found[i, 3])
            _normal_equations(
                photons, light, patches[i], corner[i], said[i], spread[i], found[i], excess, dark, information, step
            )
            change = np.linalg.solve(information, step)
            for k in range(3):
                found[i, k] += min(max(change[k], -_LARGEST_STEP_NM), _LARGEST_STEP_NM)
                moved = max(moved, abs(change[k]))
            found[i, 2] = min(max(found[i, 2], low), high)
            found[i, 3] = min(max(found[i, 3] + change[3], 0.5 * found[i, 3]), 2 * found[i, 3])
            found[i, 4] = max(found[i, 4] + change[4], 0.1)
            kernels.patch(model, found[i, 0], found[i, 1], found[i, 2], corner[i, 0], corner[i, 1], patches[i])
            _add(light, patches[i, 0], corner[i], found[i, 3])
            if sweep == _SWEEPS - 1 or moved < _ENOUGH_NM:
                inverse = np.linalg.inv(information)
                for k in range(_PARAMETERS):
                    error[i, k] = np.sqrt(inverse[k, k])
        if moved < _ENOUGH_NM:
            return


@njit(cache=True)
def _add(light: Floats, patch: Floats, corner: NDArray[np.int64], photons: float) -> None:
    for r in range(max(0, -corner[0]), min(patch.shape[0], light.shape[0] - corner[0])):
        for c in range(max(0, -corner[1]), min(patch.shape[1], light.shape[1] - corner[1])):
            light[corner[0] + r, corner[1] + c] += photons * patch[r, c]


@njit(cache=True)
def _normal_equations(
    photons: NDArray[np.float32],
    others: Floats,
    patch: Floats,
    corner: NDArray[np.int64],
    said: Floats,
    spread: Floats,
    at: Floats,
    excess: float,
    dark: float,
    information: Floats,
    step: Floats,
) -> None:
    """Fisher information and score of one emitter, with the light of the others and the network's word."""
    slope = np.empty(_PARAMETERS)
    information[:] = 0.0
    for k in range(_PARAMETERS):
        information[k, k] = 1 / spread[k] ** 2
        step[k] = (said[k] - at[k]) / spread[k] ** 2
    slope[4] = 1.0
    for r in range(max(0, -corner[0]), min(patch.shape[1], photons.shape[0] - corner[0])):
        for c in range(max(0, -corner[1]), min(patch.shape[2], photons.shape[1] - corner[1])):
            seen = photons[corner[0] + r, corner[1] + c]
            expected = max(others[corner[0] + r, corner[1] + c] + at[3] * patch[0, r, c] + at[4], 0.01)
            weight = 1 / (excess * (expected + dark))
            for k in range(3):
                slope[k] = at[3] * patch[k + 1, r, c]
            slope[3] = patch[0, r, c]
            for k in range(_PARAMETERS):
                step[k] += weight * slope[k] * (seen - expected)
                for m in range(k + 1):
                    information[k, m] += weight * slope[k] * slope[m]
    for k in range(_PARAMETERS):
        for m in range(k):
            information[m, k] = information[k, m]
