"""From the counts of a movie to photons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucule.simulate.camera import Sensor


def to_photons(counts: NDArray[Any], pixels: Sensor) -> NDArray[np.float32]:
    """Photons on the sensor, dark charge included, of counts `(n, rows, columns)` of a camera's pixels."""
    values = counts.astype(np.float32)
    camera = pixels.camera
    values -= pixels.baseline
    values *= pixels.electrons_per_count / np.float32(camera.em_gain * camera.quantum_efficiency)
    return values
