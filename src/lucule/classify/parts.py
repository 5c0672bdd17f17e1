"""Parts of the training data, whatever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lucule.classify.features import COORDINATES, FeatureSettings, coordinates, features
from lucule.classify.predict import local_density
from lucule.space import NeighbourGrid

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Features `(n, k)`, true labels `(n,)`, row in the list of origins `(n,)`, local density `(n,)` per um2 or um3.

    Origins are scenarios, or annotated tables.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.uint8]
    scenario: NDArray[np.int32]
    density: NDArray[np.float64]

    def rows(self, which: NDArray[np.bool_]) -> Pool:
        """Give the localizations for which `which` `(n,)` is true."""
        return Pool(self.features[which], self.labels[which], self.scenario[which], self.density[which])

    @property
    def sha256(self) -> str:
        """Hash of features and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.features).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def joined(pools: Sequence[Pool]) -> Pool:
    """All localizations of several pools."""
    return Pool(*(np.concatenate([getattr(pool, field.name) for pool in pools]) for field in fields(Pool)))


def seen_by(
    points: NDArray[np.float32], rows: NDArray[np.int64], settings: FeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What a network sees of some rows of a field, and the local density there."""
    grid = NeighbourGrid(points)
    if settings.normalisation == COORDINATES:
        distances, indices = grid.neighbours(settings.k, rows)
        values = coordinates(points, rows, indices)
    else:
        distances = grid.distances(settings.k, rows)
        values = features(distances, settings.normalisation, dims=settings.dims)
    return values, local_density(distances, settings.dims)
