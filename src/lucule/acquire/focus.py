"""Focus: software autofocus and the lock of the hardware as two services, and a surface through measured places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.acquire.faults import FocusFault
from lucule.core import InputError

if TYPE_CHECKING:
    from lucule.acquire.microscope import Microscope

Floats = NDArray[np.float64]

# how far the sharpest must stand above the usual one; noise alone reaches 1.15
_LEAST_RISE: Final = 1.3
_QUADRATIC_POINTS: Final = 8


def sharpness(image: NDArray[Any]) -> float:
    """Fine detail of a picture: variance of the difference of two Gaussians (1 and 3 pixels), over the mean light."""
    from scipy.ndimage import gaussian_filter

    values = image.astype(np.float64)
    detail = gaussian_filter(values, 1.0) - gaussian_filter(values, 3.0)
    light = max(float(values.mean() - values.min()), 1.0)
    return float(detail.var() / light)


def autofocus(
    microscope: Microscope, *, channel: str, range_um: float, steps: int, around_um: float | None = None
) -> float:
    """Find the sharpest height around where the focus is, and go there.

    A stack of pictures, the sharpest of them, and a parabola through it and its neighbours. Where it fails, the focus
    goes back to where it was.

    Raises
    ------
    FocusFault
        The sharpness has no clear peak inside the range.
    """
    start = microscope.z_um if around_um is None else around_um
    heights = np.linspace(start - range_um / 2, start + range_um / 2, steps)
    microscope.set_channel(channel)
    try:
        values = []
        for height in heights:
            microscope.focus_to(float(height))
            values.append(sharpness(microscope.snap()))
        best = peak(heights, np.array(values))
    except FocusFault:
        microscope.focus_to(start)
        raise
    finally:
        microscope.lasers_off()
    microscope.focus_to(best)
    return best


def peak(heights_um: Floats, values: Floats) -> float:
    """Height of the peak, from a parabola.

    Raises
    ------
    FocusFault
        The largest value is the first or last one, or hardly larger than the usual one.

    Examples
    --------
    >>> peak(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.2]))
    1.0555555555555556
    """
    top = int(values.argmax())
    if top in (0, len(values) - 1) or values[top] < _LEAST_RISE * np.median(values):
        raise FocusFault(
            "No height is clearly the sharpest",
            received=f"sharpness {values.min():.3g} to {values.max():.3g}, largest at {heights_um[top]:.2f} um",
            allowed=f"a peak inside {heights_um[0]:.2f} to {heights_um[-1]:.2f} um",
            next_step="look at a field with structure, or widen the range",
        )
    before, here, after = values[top - 1 : top + 2]
    step = heights_um[1] - heights_um[0]
    return float(heights_um[top] + 0.5 * step * (before - after) / (before - 2 * here + after))


class FocusLock:
    """The focus-keeping hardware of the configuration (its autofocus device)."""

    def __init__(self, microscope: Microscope) -> None:
        self._core = microscope.core
        self._timeout_s = microscope.rig.timeout_s
        if not self._core.getAutoFocusDevice():
            raise InputError(
                "The configuration has no focus-keeping hardware", next_step="focus: method software or surface"
            )

    @property
    def is_locked(self) -> bool:
        """What the hardware says."""
        return bool(self._core.isContinuousFocusEnabled() and self._core.isContinuousFocusLocked())

    def hold(self) -> None:
        """Switch it on where it is not, and wait until it is locked.

        Raises
        ------
        FocusFault
            It does not lock.
        """
        import time

        try:
            if not self._core.isContinuousFocusEnabled():
                self._core.enableContinuousFocus(True)
            until = time.monotonic() + self._timeout_s
            while not self.is_locked and time.monotonic() < until:
                time.sleep(0.02)
        except RuntimeError as error:
            raise FocusFault(f"The focus-keeping hardware does not answer: {error}") from error
        if not self.is_locked:
            raise FocusFault("The focus-keeping hardware does not lock", allowed=f"a lock within {self._timeout_s:g} s")


@dataclass(frozen=True)
class FocusSurface:
    """Height of the sample over the stage: a plane, or a quadratic surface from 8 places on.

    Attributes
    ----------
    coefficients
        Of 1, x, y(, x^2, x y, y^2), um.
    residual_um
        Root mean square of what is left over.
    """

    coefficients: tuple[float, ...]
    residual_um: float

    @classmethod
    def fit(cls, places_um: ArrayLike, heights_um: ArrayLike) -> FocusSurface:
        """Fit heights `(n,)` at places `(n, 2)`.

        Raises
        ------
        InputError
            There are fewer than 3, or they lie on a line.

        Examples
        --------
        >>> FocusSurface.fit([(0, 0), (10, 0), (0, 10)], [0.0, 1.0, 2.0]).z_um(10, 10)
        3.0
        """
        places, heights = np.reshape(np.asarray(places_um, np.float64), (-1, 2)), np.asarray(heights_um, np.float64)
        terms = _terms(places, 6 if len(places) >= _QUADRATIC_POINTS else 3)
        if len(places) < 3 or np.linalg.matrix_rank(terms) < terms.shape[1]:
            raise InputError(
                "A focus surface needs more places",
                received=f"{len(places)} places",
                allowed="3 or more that do not lie on a line",
            )
        found = np.linalg.lstsq(terms, heights, rcond=None)[0]
        left = heights - terms @ found
        return cls(tuple(float(value) for value in found), float(np.sqrt(np.mean(left**2))))

    def z_um(self, x_um: float, y_um: float) -> float:
        """Height at a place."""
        place = np.array([[x_um, y_um]], dtype=np.float64)
        return round(float((_terms(place, len(self.coefficients)) @ np.array(self.coefficients))[0]), 9)


def _terms(places: Floats, count: int) -> Floats:
    x, y = places.T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y][:count], axis=1)
