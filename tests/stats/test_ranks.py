"""Rank tests against scipy, R and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from lucule.core import InputError
from lucule.stats import adjusted, dunn, kruskal_wallis

# daily ozone in New York by month, May to September 1973 (Chambers et al. 1983), the example of R's dunn.test
OZONE = (
    [41, 36, 12, 18, 28, 23, 19, 8, 7, 16, 11, 14, 18, 14, 34, 6, 30, 11, 1, 11, 4, 32, 23, 45, 115, 37],
    [29, 71, 39, 23, 21, 37, 20, 12, 13],
    [135, 49, 32, 64, 40, 77, 97, 97, 85, 10, 27, 7, 48, 35, 61, 79, 63, 16, 80, 108, 20, 52, 82, 50, 64, 59],
    [39, 9, 16, 78, 35, 66, 122, 89, 110, 44, 28, 65, 22, 59, 23, 31, 44, 21, 9, 45, 168, 73, 76, 118, 84, 85],
    [96, 78, 73, 91, 47, 32, 20, 23, 21, 24, 44, 21, 28, 9, 13, 46, 18, 13, 24, 16, 13, 23, 36, 7, 14, 30, 14, 18, 20],
)
# what R prints, first month less second
OZONE_Z = {
    (0, 1): -0.925158,
    (0, 2): -4.419470,
    (1, 2): -2.244208,
    (0, 3): -4.132813,
    (1, 3): -2.038635,
    (2, 3): 0.286657,
    (0, 4): -1.321202,
    (1, 4): 0.002538,
    (2, 4): 3.217199,
    (3, 4): 2.922827,
}


def test_published_example() -> None:
    result = kruskal_wallis(OZONE)
    assert result.h == pytest.approx(29.26658, abs=1e-5)
    assert (result.df, result.n) == (4, 116)
    assert result.p == pytest.approx(6.901e-6, rel=1e-3)
    for pair in dunn(OZONE, adjust="bonferroni"):
        assert -pair.z == pytest.approx(OZONE_Z[pair.first, pair.second], abs=1e-5)
        assert pair.p == pytest.approx(2 * scipy_stats.norm.sf(abs(pair.z)))
        assert pair.p_adjusted == pytest.approx(min(10 * pair.p, 1))


def test_by_hand() -> None:
    """Ranks 1 | 2.5 2.5 | 4 5: one pair of ties, means 1, 2.5, 4.5."""
    groups = [[1.0], [2.0, 2.0], [3.0, 7.0]]
    variance = 5 * 6 / 12 - 6 / (12 * 4)
    found = {(pair.first, pair.second): pair.z for pair in dunn(groups)}
    assert found[0, 1] == pytest.approx(1.5 / np.sqrt(variance * 1.5))
    assert found[0, 2] == pytest.approx(3.5 / np.sqrt(variance * 1.5))
    assert found[1, 2] == pytest.approx(2.0 / np.sqrt(variance))
    uncorrected = 12 / 30 * (1 + 25 / 2 + 81 / 2) - 18
    assert kruskal_wallis(groups).h == pytest.approx(uncorrected / (1 - 6 / 120))


values = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=2, max_size=5))
def test_any_groups_agree_with_scipy(groups) -> None:
    if len({value for group in groups for value in group}) == 1:
        with pytest.raises(InputError, match="all values are equal"):
            kruskal_wallis(groups)
        return
    result = kruskal_wallis(groups)
    expected = scipy_stats.kruskal(*groups)
    assert result.h == pytest.approx(expected.statistic, abs=1e-9)
    assert result.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert 0 <= result.epsilon_squared <= 1
    pairs = dunn(groups)
    assert len(pairs) == len(groups) * (len(groups) - 1) // 2
    assert all(pair.p <= pair.p_adjusted <= 1 for pair in pairs)
    if len(groups) == 2:
        assert pairs[0].z ** 2 == pytest.approx(result.h, abs=1e-9)


def test_holm_and_bonferroni() -> None:
    p = [0.005, 0.011, 0.02, 0.04, 0.13]
    assert adjusted(p, "holm") == pytest.approx([0.025, 0.044, 0.06, 0.08, 0.13])
    assert adjusted(p[::-1], "holm") == pytest.approx([0.13, 0.08, 0.06, 0.044, 0.025])
    assert adjusted(p, "bonferroni") == pytest.approx([0.025, 0.055, 0.1, 0.2, 0.65])
    assert adjusted(p, "none").tolist() == p
    assert adjusted([0.4, 0.6], "holm").tolist() == [0.8, 0.8]
    assert adjusted([], "holm").tolist() == []
    with pytest.raises(InputError, match="holm, bonferroni, none"):
        adjusted(p, "sidak")


def test_false_positives_stay_rare() -> None:
    """Among equal populations one in twenty experiments has a significant pair, not more."""
    rng = np.random.default_rng(1)
    hits = [min(pair.p_adjusted for pair in dunn(rng.normal(size=(4, 15)))) < 0.05 for _ in range(400)]
    assert np.mean(hits) < 0.075


@pytest.mark.parametrize("groups", [[], {"a": [1.0], "b": [2.0]}, [[1.0, 2.0]], [[1.0], []], [[1.0, np.nan], [2.0]]])
def test_what_cannot_be_tested(groups) -> None:
    for test in (kruskal_wallis, dunn):
        with pytest.raises(InputError, match="cannot be compared"):
            test(groups)
