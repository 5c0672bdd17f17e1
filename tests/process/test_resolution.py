"""The report on resolution: what limits, what is missing and why, and warnings that must come."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError, Localizations
from lucule.process import FrcSettings, resolution

FEW = FrcSettings(repeats=3)


def twice(sigma: float, n: int, *, size=6000.0, reported=None, seed=1) -> Localizations:
    """Molecules seen in two consecutive frames, again and again."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, size, (max(n // 40, 1), 2))
    who = rng.integers(0, len(place), n // 2)
    at = place[who].repeat(2, axis=0) + rng.normal(0, sigma, (n // 2 * 2, 2))
    frame = rng.integers(0, 5000, n // 2).repeat(2) + np.tile([0, 1], n // 2)
    errors = np.full(len(at), reported or sigma)
    return Localizations({"frame": frame, "x": at[:, 0], "y": at[:, 1], "x_err": errors, "y_err": errors})


def test_precision_or_density_limits() -> None:
    sharp = resolution(twice(3, 20_000), settings=FEW)
    assert sharp.precision_fwhm_nm == pytest.approx(2.355 * 3, rel=0.1)
    blurred = resolution(twice(40, 60_000), settings=FEW)
    assert blurred.limited_by == "precision"
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 20_000, (5000, 2))
    sparse = Localizations({"frame": np.arange(5000), "x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(5000, 5.0),
                            "y_err": np.full(5000, 5.0)})  # fmt: skip
    found = resolution(sparse, settings=FEW)
    # 12.5 localizations in each square micrometre are 283 nm apart, and Nyquist asks for twice that
    assert found.density_nm == pytest.approx(2 / np.sqrt(12.5e-6), rel=0.1)
    assert found.limited_by != "precision"
    # nothing is seen twice: halves agree about the field as a whole at most
    assert found.frc.resolution_nm is None or found.frc.resolution_nm > found.density_nm


def test_drift_is_suspected_where_nothing_else_explains(origami) -> None:
    locs, truth = origami
    found = resolution(locs, settings=FEW)
    assert found.limited_by == "neither"
    assert "drift" in found.why
    moved = truth[locs["frame"]]
    still = locs.with_columns(x=locs["x"] - moved[:, 0], y=locs["y"] - moved[:, 1])
    assert resolution(still, settings=FEW).limited_by != "neither"


def test_wrong_errors_are_warned_about() -> None:
    found = resolution(twice(12, 20_000, reported=6), settings=FEW)
    assert found.precision.ratio == pytest.approx(2, rel=0.1)
    assert any("times the reported" in w for w in found.warnings)
    assert not any("times the reported" in w for w in resolution(twice(12, 20_000), settings=FEW).warnings)


def test_detail_that_cannot_be_is_warned_about() -> None:
    """Half of the rows are exact copies of each other: halves agree to any detail, whatever the precision."""
    table = twice(20, 20_000)
    copied = Localizations.concat([table, table.with_columns(frame=(table["frame"].astype(int) + 2500) % 5000)])
    found = resolution(copied, settings=FEW)
    assert any("finer than" in w for w in found.warnings) or "duplicates" in (found.frc.reason or "")


def test_what_is_refused() -> None:
    for n in (0, 1, 49):
        with pytest.raises(InputError, match="too few"):
            resolution(Localizations({"x": np.arange(n) * 1.0, "y": np.arange(n) * 1.0}))


def test_depth(pores) -> None:
    found = resolution(pores[0], settings=FEW)
    assert found.fsc is not None
    assert found.fsc.dims == 3
    assert {"fsc_nm", "axial_precision_nm"} <= set(found.summary())
