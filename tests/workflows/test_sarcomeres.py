"""From tables to line distances and a report; where there is nothing to measure, a statement and no number."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from lucule.core import InputError, Localizations
from lucule.view.report import Section
from lucule.workflows import sarcomeres


def table(rng, centres, *, distance=120.0, background=600, side=9000.0) -> Localizations:
    parts = [rng.uniform(0, side, (background, 2))]
    for centre in centres:
        place = np.column_stack([rng.choice([-0.5, 0.5], 150) * distance, rng.uniform(-650, 650, 150)]) + centre
        parts.append(place[np.repeat(np.arange(150), 15)] + rng.normal(0, 10, (2250, 2)))
    xy = np.vstack(parts)
    return Localizations(
        {"x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(len(xy), 10.0), "y_err": np.full(len(xy), 10.0)}
    )


CENTRES = [(2000, 2000), (5400, 2000), (2000, 6000), (5400, 6000)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sarcomeres")
    rng = np.random.default_rng(1)
    lines, noise = folder / "lines.parquet", folder / "noise.parquet"
    table(rng, CENTRES).save(lines)
    table(rng, [], background=1500).save(noise)
    outcomes = sarcomeres.run([lines, noise], folder / "out", workers=1)
    return folder, outcomes


def test_double_lines_are_found_and_measured(results) -> None:
    folder, (lines, _) = results
    assert lines.error is None
    assert lines.summary["sarcomeres_measured"] == 4
    assert lines.summary["line_distance_nm"] == pytest.approx(120, abs=4)
    low, high = lines.summary["line_distance_nm_interval"]
    assert low < high
    found = Localizations.load(folder / "out" / "lines" / "localizations.parquet")
    assert {"label", "p_label", "cluster"} <= set(found.columns)
    assert len(found) == 600 + 4 * 2250
    rows = pl.read_csv(folder / "out" / "lines" / "sarcomeres.csv")
    near = [np.hypot(rows["x_nm"] - x, rows["y_nm"] - y).min() for x, y in CENTRES]
    assert max(near) < 100


def test_noise_gives_a_statement_and_no_number(results) -> None:
    _, (_, noise) = results
    assert noise.error is None
    assert noise.summary["line_distance_nm"] is None
    assert noise.summary["line_distance_nm_reason"]
    assert any("no line distance" in warning for warning in noise.warnings)


def test_the_report_shows_both(results) -> None:
    folder, _ = results
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "Epitope profile" in page
    assert "There is no line distance" in page
    section = Section.load(folder / "out" / "lines" / "section.json")
    assert section.title == "lines"


def test_nothing_is_done_twice(results, monkeypatch) -> None:
    folder, before = results
    monkeypatch.setattr(sarcomeres, "find", lambda *_, **__: pytest.fail("found anew"))
    inputs = [folder / "lines.parquet", folder / "noise.parquet"]
    assert sarcomeres.run(inputs, folder / "out", workers=1)[0].summary == before[0].summary


def test_regions_from_elsewhere(tmp_path) -> None:
    locs = table(np.random.default_rng(2), CENTRES[:2])
    box = {"type": "Polygon", "coordinates": [[[1800, 1300], [2200, 1300], [2200, 2700], [1800, 2700], [1800, 1300]]]}
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps(box), encoding="utf-8")
    settings = sarcomeres.Settings(regions=path)
    found = sarcomeres.find(locs, settings)
    assert found["cluster"].max() == 0
    inside = found["cluster"] == 0
    assert np.abs(locs["x"][inside].mean() - 2000) < 50


def test_the_papers_classifier_needs_regions() -> None:
    with pytest.raises(InputError, match="needs regions"):
        sarcomeres.find(table(np.random.default_rng(3), CENTRES[:1]), sarcomeres.Settings(model="varga"))


def test_a_wrong_unit_is_said(tmp_path) -> None:
    locs = table(np.random.default_rng(4), CENTRES[:1])
    small = Localizations({"x": locs["x"] / 1000, "y": locs["y"] / 1000})
    path = small.save(tmp_path / "um.parquet")
    (outcome,) = sarcomeres.run([path], tmp_path / "out")
    assert outcome.summary["line_distance_nm"] is None
    assert any("unit" in warning for warning in outcome.warnings)


def test_wide_lines_ask_for_the_linker() -> None:
    rng = np.random.default_rng(6)
    settings = sarcomeres.Settings()

    def said(width: float, **lines: object) -> bool:
        x = rng.choice([-60.0, 60.0], 2000) + rng.normal(0, np.hypot(width, 10), 2000)
        locs = Localizations({"x": x + 2000, "y": rng.uniform(0, 1400, 2000), "x_err": np.full(2000, 10.0)})
        used = settings.replace(lines=settings.lines.replace(**lines))
        measured = sarcomeres.measure(locs, np.zeros(2000, np.int32), used.lines)
        return any("lines.linker" in warning for warning in sarcomeres.doubts(locs, measured, used))

    assert said(25)
    assert not said(6)
    assert not said(25, linker="faces", linker_nm=27)
