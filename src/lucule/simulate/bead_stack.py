"""Stacks of beads, as they are recorded to calibrate a PSF, with the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import Camera, InputError
from lucule.simulate.camera import expose
from lucule.simulate.optics import Kernel

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BeadMovie:
    """A stack and its truth.

    Attributes
    ----------
    counts
        `(planes, rows, columns)`, uint16.
    x, y
        Places of the beads in the middle of the depth range, nm.
    z
        Their heights over the focal plane in the middle of the stack, nm.
    photons
        In the first plane.
    """

    counts: NDArray[np.uint16]
    x: Floats
    y: Floats
    z: Floats
    photons: Floats


def bead_stack(
    kernel: Kernel,
    camera: Camera,
    x: ArrayLike,
    y: ArrayLike,
    photons: ArrayLike,
    *,
    shape: tuple[int, int],
    step_nm: float,
    planes: int,
    tilt_nm_per_um: tuple[float, float] = (0.0, 0.0),
    wobble: Callable[[Floats], Floats] | None = None,
    bleached: float = 0.0,
    background: float = 20.0,
    seed: int = 1,
) -> BeadMovie:
    """Take a picture of beads at each height of the stage; from plane to plane they rise over the focus.

    Parameters
    ----------
    kernel, camera
        PSF and camera.
    x, y, photons
        Beads `(n,)`: places in nm, photons in the first plane.
    shape
        Rows and columns of the frames.
    step_nm, planes
        Distance of the planes (negative: the beads sink) and their number; the middle is the focus.
    tilt_nm_per_um
        How the coverslip rises along x and y, from the middle of the field.
    wobble
        Lateral shift (x, y), `(n, 2)` in nm, at the heights of the beads `(n,)`.
    bleached
        Part of the photons that is lost by the last plane.
    background
        Photons per pixel.
    seed
        Seed of the camera.

    Raises
    ------
    InputError
        There are no planes, or a bead leaves the depth range of the PSF.

    Examples
    --------
    >>> from lucule.simulate.camera import load_camera
    >>> from lucule.simulate.optics import compile_psf
    >>> optics = compile_psf("astigmatic", 100), load_camera("ideal")
    >>> bead_stack(*optics, [1200.0], [1300.0], [9000.0], shape=(25, 25), step_nm=50, planes=11).counts.shape
    (11, 25, 25)
    """
    if planes < 1:
        raise InputError("A stack needs planes", received=planes, allowed="1 or more")
    at_x, at_y, light = (np.array(v, np.float64) for v in np.broadcast_arrays(x, y, photons))
    width, height = kernel.pixel_size_nm
    middle_x, middle_y = shape[1] * width / 2, shape[0] * height / 2
    own = ((at_x - middle_x) * tilt_nm_per_um[0] + (at_y - middle_y) * tilt_nm_per_um[1]) / 1000
    frames = np.full((planes, *shape), background, np.float32)
    for k, frame in enumerate(frames):
        z = (k - (planes - 1) / 2) * step_nm + own
        moved = wobble(z) if wobble is not None else np.zeros((len(z), 2))
        left = light * (1 - bleached * k / max(planes - 1, 1))
        frame += kernel.image(at_x + moved[:, 0], at_y + moved[:, 1], z, left, shape)
    return BeadMovie(expose(frames, camera, seed=seed), at_x, at_y, own, light)
