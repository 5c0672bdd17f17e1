"""Drift against the truth of simulated scenes, and the cases that stop other programs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import ColumnError, InputError, Localizations, WorkError
from lucule.process import DriftCurve, DriftSettings, apply_drift, correct_drift, estimate_drift, read_curve
from lucule.process.drift.intersection import intersect
from lucule.process.drift.segments import cut
from lucule.process.drift.smoothing import pace, smoothed

LATERAL_NM, AXIAL_NM = 2.0, 5.0
QUICK = DriftSettings(resample=False)


def left_over(curve: DriftCurve, truth: np.ndarray) -> tuple[float, float]:
    """Root mean square of what is left over all frames: lateral, axial."""
    d = curve.nm.shape[1]
    error = curve.at(np.arange(len(truth))) - truth[:, :d]
    error -= error.mean(axis=0)
    axial = float(np.sqrt(np.mean(error[:, 2] ** 2))) if d == 3 else 0.0
    return float(np.sqrt(np.mean(np.sum(error[:, :2] ** 2, axis=1)))), axial


@pytest.mark.parametrize("scene", ["origami", "pores", "microtubules"])
def test_auto_is_within_the_target(scene, request) -> None:
    locs, truth = request.getfixturevalue(scene)
    curve = estimate_drift(locs)
    lateral, axial = left_over(curve, truth)
    assert lateral < LATERAL_NM
    assert axial < AXIAL_NM
    assert ("localizations" in curve.why) or ("beads" in curve.why)
    knots = curve.at(curve.frame) - truth[np.clip(curve.frame.round().astype(int), 0, len(truth) - 1), : curve.nm.shape[1]]
    knots -= knots.mean(axis=0)
    covered = np.mean(np.abs(knots) < 1.96 * curve.error_nm)
    assert 0.75 < covered
    # an interval that holds everything says nothing
    assert np.sqrt(np.mean(curve.error_nm[:, :2] ** 2)) < 2.5 * max(lateral / np.sqrt(2), 0.3)


@pytest.mark.parametrize("method", ["aim", "entropy"])
def test_methods_on_pores(method, pores) -> None:
    locs, truth = pores
    lateral, axial = left_over(estimate_drift(locs, settings=QUICK.replace(method=method)), truth)
    assert lateral < LATERAL_NM
    assert axial < AXIAL_NM


def test_correlation_on_microtubules(microtubules) -> None:
    locs, truth = microtubules
    lateral, axial = left_over(estimate_drift(locs, settings=QUICK.replace(method="rcc")), truth)
    assert lateral < 5
    assert axial < 8


def test_the_second_round_does_something_only_when_segments_are_left_out(pores) -> None:
    """With the segment in its own reference, a shift of zero always agrees best: the published round changes nothing."""
    locs, truth = pores
    locs = Localizations(locs.data.sample(n=10_000, seed=1))
    order = np.argsort(locs["frame"], kind="stable")
    points, frame = locs.xy()[order], locs["frame"][order].astype(np.int64)
    segments = cut(frame, localizations=250)
    cell = np.array([10.0, 10.0])
    first = intersect(points, segments, cell_nm=cell, rounds=1)
    own = intersect(points, segments, cell_nm=cell, rounds=1, start=first, leave_one_out=False)
    out = intersect(points, segments, cell_nm=cell, rounds=1, start=first)

    def error(drift: np.ndarray) -> float:
        return left_over(DriftCurve(segments.middle, drift, drift * 0, "aim", ""), truth)[0]

    def moved(drift: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.sum((drift - first) ** 2, axis=1))))

    assert moved(own) < 0.2
    assert moved(out) > 1
    assert error(out) < 0.8 * error(first)


def test_beads_are_found_and_followed() -> None:
    rng = np.random.default_rng(3)
    frames = 3000
    drift = np.cumsum(rng.normal(0, 0.8, (frames, 3)), axis=0)
    parts, frame = [], []
    for at in rng.uniform(2000, 18_000, (4, 2)):
        seen = rng.random(frames) < 0.95
        parts.append(np.column_stack([np.tile(at, (frames, 1)), np.zeros(frames)])[seen] + drift[seen] + rng.normal(0, 4, (seen.sum(), 3)))
        frame.append(np.flatnonzero(seen))
    blinks = rng.uniform(0, 20_000, (20_000, 3)) * [1, 1, 0.02]
    when = rng.integers(0, frames, 20_000)
    points = np.concatenate([*parts, blinks + drift[when]])
    locs = Localizations({"frame": np.concatenate([*frame, when]), "x": points[:, 0], "y": points[:, 1], "z": points[:, 2]})
    curve = estimate_drift(locs)
    assert curve.method == "fiducials"
    assert "4 beads" in curve.why
    lateral, axial = left_over(curve, drift)
    assert lateral < LATERAL_NM
    assert axial < LATERAL_NM


def test_no_beads_is_said(origami) -> None:
    with pytest.raises(WorkError, match="no fiducial"):
        estimate_drift(origami[0], settings=DriftSettings(method="fiducials"))


def test_frames_without_localizations(origami) -> None:
    """A gap of a fifth of the movie, and a stretch in which every second frame is empty."""
    locs, truth = origami
    kept = locs.filter("(frame < 1000 | frame > 1800) & (frame < 3000 | frame % 2 == 0)")
    lateral, _ = left_over(estimate_drift(kept, settings=QUICK), truth)
    assert lateral < 3 * LATERAL_NM
    inside = estimate_drift(kept, settings=QUICK)
    seen = np.unique(kept["frame"])
    error = inside.at(seen) - truth[seen, :2]
    assert np.sqrt(np.mean(np.sum((error - error.mean(0)) ** 2, axis=1))) < 1.5 * LATERAL_NM


def test_fast_drift_starts_from_correlations(pores) -> None:
    locs, truth = pores
    jump = 300.0 * (np.arange(len(truth)) > 3000)
    moved = locs.with_columns(x=locs["x"] + jump[locs["frame"]])
    curve = estimate_drift(moved, settings=QUICK)
    assert any("fast" in warning for warning in curve.warnings)
    away = np.abs(np.arange(len(truth)) - 3000) > 60
    error = (curve.at(np.arange(len(truth))) - truth - np.column_stack([jump, jump * 0, jump * 0]))[away]
    error -= error.mean(axis=0)
    assert np.sqrt(np.mean(error[:, :2] ** 2)) < 3


def test_unrelated_segments_are_refused_with_a_reason() -> None:
    rng = np.random.default_rng(1)
    n = 6000
    noise = {"frame": rng.integers(0, 3000, n), "x": rng.uniform(0, 30_000, n), "y": rng.uniform(0, 30_000, n)}
    for method in ("auto", "aim", "rcc"):
        with pytest.raises(WorkError, match="resemble"):
            estimate_drift(Localizations(noise), settings=DriftSettings(method=method))


def test_bad_tables() -> None:
    with pytest.raises(ColumnError, match="frame"):
        estimate_drift(Localizations({"x": np.arange(500.0), "y": np.arange(500.0)}))
    for n in (0, 1, 50):
        with pytest.raises(InputError, match="too few"):
            estimate_drift(Localizations({"x": np.arange(n) * 1.0, "y": np.arange(n) * 1.0, "frame": np.arange(n)}))
    one_frame = Localizations({"x": np.arange(500.0), "y": np.arange(500.0), "frame": np.zeros(500)})
    with pytest.raises(InputError, match="too little time"):
        estimate_drift(one_frame)
    same = Localizations({"x": np.full(2000, 5.0), "y": np.full(2000, 5.0), "frame": np.arange(2000)})
    assert np.abs(estimate_drift(same, settings=QUICK.replace(method="aim")).nm).max() < 1


def test_the_table_and_its_history(origami) -> None:
    locs, truth = origami
    curve = estimate_drift(locs, settings=QUICK)
    still = correct_drift(locs, settings=QUICK)
    assert len(still.meta.history) == len(locs.meta.history) + 1
    assert still.meta.history[-1].parameters["settings"]["method"] == "auto"
    np.testing.assert_array_equal(still["frame"], locs["frame"])
    again = apply_drift(locs, read_curve(curve.table()))
    np.testing.assert_allclose(again["x"], still["x"], atol=0.01)
    before = np.std(locs["x"] - locs["true_x"] + truth[locs["frame"], 0])
    after = np.std(still["x"] - locs["true_x"] + truth[locs["frame"], 0])
    assert after < 0.2 * before
    with pytest.raises(InputError, match="no drift curve"):
        read_curve(pl.DataFrame({"frame": [1], "x_nm": [0.0]}))


def test_rows_in_any_order(origami) -> None:
    locs, _ = origami
    mixed = Localizations(locs.data.sample(fraction=1, shuffle=True, seed=1), locs.meta)
    a, b = (estimate_drift(table, settings=QUICK) for table in (locs, mixed))
    np.testing.assert_allclose(a.nm, b.nm, atol=1e-3)


def test_pace_and_noise_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    truth = np.cumsum(rng.normal(0, 1.0, (4000, 2)), axis=0)
    seen = truth + rng.normal(0, 2.0, truth.shape)
    walk, noise = pace(seen)
    assert walk == pytest.approx(1, rel=0.2)
    assert noise == pytest.approx(2, rel=0.06)
    smooth = smoothed(seen - seen.mean(0), np.arange(4000.0), pace_nm=walk, noise_nm=noise)
    error = smooth - truth
    assert np.std(error - error.mean(0)) < 0.7 * 2


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="method"):
        DriftSettings.parse({"method": "magic"})
    with pytest.raises(InputError, match="not a known key"):
        DriftSettings.parse({"segments": 3})
