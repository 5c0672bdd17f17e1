"""The calibration finds any rotation and mirror, brings objects to the middle, and refuses what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lucule.acquire.calibration import Affine, calibrate, fit_affine
from lucule.acquire.microscope import Microscope
from lucule.core import WorkError

SIZE = {"Camera__Rows": 128, "Camera__Columns": 128}


@pytest.mark.parametrize(("angle", "mirror", "scale"), [(0, 0, 1.0), (37, 0, 1.04), (200, 1, 0.96)])
def test_objects_come_to_the_middle(
    small: Callable[..., Microscope],
    cell_um: Callable[..., tuple[float, float]],
    angle: float,
    mirror: int,
    scale: float,
) -> None:
    scope = small(**SIZE, Slide__Rotation_deg=angle, Slide__MirrorX=mirror, Slide__Scale=scale)
    assert scope.specimen is not None
    truth = scope.specimen.axes
    x, y = np.linalg.solve(truth, cell_um(scope, 1))
    scope.move_to(float(x), float(y))
    found = calibrate(scope, channel="cell", images=5)
    # objects anywhere in a field of 12.8 um
    wanted = np.random.default_rng(1).uniform(-6.4, 6.4, (200, 2))
    reached = found.to_stage(wanted) @ truth.T
    assert np.sqrt(np.mean(np.sum((reached - wanted) ** 2, axis=1))) < 0.2
    assert found.residual_um is not None
    assert found.residual_um < 0.1
    assert found.date is not None


def test_a_wrong_pixel_size_is_refused() -> None:
    moves = np.array([(2.0, 0.0), (0.0, 2.0), (-2.0, 0.0), (0.0, -2.0)])
    with pytest.raises(WorkError, match="contradict"):
        fit_affine(moves, 1.08 * moves, pixel_size_um=0.1)
    assert fit_affine(moves, 1.04 * moves, pixel_size_um=0.1).scale == pytest.approx(1.04)


def test_a_picture_that_does_not_follow_the_stage_is_refused(small: Callable[..., Microscope]) -> None:
    scope = small()
    scope.move_to(-100, -100)
    with pytest.raises(WorkError):
        calibrate(scope, channel="cell")
    assert set(scope.powers_mw.values()) == {0.0}


def test_plane_and_stage_are_inverse() -> None:
    affine = Affine(matrix=((0.9, 0.4), (0.5, -1.0)))
    places = np.random.default_rng(1).normal(size=(10, 2))
    np.testing.assert_allclose(affine.to_stage(affine.to_plane(places)), places)
