"""Two channels: what touches what, and whether chance would do it too."""

from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import pytest

from lucule.cluster import measure, overlap
from lucule.core import InputError, Localizations, Region

SIDE = 6000.0
SQUARE = Region.rectangle(0, 0, SIDE, SIDE)


def clusters(centres, region=SQUARE, radius=40.0, n=30, seed=1, **columns):
    rng = np.random.default_rng(seed)
    r, angle = radius * np.sqrt(rng.random((len(centres), n))), rng.uniform(0, 2 * np.pi, (len(centres), n))
    x, y = centres[:, :1] + r * np.cos(angle), centres[:, 1:] + r * np.sin(angle)
    per_point = {name: np.repeat(values, n) for name, values in columns.items()}
    number = np.repeat(np.arange(len(centres)), n)
    return measure(Localizations({"x": x.ravel(), "y": y.ravel(), "cluster": number, **per_point}), region=region)


def uniform(rng, n, region=SQUARE):
    points = rng.uniform(*np.array(region.bounds).reshape(2, 2), (20 * n, 2))
    return points[region.contains(points)][:n]


def test_hand_made_pairs() -> None:
    """Squares of known overlap: half of the area of one of four, and one inside a larger."""
    grid = np.linspace(-50, 50, 21)
    square = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)

    def squares(centres, scale=1.0):
        points = np.concatenate([scale * square + centre for centre in centres])
        number = np.repeat(np.arange(len(centres)), len(square))
        return measure(Localizations({"x": points[:, 0], "y": points[:, 1], "cluster": number}), region=SQUARE)

    a = squares([(1000, 1000), (3000, 1000), (1000, 3000), (3000, 3000)])
    b = squares([(1056, 1000), (3000, 1000)], scale=0.5), squares([(1000, 1000)], scale=2)
    found = overlap(a, b[0], shifts=19).summary()
    assert (found["clusters_a"], found["clusters_b"]) == (4, 2)
    assert found["a_touching_b"] == 0.5
    assert found["b_touching_a"] == 1
    # the centre of the first of B lies where the outline of A ends, at 50 nm and r = 6 nm beyond
    assert found["a_holding_b"] in (0.25, 0.5)
    assert found["b_holding_a"] == 0.25 * 2
    small, large = 56.0**2, 112.0**2
    assert found["a_covered_by_b"] == pytest.approx((small + small / 2) / (4 * large), rel=0.05)
    whole = overlap(a, b[1], shifts=19).summary()
    assert whole["a_covered_by_b"] == pytest.approx(0.25)
    assert whole["b_holding_a"] == 1


@pytest.mark.parametrize("shape", ["square", "cell"])
def test_independent_channels_are_what_chance_expects(shape) -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    cell = Region.polygon(np.column_stack([3000 + 2900 * np.cos(angle), 3000 + 1800 * np.sin(angle)]))
    region = SQUARE if shape == "square" else cell
    p, observed, expected = [], [], []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        a, b = (clusters(uniform(rng, 150, region), region, n=12, seed=seed + k) for k in (0, 100))
        found = overlap(a, b, shifts=39, seed=seed).summary()
        p.append(found["a_touching_b_p"])
        observed.append(found["a_touching_b"])
        expected.append(found["a_touching_b_expected"])
    assert np.mean(observed) == pytest.approx(np.mean(expected), rel=0.12)
    # p is uniform where there is nothing to find
    assert np.mean(np.array(p) <= 0.1) <= 0.25
    assert 0.3 < np.mean(p) < 0.8


def test_a_cell_in_a_bounding_box_needs_its_region(caplog) -> None:
    """Two channels that only share the cell: no association inside it, a false one in its bounding box."""
    cell = Region.polygon([(0, 0), (6000, 0), (6000, 900), (900, 900), (900, 6000), (0, 6000)])
    rng = np.random.default_rng(3)
    a, b = (uniform(rng, 150, cell) for _ in range(2))
    inside = overlap(clusters(a, cell), clusters(b, cell), shifts=99)
    assert inside.edge == "the region inside which A was measured"
    assert inside.summary()["a_touching_b_p"] > 0.05
    outside = overlap(clusters(a, None), clusters(b, None), shifts=99)
    assert outside.edge == "the bounding box of the clusters"
    assert "chance looks too small" in caplog.text
    assert outside.summary()["a_touching_b_ratio"] > 1.5 * inside.summary()["a_touching_b_ratio"]


def test_attraction_and_avoidance() -> None:
    rng = np.random.default_rng(5)
    a = uniform(rng, 100)
    near = np.clip(a[:50] + rng.normal(0, 20, (50, 2)), 0, SIDE)
    together = overlap(clusters(a), clusters(near, seed=2), shifts=99)
    summary = together.summary()
    assert summary["a_touching_b"] == pytest.approx(0.5, abs=0.05)
    assert summary["a_touching_b_ratio"] > 3
    assert summary["a_touching_b_p"] == 0.02
    low, high = summary["a_touching_b_confidence"]
    assert summary["a_touching_b"] - low == pytest.approx(0.098, abs=0.01)
    assert high - summary["a_touching_b"] == pytest.approx(0.098, abs=0.01)
    others = uniform(rng, 200)
    apart = others[np.linalg.norm(others[:, None] - a[None], axis=2).min(axis=1) > 120]
    avoiding = overlap(clusters(a), clusters(apart, seed=3), shifts=99).summary()
    assert avoiding["a_touching_b"] == 0
    assert avoiding["a_touching_b_p"] == 0.02
    assert avoiding["a_touching_b_ratio"] == 0
    json.dumps(summary)


def test_reach_channels_and_fields() -> None:
    centres = np.array([[1000.0, 1000], [1000, 1100], [3000, 3000], [3000, 3000]])
    both = clusters(centres, channel=[0, 1, 0, 1], field=[0, 0, 0, 1])
    a, b = both.select(channel=0), both.select(channel=1)
    assert len(a) == len(b) == 2
    assert overlap(a, b, shifts=19).summary()["a_touching_b"] == 0
    assert overlap(a, b, shifts=19, reach_nm=60).summary()["a_touching_b"] == 0.5
    with pytest.raises(InputError, match="cannot be chosen by label"):
        both.select(label=1)


def test_nothing_and_wrong_input() -> None:
    some = clusters(np.array([[1000.0, 1000]]))
    none = clusters(np.empty((0, 2)))
    found = overlap(some, none, shifts=19).summary()
    assert found["a_touching_b"] == 0
    assert np.isnan(found["b_touching_a"])
    points = np.random.default_rng(0).normal(0, 20, (30, 3))
    solid = measure(Localizations({**dict(zip("xyz", points.T, strict=True)), "cluster": np.zeros(30, int)}))
    with pytest.raises(InputError, match="needs outlines"):
        overlap(solid, some)
    with pytest.raises(InputError, match="19 shifts"):
        overlap(some, some, shifts=3)
    diagonal = Region.polygon([(0, 0), (50, 0), (6000, 5950), (6000, 6000), (5950, 6000), (0, 50)])
    line = clusters(np.linspace(200, 5800, 30)[:, None] * [1, 1], diagonal)
    assert len(line) == 30
    with pytest.raises(InputError, match="too little"):
        overlap(line, line)


def test_plot_and_seed() -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    a = clusters(uniform(np.random.default_rng(1), 40))
    once, again = overlap(a, a, shifts=19), overlap(a, a, shifts=19)
    assert once.table().equals(again.table())
    axes = once.plot()
    assert axes.get_yticklabels()[0].get_text() == "a touching b"
    plt.close(axes.figure)
