"""From the network's places to the most probable ones: all emitters are fitted to their frames, from where they are.

The network finds and separates emitters and knows their neighbours in time; a short training leaves its places with an
error that does not fall with the light. Here the frames themselves have a say: position, photons and local background
of every emitter are moved to the maximum of the likelihood of the frame times a Gaussian around what the network said
(maximum a posteriori). Bright, separate emitters come close to the precision of a fit; where spots overlap or are
faint, the network's word stands; so it does where the frame would lead far away from it.

A molecule that is on for several frames is in one place in all of them. Emitters of consecutive frames that agree
within their errors are linked (`lucule.localize.links`), and each hears what the frames of the others say about its
place.

The background need not be even. Each emitter has a level of its own, but its slope draws emitters out of focus, whose
light is spread thinly, to the brighter side. So all emitters are fitted once on an even background; what they leave of
the frames, as far as it lasts, is its shape in the fits that follow (`lucule.localize.background`).

Emitters are visited in turn, each time with the light of all others taken off, and take Fisher scoring steps with the
noise of the camera (Mortensen et al. 2010, Nat Methods 7:377; Huang et al. 2013, Nat Methods 10:653).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.localize.background import lasting_shape
from lucule.localize.links import around, link
from lucule.simulate.crlb import Noise
from lucule.simulate.optics import Kernel, kernels
from lucule.simulate.optics.kernels import Model

Floats: TypeAlias = NDArray[np.float64]

TRUST: Final = 1.0
"""Factor of the network's standard deviations."""
# share of what the whole PSF says about x, y, z, on a background per pixel of so many photons of one, that the pixels
# looked at say; fewest and most of these to each side
_SHARE, _BACKGROUND = 0.98, 0.01
_LEAST_PX, _MOST_PX = 4, 12
# steps of depth for which these pixels are counted
_HALVES_NM: Final = 50.0
_SWEEPS: Final = 12
# an emitter rests when a step gains less log likelihood
_ENOUGH: Final = 5e-3
_LARGEST_STEP_NM: Final = 40.0
# farther from the network's place, in its standard deviations, the network is right more often than the frame
_LOST_SIGMA: Final = 3.5
# weight that holds an emitter where it is
_HELD: Final = 1e4
# the network's background is trusted to this part of itself
_BACKGROUND_SPREAD: Final = 0.3
_PARAMETERS: Final = 5


@dataclass(frozen=True, eq=False)
class Refined:
    """Emitters at their most probable places.

    Attributes
    ----------
    values
        x, y, z in nm, photons, background, `(n, 5)`.
    errors
        Their standard deviations, `(n, 5)`.
    others
        The same molecule in the frames around, -1 where it is not seen: one and more frames later, then one and more
        frames earlier, `(n, 2 reach)`.
    """

    values: Floats
    errors: Floats
    others: NDArray[np.int64]


def refine(
    photons: NDArray[np.float32],
    starts: NDArray[np.int64],
    said: Floats,
    sigma: Floats,
    kernel: Kernel,
    noise: Noise,
    *,
    trust: float = TRUST,
    reach: int = 0,
) -> Refined:
    """Move emitters to their most probable places.

    Parameters
    ----------
    photons
        Consecutive frames in photons, `(frames, rows, columns)`.
    starts
        First emitter of each frame, and their number at the end, `(frames + 1,)`.
    said
        What the network said: x, y, z in nm, photons, background, `(n, 5)`.
    sigma
        Its standard deviations of the first four, `(n, 4)`.
    kernel, noise
        PSF and noise of the camera.
    trust
        Factor of these standard deviations; the larger, the more the frames count.
    reach
        So many frames before and after an emitter's own may say where it is; 0: its own frame alone.
    """
    spread = np.column_stack([trust * sigma, _BACKGROUND_SPREAD * said[:, 4] + 1.0])
    word = np.zeros((len(said), _PARAMETERS, _PARAMETERS))
    word[:, range(_PARAMETERS), range(_PARAMETERS)] = 1 / spread**2
    word_pull = said / spread**2
    found, information = np.array(said, dtype=np.float64), word.copy()
    light = np.ascontiguousarray(photons, dtype=np.float32)
    low, high = kernel.z_range_nm
    camera = (noise.excess / noise.efficiency, noise.photons_per_pixel)
    halves = _halves(kernel.model, np.arange(low, high + _HALVES_NM, _HALVES_NM))

    ground, all_of_them = np.zeros(photons.shape), np.ones(len(said), bool)

    def solve(precision: Floats, pull: Floats, active: NDArray[np.bool_]) -> Floats:
        rest = np.empty(photons.shape)
        _solve(
            light, ground, starts, precision, pull, active, kernel.model, camera, (low, high), halves, found,
            information, rest,
        )  # fmt: skip
        return rest

    ground[:] = lasting_shape(light, solve(word, word_pull, all_of_them), camera)
    solve(word, word_pull, all_of_them)
    sizes = zip(kernel.pixel_size_nm, photons.shape[:0:-1], strict=True)
    inside = [(-0.5 * pixel, (size + 0.5) * pixel) for pixel, size in sizes]
    lost = _lost(found, said, sigma, inside)
    if lost.any():
        found[lost] = said[lost]
        word[lost] *= _HELD
        word_pull[lost] *= _HELD
        frame = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        solve(word, word_pull, np.isin(frame, frame[lost]))
    known = _of_place(information)
    others = around(link(starts, found[:, :3], known), reach)
    # who is held in place has nothing to say to others, and need not listen
    linked = (others >= 0) & ~lost[others] & ~lost[:, None]
    if linked.any():
        # what the frame of each says without its prior: information, and information times place
        evidence = known - word[:, :3, :3]
        says = np.einsum("nij,nj->ni", known, found[:, :3]) - word_pull[:, :3]
        word[:, :3, :3] += np.einsum("nk,nkij->nij", linked, evidence[others])
        word_pull[:, :3] += np.einsum("nk,nki->ni", linked, says[others])
        solve(word, word_pull, linked.any(axis=1))
    errors = np.sqrt(np.diagonal(np.linalg.inv(information), axis1=1, axis2=2))
    lost |= _lost(found, said, sigma, inside)
    found[lost], errors[lost] = said[lost], spread[lost]
    errors[lost, :4] = sigma[lost]
    return Refined(found, errors, others)


def _lost(found: Floats, said: Floats, sigma: Floats, inside: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Emitters whose frame disagrees with the network: as a rule it holds one more, which the network has not found.

    Those that have left the frame by more than half a pixel are lost, too.
    """
    moved = (found[:, :3] - said[:, :3]) / sigma[:, :3]
    far: NDArray[np.bool_] = (moved**2).sum(axis=1) > _LOST_SIGMA**2
    for axis, (low, high) in enumerate(inside):
        far |= (found[:, axis] < low) | (found[:, axis] > high)
    return far


def _of_place(information: Floats) -> Floats:
    """Information about x, y, z while photons and background are not known, `(n, 3, 3)`."""
    mixed = information[:, :3, 3:]
    return information[:, :3, :3] - mixed @ np.linalg.solve(information[:, 3:, 3:], mixed.transpose(0, 2, 1))


@njit(cache=True)
def _halves(model: Model, depths: Floats) -> NDArray[np.int64]:
    """Pixels to each side of an emitter that say most of what is to be known of its place, for each depth."""
    middle_x, middle_y = 0.5 * model.pixel[0], 0.5 * model.pixel[1]
    side = 2 * _MOST_PX + 1
    patch, known = np.empty((4, side, side)), np.empty((3, side, side))
    halves = np.full(len(depths), _MOST_PX, np.int64)
    for depth in range(len(depths)):
        kernels.patch(model, middle_x, middle_y, depths[depth], -_MOST_PX, -_MOST_PX, patch)
        for k in range(3):
            known[k] = patch[k + 1] ** 2 / (np.maximum(patch[0], 0.0) + _BACKGROUND)
        for half in range(_LEAST_PX, _MOST_PX):
            inner = slice(_MOST_PX - half, _MOST_PX + half + 1)
            enough = True
            for k in range(3):
                enough &= known[k, inner, inner].sum() >= _SHARE * known[k].sum()
            if enough:
                halves[depth] = half
                break
    return halves


@njit(cache=True, parallel=True)
def _solve(
    photons: NDArray[np.float32],
    ground: Floats,
    starts: NDArray[np.int64],
    precision: Floats,
    pull: Floats,
    active: NDArray[np.bool_],
    model: Model,
    camera: tuple[float, float],
    depths: tuple[float, float],
    halves: NDArray[np.int64],
    found: Floats,
    information: Floats,
    rest: Floats,
) -> None:
    """Move the emitters of all frames, in place; active ones first, and whoever they disturb.

    `ground` is the shape of the background; what is left of the frames without the emitters' light goes to `rest`.
    """
    for frame in prange(photons.shape[0]):
        own = slice(starts[frame], starts[frame + 1])
        rest[frame] = photons[frame]
        if active[own].any():
            _frame(
                photons[frame], ground[frame], precision[own], pull[own], active[own].copy(), model, camera, depths,
                halves, found[own], information[own], rest[frame],
            )  # fmt: skip


@njit(cache=True)
def _frame(
    photons: NDArray[np.float32],
    ground: Floats,
    precision: Floats,
    pull: Floats,
    active: NDArray[np.bool_],
    model: Model,
    camera: tuple[float, float],
    depths: tuple[float, float],
    halves: NDArray[np.int64],
    found: Floats,
    information: Floats,
    rest: Floats,
) -> None:
    n = len(found)
    half, corner = np.empty(n, np.int64), np.empty((n, 2), np.int64)
    largest = 0
    for i in range(n):
        half[i] = halves[int(min(max(found[i, 2] - depths[0], 0) / _HALVES_NM, len(halves) - 1))]
        corner[i, 0] = int(found[i, 1] // model.pixel[1]) - half[i]
        corner[i, 1] = int(found[i, 0] // model.pixel[0]) - half[i]
        largest = max(largest, 2 * half[i] + 1)
    patches = np.zeros((n, 4 * largest * largest))
    light = ground.copy()
    for i in range(n):
        patch = _patch(patches, half, i)
        kernels.patch(model, found[i, 0], found[i, 1], found[i, 2], corner[i, 0], corner[i, 1], patch)
        _add(light, patch[0], corner[i], found[i, 3])
    step = np.empty(_PARAMETERS)
    for _ in range(_SWEEPS):
        if not active.any():
            break
        for i in range(n):
            if not active[i]:
                continue
            patch = _patch(patches, half, i)
            _add(light, patch[0], corner[i], -found[i, 3])
            row, column = corner[i, 0] + half[i], corner[i, 1] + half[i]
            here = ground[min(max(row, 0), ground.shape[0] - 1), min(max(column, 0), ground.shape[1] - 1)]
            _normal_equations(
                photons, light, here, patch, corner[i], precision[i], pull[i], found[i], camera, information[i], step
            )
            change = np.linalg.solve(information[i], step)
            for k in range(3):
                found[i, k] += min(max(change[k], -_LARGEST_STEP_NM), _LARGEST_STEP_NM)
            found[i, 2] = min(max(found[i, 2], depths[0]), depths[1])
            found[i, 3] = min(max(found[i, 3] + change[3], 0.5 * found[i, 3]), 2 * found[i, 3])
            found[i, 4] = max(found[i, 4] + change[4], 0.1)
            kernels.patch(model, found[i, 0], found[i, 1], found[i, 2], corner[i, 0], corner[i, 1], patch)
            _add(light, patch[0], corner[i], found[i, 3])
            active[i] = 0.5 * (change @ step) >= _ENOUGH
            if active[i]:
                _wake(active, corner, half, i)
    rest[:] = photons - light + ground


@njit(cache=True, inline="always")
def _patch(patches: Floats, half: NDArray[np.int64], i: int) -> Floats:
    side = 2 * half[i] + 1
    return patches[i, : 4 * side * side].reshape((4, side, side))


@njit(cache=True)
def _wake(active: NDArray[np.bool_], corner: NDArray[np.int64], half: NDArray[np.int64], i: int) -> None:
    """Neighbours of an emitter that has moved are to be looked at again."""
    for j in range(len(active)):
        reach = half[i] + half[j]
        if (
            abs(corner[i, 0] + half[i] - corner[j, 0] - half[j]) <= reach
            and abs(corner[i, 1] + half[i] - corner[j, 1] - half[j]) <= reach
        ):
            active[j] = True


@njit(cache=True)
def _add(light: Floats, patch: Floats, corner: NDArray[np.int64], photons: float) -> None:
    for r in range(max(0, -corner[0]), min(patch.shape[0], light.shape[0] - corner[0])):
        for c in range(max(0, -corner[1]), min(patch.shape[1], light.shape[1] - corner[1])):
            light[corner[0] + r, corner[1] + c] += photons * patch[r, c]


@njit(cache=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
def _normal_equations(
    photons: NDArray[np.float32],
    others: Floats,
    here: float,
    patch: Floats,
    corner: NDArray[np.int64],
    precision: Floats,
    pull: Floats,
    at: Floats,
    camera: tuple[float, float],
    information: Floats,
    step: Floats,
) -> None:
    """Fisher information and score of one emitter, with the light of the others and what was known before.

    `others` includes the shape of the background, which is `here` at the emitter.
    """
    excess, dark = camera
    information[:] = precision
    step[:] = pull - precision @ at
    n, b = at[3], at[4] - here
    # sums over pixels by name, so that the compiler keeps them in registers: derivatives by x, y, z (of one photon),
    # photons (p) and background (1)
    xx = xy = yy = xz = yz = zz = xp = yp = zp = pp = x1 = y1 = z1 = p1 = w1 = 0.0
    dx = dy = dz = dp = d1 = 0.0
    left, right = max(0, -corner[1]), min(patch.shape[2], photons.shape[1] - corner[1])
    for r in range(max(0, -corner[0]), min(patch.shape[1], photons.shape[0] - corner[0])):
        light, by_x, by_y, by_z = patch[0, r], patch[1, r], patch[2, r], patch[3, r]
        seen, other = photons[corner[0] + r], others[corner[0] + r]
        for c in range(left, right):
            p, x, y, z = light[c], by_x[c], by_y[c], by_z[c]
            expected = max(other[corner[1] + c] + n * p + b, 0.01)
            weight = 1 / (expected + dark)
            wx, wy, wz, wp = weight * x, weight * y, weight * z, weight * p
            more = seen[corner[1] + c] - expected
            xx += wx * x
            xy += wx * y
            yy += wy * y
            xz += wx * z
            yz += wy * z
            zz += wz * z
            xp += wx * p
            yp += wy * p
            zp += wz * p
            pp += wp * p
            x1 += wx
            y1 += wy
            z1 += wz
            p1 += wp
            w1 += weight
            dx += wx * more
            dy += wy * more
            dz += wz * more
            dp += wp * more
            d1 += weight * more
    sums = (
        (n * n * xx, n * n * xy, n * n * xz, n * xp, n * x1),
        (n * n * xy, n * n * yy, n * n * yz, n * yp, n * y1),
        (n * n * xz, n * n * yz, n * n * zz, n * zp, n * z1),
        (n * xp, n * yp, n * zp, pp, p1),
        (n * x1, n * y1, n * z1, p1, w1),
    )
    slopes = (n * dx, n * dy, n * dz, dp, d1)
    for k in range(_PARAMETERS):
        step[k] += slopes[k] / excess
        for m in range(_PARAMETERS):
            information[k, m] += sums[k][m] / excess
