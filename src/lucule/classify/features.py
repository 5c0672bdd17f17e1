"""What a network sees of a localization: its neighbour distances, normalised.

A normalisation has one name and is made of a sequence and a scale. Sequences of the ascending distances d_1 ... d_k:
`distances` themselves, `differences` d_1, d_2 - d_1, ..., and `log_densities`, the logarithm of the density within d_j
relative to that within d_k. Scales divide each localization's sequence by a number of its own, which removes the
absolute length; `minmax` moves it to 0 ... 1 instead. `coordinates` is another way to look at the same neighbours:
where they lie, in units of the distance to the last.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from pydantic import Field, field_validator

from lucule.core import Config, InputError

_DISTANCES, _DIFFERENCES, _LOG_DENSITIES = range(3)
_NONE, _MINMAX, _L2, _FIRST, _LAST, _MEDIAN = range(6)

NORMALISATIONS: Final = {
    "distances": (_DISTANCES, _NONE),
    "distances_minmax": (_DISTANCES, _MINMAX),
    "distances_l2": (_DISTANCES, _L2),
    "distances_first": (_DISTANCES, _FIRST),
    "distances_last": (_DISTANCES, _LAST),
    "distances_median": (_DISTANCES, _MEDIAN),
    "differences": (_DIFFERENCES, _NONE),
    "differences_minmax": (_DIFFERENCES, _MINMAX),
    "differences_l2": (_DIFFERENCES, _L2),
    "log_densities": (_LOG_DENSITIES, _NONE),
}
"""Names of the normalisations of distances. `differences_minmax` is CAML's default ("Norm-Self")."""

COORDINATES: Final = "coordinates"


class FeatureSettings(Config):
    """How localizations become the input of a network.

    Attributes
    ----------
    k
        Number of neighbours.
    normalisation
        One of `NORMALISATIONS`, or `coordinates`.
    dims
        2: neighbours in the plane; 3: in space.
    """

    k: int = Field(gt=0)
    normalisation: str
    dims: Literal[2, 3] = 2

    @property
    def width(self) -> int:
        """Numbers that describe a localization."""
        return self.k * self.dims if self.normalisation == COORDINATES else self.k

    @field_validator("normalisation")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*NORMALISATIONS, COORDINATES):
            raise ValueError(f"known are {', '.join(NORMALISATIONS)}, {COORDINATES}")
        return name


def features(distances: NDArray[np.float32], normalisation: str, *, dims: int = 2) -> NDArray[np.float32]:
    """Normalise neighbour distances.

    Parameters
    ----------
    distances
        `(m, k)`, ascending, nm; infinite where a neighbour is missing, as `NeighbourGrid.distances` gives them.
    normalisation
        One of `NORMALISATIONS`.
    dims
        2 or 3, the dimensions in which the distances were measured.

    Returns
    -------
    features
        `(m, k)` float32, finite for every input.

    Raises
    ------
    InputError
        The normalisation is unknown.

    Notes
    -----
    Missing neighbours are put where they would be on average if the density within the last known one, d_m, went on:
    d_j = d_m (j / m)^(1 / dims). Without any neighbour all features are 0. Where a scale is 0 (duplicates) the features
    are 0; `distances_first` and `log_densities` take the smallest distance above 0 for a distance of 0.

    Examples
    --------
    >>> features(np.array([[1.0, 3.0, 4.0]], np.float32), "differences_minmax")
    array([[0., 1., 0.]], dtype=float32)
    >>> features(np.array([[3.0, np.inf, np.inf, np.inf]], np.float32), "distances").round(2)
    array([[3.  , 4.24, 5.2 , 6.  ]], dtype=float32)
    """
    if normalisation not in NORMALISATIONS:
        raise InputError("Unknown normalisation", received=normalisation, allowed=", ".join(NORMALISATIONS))
    result = np.array(distances, np.float32, order="C")
    sequence, scale = NORMALISATIONS[normalisation]
    _normalise(result, dims, sequence, scale)
    return result


def coordinates(
    points: NDArray[np.float32], rows: NDArray[np.integer[Any]], indices: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Positions of the neighbours relative to each localization, in units of the distance to the last one.

    Parameters
    ----------
    points
        `(n, dims)`, nm.
    rows
        `(m,)`, rows of the localizations.
    indices
        `(m, k)`, rows of their neighbours in ascending distance, -1 where one is missing, as `NeighbourGrid.neighbours`
        gives them.

    Returns
    -------
    features
        `(m, dims * k)` float32, first x of all neighbours, then y (then z); 0 for missing neighbours, and where all lie
        at the same place.

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0]], np.float32)
    >>> coordinates(points, np.array([0]), np.array([[1, 2]], np.int32))
    array([[0.  , 1.  , 0.25, 0.  ]], dtype=float32)
    """
    offsets = np.where(indices[..., None] >= 0, points[indices] - points[rows][:, None], np.float32(0))
    size = np.sqrt((offsets**2).sum(axis=2).max(axis=1, initial=0))[:, None, None]
    scaled = np.divide(offsets, size, out=np.zeros_like(offsets), where=size > 0)
    return np.ascontiguousarray(scaled.transpose(0, 2, 1)).reshape(len(rows), -1)


@njit(cache=True, parallel=True, nogil=True)
def _normalise(rows: NDArray[np.float32], dims: int, sequence: int, scale: int) -> None:
    """Turn rows of distances into features, in place."""
    for row in prange(len(rows)):
        values = rows[row]
        _complete(values, dims)
        if sequence == _DIFFERENCES:
            for j in range(values.size - 1, 0, -1):
                values[j] -= values[j - 1]
        elif sequence == _LOG_DENSITIES:
            _log_densities(values, dims)
        if scale != _NONE:
            _rescale(values, scale)


@njit(cache=True)
def _complete(distances: NDArray[np.float32], dims: int) -> None:
    known = distances.size
    while known and distances[known - 1] == np.inf:
        known -= 1
    if known == 0:
        distances[:] = 0
        return
    for j in range(known, distances.size):
        distances[j] = distances[known - 1] * ((j + 1) / known) ** (1 / dims)


@njit(cache=True)
def _log_densities(distances: NDArray[np.float32], dims: int) -> None:
    k = distances.size
    last = distances[k - 1]
    if last == 0:
        distances[:] = 0
        return
    smallest = _smallest_above_zero(distances)
    for j in range(k):
        distances[j] = np.log((j + 1) / k) + dims * np.log(last / max(distances[j], smallest))


@njit(cache=True)
def _smallest_above_zero(ascending: NDArray[np.float32]) -> Any:
    for value in ascending:
        if value > 0:
            return value
    return np.float32(0)


@njit(cache=True)
def _rescale(values: NDArray[np.float32], scale: int) -> None:
    low = np.float32(0)
    size = np.float32(0)
    if scale == _MINMAX:
        low = values.min()
        size = values.max() - low
    elif scale == _L2:
        for value in values:
            size += value * value
        size = np.sqrt(size)
    elif scale == _FIRST:
        size = _smallest_above_zero(values)
    elif scale == _LAST:
        size = values[-1]
    elif scale == _MEDIAN:
        middle = values.size // 2
        size = values[middle] if values.size % 2 else (values[middle - 1] + values[middle]) / np.float32(2)
    if size == 0:
        values[:] = 0
        return
    for j in range(values.size):
        values[j] = (values[j] - low) / size
