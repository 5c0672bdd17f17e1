"""Pairs of points that are the same in two tables: beads, or pieces of structure."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import ColumnError, InputError, Localizations, WorkError
from lucule.space import components

Floats = NDArray[np.float64]

_FEWEST_IN_TILE: Final = 60
_TILE_PX: Final = 256
_SIGNIFICANT: Final = 7.0
_BEAD_NM: Final = 100.0
_VOTE_NM: Final = 100.0
_MOST_BEAD_PAIRS: Final = 20_000_000


class PairsOfPoints(NamedTuple):
    """The same points in the moving and in the reference table, `(n, 2)` or `(n, 3)` each, nm."""

    moving: Floats
    reference: Floats


def pairs_of_beads(beads: pl.DataFrame, *, reach_nm: float) -> PairsOfPoints:
    """Pairs from a table of beads, in either of the two layouts that `register` describes.

    Raises
    ------
    ColumnError
        Needed columns are missing.
    InputError
        There are not exactly two channels, or values are not finite.
    WorkError
        No beads match.
    """
    names = beads.columns
    if {"x", "y", "reference_x", "reference_y"} <= set(names):
        axes = [axis for axis in "xyz" if axis in names and f"reference_{axis}" in names]
        moving = beads.select(axes).to_numpy().astype(np.float64)
        reference = beads.select([f"reference_{axis}" for axis in axes]).to_numpy().astype(np.float64)
        if not (np.isfinite(moving).all() and np.isfinite(reference).all()):
            raise InputError("Positions of beads must be finite numbers")
        return PairsOfPoints(moving, reference)
    if not {"x", "y", "channel"} <= set(names):
        raise ColumnError(
            "The table of beads cannot be used", received=f"columns {', '.join(names)}",
            allowed="x, y, reference_x, reference_y; or x, y, channel",
        )  # fmt: skip
    channels = sorted(beads["channel"].unique().to_list())
    if len(channels) != 2:
        raise InputError("Beads must be seen in two channels", received=f"channels {channels}", allowed="two channels")
    axes = [axis for axis in "xyz" if axis in names]
    fixed, moving = (_means(beads.filter(pl.col("channel") == c).select(axes).to_numpy()) for c in channels)
    return match(moving, fixed, reach_nm=reach_nm)


def _means(points: NDArray[np.float64]) -> Floats:
    """One point for each bead, however many frames it was seen in."""
    if not np.isfinite(points).all():
        raise InputError("Positions of beads must be finite numbers")
    bead = components(points[:, :2].astype(np.float32), np.full(len(points), _BEAD_NM, np.float32))
    size = np.bincount(bead)
    return np.column_stack([np.bincount(bead, column) / size for column in points.T.astype(np.float64)])


def match(moving: Floats, reference: Floats, *, reach_nm: float) -> PairsOfPoints:
    """Match points: the shift that most pairs share, then nearest neighbours both ways.

    Raises
    ------
    WorkError
        Fewer than two points match.
    """
    if len(moving) * len(reference) > _MOST_BEAD_PAIRS:
        raise InputError("There are too many beads", received=f"{len(moving)} and {len(reference)}",
                         allowed="some thousands", next_step="give a table of beads, not of the sample")  # fmt: skip
    every = reference[None, :, :2] - moving[:, None, :2]
    difference = every.reshape(-1, 2)
    difference = difference[np.linalg.norm(difference, axis=1) <= reach_nm]
    if len(difference):
        votes = np.floor(difference / _VOTE_NM).astype(np.int64)
        cell, counts = np.unique(votes, axis=0, return_counts=True)
        # a peak may lie on a border between cells
        around = np.array([counts[(np.abs(cell - c) <= 1).all(axis=1)].sum() for c in cell])
        near = (np.abs(votes - cell[int(np.argmax(around))]) <= 1).all(axis=1)
        shift = np.median(difference[near], axis=0)
        distance = np.linalg.norm(every - shift, axis=2)
        there, back = distance.argmin(axis=1), distance.argmin(axis=0)
        rows = np.arange(len(moving))
        mutual = (back[there] == rows) & (distance[rows, there] <= 3 * _VOTE_NM)
        if mutual.sum() >= 2:
            return PairsOfPoints(moving[mutual], reference[there[mutual]])
    raise WorkError(
        "The beads of both channels do not match", received=f"{len(moving)} and {len(reference)} beads",
        allowed=f"at least 2 within {reach_nm:g} nm", next_step="give a larger reach_nm",
    )  # fmt: skip


def pairs_of_structures(
    moving: Localizations, reference: Localizations, *, tile_nm: float, reach_nm: float
) -> PairsOfPoints:
    """Centres of squares of the field and where cross-correlation finds them in the reference.

    The shift of the whole is found first, from coarse pictures; then that of each square, from finer ones.

    Raises
    ------
    WorkError
        No common structure is seen.
    """
    a, b = moving.xy(), reference.xy()
    if not len(a) or not len(b):
        raise WorkError("One of the tables is empty", next_step="give beads")
    whole = _peak(a, b, centre=np.zeros(2), reach_nm=reach_nm, span_nm=None)
    if whole is None:
        raise WorkError(
            "The tables have no structure in common that a correlation finds", next_step="give beads, or a larger reach_nm"
        )
    low, high = a.min(axis=0).astype(np.float64), a.max(axis=0).astype(np.float64)
    number = np.maximum(np.round((high - low) / tile_nm), 1).astype(int)
    size = (high - low) / number
    found_moving, found_reference = [], []
    for i in range(number[0]):
        for j in range(number[1]):
            corner = low + size * [i, j]
            inside = ((a >= corner) & (a < corner + size)).all(axis=1)
            target = ((b >= corner + whole - reach_nm / 4) & (b < corner + size + whole + reach_nm / 4)).all(axis=1)
            if inside.sum() < _FEWEST_IN_TILE or target.sum() < _FEWEST_IN_TILE:
                continue
            shift = _peak(a[inside], b[target], centre=whole, reach_nm=reach_nm / 8, span_nm=float(size.max()))
            if shift is not None:
                middle = a[inside].mean(axis=0).astype(np.float64)
                found_moving.append(middle)
                found_reference.append(middle + shift)
    if len(found_moving) < 2:
        middle = a.mean(axis=0).astype(np.float64)
        return PairsOfPoints(np.array([middle, middle]), np.array([middle + whole, middle + whole]))
    return PairsOfPoints(np.array(found_moving), np.array(found_reference))


def _peak(
    a: NDArray[np.float32], b: NDArray[np.float32], *, centre: Floats, reach_nm: float, span_nm: float | None
) -> Floats | None:
    """Shift that brings a onto b, near `centre`; None where no peak stands out."""
    from scipy import fft, ndimage

    extent = max(float(np.ptp(a, axis=0).max()), float(np.ptp(b, axis=0).max())) + 2 * reach_nm
    pixel = extent / (1024 if span_nm is None else _TILE_PX)
    pixel = max(pixel, 10.0)
    side = int(fft.next_fast_len(int(extent / pixel) + 4, real=True))
    origin = np.minimum(a.min(axis=0) + centre, b.min(axis=0)).astype(np.float64) - reach_nm / 2

    def spectrum(points: Floats) -> NDArray[np.complex128]:
        cell = np.floor((points - origin) / pixel).astype(np.int64) % side
        image = np.sqrt(np.bincount(cell[:, 0] * side + cell[:, 1], minlength=side * side)).reshape(side, side)
        found: NDArray[np.complex128] = fft.rfft2(image - image.mean())
        return found

    correlation = fft.irfft2(np.conj(spectrum(a + centre)) * spectrum(b.astype(np.float64)), (side, side))
    reach = min(int(reach_nm / pixel) + 3, side // 2 - 1)
    offsets = np.arange(-reach, reach + 1)
    window = ndimage.gaussian_filter(correlation[np.ix_(offsets % side, offsets % side)], 1.5)
    i, j = (int(v) for v in np.unravel_index(int(np.argmax(window)), window.shape))
    middle = float(np.median(window))
    spread = 1.4826 * float(np.median(np.abs(window - middle))) + 1e-9
    if window[i, j] - middle < _SIGNIFICANT * spread or min(i, j) < 2 or max(i, j) > 2 * reach - 2:
        return None
    near = window[i - 2 : i + 3, j - 2 : j + 3] - middle
    weight = np.clip(near - 0.5 * near.max(), 0, None)
    steps = np.arange(-2, 3)
    offset = np.array([(weight.sum(axis=1) * steps).sum(), (weight.sum(axis=0) * steps).sum()]) / weight.sum()
    result: Floats = centre + (np.array([offsets[i], offsets[j]]) + offset) * pixel
    return result
