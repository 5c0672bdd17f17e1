"""The period of molecules along an axon: error, interval, false periods, and when there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.structures.axons import PeriodSettings, kernels, period


def rings(rng, *, rings=30, spacing=200.0, sd=10.0, per_ring=6.0, width=10.0, missing=0.1, background=0.1):
    """Molecules, and the mean realised spacing."""
    place = np.concatenate([[0], (spacing + rng.normal(0, sd, rings - 1)).cumsum()])
    counts = np.where(rng.random(rings) < missing, 0, rng.poisson(per_ring, rings))
    counts[[0, -1]] = np.maximum(counts[[0, -1]], 1)
    along = np.repeat(place, counts) + rng.normal(0, width, counts.sum())
    noise = rng.uniform(0, place[-1], int(background * len(along)))
    return np.concatenate([along, noise]), (place[-1] - place[0]) / (rings - 1)


@pytest.mark.parametrize("per_ring", [2.5, 20.0])
def test_the_mean_realised_spacing_is_found_though_errors_add_up(per_ring) -> None:
    errors, inside = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        along, truth = rings(rng, spacing=rng.uniform(190, 230), per_ring=per_ring)
        found = period(along)
        if found.period_nm is None:
            continue
        errors.append(found.period_nm - truth)
        inside.append(found.period_nm_interval[0] <= truth <= found.period_nm_interval[1])
    assert len(errors) >= 4
    assert np.sqrt(np.mean(np.square(errors))) < (1.2 if per_ring < 5 else 0.4)
    assert np.mean(inside) >= 0.6


def test_width_and_spread_of_the_rings_are_told() -> None:
    along, _ = rings(np.random.default_rng(3), rings=60, per_ring=25, sd=12, width=12)
    found = period(along)
    assert found.ring_width_nm == pytest.approx(12, rel=0.2)
    assert found.spacing_sd_nm == pytest.approx(12, rel=0.5)
    assert found.in_rings == pytest.approx(0.9, abs=0.06)
    assert len(found.rings_nm) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("kind", ["random", "clusters", "rings at random places"])
def test_what_has_no_period_gets_none(kind) -> None:
    said = []
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        number, width = {"random": (1, 0.0), "clusters": (6, 40.0), "rings at random places": (6, 10.0)}[kind]
        middle = rng.uniform(0, 6000, 240 // number)
        along = np.repeat(middle, number) + rng.normal(0, 1, 240) * width
        found = period(along)
        assert (found.period_nm is None) == (found.reason is not None)
        said.append(found.period_nm is not None)
    assert sum(said) <= 1


def test_few_rings_of_many_molecules_have_a_period() -> None:
    for seed in range(4):
        along, truth = rings(np.random.default_rng(seed), rings=18, spacing=205, per_ring=50, width=25, missing=0.15)
        found = period(along)
        assert found.period_nm == pytest.approx(truth, abs=3)
        assert found.evidence > 3


def test_an_uncertain_length_widens_the_interval() -> None:
    along, _ = rings(np.random.default_rng(6), rings=30, per_ring=20)
    sure, unsure = period(along), period(along, length_error=0.01)
    assert unsure.period_nm == sure.period_nm
    low, high = unsure.period_nm_interval
    assert high - low > 2 * (sure.period_nm_interval[1] - sure.period_nm_interval[0])
    assert high - low == pytest.approx(2 * 1.96 * 0.01 * unsure.period_nm, rel=0.35)


def test_molecules_of_few_labels_widen_the_interval() -> None:
    along, _ = rings(np.random.default_rng(6), rings=30, per_ring=20)
    many, few = period(along, labels=len(along)), period(along, labels=len(along) / 4)
    assert period(along).period_nm_interval == many.period_nm_interval
    assert few.period_nm == many.period_nm
    assert np.ptp(few.period_nm_interval) > 1.3 * np.ptp(many.period_nm_interval)
    for wrong in (0, -1, len(along) + 1, np.nan):
        with pytest.raises(InputError, match="number of labels"):
            period(along, labels=wrong)


def test_two_periods_are_said(monkeypatch) -> None:
    rng = np.random.default_rng(5)
    places = np.concatenate([190.0 * np.arange(25), 190.0 * 24 + 230.0 * np.arange(1, 22)])
    found = period(np.repeat(places, 12) + rng.normal(0, 8, 12 * len(places)))
    assert found.remark is None or "two periods" in found.remark
    assert found.period_nm is None or found.remark is not None
    plain, _ = rings(rng, rings=46, sd=6)
    assert period(plain).remark is None


@pytest.mark.parametrize(
    ("along", "reason"),
    [
        ([], "0 molecules"),
        ([5.0] * 30, "too short"),
        (np.linspace(0, 400, 40), "too short"),
        ([1.0, 900.0], "2 molecules"),
    ],
)
def test_too_little_ends_in_a_reason(along, reason) -> None:
    found = period(along)
    assert found.period_nm is None
    assert found.period_nm_interval is None
    assert reason in found.reason


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        period([0.0, np.nan, 3.0])
    with pytest.raises(InputError, match="range of periods is empty"):
        period(np.arange(50.0), settings=PeriodSettings(shortest_nm=300, longest_nm=200))


def test_the_order_of_the_molecules_does_not_matter_and_a_seed_gives_the_same_bits() -> None:
    rng = np.random.default_rng(8)
    along, _ = rings(rng)
    assert period(along).period_nm == period(rng.permutation(along)).period_nm
    assert period(along[::-1] + 1e5).period_nm == pytest.approx(period(along).period_nm, abs=0.05)


def test_forward_is_the_sum_over_all_courses() -> None:
    """Against plain matrices for a few molecules."""
    states, spacing = 16, 160.0
    along = np.array([0.0, 11.0, 160.0, 175.0, 330.0, 480.0])
    shape = kernels.profile(spacing, 20.0, 0.3, states)
    moves = kernels.kicks(1.2)
    crowd = kernels.crowding(along, spacing, 49)
    half = len(moves) // 2
    # the second half moved on to where it is not yet half-way
    chance = np.concatenate([np.full(states, 1 / states), np.zeros(states)])
    for at in range(49):
        if at:
            move = np.eye(2 * states)
            first = (at + 8) % 16
            move[first] = 0
            move[states + first] = np.eye(2 * states)[first]
            for m, weight in enumerate(moves):
                pull = (1 + (m - half) / states) ** (0.7 * crowd[at])
                move[first, (first + m - half) % states + (states if m > half else 0)] += weight * pull
            chance = chance @ move
        for place in along[(along >= 10 * at) & (along < 10 * (at + 1))]:
            index = (np.rint(place / spacing * 64).astype(int) - 4 * np.arange(states)) % 64
            chance = chance * np.tile(shape[index], 2)
    found = kernels.forward(along, spacing, moves, 0.7, shape, np.empty((0, 2 * states)))
    assert found == pytest.approx(np.log(chance.sum()), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_a_clump_amid_missing_rings_loses_none(seed) -> None:
    """Three spacings, two of them without rings, must not become two long ones about the clump."""
    rng = np.random.default_rng(seed)
    place = np.concatenate([[0], (209 + rng.normal(0, 10, 25)).cumsum()])
    counts = rng.poisson(30, 26)
    counts[[22, 23]] = 0
    clump = (place[21] + place[24]) / 2 + rng.normal(0, 8, 5)
    molecules = np.repeat(place, counts) + rng.normal(0, 25, counts.sum())
    found = period(np.concatenate([molecules, clump, rng.uniform(0, place[21], 250)]))
    assert found.period_nm == pytest.approx(place[-1] / 25, abs=1)
    low, high = found.period_nm_interval
    assert high - low < 3
    assert low < place[-1] / 25 < high
