"""How the stage moves in the picture: an affine from pictures at several places, and when it must not be trusted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from lucule.core import Config, InputError, WorkError

if TYPE_CHECKING:
    from lucule.acquire.microscope import Microscope

Floats = NDArray[np.float64]

LARGEST_SCALE_ERROR: Final = 0.05
_SMOOTHING_PX: Final = 2.0
_LEAST_OVERLAP: Final = 0.5
_REFINEMENTS: Final = 5
_PATTERN: Final = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))


class Affine(Config):
    """Movements of the stage in the axes of the camera.

    The plane of the camera has its axes (x along the columns, y along the rows), um as unit, and the place of the
    stage's origin as its own.

    Attributes
    ----------
    matrix
        A movement of the stage (um), times this, is the movement of the field of view over the sample (um).
    residual_um
        Root mean square of what the matrix leaves over; None: not measured.
    date
        When it was measured.
    pixel_size_um
        With which size of a pixel.

    Examples
    --------
    >>> quarter_turn = Affine(matrix=((0, -1), (1, 0)))
    >>> quarter_turn.to_plane((3.0, 0.0)).tolist()
    [0.0, 3.0]
    >>> quarter_turn.to_stage((0.0, 3.0)).tolist()
    [3.0, 0.0]
    """

    matrix: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    residual_um: float | None = None
    date: str | None = None
    pixel_size_um: float | None = Field(default=None, gt=0)

    def to_plane(self, stage_um: ArrayLike) -> Floats:
        """Positions `(..., 2)` of the stage in the plane of the camera."""
        plane: Floats = np.asarray(stage_um, np.float64) @ np.asarray(self.matrix).T
        return plane

    def to_stage(self, plane_um: ArrayLike) -> Floats:
        """Positions `(..., 2)` in the plane of the camera as positions of the stage."""
        stage: Floats = np.asarray(plane_um, np.float64) @ np.linalg.inv(np.asarray(self.matrix)).T
        return stage

    @property
    def scale(self) -> float:
        """How far 1 um of the stage moves the field of view, um; mean over all directions."""
        return float(np.sqrt(abs(np.linalg.det(np.asarray(self.matrix)))))


def calibrate(microscope: Microscope, *, channel: str, step_um: float | None = None, images: int = 5) -> Affine:
    """Move the stage in a small pattern around where it is, and see how the picture moves.

    Shifts are from the correlation of the pictures with the first one, refined to parts of a pixel.

    Parameters
    ----------
    channel
        In which channel; the field must show structure.
    step_um
        Length of the movements; by default a fifth of the field.
    images
        Pictures besides the first, 4 to 8.

    Raises
    ------
    InputError
        The number of images is not allowed.
    WorkError
        The picture does not follow the stage, or its scale and the size of a pixel differ by more than 5 %.
    """
    if not 4 <= images <= len(_PATTERN):
        raise InputError("This number of pictures cannot be used", received=images, allowed=f"4 to {len(_PATTERN)}")
    pixel = microscope.pixel_size_um
    step = step_um or min(microscope.field_um) / 5
    start = np.array(microscope.position_um)
    microscope.set_channel(channel)
    try:
        first = _clear(microscope.snap())
        moves, shifts = [], []
        for direction in _PATTERN[:images]:
            microscope.move_to(*(start + step * np.array(direction)))
            moves.append(np.array(microscope.position_um) - start)
            shifts.append(_shift_px(first, _clear(microscope.snap())) * pixel)
        microscope.move_to(*start)
    finally:
        microscope.lasers_off()
    return fit_affine(np.array(moves), np.array(shifts), pixel_size_um=pixel)


def fit_affine(moves_um: Floats, shifts_um: Floats, *, pixel_size_um: float) -> Affine:
    """Affine from movements of the stage and of the field of view, each `(n, 2)`.

    Raises
    ------
    WorkError
        It does not explain the shifts, or its scale and the size of a pixel differ by more than 5 %.
    """
    solution = np.linalg.lstsq(moves_um, shifts_um, rcond=None)[0]
    left = shifts_um - moves_um @ solution
    residual = float(np.sqrt(np.mean(np.sum(left**2, axis=1))))
    length = float(np.sqrt(np.mean(np.sum(moves_um**2, axis=1))))
    (xx, yx), (xy, yy) = solution
    found = Affine(
        matrix=((float(xx), float(xy)), (float(yx), float(yy))),
        residual_um=residual,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        pixel_size_um=pixel_size_um,
    )
    if residual > 0.1 * length:
        raise WorkError(
            "The picture does not follow the stage",
            received=f"{residual:.2f} um are left over from movements of {length:.2f} um",
            next_step="choose a field and a channel with structure, in focus",
        )
    if abs(found.scale - 1) > LARGEST_SCALE_ERROR:
        raise WorkError(
            "The stage and the size of a pixel contradict each other",
            received=f"1 um of the stage moves the picture by {found.scale:.3f} um",
            allowed=f"1 um within {100 * LARGEST_SCALE_ERROR:g} %",
            next_step="correct the size of a pixel for this objective, and calibrate again",
        )
    return found


def _clear(image: NDArray[Any]) -> Floats:
    """Without the noise of single pixels."""
    from scipy.ndimage import gaussian_filter

    smooth: Floats = gaussian_filter(image.astype(np.float64), _SMOOTHING_PX)
    smooth -= smooth.mean()
    return smooth


def _shift_px(first: Floats, second: Floats) -> Floats:
    """How far the field of view moved from the first to the second, (x, y).

    The correlation is normalised over what both show (Padfield 2012, IEEE Trans Image Process 21:2706): a window that
    fades to the border would pull the shift of the few structures of a field to zero. Then the differences that are
    left are divided by the slopes (Lucas and Kanade 1981).
    """
    from scipy.ndimage import shift as moved
    from skimage.registration import phase_cross_correlation

    everywhere = np.ones(first.shape, bool)
    whole, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        first, second, reference_mask=everywhere, moving_mask=everywhere, overlap_ratio=_LEAST_OVERLAP
    )
    found: Floats = np.array(whole, np.float64)
    rows, columns = np.gradient(first, axis=0), np.gradient(first, axis=1)
    for _ in range(_REFINEMENTS):
        back = moved(second, found, order=1, cval=np.nan)
        both = np.isfinite(back)
        slopes = np.stack([rows[both], columns[both], np.ones(int(both.sum()))], axis=1)
        step = np.linalg.lstsq(slopes, back[both] - first[both], rcond=None)[0][:2]
        found += np.clip(step, -1, 1)
    return np.array([found[1], found[0]], dtype=np.float64)
