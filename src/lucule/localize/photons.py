"""From the counts of a movie to photons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.simulate.camera import Sensor


def to_photons(counts: NDArray[Any], pixels: Sensor, first: int) -> NDArray[np.float32]:
    """Photons on the sensor, dark charge included, of frames `(n, rows, columns)`.

    Parameters
    ----------
    counts
        What the camera gave.
    pixels
        Its pixels.
    first
        Number of the first frame, for messages.

    Raises
    ------
    InputError
        A value is not a number.
    """
    values = counts.astype(np.float32)
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))[0]
        raise InputError("The movie holds values that are no numbers", received=f"frame {first + bad}")
    camera = pixels.camera
    values -= pixels.baseline
    values *= pixels.electrons_per_count / np.float32(camera.em_gain * camera.quantum_efficiency)
    return values
