"""FOCAL: clusters on a grid of pixels, in one pass that is linear in the number of localizations.

The density of a pixel that holds localizations is the number of those in it and in the pixels around it (3 x 3, in 3D
3 x 3 x 3). Pixels from `min_density` are cores, other occupied pixels that share a side with a core are borders, and
clusters are what is connected by sides, if it has at least `min_pixels`. Only occupied pixels are stored.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned
from lucule.core import Config, InputError, Localizations, Region, step


class Focal(Config):
    """Settings of `focal`.

    Attributes
    ----------
    pixel_nm
        Side of a pixel, nm; about the localization precision or a little more.
    min_density
        Localizations in the block of 3 x 3 (3D: 3 x 3 x 3) pixels that make its middle a core.
    min_pixels
        Fewest pixels of a cluster.
    """

    pixel_nm: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    min_density: int = Field(default=10, ge=1)
    min_pixels: int = Field(default=4, ge=1)


@step
def focal(locs: Localizations, settings: Focal | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by the fast optimized cluster algorithm for localizations, in 2D or 3D.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D.
    region
        Only localizations inside are looked at.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none).

    Raises
    ------
    InputError
        Pixels are so small that they cannot be counted.

    Notes
    -----
    Mazouchi and Milstein, Bioinformatics 32:747 (2016); 3D: Nino et al., PLoS Comput Biol 16:e1008479 (2020). The grid
    starts at the outermost localizations, as theirs does, so results depend a little on where these lie. The published
    programs can search for the best `min_density`; here it is given.

    Examples
    --------
    >>> locs = Localizations({"x": [0.0, 4.0, 8.0, 12.0, 500.0], "y": [0.0] * 5})
    >>> focal(locs, Focal(pixel_nm=10, min_density=4, min_pixels=2))["cluster"].tolist()
    [0, 0, 0, 0, -1]
    """
    return assigned(locs, assign, settings or Focal(), region)


def assign(sample: Sample, settings: Focal) -> NDArray[np.integer]:
    """Cluster of each localization; see `Assign`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    points = sample.points.astype(np.float64)
    # a free pixel all around, so that neighbours never wrap around
    pixels = np.floor((points - points.min(axis=0)) / settings.pixel_nm) + 1
    shape = pixels.max(axis=0) + 2
    if shape.prod() > 2**62:
        raise InputError("There are too many pixels", received=f"{settings.pixel_nm:g} nm", next_step="larger pixels")
    pixels, shape = pixels.astype(np.int64), shape.astype(np.int64)
    strides = np.append(np.cumprod(shape[::-1])[-2::-1], 1).astype(np.int64)
    occupied, pixel_of, counts = np.unique(pixels @ strides, return_inverse=True, return_counts=True)

    def neighbour(offset: tuple[int, ...]) -> NDArray[np.int64]:
        """Index of the occupied pixel at an offset from each, -1 where it is empty."""
        key = occupied + np.array(offset) @ strides
        place = np.minimum(np.searchsorted(occupied, key), len(occupied) - 1)
        return np.where(occupied[place] == key, place, -1)

    density = np.zeros(len(occupied), np.int64)
    for offset in itertools.product((-1, 0, 1), repeat=sample.dims):
        near = neighbour(offset)
        density += np.where(near >= 0, counts[near], 0)
    core = density >= settings.min_density
    sides = [neighbour(tuple(sign * row)) for row in np.eye(sample.dims, dtype=int) for sign in (-1, 1)]
    kept = core.copy()
    for near in sides:
        kept |= (near >= 0) & core[near]
    links = [(np.flatnonzero(kept & (near >= 0) & kept[near]), near) for near in sides]
    first = np.concatenate([rows for rows, _ in links])
    second = np.concatenate([near[rows] for rows, near in links])
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(occupied),) * 2)
    _, piece = connected_components(graph, directed=False)
    large = np.bincount(piece[kept], minlength=piece.max() + 1) >= settings.min_pixels
    return np.where(kept & large[piece], piece, NO_CLUSTER)[pixel_of]


METHOD = Method(
    "focal",
    Focal,
    focal,
    "connected pixels with enough localizations around them",
    "Mazouchi and Milstein, Bioinformatics 32:747 (2016)",
)
