from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lucule.core import ColumnError, InputError, Localizations
from lucule.view import Frame, count_image, gaussian_image, render
from lucule.view.raster import widths


def table(n: int = 20_000, *, seed: int = 1, margin: float = 0.0) -> Localizations:
    rng = np.random.default_rng(seed)
    return Localizations(
        {
            "x": rng.uniform(margin, 1000 - margin, n).astype(np.float32),
            "y": rng.uniform(margin, 700 - margin, n).astype(np.float32),
            "z": rng.normal(0, 200, n).astype(np.float32),
            "x_err": rng.uniform(4, 15, n).astype(np.float32),
            "y_err": rng.uniform(4, 15, n).astype(np.float32),
            "label": rng.integers(0, 2, n).astype(np.uint8),
        }
    )


FIELD = Frame(0.0, 0.0, 100, 70, 10.0)


def integrated_gaussian(centre: float, sigma: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    cumulative = np.array([0.5 * (1 + math.erf((edge - centre) / sigma / math.sqrt(2))) for edge in edges])
    return np.diff(cumulative)


def test_counts_equal_those_of_numpy() -> None:
    locs = table()
    expected, _, _ = np.histogram2d(
        locs["y"].astype(float), locs["x"].astype(float), bins=(70, 100), range=((0, 700), (0, 1000))
    )
    np.testing.assert_array_equal(count_image(locs, FIELD), expected)


@given(st.integers(0, 2**31), st.floats(0.5, 80.0), st.floats(-500, 500))
@settings(max_examples=25, deadline=None)
def test_counts_lose_nothing_and_invent_nothing(seed: int, pixel_nm: float, origin: float) -> None:
    rng = np.random.default_rng(seed)
    locs = Localizations({"x": rng.uniform(-300, 300, 200), "y": rng.uniform(-300, 300, 200)})
    frame = Frame(origin, -origin, 50, 40, pixel_nm)
    x_min, y_min, x_max, y_max = frame.bounds_nm
    x, y = locs["x"].astype(float), locs["y"].astype(float)
    inside = (x >= x_min) & (x < x_max) & (y >= y_min) & (y < y_max)
    assert count_image(locs, frame).sum() == inside.sum()


def test_a_spot_lands_in_its_pixel_x_right_y_down() -> None:
    image = count_image(Localizations({"x": [237.0], "y": [61.0]}), FIELD)
    assert np.argwhere(image).tolist() == [[6, 23]]


@pytest.mark.parametrize("pixel_nm", [2.0, 10.0, 100.0])
def test_gaussians_conserve_the_number_of_localizations(pixel_nm: float) -> None:
    locs = table(margin=100)
    frame = Frame(0.0, 0.0, round(1000 / pixel_nm), round(700 / pixel_nm), pixel_nm)
    image = gaussian_image(locs, frame, sigma_nm=(1.0, 20.0))
    assert image.sum(dtype=np.float64) == pytest.approx(len(locs), rel=1e-5)
    assert (image >= 0).all()


def test_a_gaussian_is_integrated_over_each_pixel() -> None:
    locs = Localizations({"x": [503.0], "y": [349.0], "x_err": [23.0], "y_err": [12.0]})
    image = gaussian_image(locs, FIELD, sigma_nm=(1.0, 100.0))
    exact = np.outer(
        integrated_gaussian(349.0, 12.0, np.arange(71) * 10.0), integrated_gaussian(503.0, 23.0, np.arange(101) * 10.0)
    )
    # cut at 3.5 sigma: 0.05 % of the integral is moved inside
    np.testing.assert_allclose(image, exact, atol=1.5e-3 * exact.max())


def test_a_gaussian_at_the_border_loses_what_lies_outside() -> None:
    locs = Localizations({"x": [0.0, 1000.0], "y": [350.0, 0.0]})
    image = gaussian_image(locs, FIELD, sigma_nm=20.0)
    assert image[:, :50].sum() == pytest.approx(0.5, abs=1e-3)
    assert image[:, 50:].sum() == pytest.approx(0.25, abs=1e-3)


def test_very_narrow_gaussians_are_the_histogram() -> None:
    locs = Localizations({"x": [55.0, 15.0, 15.0], "y": [35.0, 15.0, 15.0]})
    np.testing.assert_allclose(gaussian_image(locs, FIELD, sigma_nm=0.01), count_image(locs, FIELD), atol=1e-6)


@pytest.mark.parametrize("method", ["histogram", "gaussian", "points"])
@pytest.mark.parametrize("colour_by", [None, "z", "label"])
def test_pictures_do_not_depend_on_the_number_of_threads(method: str, colour_by: str | None) -> None:
    locs = table(50_000)
    before = numba.get_num_threads()
    try:
        pictures = []
        for threads in (1, before):
            numba.set_num_threads(threads)
            pictures.append(render(locs, method=method, colour_by=colour_by, pixel_nm=4).rgb)  # type: ignore[arg-type]
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(pictures[0], pictures[-1])


def test_sums_are_equal_to_the_last_bit_for_any_number_of_threads() -> None:
    locs = table(50_000)
    before = numba.get_num_threads()
    try:
        images = []
        for threads in (1, before):
            numba.set_num_threads(threads)
            images.append(gaussian_image(locs, FIELD).tobytes())
    finally:
        numba.set_num_threads(before)
    assert images[0] == images[-1]


def test_portions_do_not_change_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    locs = table(5_000)
    whole = gaussian_image(locs, FIELD)
    monkeypatch.setattr("lucule.view.kernels.CHUNK_ROWS", 700)
    assert gaussian_image(locs, FIELD).tobytes() == whole.tobytes()
    assert count_image(locs, FIELD).sum() == len(locs)


def test_widths_are_kept_between_floor_and_ceiling() -> None:
    locs = Localizations({"x": [0.0] * 5, "y": [0.0] * 5, "x_err": [10.0, 0.0, np.nan, np.inf, 900.0]})
    wide, high = widths(locs, None, 5.0)
    # the median of what is known and positive (10 and 900) is 455
    assert wide.tolist() == [10.0, 3.0, 1820.0, 1820.0, 900.0]
    assert wide is high
    assert widths(locs, (12.0, 20.0), 5.0)[0].tolist() == [12.0, 12.0, 20.0, 20.0, 20.0]
    assert widths(locs, 7.0, 5.0)[0].tolist() == [7.0] * 5
    assert np.isnan(locs["x_err"][2])  # the table itself is untouched


def test_x_and_y_have_their_own_widths() -> None:
    locs = Localizations({"x": [0.0], "y": [0.0], "x_err": [5.0], "y_err": [9.0]})
    assert [float(width[0]) for width in widths(locs, (1.0, 50.0), 1.0)] == [5.0, 9.0]


@pytest.mark.parametrize("sigma_nm", [0.0, -3.0, float("nan"), (5.0, 2.0), (0.0, 5.0)])
def test_impossible_widths(sigma_nm: float | tuple[float, float]) -> None:
    with pytest.raises(InputError, match="width"):
        widths(table(10), sigma_nm, 5.0)


def test_gaussians_need_a_precision_or_a_width() -> None:
    locs = Localizations({"x": [1.0], "y": [1.0]})
    with pytest.raises(ColumnError, match="sigma_nm"):
        gaussian_image(locs, FIELD)
    assert gaussian_image(locs, FIELD, sigma_nm=5).sum() > 0


def test_empty_tables_give_empty_images() -> None:
    locs = Localizations({"x": [], "y": [], "x_err": []})
    assert not count_image(locs, FIELD).any()
    assert not gaussian_image(locs, FIELD).any()
