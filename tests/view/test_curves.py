"""Plots of corrections and of resolution show what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError, Localizations
from lucule.process import DriftCurve, FrcSettings, choose_link, frc, precision
from lucule.process.matching import PairsOfPoints
from lucule.process.registration import fit_pairs
from lucule.view import curves


@pytest.fixture(scope="module")
def blinks() -> Localizations:
    rng = np.random.default_rng(1)
    at = rng.uniform(0, 8000, (1500, 2)).repeat(4, axis=0) + rng.normal(0, 8, (6000, 2))
    frame = rng.integers(0, 3000, 1500).repeat(4) + np.tile(np.arange(4), 1500)
    return Localizations({"frame": frame, "x": at[:, 0], "y": at[:, 1], "photons": rng.uniform(100, 3000, 6000)})


def test_drift() -> None:
    frame = np.arange(50.0)
    nm = np.column_stack([frame, -frame, 0.5 * frame])
    curve = DriftCurve(frame, nm, np.ones_like(nm), "aim", "as asked")
    axes = curves.drift_plot(curve).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y", "z"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), nm[:, 0])
    assert len(axes.collections) == 3  # one band each
    plain = DriftCurve(frame, nm[:, :2], np.full((50, 2), np.nan), "given", "")
    assert not curves.drift_plot(plain).axes[0].collections


def test_correlation(blinks) -> None:
    again = blinks.with_columns(frame=np.random.default_rng(3).permutation(6000))  # molecules come back
    found = frc(again, settings=FrcSettings(repeats=2), precision_nm=8)
    axes = curves.frc_plot(found).axes[0]
    assert found.resolution_nm is not None
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert marks == [pytest.approx(1000 / found.resolution_nm)]
    rng = np.random.default_rng(2)
    noise = Localizations({"frame": np.arange(500), "x": rng.uniform(0, 1e4, 500), "y": rng.uniform(0, 1e4, 500)})
    empty = curves.frc_plot(frc(noise, settings=FrcSettings(repeats=2)))
    assert any("no crossing" in text.get_text() for text in empty.axes[0].texts)


def test_precision(blinks) -> None:
    axes = curves.precision_plot(precision(blinks)).axes[0]
    assert len(axes.patches) == 60
    nothing = precision(Localizations({"frame": [0, 5], "x": [0.0, 1.0], "y": [0.0, 1.0]}))
    assert curves.precision_plot(nothing).axes


def test_link(blinks) -> None:
    figure = curves.link_plot(choose_link(blinks))
    assert len(figure.axes) == 2
    given = curves.link_plot(choose_link(blinks, radius_nm=50, gap_frames=3))
    assert any("50 nm" in text.get_text() for text in given.axes[0].texts)


def test_filter(blinks) -> None:
    keep = blinks["photons"] > 500
    figure = curves.filter_plot(blinks, keep, {"photons": [500.0], "absent": [1.0]})
    (axes,) = figure.axes
    assert [line.get_xdata()[0] for line in axes.lines] == [500.0]
    shown = sum(patch.get_height() for patch in axes.patches)
    assert shown == pytest.approx(len(blinks) + keep.sum(), rel=0.03)
    assert curves.filter_plot(blinks, keep, {}).axes


def test_registration() -> None:
    rng = np.random.default_rng(1)
    at = rng.uniform(0, 10_000, (30, 2))
    found = fit_pairs(PairsOfPoints(at + np.array([100, 50]) + rng.normal(0, 3, (30, 2)), at), kind="affine")
    figure = curves.registration_plot(found)
    assert figure.axes[0].collections[0].get_offsets().shape == (30, 2)


def test_no_arrow_of_a_registration_leaves_the_axes() -> None:
    at = np.array([[0.0, 0.0], [9000.0, 0.0], [9000.0, 9000.0], [0.0, 9000.0], [5000.0, 5000.0]])
    off = np.array([[0.0, 300.0], [0.0, 0.0], [10.0, 5.0], [0.0, 0.0], [0.0, 5.0]])
    found = fit_pairs(PairsOfPoints(at + off, at), kind="shift")
    axes = curves.registration_plot(found).axes[0]
    arrows = axes.collections[0]
    ends = arrows.get_offsets() + np.column_stack([arrows.U, arrows.V]) / arrows.scale
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert ((ends[:, 0] > left) & (ends[:, 0] < right)).all()
    assert ((ends[:, 1] > top) & (ends[:, 1] < bottom)).all()  # y goes down


def test_files(tmp_path, blinks) -> None:
    figure = curves.precision_plot(precision(blinks))
    for ending in ("png", "svg", "pdf"):
        assert curves.save_figure(figure, tmp_path / f"plot.{ending}").stat().st_size > 1000
    with pytest.raises(InputError, match="png"):
        curves.save_figure(figure, tmp_path / "plot.gif")
