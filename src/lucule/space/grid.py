"""Neighbours of every point of a table."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space import search, tree, within
from lucule.space.points import as_float32

LARGEST_K: Final = 100_000
_NO_INDICES: Final = np.empty((0, 1), np.int32)


class NeighbourGrid:
    """Exact neighbour searches among fixed points in 2D or 3D.

    A point is never its own neighbour; another point at the same position is, at distance 0. Neighbours are ordered by
    distance, equal distances by row. Distances are those between the positions in float32; positions given in float64
    that do not fit it are first moved to their common centre (resolution there 0.004 nm for a field of 100 um).
    Results are the same for any order of the points, any number of threads and any batch size.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)` in nm.

    Raises
    ------
    InputError
        The shape is another, or positions are not finite.

    Examples
    --------
    >>> grid = NeighbourGrid([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    >>> grid.distances(2)
    array([[1.       , 5.       ],
           [4.2426405, 5.       ],
           [1.       , 4.2426405]], dtype=float32)
    """

    def __init__(self, points: ArrayLike) -> None:
        self._tree = tree.build(as_float32(points))

    def __len__(self) -> int:
        return self._tree.order.size

    def __repr__(self) -> str:
        return f"NeighbourGrid({len(self):,} points in {self._tree.coordinates.shape[0]}D)"

    def distances(self, k: int, rows: ArrayLike | None = None) -> NDArray[np.float32]:
        """Distances to the k nearest neighbours, nm.

        Parameters
        ----------
        k
            Number of neighbours, 1 to 100,000.
        rows
            Points asked for, `(m,)` rows of the input; all by default.

        Returns
        -------
        distances
            `(m, k)`, ascending, infinite where there are fewer than k neighbours.

        Raises
        ------
        InputError
            `k` or `rows` is out of range.
        """
        k = _checked_k(k)
        positions, slots = self._positions(rows)
        return self._search(positions, slots, k, with_indices=False)[0]

    def neighbours(self, k: int, rows: ArrayLike | None = None) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Distances to the k nearest neighbours, and which these are.

        Parameters and errors as for `distances`.

        Returns
        -------
        distances, indices
            `(m, k)` each; infinite and -1 where there are fewer than k neighbours.

        Examples
        --------
        >>> _, indices = NeighbourGrid([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]).neighbours(3, rows=[1])
        >>> indices
        array([[ 2,  0, -1]], dtype=int32)
        """
        k = _checked_k(k)
        positions, slots = self._positions(rows)
        return self._search(positions, slots, k, with_indices=True)

    def batches(self, k: int, size: int = 65_536) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """All points, `size` at a time and in an order that keeps neighbours together.

        Yields
        ------
        rows, distances
            `(m,)` rows of the input and their `(m, k)` distances; new arrays each time.

        Examples
        --------
        >>> grid = NeighbourGrid(np.zeros((5, 2)))
        >>> [distances.shape for rows, distances in grid.batches(3, size=2)]
        [(2, 3), (2, 3), (1, 3)]
        """
        for rows, distances, _ in self._batches(k, size, with_indices=False):
            yield rows, distances

    def neighbour_batches(
        self, k: int, size: int = 65_536
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]]:
        """As `batches`, with the `(m, k)` rows of the neighbours as a third array."""
        return self._batches(k, size, with_indices=True)

    def count_within(self, radius: ArrayLike) -> NDArray[np.int32]:
        """How many other points lie within `radius` (at most that far) of each point.

        Parameters
        ----------
        radius
            nm; one number, or `(n,)` for each point its own.

        Returns
        -------
        counts
            `(n,)`, in input order.

        Raises
        ------
        InputError
            The radius is negative, NaN or of the wrong length.

        Examples
        --------
        >>> NeighbourGrid([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]).count_within(4.5)
        array([1, 1, 2], dtype=int32)
        """
        radii = np.asarray(radius, np.float32)
        if radii.shape not in ((), (len(self),)) or not (radii >= 0).all():
            raise InputError("The radius cannot be used", received=radius, allowed="0 nm or more, one or one per point")
        counts = np.zeros(len(self), np.int32)
        if len(self):
            within.count(self._tree, np.broadcast_to(radii, counts.shape).copy(), counts)
        return counts

    def has_within(self, radius: float, wanted: int) -> NDArray[np.bool_]:
        """Whether at least `wanted` other points lie within `radius` (at most that far) of each point.

        Much faster than `count_within` where there are many more: it stops at enough.

        Parameters
        ----------
        radius
            nm.

        Returns
        -------
        enough
            `(n,)`, in input order.

        Raises
        ------
        InputError
            The radius is negative or NaN.

        Examples
        --------
        >>> NeighbourGrid([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]).has_within(4.5, 2)
        array([False, False,  True])
        """
        if not radius >= 0:
            raise InputError("The radius cannot be used", received=radius, allowed="0 nm or more")
        enough = np.ones(len(self), np.bool_)
        if len(self) and wanted > 0:
            within.reaches(self._tree, np.float32(radius), wanted, enough)
        return enough

    def _batches(
        self, k: int, size: int, *, with_indices: bool
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]]:
        k = _checked_k(k)
        if size < 1:
            raise InputError("The batch size cannot be used", received=size, allowed="1 point or more")
        for start in range(0, len(self), size):
            positions = np.arange(start, min(start + size, len(self)), dtype=np.int32)
            slots = positions - np.int32(start)
            distances, indices = self._search(positions, slots, k, with_indices=with_indices)
            yield self._tree.order[positions], distances, indices

    def _positions(self, rows: ArrayLike | None) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Positions in the tree, ascending, and for each the line of the answer that it fills."""
        order = self._tree.order
        if rows is None:
            return np.arange(order.size, dtype=np.int32), order
        wanted = np.asarray(rows)
        if wanted.size == 0:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise InputError("Rows must be a list of whole numbers", received=f"{wanted.dtype} {wanted.shape}")
        if wanted.min() < 0 or wanted.max() >= order.size:
            raise InputError(
                "Rows lie outside the table",
                received=f"{wanted.min()} to {wanted.max()}",
                allowed=f"0 to {order.size - 1}",
            )
        inverse = np.empty(order.size, np.int32)
        inverse[order] = np.arange(order.size, dtype=np.int32)
        positions = inverse[wanted]
        slots = np.argsort(positions, kind="stable").astype(np.int32)
        return positions[slots], slots

    def _search(
        self, positions: NDArray[np.int32], slots: NDArray[np.int32], k: int, *, with_indices: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        present = min(k, len(self) - 1)
        if present == k:
            distances = np.empty((positions.size, k), np.float32)
            indices = np.empty((positions.size, k), np.int32) if with_indices else _NO_INDICES
        else:
            distances = np.full((positions.size, k), np.inf, np.float32)
            indices = np.full((positions.size, k), -1, np.int32) if with_indices else _NO_INDICES
        if present > 0 and positions.size:
            search.nearest(self._tree, positions, slots, present, distances, indices)
        return distances, indices


def _checked_k(k: int) -> int:
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if not 1 <= number <= LARGEST_K:
        raise InputError(
            "The number of neighbours cannot be used",
            received=f"k = {k!r}",
            allowed=f"whole numbers 1 to {LARGEST_K:,}",
        )
    return number
