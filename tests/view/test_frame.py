from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucule.core import InputError, Localizations, Region
from lucule.view.frame import (
    BAR_STEPS,
    PIXEL_STEPS,
    SMALLEST_FIELD_NM,
    Frame,
    automatic_pixel_nm,
    bounds_of,
    make_frame,
    round_down,
    round_up,
)


@given(st.floats(1e-3, 1e9), st.sampled_from([BAR_STEPS, PIXEL_STEPS]))
def test_rounding_brackets_the_value_and_gives_round_numbers(value: float, steps: tuple[float, ...]) -> None:
    up, down = round_up(value, steps), round_down(value, steps)
    assert down <= value * (1 + 1e-8)
    assert up >= value * (1 - 1e-8)
    assert up / down < 2.51
    for rounded in (up, down):
        mantissa = rounded / 10 ** math.floor(math.log10(rounded) + 1e-9)
        assert any(math.isclose(mantissa, step) for step in (*steps, 10.0))


def test_snapped_frames_start_at_multiples_of_the_pixel_and_hold_the_extent() -> None:
    frame = make_frame((103.0, 55.0, 1999.9, 410.0), 20.0)
    assert frame == Frame(100.0, 40.0, 95, 19, 20.0)
    assert make_frame((100.0, 40.0, 2000.0, 400.0), 20.0) == Frame(100.0, 40.0, 96, 19, 20.0)  # edges lie inside


def test_exact_frames_start_at_the_corner_of_the_region() -> None:
    assert make_frame((103.0, 55.0, 203.0, 105.0), 10.0, exact=True) == Frame(103.0, 55.0, 10, 5, 10.0)
    assert make_frame((0.0, 0.0, 105.0, 1.0), 10.0, exact=True).width == 11


def test_one_place_still_gets_an_area() -> None:
    frame = make_frame((500.0, 500.0, 500.0, 500.0), 10.0)
    x_min, y_min, x_max, y_max = frame.bounds_nm
    assert x_min < 500 < x_max
    assert y_min < 500 < y_max
    assert x_max - x_min >= SMALLEST_FIELD_NM


def test_too_many_pixels_are_refused_with_a_pixel_size_that_works() -> None:
    bounds = (0.0, 0.0, 5e6, 5e6)
    with pytest.raises(InputError, match="too large") as caught:
        make_frame(bounds, 1.0)
    suggestion = float(str(caught.value).split("at least ")[1].split(" nm")[0])
    frame = make_frame(bounds, suggestion)
    assert frame.width * frame.height <= 50_000_000
    assert suggestion < 1500


@pytest.mark.parametrize("pixel_nm", [0.0, -5.0, math.nan, math.inf])
def test_impossible_pixel_sizes(pixel_nm: float) -> None:
    with pytest.raises(InputError, match="pixel size must be a length"):
        make_frame((0, 0, 100, 100), pixel_nm)


@given(st.floats(1.0, 1e8), st.floats(1.0, 1e8))
def test_automatic_pixels_keep_the_longer_side_within_the_limit(width: float, height: float) -> None:
    pixel_nm = automatic_pixel_nm((0, 0, width, height), side_px=1000)
    side = max(width, height, SMALLEST_FIELD_NM) / pixel_nm
    assert 1000 / 1.61 <= side <= 1000 * (1 + 1e-6)


def test_bounds() -> None:
    locs = Localizations({"x": [1.0, 5.0], "y": [2.0, -3.0]})
    assert bounds_of(locs, None) == (1, -3, 5, 2)
    assert bounds_of(locs, Region.rectangle(0, 0, 9, 9)) == (0, 0, 9, 9)
    with pytest.raises(InputError, match="no localizations"):
        bounds_of(Localizations({"x": [], "y": []}), None)
