"""Emitters onto frames."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.simulate.optics import kernels
from lucule.simulate.optics.compiled import Kernel


def add_emitters(
    frames: NDArray[np.float32],
    frame_index: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    photons: ArrayLike,
    kernel: Kernel,
    *,
    first_frame: int = 0,
    outside: Literal["error", "drop"] = "error",
) -> int:
    """Add the expected photons of emitters to frames, in place, on all cores.

    The result does not depend on the number of threads nor on how the frames are cut into calls.

    Parameters
    ----------
    frames
        Expected photons `(n, rows, columns)`, float32, contiguous.
    frame_index
        Frame of each emitter `(emitters,)`, ascending.
    x, y, z
        Positions in nm, from the outer corner of pixel (0, 0); z upwards from the focus.
    photons
        Expected photons of each emitter in its frame.
    kernel
        The PSF on the camera's pixels.
    first_frame
        Number of the first frame in `frames`; emitters of other frames are passed over.
    outside
        What to do with emitters outside the depth range: `error`, or `drop` them.

    Returns
    -------
    Number of emitters dropped for their depth.

    Raises
    ------
    InputError
        Emitters are not ordered by frame, lie outside the depth range, or hold values that are not finite; the
        frames are of a wrong type.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> frames = np.zeros((2, 16, 16), np.float32)
    >>> add_emitters(frames, [0, 1], [800, 700], [800, 900], [0, 100], [500, 300], compile_psf("astigmatic", 100))
    0
    >>> frames.sum(axis=(1, 2)).round().tolist()
    [500.0, 300.0]
    """
    if frames.ndim != 3 or frames.dtype != np.float32 or not frames.flags.c_contiguous:
        raise InputError(
            "Frames must be a contiguous float32 array",
            received=f"{frames.dtype} {frames.shape}",
            allowed="(n, rows, columns)",
        )
    index = np.asarray(frame_index, dtype=np.int64)
    columns = [np.asarray(c, dtype=np.float64) for c in np.broadcast_arrays(x, y, z, photons)]
    if index.ndim != 1 or columns[0].shape != index.shape:
        raise InputError(
            "Emitters need one frame, position and photon number each",
            received=f"{index.shape} frames, {columns[0].shape} positions",
            allowed="columns of one length",
        )
    if np.any(index[1:] < index[:-1]):
        raise InputError("Emitters must be ordered by frame", next_step="sort the table by frame")
    starts = np.searchsorted(index, first_frame + np.arange(len(frames) + 1))
    columns = [c[starts[0] : starts[-1]] for c in columns]
    starts -= starts[0]
    if not all(np.isfinite(c).all() for c in (columns[0], columns[1], columns[3])):
        raise InputError("Positions and photons of emitters must be finite numbers")
    dropped = 0
    if outside == "drop":
        low, high = kernel.z_range_nm
        kept = (columns[2] >= low) & (columns[2] <= high)
        dropped = int(kept.size - kept.sum())
        columns = [c[kept] for c in columns]
        starts = np.concatenate([[0], np.cumsum(kept)])[starts]
    else:
        kernel.check_depth(columns[2])
    kernels.add_to_frames(frames, starts.astype(np.int64), kernel.model, *map(np.ascontiguousarray, columns))
    return dropped
