"""Pictures of points and their correlation: what shifts between sets of localizations are read from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def picture(cell: NDArray[np.int64], shape: tuple[int, ...]) -> Floats:
    """Square root of the number of points in each pixel; what lies beyond `shape` is folded back onto it.

    The square root keeps one bright bead from deciding alone. `cell` is the pixel of each point, `(n, 2)`.
    """
    flat = (cell[:, 0] % shape[0]) * shape[1] + cell[:, 1] % shape[1]
    counts: Floats = np.sqrt(np.bincount(flat, minlength=shape[0] * shape[1])).reshape(shape)
    return counts


def correlation(first: NDArray[Any], second: NDArray[Any], shape: tuple[int, ...], reach: int) -> NDArray[Any]:
    """Correlation of two pictures, given by their spectra, at shifts of up to `reach` pixels, `(2 r + 1, 2 r + 1)`."""
    from scipy import fft

    whole = fft.irfft2(np.conj(first) * second, shape, workers=1)
    offsets = np.arange(-reach, reach + 1)
    window: NDArray[Any] = whole[np.ix_(offsets % shape[0], offsets % shape[1])]
    return window


def vertex(values: NDArray[Any]) -> float:
    """Where the parabola through three neighbouring values has its top, in pixels from the middle one."""
    bend = values[0] - 2 * values[1] + values[2]
    return float(np.clip(0.5 * (values[0] - values[2]) / bend, -1, 1)) if bend < 0 else 0.0
