"""From the network's maps to a list of emitters.

The probability of an emitter is often shared by neighbouring pixels that point to the same place. Pixels are visited
from the most probable one down; each takes those of its neighbours that point to the same place as long as they
represent no more than one emitter together. Two emitters in neighbouring pixels, each nearly certain, therefore stay
two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from lucule.localize.network import Fields, fields

Floats: TypeAlias = NDArray[np.float32]

# pixels below this probability hold nothing that could be missed
_LEAST: Final = 0.03
# probabilities of one emitter add up to at most this; a little above one, for they are estimates
_MOST: Final = 1.3
# pixels point to the same place within so many of their joint standard deviations, and within so many pixels
_SAME_SIGMA, _SAME_PX = 4.0, 1.6
_COLUMNS: Final = 10


@dataclass(frozen=True)
class Found:
    """Emitters found in a block of frames.

    Attributes
    ----------
    frame, row, column
        Frame in the block and pixel of the largest probability.
    values
        `(n, 10)`: probability; x, y in pixels from the corner of the frame, z in the network's scale, logarithm of the
        photons; standard deviations of these four; logarithm of the background.
    """

    frame: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    values: Floats


def decode(raw: Tensor, *, threshold: float) -> Found:
    """Find the emitters in raw output `(frames, channels, rows, columns)` whose probability reaches the threshold.

    Examples
    --------
    >>> raw = torch.zeros(1, 10, 16, 16)
    >>> raw[:, 0] = -9.0
    >>> raw[0, 0, 5, 7:9] = torch.tensor([0.2, -0.4])  # 55 and 40 %, pointing to the same place
    >>> raw[0, 1, 5, 7:9] = torch.tensor([0.3465, -0.3465])
    >>> found = decode(raw, threshold=0.5)
    >>> [round(float(value), 2) for value in found.values[0, :3]]
    [0.95, 8.0, 5.5]
    """
    with torch.inference_mode():
        probable = raw[:, 0].float() > float(np.log(_LEAST / (1 - _LEAST)))
        frame, row, column = probable.nonzero().unbind(dim=1)
        values = _values(fields(raw[frame, :, row, column], dim=-1), row, column)
    at = [index.cpu().numpy() for index in (frame, row, column)]
    candidates = values.cpu().numpy()
    kept, merged = _merge(*at, candidates, raw.shape[-2], raw.shape[-1], threshold)
    return Found(*(index[kept] for index in at), merged)


def _values(of: Fields, row: Tensor, column: Tensor) -> Tensor:
    return torch.stack(
        [
            of.logit.sigmoid(),
            column + 0.5 + of.x,
            row + 0.5 + of.y,
            of.z,
            of.photons,
            of.sigma_x,
            of.sigma_y,
            of.sigma_z,
            of.sigma_photons,
            of.background,
        ],
        dim=1,
    )


@njit(cache=True)
def _merge(
    frame: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    values: Floats,
    rows: int,
    columns: int,
    threshold: float,
) -> tuple[NDArray[np.int64], Floats]:
    """Join candidates, sorted by frame; give the index of each emitter's first candidate, and its values."""
    at = np.full((rows, columns), -1, np.int64)
    taken = np.zeros(len(frame), np.bool_)
    kept = np.empty(len(frame), np.int64)
    merged = np.empty((len(frame), _COLUMNS), np.float32)
    members = np.empty(9, np.int64)
    found = 0
    first = 0
    while first < len(frame):
        last = first
        while last < len(frame) and frame[last] == frame[first]:
            at[row[last], column[last]] = last
            last += 1
        for k in np.argsort(-values[first:last, 0]):
            seed = first + k
            if taken[seed]:
                continue
            mass = _gather(seed, row, column, values, at, taken, members)
            if mass[0] >= threshold:
                kept[found] = seed
                _mean(members[: mass[1]], mass[0], values, merged[found])
                found += 1
        for i in range(first, last):
            at[row[i], column[i]] = -1
        first = last
    return kept[:found], merged[:found]


@njit(cache=True)
def _gather(
    seed: int,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    values: Floats,
    at: NDArray[np.int64],
    taken: NDArray[np.bool_],
    members: NDArray[np.int64],
) -> tuple[float, int]:
    """Take the seed and its neighbours that belong to it, the most probable ones first; give their probability."""
    taken[seed] = True
    members[0] = seed
    count = 1
    mass = float(values[seed, 0])
    while True:
        best, most = -1, 0.0
        for r in range(max(row[seed] - 1, 0), min(row[seed] + 2, at.shape[0])):
            for c in range(max(column[seed] - 1, 0), min(column[seed] + 2, at.shape[1])):
                other = at[r, c]
                if other < 0 or taken[other] or values[other, 0] <= most or mass + values[other, 0] > _MOST:
                    continue
                dx = values[other, 1] - values[seed, 1]
                dy = values[other, 2] - values[seed, 2]
                dz = values[other, 3] - values[seed, 3]
                vx = values[other, 5] ** 2 + values[seed, 5] ** 2
                vy = values[other, 6] ** 2 + values[seed, 6] ** 2
                vz = values[other, 7] ** 2 + values[seed, 7] ** 2
                apart = dx * dx / vx + dy * dy / vy + dz * dz / vz
                if dx * dx + dy * dy < _SAME_PX**2 and apart < _SAME_SIGMA**2:
                    best, most = other, float(values[other, 0])
        if best < 0:
            return mass, count
        taken[best] = True
        members[count] = best
        count += 1
        mass += most


@njit(cache=True)
def _mean(members: NDArray[np.int64], mass: float, values: Floats, out: Floats) -> None:
    """Mean and standard deviation of the mixture of the members."""
    out[:] = 0.0
    for member in members:
        share = values[member, 0] / mass
        for i in range(1, 5):
            out[i] += share * values[member, i]
        out[9] += share * values[member, 9]
    for member in members:
        share = values[member, 0] / mass
        for i in range(1, 5):
            out[i + 4] += share * (values[member, i + 4] ** 2 + (values[member, i] - out[i]) ** 2)
    out[5:9] = np.sqrt(out[5:9])
    out[0] = min(mass, 1.0)
