"""Spectra of two halves of a table, summed over rings of spatial frequency: what all Fourier correlations need.

The field is cut into square tiles whose spectra are added, so that memory does not grow with the field. The transform is
linear: with that of the whole known, one more transform per split gives both halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import get_num_threads, njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# part of a tile's side over which its weight rises from 0 to 1; edges would put energy into all frequencies
_TAPER: Final = 0.125
_FEWEST_IN_TILE: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Sums over rings (2D) or shells (3D), for each split of each tile.

    Attributes
    ----------
    cross, first, second
        Real part of the product of both halves' spectra, and the power of each half, `(tiles, splits, rings)`.
    samples
        Independent frequencies of each ring of one tile, `(rings,)`.
    frequency
        Centres of the rings, 1/nm.
    tiles
        Lower corners of the tiles, nm, `(tiles, d)`.
    rows
        Localizations of each tile, `(tiles,)`.
    weight
        Sum of the squared weights of all localizations of the tiles used: the shot noise of the whole.
    """

    cross: Floats
    first: Floats
    second: Floats
    samples: Floats
    frequency: Floats
    tiles: Floats
    rows: NDArray[np.int64]
    weight: float


def tile_grid(points: NDArray[np.float32], side_nm: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Corners of the occupied tiles, rows sorted by tile, and where the rows of each tile start.

    Tiles are centred on the points, so that a field little larger than a tile is cut in halves, not in a tile and a rest.
    """
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    number = np.maximum(np.ceil((high - low) / side_nm), 1)
    origin = (low + high) / 2 - number * side_nm / 2
    cell = np.clip(((points - origin) / side_nm).astype(np.int64), 0, number.astype(np.int64) - 1)
    flat = np.ravel_multi_index(tuple(cell.T), tuple(number.astype(int)))
    order = np.argsort(flat, kind="stable")
    present, starts = np.unique(flat[order], return_index=True)
    corners = origin + np.column_stack(np.unravel_index(present, tuple(number.astype(int)))) * side_nm
    return corners, order, np.append(starts, len(points))


def rings(
    points: NDArray[np.float32],
    halves: NDArray[np.bool_],
    *,
    pixel_nm: float,
    shape: tuple[int, ...],
    most_tiles: int | None = None,
) -> Rings:
    """Ring sums of all splits over all tiles.

    Parameters
    ----------
    points
        `(n, 2)` or `(n, 3)`, nm.
    halves
        `(splits, n)`: True for the rows of the first half.
    pixel_nm
        Side of a pixel.
    shape
        Pixels of a tile along each axis of the points; even numbers.
    most_tiles
        Use only that many tiles, those with most localizations.
    """
    from concurrent.futures import ThreadPoolExecutor

    side = np.array(shape) * pixel_nm
    corners, order, starts = tile_grid(points, side)
    counts = np.diff(starts)
    chosen = np.flatnonzero(counts >= min(_FEWEST_IN_TILE, counts.max()))
    if most_tiles is not None and len(chosen) > most_tiles:
        chosen = np.sort(chosen[np.argsort(-counts[chosen], kind="stable")[:most_tiles]])
    index, samples, blur = _ring_index(shape)
    number = len(samples)
    sums = np.zeros((3, len(chosen), len(halves), number))
    weights = np.zeros(len(chosen))

    def work(slot: int) -> None:
        tile = chosen[slot]
        rows = order[starts[tile] : starts[tile + 1]]
        position = (points[rows] - corners[tile]) / pixel_nm
        pixel, weight = _drawn(position, shape)
        weights[slot] = float((weight**2).sum())
        whole = _spectrum(pixel, weight, shape)
        for split, half in enumerate(halves[:, rows]):
            part = _spectrum(pixel[half], weight[half], shape)
            out = sums[:, slot, split]
            _ring_sums(part, whole, index, shape[-1], out)
            # pixels blur what the halves share, but not their shot noise, whose power is known
            out[0] /= blur
            for power, noise in ((out[1], float((weight[half] ** 2).sum())), (out[2], float((weight[~half] ** 2).sum()))):
                power[:] = (power - noise * samples) / blur + noise * samples

    with ThreadPoolExecutor(get_num_threads()) as pool:
        for done in [pool.submit(work, slot) for slot in range(len(chosen))]:
            done.result()
    frequency = (np.arange(number) + 0.5) / (min(_long(shape)) * pixel_nm)
    return Rings(sums[0], sums[1], sums[2], samples, frequency, corners[chosen], counts[chosen], float(weights.sum()))


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The lateral axes, whose length sets the width of a ring."""
    return shape[:2]


def _ring_index(shape: tuple[int, ...]) -> tuple[NDArray[np.int32], Floats, Floats]:
    """Ring of each value of a half-complex spectrum (-1: beyond the Nyquist frequency), size of each ring, its blur.

    The blur is the power that square pixels leave of a wave, averaged over the ring.
    """
    grids = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squared = sum(
        np.square(axis).reshape([-1 if i == j else 1 for j in range(len(shape))]) for i, axis in enumerate(grids)
    )
    ring = (np.sqrt(squared) * min(_long(shape))).astype(np.int32)
    number = min(_long(shape)) // 2
    ring[ring >= number] = -1
    flat = ring.reshape(-1, ring.shape[-1])
    # each frequency but those of the first and last column stands for its conjugate, too; a pair is one sample
    samples = np.bincount(flat[flat >= 0], minlength=number).astype(np.float64)
    edge = flat[:, [0, -1]]
    samples -= 0.5 * np.bincount(edge[edge >= 0], minlength=number)
    passed = np.ones_like(squared)
    for j, axis in enumerate(grids):
        passed = passed * np.square(np.sinc(axis)).reshape([-1 if i == j else 1 for i in range(len(shape))])
    values = passed.reshape(flat.shape)
    used = flat >= 0
    inside = np.bincount(flat[used], values[used], minlength=number) / np.maximum(np.bincount(flat[used], minlength=number), 1)
    return flat, samples, np.maximum(inside, 1e-3)


def _drawn(position: Floats, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pixel and weight of each localization; the weight falls to 0 at the lateral edges."""
    cell = np.clip(position.astype(np.int64), 0, np.array(shape) - 1)
    pixel = np.ravel_multi_index(tuple(cell.T), shape)
    weight = np.ones(len(position))
    for axis in range(2):
        u = position[:, axis] / shape[axis]
        edge = np.clip(np.minimum(u, 1 - u) / _TAPER, 0, 1)
        weight *= 0.5 - 0.5 * np.cos(np.pi * edge)
    return pixel, weight.astype(np.float32)


def _spectrum(pixel: NDArray[np.int64], weight: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.complex64]:
    from scipy import fft

    image = np.zeros(shape, np.float32)
    _splat(pixel, weight, image.reshape(-1))
    spectrum: NDArray[np.complex64] = fft.rfftn(image, workers=1, overwrite_x=True)
    return spectrum.reshape(-1, spectrum.shape[-1])


@njit(cache=True, nogil=True)
def _splat(pixel: NDArray[np.int64], weight: NDArray[np.float32], image: NDArray[np.float32]) -> None:
    for i in range(len(pixel)):
        image[pixel[i]] += weight[i]


@njit(cache=True, nogil=True)
def _ring_sums(
    part: NDArray[np.complex64], whole: NDArray[np.complex64], index: NDArray[np.int32], width: int, out: Floats
) -> None:
    rows, columns = part.shape
    for i in range(rows):
        for j in range(columns):
            ring = index[i, j]
            if ring < 0:
                continue
            # columns between the first and the last stand for two frequencies
            times = 0.5 if j == 0 or 2 * j == width else 1.0
            a, b = part[i, j], whole[i, j] - part[i, j]
            out[0, ring] += times * (a.real * b.real + a.imag * b.imag)
            out[1, ring] += times * (a.real * a.real + a.imag * a.imag)
            out[2, ring] += times * (b.real * b.real + b.imag * b.imag)
