"""Effect sizes and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from lucule.core import InputError
from lucule.stats import cliffs_delta, effects, hodges_lehmann


def test_delta_is_the_rank_biserial_correlation() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 8, 40), rng.integers(2, 10, 25)
    u = mannwhitneyu(b, a).statistic
    assert cliffs_delta(a, b) == pytest.approx(2 * u / (40 * 25) - 1)
    assert cliffs_delta(b, a) == -cliffs_delta(a, b)
    assert cliffs_delta([1, 2], [3, 4]) == 1
    assert hodges_lehmann(a, a + 3.5) == pytest.approx(3.5, abs=1)


@pytest.mark.parametrize("groups", [([], [1.0]), ([1.0], []), ([1.0, np.nan], [2.0]), ([1.0], [np.inf])])
@pytest.mark.parametrize("effect", [cliffs_delta, hodges_lehmann])
def test_groups_without_values_have_no_effect(effect, groups) -> None:
    with pytest.raises(InputError, match="one value or more"):
        effect(*groups)


def test_intervals_of_delta_cover() -> None:
    rng = np.random.default_rng(2)
    truth = 2 * norm.cdf(0.8 / np.sqrt(2)) - 1
    held = []
    for _ in range(200):
        low, high = effects.delta_interval(rng.normal(0, 1, 25), rng.normal(0.8, 1, 20), 400, rng)
        held.append(low <= truth <= high)
    assert 0.89 < np.mean(held) < 0.99


def test_intervals_of_medians_cover() -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        low, high = effects.percentile_interval(effects.medians(rng.lognormal(0, 1, 30), 400, rng))
        held.append(low <= 1 <= high)
    assert 0.90 < np.mean(held) < 0.99


def test_groups_that_do_not_overlap_still_have_an_interval() -> None:
    rng = np.random.default_rng(4)
    low, high = effects.delta_interval(np.arange(10), np.arange(20, 30), 200, rng)
    assert high == 1
    assert low == pytest.approx(2 * 0.025 ** (1 / 10) - 1)
    assert effects.delta_interval(np.arange(20, 30), np.arange(10), 200, rng) == (-1, -low)


def test_interval_of_epsilon_squared() -> None:
    rng = np.random.default_rng(5)
    groups = [rng.normal(shift, 1, 30) for shift in (0, 1, 2)]
    low, high = effects.epsilon_squared_interval(groups, 400, rng)
    assert 0.15 < low < effects.explained_by_groups(*_ranks(groups)) < high < 0.8
    assert effects.epsilon_squared_interval([[1.0] * 6, [1.0] * 6], 200, rng) == (0, 0)
    apart = [np.arange(7.0) + 10 * i for i in range(4)]
    low, high = effects.epsilon_squared_interval(apart, 200, rng)
    assert 0.9 < low <= effects.explained_by_groups(*_ranks(apart)) <= high <= 1
    # without any effect the interval reaches down to it, in nearly all experiments
    reached = [effects.epsilon_squared_interval(rng.normal(size=(3, 20)), 200, rng)[0] < 0.05 for _ in range(40)]
    assert np.mean(reached) > 0.85


def _ranks(groups):
    from scipy.stats import rankdata

    return rankdata(np.concatenate(groups)), np.array([len(group) for group in groups], float)
