"""Objects that touch are told apart, and single ones of any shape stay whole."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.segment.instances import separate


def discs(*places: tuple[float, float, float]) -> np.ndarray:
    y, x = np.mgrid[:80, :120]
    inside = np.zeros(y.shape, bool)
    for row, column, radius in places:
        inside |= np.hypot(y - row, x - column) < radius
    return inside


def rippled_rod() -> np.ndarray:
    y, x = np.mgrid[:80, :120]
    return (np.abs(y - 40) < 8 + np.sin(x / 3)) & (np.abs(x - 60) < 50)


@pytest.mark.parametrize(
    ("inside", "number"),
    [
        (discs((40, 30, 14), (40, 54, 14)), 2),
        (discs((40, 24, 12), (40, 44, 12), (40, 64, 12), (40, 84, 12)), 4),
        (discs((40, 40, 20), (40, 68, 10)), 2),
        (discs((40, 60, 20)), 1),
        (rippled_rod(), 1),
        (discs((40, 40, 14), (40, 46, 14)), 1),
        # cut by the edge of the image
        (discs((40, 0, 14), (40, 23, 14)), 2),
    ],
)
def test_cores_that_flowed_together_are_split_at_necks(inside: np.ndarray, number: int) -> None:
    certain = inside.astype(np.float32)
    labels = separate(certain, 0.9 * certain)
    assert labels.max() == number
    assert ((labels > 0) == inside).all()


def test_a_faint_dip_of_the_core_is_no_border_and_a_clear_one_is() -> None:
    inside = discs((40, 60, 20)).astype(np.float32)
    middle = np.exp(-(((np.arange(120) - 60) / 4.0) ** 2))
    assert separate(inside, inside * (0.9 - 0.1 * middle)).max() == 1
    assert separate(inside, inside * (0.9 - 0.6 * middle)).max() == 2


def test_what_is_too_small_for_an_object_belongs_to_the_one_it_touches() -> None:
    inside = discs((40, 60, 20), (40, 82, 3))
    labels = separate(inside.astype(np.float32), 0.9 * inside, least_px=200)
    assert labels.max() == 1
    assert ((labels > 0) == inside).all()
    apart = discs((40, 30, 20), (40, 82, 3))
    assert ((separate(apart.astype(np.float32), 0.9 * apart, least_px=200) > 0) == discs((40, 30, 20))).all()


def test_objects_that_touch_at_corners_are_two_and_nothing_of_them_is_lost() -> None:
    inside = np.zeros((60, 60), np.float32)
    inside[10:30, 10:30] = inside[30:50, 30:50] = 1
    inside[9, 9] = 1  # a pixel that hangs on a corner
    labels = separate(inside, 0.9 * inside)
    assert labels.max() == 2
    assert ((labels > 0) == (inside > 0)).all()


def test_a_part_without_a_core_is_an_object() -> None:
    inside = discs((40, 30, 14), (40, 90, 14))
    core = np.where(np.arange(120) < 60, 0.95, 0.01) * inside
    assert separate(inside.astype(np.float32), core).max() == 2


def test_cores_that_are_apart_stay_as_they_are() -> None:
    """Two halves of a disc, which has no neck: the network knows better."""
    inside = discs((40, 60, 20))
    core = inside * (np.abs(np.arange(120) - 60) > 3)
    labels = separate(inside.astype(np.float32), core.astype(np.float32))
    assert labels.max() == 2
    assert labels[40, 50] != labels[40, 70]
