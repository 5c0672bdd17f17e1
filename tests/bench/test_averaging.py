"""The benchmark of averaging gives a complete table, with and without Picasso."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.bench import averaging as bench
from lucule.structures.averaging.poses import about_z


@pytest.mark.slow
def test_a_small_run(monkeypatch) -> None:
    case = bench.Case("9 origami", "origami", 3, 0.9, 2, 10.0)
    monkeypatch.setattr(bench, "CASES", (case,))
    monkeypatch.setattr(bench, "REAL", "nothing")
    monkeypatch.setattr(bench, "find_spec", lambda _: None)
    table = bench.run(seed=2)
    assert table["value"].null_count() == 0
    assert table.filter(table["what"].str.ends_with("poses found"))["value"][0] >= 70


def test_a_pose_is_right_up_to_the_symmetry_and_one_pose_of_all() -> None:
    case = bench.Case("", "origami", 1, 1.0, 2, 10.0)
    truth = np.array([0.0, 40.0, 100.0, -70.0])
    right = about_z(np.radians(25 - truth + [0, 180, 0, 180]))
    centres = np.zeros((4, 2))
    assert bench.found_percent(case, right, centres, truth) == 100
    wrong = about_z(np.radians(25 - truth + [0, 90, 0, 0]))
    assert bench.found_percent(case, wrong, centres, truth) == 75
    centres[3] = 50.0
    assert bench.found_percent(case, right, centres, truth) == 75
    corners = bench.hot_spot(50 * np.column_stack([np.cos(a := np.arange(80) * np.pi / 4), np.sin(a)]), 8)
    assert corners == pytest.approx(1)
