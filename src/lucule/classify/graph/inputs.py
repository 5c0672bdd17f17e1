"""What the graph network sees of points and of pairs of neighbours.

Lengths enter twice: as they are (the network knows what a nanometre is) and relative to the spacing around the point
and to the localization error. Columns that a table lacks are 0 with a flag that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucule.nn.graph import Pairs, harmonics
from lucule.space import NeighbourGrid

RANKS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 20, 27, 36, 49, 66, 89, 120, 162, 219, 296, 400)
"""Neighbours that every localization looks at: the nearest eight, then in steps of about a third."""

PAIR_FEATURES: Final = 9
SYMMETRIC_FEATURES: Final = 6
POINT_FEATURES: Final = len(RANKS) + 6

_SPACING_RANK: Final = 9  # place in RANKS of the neighbour whose distance is the local spacing
UNIT_NM: Final = 100.0
SMALLEST_NM: Final = 0.5
"""Added to all distances, whose logarithms are taken."""
ONE_FRAME: Final = 1.5
"""Largest difference of frames that follow each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The columns of one or more tables that the network uses, as tensors.

    Attributes
    ----------
    points
        `(n, 3)`, nm, z = 0 in 2D.
    frame, error, photons
        Frame, localization error in the plane (nm), photons relative to their median; `(n,)`, any value where unknown.
    known
        1 where error, photons, frame are known and z means something, `(n or 1, 4)`.
    """

    points: Tensor
    frame: Tensor
    error: Tensor
    photons: Tensor
    known: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Neighbours of all points at `RANKS`.

    Attributes
    ----------
    index
        `(n, ranks)`, int32, -1 where there is none.
    distance
        `(n, ranks)`, nm; missing ones continue as in a uniform density.
    """

    index: NDArray[np.int32]
    distance: NDArray[np.float32]

    def ordered(self, order: NDArray[np.int32]) -> Graph:
        """Give the graph of the points in another order."""
        place = np.empty(len(order) + 1, np.int32)
        place[order], place[-1] = np.arange(len(order)), -1  # -1 stays -1
        return Graph(place[self.index[order]], self.distance[order])


def neighbour_graph(points: NDArray[np.float32]) -> tuple[Graph, NDArray[np.int32]]:
    """Find the neighbours at `RANKS` of points `(n, 2)` or `(n, 3)`, nm; and an order `(n,)` that follows space."""
    n, dims = points.shape
    columns = np.asarray(RANKS) - 1
    index, distance = np.empty((n, len(RANKS)), np.int32), np.empty((n, len(RANKS)), np.float32)
    order = []
    for rows, near, who in NeighbourGrid(points).neighbour_batches(RANKS[-1], 4_096):
        index[rows], distance[rows] = who[:, columns], near[:, columns]
        order.append(rows)
    _continue(distance, n - 1, dims)
    return Graph(index, distance), np.concatenate(order)


def _continue(distance: NDArray[np.float32], available: int, dims: int) -> None:
    """Replace the distances of missing neighbours by those of a uniform density."""
    ranks = np.asarray(RANKS)
    present = int((ranks <= available).sum())
    if present == len(RANKS):
        return
    if present == 0:
        distance[:] = 1e4 * ranks ** (1 / dims)
        return
    last = distance[:, present - 1 : present]
    distance[:, present:] = np.maximum(last, 1.0) * (ranks[present:] / ranks[present - 1]) ** (1 / dims)


def point_features(columns: Columns, distance: Tensor, rows: Tensor | slice) -> Tensor:
    """Features `(m, POINT_FEATURES)` of the points `rows`, whose neighbour distances `(m, ranks)` are given."""
    known = columns.known.expand(len(columns.points), -1)[rows]
    marks = torch.stack((torch.log(columns.error[rows] / 10), torch.log(columns.photons[rows])), dim=1)
    return torch.cat((torch.log((distance + SMALLEST_NM) / UNIT_NM), marks * known[:, :2], known), dim=1)


def pairs(columns: Columns, index: Tensor, distance: Tensor, spacing: Tensor, rows: Tensor | slice) -> Pairs:
    """Pairs of the points `rows` with their neighbours.

    Parameters
    ----------
    index, distance
        Neighbours of these points, `(m, ranks)`; -1 where there is none.
    spacing
        Local spacing of all points, `(n,)`; see `spacing_of`.
    """
    present = index >= 0
    index = torch.where(present, index, 0).long()
    offset = columns.points[index] - columns.points[rows][:, None]
    direction = offset / distance.clamp(min=SMALLEST_NM)[..., None]
    length = distance + SMALLEST_NM
    known = columns.known.expand(len(columns.points), -1)[rows]
    both = torch.hypot(columns.error[rows][:, None], columns.error[index])
    relative = torch.log(length / both) * known[:, None, 0]
    gap = (columns.frame[index] - columns.frame[rows][:, None]).abs()
    apart = torch.log1p(gap) / 5 * known[:, None, 2]
    consecutive = (gap <= ONE_FRAME) * known[:, None, 2]
    ranks = torch.tensor(RANKS, dtype=distance.dtype, device=distance.device).log() / 3
    here, there = torch.log(length / spacing[rows][:, None]), torch.log(length / spacing[index])
    seen = (
        torch.log(length / UNIT_NM), relative, apart, consecutive, torch.maximum(here, there),
        torch.minimum(here, there), here, there, ranks.expand_as(distance),
    )  # fmt: skip
    features = torch.stack(seen, dim=-1) * present[..., None]
    return Pairs(index, present, features, harmonics(direction * present[..., None]))


def spacing_of(distance: Tensor) -> Tensor:
    """Local spacing `(n,)`: the distance to the fifteenth neighbour, nm."""
    return distance[:, _SPACING_RANK] + SMALLEST_NM
