"""The localizations of all clusters, sorted once, so that every measure is a sum over runs of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucule.space.groups import nearest_in_group


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Members of m clusters: n localizations at p distinct places.

    Attributes
    ----------
    clusters
        `(m,)` numbers of the clusters, ascending.
    rows
        `(n,)` rows of the table, sorted by cluster, then y, x (and z).
    points
        `(n, 2)` or `(n, 3)`, nm, in that order.
    starts
        `(m + 1,)`: cluster i has the members `starts[i]` to `starts[i + 1]`.
    places
        `(p, d)` distinct positions, nm.
    place_starts
        `(m + 1,)`, as `starts`.
    """

    clusters: NDArray[np.int32]
    rows: NDArray[np.int64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    places: NDArray[np.float64]
    place_starts: NDArray[np.int64]

    @classmethod
    def of(cls, points: NDArray[np.float32], cluster: NDArray[np.int32], rows: NDArray[np.int64]) -> Members:
        """Sort the `rows` of a table, all of which belong to a cluster."""
        axes = [points[rows, axis] for axis in ([1, 0, 2] if points.shape[1] == 3 else [1, 0])]
        rows = rows[np.lexsort([*reversed(axes), cluster[rows]])]
        return cls._of_sorted(cluster[rows], points[rows], rows)

    @classmethod
    def _of_sorted(cls, own: NDArray[np.int32], ordered: NDArray[Any], rows: NDArray[np.int64]) -> Members:
        new_cluster = np.ones(len(rows), dtype=bool)
        new_cluster[1:] = own[1:] != own[:-1]
        new_place = new_cluster.copy()
        new_place[1:] |= (ordered[1:] != ordered[:-1]).any(axis=1)
        starts = np.append(np.flatnonzero(new_cluster), len(rows))
        place_starts = np.append(0, np.cumsum(new_place))[starts]
        return cls(
            own[new_cluster],
            rows,
            ordered.astype(np.float64),
            starts,
            ordered[new_place].astype(np.float64),
            place_starts,
        )

    def __len__(self) -> int:
        return len(self.clusters)

    def only(self, kept: NDArray[np.bool_]) -> Members:
        """Those of the localizations `kept` `(n,)`; a cluster of which none is kept is gone."""
        own = np.repeat(self.clusters, self.n_points)
        return self._of_sorted(own[kept], self.points[kept], self.rows[kept])

    @property
    def n_points(self) -> NDArray[np.int64]:
        """Localizations of each cluster, `(m,)`."""
        return np.diff(self.starts)

    @property
    def n_places(self) -> NDArray[np.int64]:
        """Distinct positions of each cluster, `(m,)`."""
        return np.diff(self.place_starts)

    def first(self, column: NDArray[Any]) -> NDArray[Any]:
        """Value of the first member of each cluster, `(m,)`, of a column of the table."""
        return column[self.rows[self.starts[:-1]]]

    def mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean over the members of each cluster, `(m,)` or `(m, d)`; `values` `(n,)` or `(n, d)` in member order."""
        if not len(self):
            return np.empty((0, *values.shape[1:]))
        sums: NDArray[np.float64] = np.add.reduceat(values.astype(np.float64), self.starts[:-1], axis=0)
        return sums / self.n_points.reshape(-1, *[1] * (values.ndim - 1))

    def nearest_neighbour(self) -> NDArray[np.float64]:
        """Mean distance from each place of a cluster to the nearest other, `(m,)`, nm; NaN for a single place."""
        if not len(self):
            return np.empty(0)
        nearest = nearest_in_group(self.places, np.repeat(np.arange(len(self)), self.n_places)).astype(np.float64)
        mean = np.add.reduceat(nearest, self.place_starts[:-1]) / self.n_places
        return np.where(np.isfinite(mean), mean, np.nan)


def renumbered(cluster: NDArray[np.int32], kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Clusters `(n,)` of which those in `kept` `(m,)` are left, counted from 0 in the same order; -1 = none.

    Examples
    --------
    >>> renumbered(np.array([0, 2, -1, 1], np.int32), np.array([True, False, True])).tolist()
    [0, 1, -1, -1]
    """
    number = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
    return number[cluster]
