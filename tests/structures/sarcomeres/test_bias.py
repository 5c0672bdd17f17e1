"""What the fitted middle line takes from the distance: something where lines overlap, nothing where they do not."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lucule.structures.sarcomeres import LineSettings, bias, line_distance, with_learned_width


def double_line(rng, distance, error, width=8.0, epitopes=60):
    place = np.column_stack(
        [
            rng.choice([-0.5, 0.5], epitopes) * distance + rng.normal(0, width, epitopes),
            rng.uniform(-700, 700, epitopes),
        ]
    )
    owner = np.repeat(np.arange(epitopes), rng.poisson(15, epitopes))
    return place[owner] + rng.normal(0, error, (len(owner), 2))


def taken(monkeypatch, distance, error):
    given, before = [], bias.lost

    def told(*what):
        given.append(2 * before(*what))
        return given[-1] / 2

    # the package has a function of the same name as the module
    monkeypatch.setattr(sys.modules["lucule.structures.sarcomeres.line_distance"], "lost", told)
    rng = np.random.default_rng(1)
    settings = LineSettings(width_nm=8, width_spread=0.2)
    fits = [line_distance(double_line(rng, distance, error), error, settings=settings) for _ in range(40)]
    # a fit that has a reason is not asked
    return np.array([fit.distance_nm - distance for fit in fits if fit.reason is None]), np.array(given)


def test_overlapping_lines_get_back_what_the_middle_line_takes(monkeypatch) -> None:
    away, given = taken(monkeypatch, 60, 25)
    assert given.mean() > 0.4
    assert abs(away.mean()) < abs((away - given).mean())
    assert away.std() < 1.1 * (away - given).std()


def test_clear_lines_lose_nothing(monkeypatch) -> None:
    _, given = taken(monkeypatch, 158, 5)
    assert abs(given.mean()) < 0.2


@pytest.mark.parametrize("width", [6.0, 20.0])
def test_the_width_of_lines_is_learned_together(width) -> None:
    rng = np.random.default_rng(2)
    parts = [double_line(rng, 120, 10, width) for _ in range(8)]
    rows = np.split(np.arange(sum(map(len, parts))), np.cumsum([len(part) for part in parts])[:-1])
    learned = with_learned_width(np.vstack(parts), None, rows, LineSettings(error_nm=10))
    assert learned.width_nm == pytest.approx(width, rel=0.25)
    assert learned.width_spread < 0.4
    few = with_learned_width(np.vstack(parts), None, rows[:3], LineSettings())
    assert few == LineSettings()
