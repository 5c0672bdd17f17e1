"""The microscope: molecules remember, light does what it should, slides are drawn where one looks."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import simulate
from lucule.core import InputError
from lucule.simulate.scene import Scene
from lucule.simulate.slide import Slide

BLEACHING = {
    "field": {"size_um": 20, "axial_range_nm": 0},
    "layers": {"dyes": {"specimen": {"kind": "uniform", "density_per_um2": 4}, "label": 1}},
    "dye": {
        "kind": "markov",
        "photons": {"kind": "rate", "photons_per_s": 20_000},
        "brightness": {"on": 1.0, "bleached": 0.0},
        "initial": {"on": 1.0},
        "rates": [{"start": "on", "end": "bleached", "per_s": 2.0, "schedule": "readout"}],
    },
    "acquisition": {"frames": 10, "interval_s": 0.1},
    "psf": "gaussian",
    "camera": {"kind": "ideal", "pixel_size_nm": 100},
    "background_photons": 5,
}


def microscope(**changes) -> simulate.Microscope:
    scene = Scene.parse(BLEACHING).with_changes(**changes)
    return simulate.Microscope(scene, shape_px=(80, 60), seed=1)


def light(frame, background=5.0) -> float:
    return float(frame.astype(float).sum() - background * frame.size)


def test_shape_time_and_bits() -> None:
    first, second = microscope(), microscope()
    for _ in range(3):
        one, two = (m.frame(10_000, 10_000, exposure_ms=100) for m in (first, second))
        np.testing.assert_array_equal(one, two)
    assert one.shape == (80, 60)
    assert one.dtype == np.uint16
    assert first.time_s == pytest.approx(0.3)


def test_bleaching_is_exponential_in_the_dose() -> None:
    scope = microscope()
    signal = [light(scope.frame(10_000, 10_000, exposure_ms=100)) for _ in range(10)]
    decay = np.polyfit(np.arange(10) * 0.1, np.log(signal), 1)[0]
    assert decay == pytest.approx(-2.0, rel=0.1)


def test_twice_the_power_gives_twice_the_light_and_half_the_time() -> None:
    weak, strong = microscope(), microscope()
    one = light(weak.frame(10_000, 10_000, exposure_ms=10))
    two = light(strong.frame(10_000, 10_000, exposure_ms=10, power=2.0), background=10.0 * 0.1)
    one += 5.0 * 4800 - 0.5 * 4800  # a tenth of the reference exposure
    assert two / one == pytest.approx(2.0, rel=0.05)
    weak.frame(10_000, 10_000, exposure_ms=400)
    strong.frame(10_000, 10_000, exposure_ms=200, power=2.0)
    assert weak.fractions()["bleached"] == pytest.approx(strong.fractions()["bleached"], rel=0.1)


def test_what_is_not_lit_does_not_bleach() -> None:
    scope = microscope()
    for _ in range(20):
        scope.frame(3_000, 4_000, exposure_ms=200)
    bleached = light(scope.frame(3_000, 4_000, exposure_ms=100))
    fresh = light(scope.frame(16_000, 15_000, exposure_ms=100))
    assert bleached < 0.02 * fresh
    scope.wait(1000)
    assert light(scope.frame(3_000, 4_000, exposure_ms=100)) < 0.02 * fresh
    dark = microscope()
    dark.frame(10_000, 10_000, exposure_ms=100, power=0.0)
    assert dark.fractions()["bleached"] == 0


def test_the_stage_moves_the_picture() -> None:
    steady = {"dye": {"kind": "always_on", "photons": {"kind": "rate", "photons_per_s": 1e6}}}
    scope = microscope(**steady)
    here = scope.frame(10_000, 10_000, exposure_ms=100).astype(float)
    there = scope.frame(11_000, 10_500, exposure_ms=100).astype(float)
    np.testing.assert_allclose(there[:-5, :-10].mean(), here[5:, 10:].mean(), rtol=0.01)
    assert np.corrcoef(there[:-5, :-10].ravel(), here[5:, 10:].ravel())[0, 1] > 0.99


def test_focus_makes_sharp() -> None:
    steady = {"dye": {"kind": "always_on", "photons": {"kind": "rate", "photons_per_s": 1e6}}}
    scope = microscope(**steady)
    peak = {f: float(np.quantile(scope.frame(10_000, 10_000, focus_nm=f, exposure_ms=100), 0.999)) for f in
            (-1500, -500, 0, 500, 1500, 50_000)}  # fmt: skip
    assert peak[0] > peak[500] > peak[1500] > peak[50_000]
    assert peak[-500] == pytest.approx(peak[500], rel=0.05)


def test_blinks_as_the_movie_does() -> None:
    scope = simulate.Microscope("origami", shape_px=(100, 100), seed=1)
    frames = np.array([scope.frame(5000, 5000, exposure_ms=300) for _ in range(60)])
    movie, _ = simulate.movie("origami", frames=60, seed=1)
    assert frames.mean() == pytest.approx(float(movie[:].mean()), rel=0.03)
    np.testing.assert_allclose(frames.std(axis=0).mean(), movie[:].std(axis=0).mean(), rtol=0.15)


def test_cells_of_a_slide_appear_where_they_are() -> None:
    slide = Slide(size_um=(200, 200), cells={"fibroblast": {"scene": "cell", "density_per_mm2": 80}})
    scope = simulate.Microscope(slide, shape_px=(64, 64), seed=1)
    row = slide.overview(seed=1).row(0, named=True)
    beside = scope.frame(-50_000, -50_000, exposure_ms=500)
    assert scope.fractions() == {}
    inside = scope.frame(1000 * row["x_um"], 1000 * row["y_um"], exposure_ms=500)
    assert inside.mean() > 1.02 * beside.mean()
    assert sum(scope.fractions().values()) == pytest.approx(1)


def test_one_colour_at_a_time() -> None:
    scope = simulate.Microscope("cell", shape_px=(64, 64), seed=1)
    both = scope.frame(15_000, 15_000, exposure_ms=100, channel=1)
    assert both.shape == (64, 64)


@pytest.mark.parametrize(
    "wrong", [{"power": -1.0}, {"exposure_ms": -5}, {"exposure_ms": float("nan")}, {"focus_nm": float("inf")}]
)
def test_bad_values(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        microscope().frame(0, 0, **wrong)


def test_photons_must_come_at_a_rate() -> None:
    lognormal = {"dye": {"kind": "switching", "on_time_s": 0.1, "off_time_s": 1.0,
                         "photons": {"kind": "lognormal", "mean_photons": 1000, "event_cv": 0.5}}}  # fmt: skip
    with pytest.raises(InputError, match="photons at a rate"):
        microscope(**lognormal).frame(0, 0)
    with pytest.raises(InputError, match="forwards"):
        microscope().wait(-1)
    with pytest.raises(InputError, match="needs pixels"):
        simulate.Microscope("origami", shape_px=(0, 5))


def test_a_microscope_is_printed_in_one_line() -> None:
    assert (
        repr(simulate.Microscope("origami", shape_px=(48, 64), seed=1)) == "Microscope(48 x 64 px, 0 s since the start)"
    )
