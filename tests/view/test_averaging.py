"""The picture of an average has the panels that belong to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lucule.core import Localizations
from lucule.process.frc import between
from lucule.structures.averaging import Average, collect
from lucule.structures.averaging.density import Grid
from lucule.structures.averaging.symmetry import NONE
from lucule.view.averaging import average_plot


def made(*, space: bool, order: int) -> Average:
    """Three particles of four corners, not turned."""
    rng = np.random.default_rng(1)
    corners = np.array([[40, 0, 10], [0, 40, 10], [-40, 0, 10], [0, -40, -30]], float)
    xyz = np.tile(corners, (3, 1)).repeat(10, axis=0) + rng.normal(0, 3, (120, 3))
    columns = {"x": xyz[:, 0], "y": xyz[:, 1], "x_err": np.full(120, 3.0), "group": np.arange(120) // 40}
    particles = collect(Localizations(columns | ({"z": xyz[:, 2]} if space else {})))
    grid = Grid.around(60, 5, flat=not space, pad=1)
    return Average(
        particles, np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3)), np.ones(3), np.array([False, False, True]),
        np.zeros(3, np.int64), replace(NONE, order=order), {}, {}, np.ones(grid.shape), grid, 3.0, (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("space", "order", "titles"),
    [
        (False, 1, ["Average"]),
        (False, 4, ["Average", "4-fold average"]),
        (True, 4, ["Average", "From the side", "4-fold average"]),
    ],
)
def test_panels(space, order, titles) -> None:
    found = made(space=space, order=order)
    points = found.points()[:, : 3 if space else 2]
    figure = average_plot(found, between(points[:60], points[60:]))
    shown = [axes.get_title(loc="left").strip() for axes in figure.axes]
    wanted = [*titles, "Shell correlation" if space else "Ring correlation"]
    assert [title for title in shown if title] == wanted
    assert {axes.get_title() for axes in figure.axes if axes.get_title()} == {"0", "1"}


def test_without_a_correlation_there_is_no_panel_for_it() -> None:
    figure = average_plot(made(space=False, order=1))
    assert [t for axes in figure.axes if (t := axes.get_title(loc="left").strip())] == ["Average"]
