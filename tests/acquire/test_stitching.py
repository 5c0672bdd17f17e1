"""Fields of an object are joined as if the stage had been right; nothing counts twice, nothing is believed blindly."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.acquire.plan import Stitching
from lucule.acquire.shifts import shift_between
from lucule.acquire.stitching import corrections, join
from lucule.core import InputError, Localizations, Meta

PIXEL_NM = 100.0
SIDE_PX = 64
PRECISION_NM = 10.0


def molecules(seed: int, size_nm: float = 14_000.0, per_um2: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, size_nm, (int(per_um2 * size_nm**2 / 1e6), 2))


def field(seed: int, places: np.ndarray, corner: tuple[float, float], error: tuple[float, float]) -> Localizations:
    """A field whose stage is beside what it says by `error`; some of the molecules are seen, some of them twice."""
    rng = np.random.default_rng(seed)
    seen = places[rng.random(len(places)) < 0.8]
    seen = np.repeat(seen, rng.integers(1, 4, len(seen)), axis=0)
    # the camera stands further to the right by the error: what it sees lies further to the left
    local = seen - np.array(corner) - np.array(error) + rng.normal(0, PRECISION_NM, seen.shape)
    local = local[((local >= 0) & (local < SIDE_PX * PIXEL_NM)).all(axis=1)]
    meta = Meta(shape_px=(SIDE_PX, SIDE_PX), pixel_size_nm=PIXEL_NM, n_frames=100, origin_nm=(*corner, 0.0))
    return Localizations({"x": local[:, 0], "y": local[:, 1], "frame": rng.integers(0, 100, len(local))}, meta)


CORNERS = [(0.0, 0.0), (5100.0, 0.0), (0.0, 5100.0), (5100.0, 5100.0)]


def four(errors: np.ndarray, seed: int = 1) -> list[Localizations]:
    places = molecules(seed)
    return [
        field(10 * seed + number, places, corner, tuple(error))
        for number, (corner, error) in enumerate(zip(CORNERS, errors, strict=True))
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_errors_of_the_stage_are_taken_off(seed: int) -> None:
    errors = np.random.default_rng(seed).uniform(-150, 150, (4, 2))
    found = corrections(four(errors, seed), Stitching())
    assert found.note is None
    assert len(found.overlaps) == 6
    # seen further to the left by the error; nobody knows how far all fields are beside together
    left = found.nm + errors
    assert np.abs(left - left.mean(axis=0)).max() < 10
    assert np.abs(found.nm.mean(axis=0)).max() < 1e-6
    assert found.residual_nm is not None
    assert found.residual_nm < 15


def test_every_molecule_counts_once_and_lies_where_it_is() -> None:
    errors = np.array([(120.0, -80.0), (-60.0, 40.0), (30.0, 90.0), (-90.0, -50.0)])
    fields = four(errors)
    found = corrections(fields, Stitching())
    joined = join(fields, [3, 4, 5, 6], found.nm.tolist())
    assert joined.meta.origin_nm[0] == pytest.approx(-found.nm[[0, 2], 0].max(), abs=1e-6)
    assert joined.meta.n_frames == 100
    assert joined["frame"].max() < 100
    assert set(joined["field_of_view"].tolist()) == {3, 4, 5, 6}
    assert "field" not in joined  # a specimen of its own, to those who measure clusters
    # in the overlap there are as many as elsewhere
    xy = joined.xy() + np.array(joined.meta.origin_nm[:2])
    inside = ((xy > 300) & (xy < 11_200)).all(axis=1)
    overlap = (np.abs(xy - 5750) < 600).any(axis=1)
    area = (10_900**2 - (10_900 - 1200) ** 2) / 10_900**2
    assert (inside & overlap).sum() / inside.sum() == pytest.approx(area, rel=0.06)
    # and all lie where molecules are, but for where all fields are together
    from scipy.spatial import cKDTree

    shift = -(found.nm + errors).mean(axis=0)
    distance, _ = cKDTree(molecules(1)).query(xy[inside] - shift)
    assert np.median(distance) < 1.5 * PRECISION_NM
    assert joined.meta.history[-1].function.endswith("stitching.join")


def test_a_shift_that_is_too_large_is_recorded_and_not_followed() -> None:
    found = corrections(
        four(np.array([(0.0, 0.0), (260.0, 0.0), (0.0, 0.0), (0.0, 0.0)])), Stitching(largest_shift_nm=200)
    )
    by_pair = {overlap.fields: overlap for overlap in found.overlaps}
    first = by_pair[0, 1]
    assert first.shift is not None
    assert first.shift.x_nm == pytest.approx(-260, abs=10)
    assert "more than 200 nm" in str(first.note)
    assert first.record([7, 8, 9, 10])["fields"] == [7, 8]
    # the other three still agree with each other
    assert by_pair[0, 2].note is None
    assert np.abs(found.nm[[0, 2, 3]]).max() < 10
    assert np.abs(found.nm[1]).max() < 1e-6


def test_overlaps_that_contradict_each_other_are_not_followed() -> None:
    fields = four(np.zeros((4, 2)))
    # what the last field shares with the one above it lies 200 nm further to the right, what it shares with others not
    upper = fields[3]["y"] < 1400
    fields[3] = fields[3].with_columns(x=np.clip(fields[3]["x"] + 200 * upper, 0, 6399).astype(np.float32))
    found = corrections(fields, Stitching(largest_residual_nm=20))
    assert "contradict each other" in str(found.note)
    assert found.residual_nm is not None
    assert found.residual_nm > 20
    assert (found.nm == 0).all()
    assert corrections(fields, Stitching(largest_residual_nm=200)).note is None


@pytest.mark.parametrize("per_um2", [0.0, 1.0])
def test_overlaps_with_nothing_in_common_leave_the_fields_where_they_are(per_um2: float) -> None:
    fields = [
        field(number, molecules(50 + number, per_um2=per_um2), corner, (0.0, 0.0))
        for number, corner in enumerate(CORNERS)
    ]
    found = corrections(fields, Stitching())
    assert found.note == "no overlap tells a shift"
    assert (found.nm == 0).all()
    assert all("no common shift" in str(overlap.note) for overlap in found.overlaps)
    assert len(join(fields, [0, 1, 2, 3], found.nm.tolist())) <= sum(map(len, fields))


def test_the_stage_may_be_trusted_and_fields_may_lie_apart() -> None:
    errors = np.full((4, 2), 50.0)
    trusted = corrections(four(errors), Stitching(largest_shift_nm=0))
    assert trusted.note == "the plan trusts the stage"
    apart = [field(1, molecules(1), (0.0, 0.0), (0.0, 0.0)), field(2, molecules(1), (7000.0, 0.0), (0.0, 0.0))]
    assert corrections(apart, Stitching()).overlaps == ()
    assert len(join(apart, [0, 1], [(0.0, 0.0), (0.0, 0.0)])) == sum(map(len, apart))
    with pytest.raises(InputError):
        Stitching.parse({"largest_shift_nm": -1})


def test_one_molecule_that_blinks_decides_nothing() -> None:
    rng = np.random.default_rng(1)
    bright = np.full((400, 2), 2000.0)
    first = np.vstack([rng.uniform(0, 6000, (300, 2)), bright + rng.normal(0, 8, bright.shape)])
    second = np.vstack([rng.uniform(0, 6000, (300, 2)), bright + rng.normal((150, 0), 8, bright.shape)])
    assert shift_between(first, second, reach_nm=300) is None
    assert shift_between(first[:5], second, reach_nm=300) is None
