"""Published and plain methods find the period of neat rings; they are not straw men."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.structures.axons import baselines, distances


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [
        (distances.linke, 2.0),
        (baselines.autocorrelation, 4.0),
        (baselines.periodogram, 0.6),
        (baselines.ring_pattern, 6.0),
        (baselines.pair_histogram, 12.0),
        (baselines.relative_positions, 2.0),
    ],
)
def test_neat_rings(method, tolerance) -> None:
    rng = np.random.default_rng(1)
    along = np.repeat(210.0 * np.arange(30), 20) + rng.normal(0, 12, 600)
    away = rng.uniform(-200, 200, 600)
    rest = (away,) if method is distances.linke else ()
    found, score = method(along, *rest)
    assert found == pytest.approx(210, abs=tolerance)
    _, without = method(rng.uniform(0, 6300, 600), *rest)
    assert score > without
