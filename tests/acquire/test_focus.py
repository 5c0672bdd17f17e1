"""Software autofocus finds the slide and returns where it fails; the lock and the surface are services of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lucule.acquire.faults import FocusFault
from lucule.acquire.focus import FocusLock, FocusSurface, autofocus
from lucule.acquire.microscope import Microscope
from lucule.core import InputError

Make = Callable[..., Microscope]


def test_autofocus_finds_a_tilted_slide(small: Make, cell_um: Callable[..., tuple[float, float]]) -> None:
    scope = small(Slide__TiltX_nm_per_um=10.0, Slide__TiltY_nm_per_um=-5.0)
    assert scope.specimen is not None
    x, y = cell_um(scope)
    scope.move_to(x + 8, y)  # at the border of a cell
    scope.focus_to((10 * x - 5 * y) / 1000 + 0.7)
    autofocus(scope, channel="cell", range_um=4, steps=9)
    assert abs(scope.specimen.defocus_nm) < 300


def test_a_failed_autofocus_keeps_the_last_height(small: Make) -> None:
    scope = small()
    scope.move_to(-100, -100)
    scope.focus_to(3.0)
    with pytest.raises(FocusFault, match="clearly the sharpest"):
        autofocus(scope, channel="cell", range_um=4, steps=9)
    assert scope.z_um == 3.0


def test_the_lock_is_that_of_the_hardware(small: Make) -> None:
    lock = FocusLock(small("mixed"))
    lock.hold()
    assert lock.is_locked
    with pytest.raises(InputError, match="no focus-keeping"):
        FocusLock(small("simulated"))


def test_a_surface_goes_through_planes_and_bowls() -> None:
    rng = np.random.default_rng(2)
    places = rng.uniform(-1000, 1000, (12, 2))
    x, y = places.T
    plane = FocusSurface.fit(places[:4], 3 + 0.002 * x[:4] - 0.001 * y[:4])
    assert plane.z_um(500, 200) == pytest.approx(3 + 1.0 - 0.2)
    bowl = FocusSurface.fit(places, 1e-6 * (x**2 + y**2))
    assert bowl.z_um(100, -300) == pytest.approx(0.1)
    with pytest.raises(InputError, match="do not lie on a line"):
        FocusSurface.fit([(0, 0), (1, 1), (2, 2)], [0, 1, 2])
