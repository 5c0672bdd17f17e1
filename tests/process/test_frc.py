"""Fourier correlations against what theory says, and why one random split is not enough."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import InputError, Localizations
from lucule.process import FrcSettings, frc, frc_course, frc_map, fsc
from lucule.process.frc.splits import draw_halves, time_blocks

FEW = FrcSettings(repeats=4)


def expected_nm(sigma: float, times: float) -> float:
    """Resolution of molecules seen `times` times each: 1/7 = s / (s + 1) with s = (times - 1) / 2 exp(-4 pi^2 s^2 q^2).

    Each half holds times / 2 localizations of a molecule; their squares make signal and noise.
    """
    q = np.linspace(1e-5, 0.5, 200_000)
    falls = np.exp(-4 * np.pi**2 * sigma**2 * q**2)
    cross = (times - 1) / 4 * falls
    power = 0.5 + (times - 1) / 4 * falls
    return 1 / q[np.argmax(cross / power < 1 / 7)]


@pytest.mark.parametrize(("sigma", "times"), [(10.0, 6), (10.0, 30), (4.0, 12)])
def test_the_curve_is_that_of_theory(spots, sigma, times) -> None:
    table = spots(n=24_000 // times, times=times, sigma=sigma, frames=10_000)
    found = frc(table, settings=FEW, compare=False)
    assert found.resolution_nm == pytest.approx(expected_nm(sigma, times), rel=0.04)
    low, high = found.interval_nm
    assert low <= found.resolution_nm * 1.01
    assert high >= found.resolution_nm * 0.99


@pytest.mark.parametrize("pixel", [3.0, 6.0, 10.0])
def test_the_pixel_does_not_matter(spots, pixel) -> None:
    table = spots(n=4000, times=6, sigma=10, frames=10_000)
    found = frc(table, settings=FrcSettings(repeats=4, pixel_nm=pixel), compare=False)
    assert found.resolution_nm == pytest.approx(expected_nm(10, 6), rel=0.04)


def test_the_tile_does_not_matter(spots) -> None:
    table = spots(n=4000, times=6, sigma=10, frames=10_000)
    values = [frc(table, settings=FEW.replace(tile_px=side), compare=False).resolution_nm for side in (256, 512, 2048)]
    assert max(values) / min(values) < 1.06


def test_repeats_are_counted_and_taken_off(spots) -> None:
    """Molecules anywhere are no structure: what is left without their repeats is noise, and Q is what was put in."""
    table = spots(n=20_000, times=6, sigma=10, frames=10_000, size=20_000)
    found = frc(table, settings=FEW, compare=False)
    assert found.repeats_per_localization == pytest.approx(5, rel=0.1)
    assert found.resolution_nm < 45
    assert found.corrected_nm is None or found.corrected_nm > 200
    real = frc(_lumps(), settings=FEW, compare=False)  # structure stays
    assert real.corrected_nm == pytest.approx(real.resolution_nm, rel=0.4)


def _lumps(seed=2) -> Localizations:
    """Lumps of molecules, each of which is seen once."""
    rng = np.random.default_rng(seed)
    n = 40_000
    xy = rng.uniform(0, 6000, (600, 2))[rng.integers(0, 600, n)] + rng.normal(0, np.hypot(20, 8), (n, 2))
    return Localizations({"frame": rng.integers(0, 5000, n), "x": xy[:, 0], "y": xy[:, 1],
                          "x_err": np.full(n, 8.0), "y_err": np.full(n, 8.0)})  # fmt: skip


def test_a_random_split_is_biased_by_long_blinks_and_that_is_said() -> None:
    rng = np.random.default_rng(4)
    n, on = 6000, 8  # each molecule is on once, for 8 frames
    at = rng.uniform(0, 8000, (n, 2)).repeat(on, axis=0) + rng.normal(0, 10, (n * on, 2))
    frame = rng.integers(0, 10_000, n).repeat(on) + np.tile(np.arange(on), n)
    structure = np.round(at / 400) * 400 + (at % 60)  # lumps, so that halves have something in common
    table = Localizations({"frame": frame, "x": structure[:, 0], "y": structure[:, 1]})
    found = frc(table, settings=FEW, precision_nm=10)
    assert found.random_nm < 0.9 * found.resolution_nm
    assert any("random split" in warning for warning in found.warnings)


def test_halves_by_lot_agree_where_nothing_repeats() -> None:
    found = frc(_lumps(), settings=FEW)
    assert found.random_nm == pytest.approx(found.resolution_nm, rel=0.08)
    assert not any("random split" in warning for warning in found.warnings)


def test_no_crossing_has_a_reason() -> None:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 10_000, (400, 2))
    noise = frc(Localizations({"frame": np.arange(400), "x": xy[:, 0], "y": xy[:, 1]}), settings=FEW)
    assert noise.resolution_nm is None
    assert "too few" in noise.reason
    same = Localizations({"frame": np.arange(4000), "x": np.tile(xy[:40, 0], 100), "y": np.tile(xy[:40, 1], 100)})
    exact = frc(same, settings=FEW)
    assert exact.resolution_nm is None
    assert "duplicates" in exact.reason
    for found in (noise, exact):
        assert found.summary()["frc_nm_reason"] == found.reason


def test_one_place() -> None:
    """All rows at the same point: a picture of one pixel must not break anything."""
    table = Localizations({"frame": np.arange(1000), "x": np.full(1000, 5.0), "y": np.full(1000, 7.0)})
    found = frc(table, settings=FEW)
    assert found.resolution_nm is None
    assert found.reason


def test_half_bit_is_the_stricter_threshold_for_few_samples(spots) -> None:
    found = frc(spots(n=2000, times=10, sigma=10, frames=5000), settings=FEW, compare=False)
    assert found.half_bit_nm >= found.resolution_nm
    assert found.curve.threshold("half-bit")[-1] > 1 / 7


def test_shells(spots) -> None:
    table = spots(n=3000, times=20, sigma=12, frames=10_000, dims=3, size=4000)
    found = fsc(table, precision_nm=12)
    # three dimensions have the same correlation per frequency
    assert found.resolution_nm == pytest.approx(expected_nm(12, 20), rel=0.1)
    with pytest.raises(InputError, match="z"):
        fsc(_lumps())


def test_a_map_finds_the_blurred_half(spots) -> None:
    rng = np.random.default_rng(6)
    table = spots(n=4000, times=15, sigma=8, frames=10_000)
    blurred = np.where(table["x"] > 5000, rng.normal(0, 20, len(table)), 0)
    table = table.with_columns(x=table["x"] + blurred, y=table["y"] + blurred[::-1])
    found = frc_map(table, tile_nm=2500, settings=FEW)
    left = found.filter(pl.col("x") < 4000)["frc_nm"].mean()
    right = found.filter(pl.col("x") > 4900)["frc_nm"].mean()
    assert right > 1.3 * left


def test_the_course_tells_when_to_stop(spots) -> None:
    long = spots(n=2000, times=40, sigma=10, frames=20_000)
    enough = frc_course(long, points=5, settings=FEW)
    assert np.all(np.diff(enough.frames) > 0)
    assert enough.is_enough(10)
    short = spots(n=6000, times=4, sigma=10, frames=4000)
    growing = frc_course(short, points=5, settings=FEW)
    assert growing.gain_percent > enough.gain_percent
    assert not growing.is_enough(5)


def test_bad_requests(spots) -> None:
    table = spots(n=100, times=3, sigma=10, frames=20)
    with pytest.raises(InputError, match="too short"):
        frc(table)
    with pytest.raises(InputError, match="too few"):
        frc(Localizations({"x": [1.0], "y": [1.0]}))
    with pytest.raises(InputError, match="time"):
        frc_course(Localizations({"x": np.arange(100.0), "y": np.arange(100.0)}))
    with pytest.raises(InputError):
        draw_halves(table, "thirds", repeats=1, blocks=10, seed=1)  # type: ignore[arg-type]


def test_blocks_keep_frames_together(spots) -> None:
    table = spots(n=500, times=4, sigma=10, frames=1000)
    block = time_blocks(table, 50)
    half = draw_halves(table, "blocks", repeats=3, blocks=50, seed=1)
    assert half.shape == (3, 2000)
    for row in half:
        for number in range(50):
            assert len(set(row[block == number])) == 1
    frames_of = [np.unique(table["frame"][block == b]) for b in range(50)]
    assert all(len(a) <= 20 for a in frames_of)


def test_traces_stand_for_frames_where_there_are_none(spots) -> None:
    table = spots(n=500, times=10, sigma=5, frames=1000, errors=False)
    traces = Localizations(table.data.drop("frame", "molecule").with_columns(event=pl.Series(table["molecule"])))
    found = frc(traces, settings=FEW)
    assert found.split == "blocks"
    assert found.random_nm is None or found.resolution_nm is None or found.random_nm < found.resolution_nm
    rows = Localizations(table.data.drop("frame"))
    assert any("by lot" in warning for warning in frc(rows, settings=FEW).warnings)


def test_a_correction_that_changes_much_is_warned_about():
    """Molecules in wide groups, each seen many times or once; the resolution without repeats is that of the groups."""
    rng = np.random.default_rng(8)
    warned = []
    for times in (20, 1):
        groups = np.repeat(rng.uniform(0, 6000, (60, 2)), 600 // times, axis=0)
        molecules = groups + rng.uniform(-150, 150, groups.shape)
        xy = np.repeat(molecules, times, axis=0)
        xy += 5 * rng.normal(size=xy.shape)
        frame, err = rng.integers(0, 5000, len(xy)), np.full(len(xy), 5.0)
        locs = Localizations({"frame": frame, "x": xy[:, 0], "y": xy[:, 1], "x_err": err, "y_err": err})
        warned.append(any("taken for repeats" in warning for warning in frc(locs, settings=FEW).warnings))
    assert warned == [True, False]
