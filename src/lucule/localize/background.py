"""The shape of an uneven background: what stays when the emitters' light is taken off, as far as it lasts.

What the emitters leave of a frame, smoothed, is the shape of its background, and noise. Unevenness that is not known
draws emitters to the brighter side; noise taken for unevenness draws them anywhere. So the frames around say how much
of it is real: a background is the same in all of them, noise is not, and neither is the light of emitters that were not
found. Each pixel is the sum of what lasts and what is new in each frame (the one-way random-effects model); the
variance of the former is estimated by the products of different frames, over the field, and its most probable value is
the mean of the frames, shrunk towards an even background by as much as its own uncertainty asks for (empirical Bayes;
Robinson 1991, Stat Sci 6:15). Where a movie's background is even, next to nothing is left of it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter, uniform_filter1d, zoom

Floats: TypeAlias = NDArray[np.float64]

REACH: Final = 2
"""Frames before and after each that say what its background looks like."""
# side of the square over which what is left of a frame is averaged, twice: nearly as round as a Gaussian
_SMOOTH_PX: Final = 13
# the same where one shape for many frames is made of squares of pixels
_BIN_PX: Final = 3
_SMOOTH_BINS: Final = 5
_LEAST_PHOTONS: Final = 0.01


def common_shape(
    photons: NDArray[np.float32], rest: NDArray[np.float32], camera: tuple[float, NDArray[np.float32]]
) -> Floats:
    """One shape for all frames, `(rows, columns)`, from a few means over frames and pixels; as `lasting_shape`.

    The variance of a dark pixel is a map `(rows, columns)`.
    """
    excess, dark = camera
    groups = np.array_split(np.arange(len(rest)), min(len(rest), 2 * REACH + 1))
    seen, left = (np.stack([_binned(frames[g].mean(axis=0)) for g in groups]) for frames in (photons, rest))
    fewer = len(groups) / len(rest) / _BIN_PX**2
    coarse = _lasting(*_levels(seen, left, (excess * fewer, _binned(dark)), _SMOOTH_BINS))
    rows, columns = rest.shape[1:]
    shape: Floats = zoom(coarse, _BIN_PX, order=1, mode="nearest", grid_mode=True)[:rows, :columns]
    return shape


def _binned(image: NDArray[np.float32]) -> Floats:
    """Means of squares of pixels; at the far sides what is there is repeated."""
    rows, columns = (-size % _BIN_PX for size in image.shape)
    whole = np.pad(image, ((0, rows), (0, columns)), mode="edge")
    lines = sum(whole[start::_BIN_PX].astype(np.float64) for start in range(_BIN_PX))
    means: Floats = sum(lines[:, start::_BIN_PX] for start in range(_BIN_PX)) / _BIN_PX**2
    return means


def lasting_shape(photons: NDArray[np.float32], rest: Floats, camera: tuple[float, float]) -> Floats:
    """Shape of the background of consecutive frames.

    Parameters
    ----------
    photons
        The frames in photons, `(frames, rows, columns)`.
    rest
        The same without the emitters' light.
    camera
        Factor of the variance over that of Poisson light, and variance of a dark pixel in photons, before that factor.

    Returns
    -------
    Floats
        Photons of each pixel more or fewer than on an even background, `(frames, rows, columns)`.
    """
    level, variance = _levels(photons, rest, camera, _SMOOTH_PX)
    shape = np.empty_like(rest)
    for frame in range(len(rest)):
        around = slice(max(frame - REACH, 0), frame + REACH + 1)
        shape[frame] = _lasting(level[around], variance[around])
    return shape


def _levels(
    photons: NDArray[np.floating], rest: Floats, camera: tuple[float, float | Floats], width: int
) -> tuple[Floats, Floats]:
    """What each frame alone says of its shape, and the variance of that, `(frames, rows, columns)`."""
    excess, dark = camera
    scatter = _scatter(*rest.shape[1:], width)
    level, variance = np.empty_like(rest), np.empty_like(rest)
    for frame, (seen, left) in enumerate(zip(photons, rest, strict=True)):
        expected = np.maximum(seen - left + _smooth(left, width), _LEAST_PHOTONS)
        # pixels under bright emitters say little of what lies below
        weight = 1 / (excess * (expected + dark))
        total = _smooth(weight, width)
        found = _smooth(weight * left, width) / total
        # smoothing flattens slopes and hills; what it has left, smoothed again, is most of that (Tukey's twicing)
        found += _smooth(weight * (left - found), width) / total
        level[frame], variance[frame] = found - found.mean(), scatter / total
    return level, variance


def _lasting(level: Floats, variance: Floats) -> Floats:
    """What frames `(frames, rows, columns)` with known variances have in common, shrunk by its uncertainty."""
    n = len(level)
    squares = float((level**2).sum(axis=0).mean())
    if n > 1:
        lasting = max((float((level.sum(axis=0) ** 2).mean()) - squares) / (n * (n - 1)), 0.0)
        new = max(squares / n - float(variance.mean()) - lasting, 0.0)
    else:
        # one frame does not tell what lasts
        lasting, new = max(squares - float(variance.mean()), 0.0), 0.0
    precision = 1 / (new + variance)
    mean: Floats = lasting * (precision * level).sum(axis=0) / (1 + lasting * precision.sum(axis=0))
    return mean


def _smooth(image: Floats, width: int) -> Floats:
    smooth: Floats = uniform_filter(uniform_filter(image, width, mode="nearest"), width, mode="nearest")
    return smooth


def _scatter(rows: int, columns: int, width: int) -> Floats:
    """Sums of the squared weights with which pixels enter the smoothed ones, `(rows, columns)`.

    With the smoothing S of rows and columns, twicing is 2 S - S S.
    """
    of_axes = []
    for size in (rows, columns):
        # one row for each smoothed pixel
        once = np.eye(size)
        for _ in range(2):
            once = uniform_filter1d(once, width, axis=0, mode="nearest")
        twice = once @ once
        of_axes.append([(a * b).sum(axis=1) for a, b in ((once, once), (once, twice), (twice, twice))])
    row, column = (np.array(sums) for sums in of_axes)
    scatter: Floats = np.einsum("k,kr,kc->rc", (4.0, -4.0, 1.0), row, column)
    return scatter
