"""Registration against known transformations."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import ColumnError, InputError, Localizations, WorkError
from lucule.process import RegisterSettings, apply_registration, estimate_registration, register

NOISE = 4.0


def shift(p):
    return p + [250.0, -120.0]


def affine(p):
    a = np.deg2rad(0.2)
    return (p @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])) * 1.002 + [250.0, -120.0]


def bent(p):
    u = (p - 10_000) / 10_000
    return affine(p) + np.column_stack([30 * u[:, 0] ** 2 - 20 * u[:, 1] ** 3, 25 * u[:, 0] * u[:, 1]])


def beads(of, n=120, seed=1, lost=10):
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0, 20_000, (n, 2))
    moving = of(reference) + rng.normal(0, NOISE, (n, 2))
    return reference[lost:], moving[: n - lost] if lost else moving


def two_channels(of, **options) -> pl.DataFrame:
    """Beads of both channels in several frames, some seen in one channel only."""
    reference, moving = beads(of, **options)
    points = np.concatenate([reference, moving]).repeat(5, axis=0)
    channel = np.repeat([0, 1], [len(reference), len(moving)]).repeat(5)
    points = points + np.random.default_rng(2).normal(0, 2, points.shape)
    return pl.DataFrame({"x": points[:, 0], "y": points[:, 1], "channel": channel})


def true_error(found, of) -> float:
    at = np.random.default_rng(9).uniform(1000, 19_000, (2000, 2))
    return float(np.sqrt(np.mean(np.sum((found.moved(of(at)) - at) ** 2, axis=1))))


@pytest.mark.parametrize(("of", "kind"), [(shift, "shift"), (affine, "affine"), (bent, "smooth")])
def test_beads_tell_kind_and_transformation(of, kind) -> None:
    table = Localizations({"x": [0.0], "y": [0.0]})
    found = estimate_registration(table, table, beads=two_channels(of))
    assert found.kind == kind
    assert true_error(found, of) < 0.75 * NOISE
    # pairs that were left out differ by the errors of both, and a little more
    assert NOISE < found.error_nm < 2.5 * NOISE
    assert found.error_interval_nm[0] < found.error_nm < found.error_interval_nm[1]
    assert found.before_nm > 200
    residuals = found.residuals()
    assert np.sqrt(np.mean(residuals["residual_nm"].to_numpy() ** 2)) < 2 * NOISE
    assert abs(residuals["dx_nm"].mean()) < 1


def test_a_wrong_pair_does_no_harm() -> None:
    reference, moving = beads(affine, lost=0)
    moving[3] += 5000
    table = pl.DataFrame({"x": moving[:, 0], "y": moving[:, 1], "reference_x": reference[:, 0], "reference_y": reference[:, 1]})
    nothing = Localizations({"x": [0.0], "y": [0.0]})
    assert true_error(estimate_registration(nothing, nothing, beads=table), affine) < NOISE


def test_depth_is_shifted_and_tilted() -> None:
    reference, moving = beads(shift, lost=0)
    z = np.random.default_rng(3).uniform(-300, 300, len(reference))
    table = pl.DataFrame({"x": moving[:, 0], "y": moving[:, 1], "z": z + 80 + 0.002 * moving[:, 0], "reference_x": reference[:, 0],
                          "reference_y": reference[:, 1], "reference_z": z})  # fmt: skip
    one = Localizations({"x": [5000.0], "y": [5000.0], "z": [100.0]})
    moved = register(one, one, beads=table, settings=RegisterSettings(kind="affine"))
    assert moved["z"][0] == pytest.approx(100 - 80 - 10, abs=1)


def test_structures_serve_where_there_are_no_beads(microtubules) -> None:
    locs = microtubules[0]
    rng = np.random.default_rng(4)
    half = rng.random(len(locs)) < 0.5
    fixed = Localizations(locs.data.filter(pl.Series(half)))
    other = locs.xy()[~half].astype(float)
    turned = shift(other) * 1.001
    moving = Localizations({"x": turned[:, 0], "y": turned[:, 1]})
    found = estimate_registration(moving, fixed)
    error = found.moved(turned) - other
    assert found.source == "structures"
    assert np.sqrt(np.mean(np.sum(error**2, axis=1))) < 8
    moved = register(moving, fixed)
    assert len(moved.meta.history) == 1
    again = apply_registration(moving, found)
    np.testing.assert_allclose(again["x"], moved["x"], atol=1e-2)


def test_what_is_refused() -> None:
    rng = np.random.default_rng(1)
    noise = [Localizations({"x": rng.uniform(0, 1e4, 500), "y": rng.uniform(0, 1e4, 500)}) for _ in range(2)]
    with pytest.raises(WorkError, match="no structure in common"):
        register(*noise)
    one = pl.DataFrame({"x": [1.0], "y": [1.0], "reference_x": [2.0], "reference_y": [1.0]})
    with pytest.raises(WorkError, match="too few pairs"):
        register(*noise, beads=one)
    with pytest.raises(ColumnError, match="reference_x"):
        register(*noise, beads=pl.DataFrame({"x": [1.0], "y": [1.0]}))
    with pytest.raises(InputError, match="two channels"):
        register(*noise, beads=pl.DataFrame({"x": [1.0], "y": [1.0], "channel": [0]}))
    with pytest.raises(WorkError, match="do not match"):
        register(*noise, beads=pl.DataFrame({"x": [1.0, 9e4], "y": [1.0, 9e4], "channel": [0, 1]}))
    with pytest.raises(InputError, match="finite"):
        register(*noise, beads=one.with_columns(x=float("nan")))
