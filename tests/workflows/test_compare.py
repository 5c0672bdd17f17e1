"""From tables of clusters to conditions: numbers, files, resuming, and inputs that fail."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import lucule
from lucule.cluster import Clusters, concat, measure
from lucule.core import InputError, Localizations, Region
from lucule.workflows import batch, compare

FEW = ("clusters_per_um2", "percent_clustered", "cluster_area_nm2")
FIELD = Region.rectangle(0, 0, 4000, 4000)


def cell(seed, radius=30.0, number=20, points=15, region=FIELD, **columns):
    """Clusters of one simulated cell, with as many localizations outside of them."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(100, 3900, (number, 1, 2))
    offset = rng.normal(size=(number, points, 2))
    offset *= radius * np.sqrt(rng.random((number, points, 1))) / np.linalg.norm(offset, axis=2, keepdims=True)
    inside = (centre + offset).reshape(-1, 2)
    free = rng.uniform(0, 4000, (300, 2))
    xy = np.concatenate([inside, free])
    cluster = np.append(np.repeat(np.arange(number), points), np.full(300, -1))
    per_point = {name: np.append(np.resize(value, number * points), np.zeros(300)) for name, value in columns.items()}
    return measure(Localizations({"x": xy[:, 0], "y": xy[:, 1], "cluster": cluster, **per_point}), region=region)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Eight cells of each of two conditions: the second has twice the clusters, and they are wider."""
    folder = tmp_path_factory.mktemp("experiment")
    lines = ["file,condition,replicate"]
    paths = []
    for condition, radius, number in (("control", 30.0, 15), ("drug", 45.0, 30)):
        for i in range(8):
            path = folder / "results" / f"{condition}{i}" / "clusters.parquet"
            cell(len(paths), radius + i % 3, number + i % 4).save(path)
            lines.append(f"{condition}{i},{condition},{i % 2}")
            paths.append(path)
    by = folder / "condition.csv"
    by.write_text("\n".join(lines) + "\n")
    return paths, by


@pytest.fixture(scope="module")
def result(experiment, tmp_path_factory):
    paths, by = experiment
    out = tmp_path_factory.mktemp("comparison")
    return out, compare.run(paths, out, compare.Settings(by=by, resamples=200), workers=1)


def test_cells_have_their_medians(experiment, result) -> None:
    paths, _ = experiment
    cells = pl.read_parquet(result[0] / "cells.parquet")
    assert cells["unit"].to_list() == [path.parent.name for path in paths]
    first = Clusters.load(paths[0]).summary()
    row = cells.row(0, named=True)
    for name in (
        "clusters_per_um2",
        "percent_clustered",
        "points_per_cluster",
        "cluster_area_nm2",
        "nearest_cluster_nm",
    ):
        assert row[name] == first[name]
    assert (row["condition"], row["replicate"], row["files"]) == ("control", "0", 1)


def test_tests_find_what_is_there(result) -> None:
    tests = {row["measure"]: row for row in pl.read_parquet(result[0] / "tests.parquet").to_dicts()}
    assert tests["clusters_per_um2"]["p"] < 0.002
    assert tests["cluster_area_nm2"]["p"] < 0.002
    # every cluster has 15 localizations
    assert tests["points_per_cluster"]["reason"] == "all values are equal"
    pair = pl.read_csv(result[0] / "pairs.csv").row(0, named=True)
    assert (pair["first"], pair["second"], pair["cliffs_delta"]) == ("control", "drug", 1)
    assert pair["ratio"] == pytest.approx(2, rel=0.15)


def test_all_files_are_there(result) -> None:
    out, outcomes = result
    assert batch.exit_code(outcomes) == 0
    for name in ("cells", "medians", "tests", "pairs", "replicates", "pooled"):
        assert pl.read_csv(out / f"{name}.csv").height == pl.read_parquet(out / f"{name}.parquet").height > 0
    assert "control: 8, drug: 8" in (out / "methods.txt").read_text()
    png = out / "figures" / "cluster_area_nm2.png"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert (out / "figures" / "cluster_area_nm2.pdf").read_bytes().startswith(b"%PDF")
    page = (out / "report.html").read_text()
    for part in ("Cluster area", "Dunn", "Holm", "control", "<svg"):
        assert part in page
    assert "https://" not in page
    summary = compare.load_summary(out)
    assert summary["conditions"] == {"control": 8, "drug": 8}
    pooled = pl.read_parquet(out / "pooled.parquet").row(0, named=True)
    assert pooled["clusters"] == sum(15 + i % 4 for i in range(8))


def test_run_file_and_report_repeat_it(experiment, result, tmp_path) -> None:
    out, outcomes = result
    name, inputs, settings = batch.read_run_file(out / "run.yaml", [])
    assert name == "compare"
    compare.run(inputs, tmp_path, compare.Settings.parse(settings), workers=1)
    for table in ("pairs.csv", "medians.csv", "methods.txt", "comparison.json"):
        assert (tmp_path / table).read_bytes() == (out / table).read_bytes()
    assert batch.finished(experiment[0], out) == outcomes


def test_nothing_is_read_twice(experiment, result, monkeypatch) -> None:
    paths, by = experiment
    out, _ = result
    loaded = []
    load = Clusters.load.__func__
    monkeypatch.setattr(Clusters, "load", classmethod(lambda cls, path: loaded.append(path) or load(cls, path)))
    settings = compare.Settings(by=by, resamples=200, adjust="bonferroni", measures=("percent_clustered",))
    compare.run(paths, out, settings, workers=1)
    assert not set(loaded) & set(paths)
    assert set(pl.read_csv(out / "tests.csv")["measure"]) == {"percent_clustered"}
    compare.run(paths, out, settings, workers=1)


def test_a_failing_input_is_named_and_the_others_go_on(experiment, tmp_path) -> None:
    paths, _ = experiment
    broken = tmp_path / "results" / "broken" / "clusters.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1 no")
    chosen = [paths[0], paths[1], paths[8], paths[9]]
    by = tmp_path / "condition.csv"
    lines = [f"{path.parent.name},{path.parent.name[:-1]}" for path in chosen]
    by.write_text("\n".join(["file,condition", *lines, "broken,drug"]) + "\n")
    outcomes = compare.run([*chosen, broken], tmp_path / "out", compare.Settings(by=by, measures=FEW), workers=2)
    assert [own.error is None for own in outcomes] == [True] * 4 + [False]
    assert batch.exit_code(outcomes) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "broken" in page
    assert "1 of 5 inputs failed" in page
    assert compare.load_summary(tmp_path / "out")["conditions"] == {"control": 2, "drug": 2}
    by.write_text("file,condition\nbroken,drug\n")
    (alone,) = compare.run([broken], tmp_path / "alone", compare.Settings(by=by))
    assert alone.error
    assert compare.load_summary(tmp_path / "alone") is None
    assert "broken" in (tmp_path / "alone" / "report.html").read_text()


def _write(folder, tables, lines) -> tuple[list, compare.Settings]:
    paths = []
    for name, table in tables.items():
        table.save(folder / name / "clusters.parquet")
        paths.append(folder / name / "clusters.parquet")
    by = folder / "condition.csv"
    by.write_text("\n".join(lines) + "\n")
    return paths, compare.Settings(by=by, resamples=100, measures=FEW)


def test_one_cell_per_condition_and_a_condition_without_clusters(tmp_path) -> None:
    nothing = measure(Localizations({"x": [1.0, 2.0], "y": [1.0, 2.0], "cluster": [-1, -1]}), region=FIELD)
    paths, settings = _write(
        tmp_path, {"a": cell(1), "b": cell(2), "c": nothing}, ["file,condition", "a,one", "b,two", "c,three"]
    )
    outcomes = compare.run(paths, tmp_path / "out", settings, workers=1)
    assert batch.exit_code(outcomes) == 0
    tests = {row["measure"]: row for row in pl.read_parquet(tmp_path / "out" / "tests.parquet").to_dicts()}
    assert tests["clusters_per_um2"]["reason"] == "there is one cell per condition"
    cells = pl.read_parquet(tmp_path / "out" / "cells.parquet")
    assert cells["clusters_per_um2"][2] == 0
    assert cells["cluster_area_nm2"][2] is None
    json.dumps(compare.load_summary(tmp_path / "out"))
    only_nothing = compare.run([paths[2]], tmp_path / "alone", _only(settings, tmp_path, "c,three"))
    assert batch.exit_code(only_nothing) == 0
    assert compare.load_summary(tmp_path / "alone")["medians"][0]["median"] == 0


def _only(settings, folder, line):
    by = folder / "one.csv"
    by.write_text(f"file,condition\n{line}\n")
    return settings.replace(by=by)


def test_files_of_one_cell_are_counted_together(tmp_path) -> None:
    parts = {"a1": cell(1, number=10), "a2": cell(2, number=20), "b": cell(3)}
    lines = ["file,condition,cell", "a1,x,a", "a2,x,a", "b,y,b"]
    paths, settings = _write(tmp_path, parts, lines)
    compare.run(paths, tmp_path / "out", settings, workers=1)
    row = pl.read_parquet(tmp_path / "out" / "cells.parquet").row(0, named=True)
    assert (row["unit"], row["files"], row["clusters"], row["area_um2"]) == ("a", 2, 30, 32.0)
    both = pl.concat([parts["a1"].table(), parts["a2"].table()])
    assert row["cluster_area_nm2"] == pytest.approx(both["area_nm2"].median())
    assert row["clusters_per_um2"] == pytest.approx(30 / 32)


def test_classes_are_compared_each_for_itself(tmp_path) -> None:
    two = {"a": cell(1, label=np.repeat([1, 2], [150, 150])), "b": cell(2, label=np.repeat([1, 2], [150, 150]))}
    one = {"c": cell(3, label=1), "d": cell(4, label=1)}
    paths, settings = _write(tmp_path, two | one, ["file,condition", "a,x", "b,x", "c,y", "d,y"])
    compare.run(paths, tmp_path / "out", settings, workers=1)
    cells = pl.read_parquet(tmp_path / "out" / "cells.parquet")
    assert cells.filter(pl.col("unit") == "a")["clusters"].to_list() == [10, 10]
    # a class that a cell does not have is there with no clusters
    lacking = cells.filter((pl.col("unit") == "c") & (pl.col("label") == 2)).row(0, named=True)
    assert (lacking["clusters"], lacking["clusters_per_um2"], lacking["percent_clustered"]) == (0, 0, 0)
    assert lacking["cluster_area_nm2"] is None
    assert (tmp_path / "out" / "figures" / "cluster_area_nm2_label2.png").exists()
    compare.run(paths, tmp_path / "first", settings.replace(label=1), workers=1)
    assert set(pl.read_parquet(tmp_path / "first" / "cells.parquet")["label"]) == {1}
    with pytest.raises(InputError, match="no channel"):
        compare.run(paths, tmp_path / "none", settings.replace(channel=1), workers=1)


def test_border_and_estimated_areas(tmp_path) -> None:
    small = Region.rectangle(0, 0, 2000, 2000)
    inside, free = cell(1, number=150, region=small), cell(2, region=None)
    paths, settings = _write(tmp_path, {"a": inside, "b": free}, ["file,condition", "a,x", "b,y"])
    compare.run(paths, tmp_path / "out", settings.replace(exclude_border=True), workers=1)
    kept = inside.table().filter(~pl.col("touches_border"))
    assert 0 < kept.height < len(inside)
    row = pl.read_parquet(tmp_path / "out" / "cells.parquet").row(0, named=True)
    assert row["cluster_area_nm2"] == pytest.approx(kept["area_nm2"].median())
    assert row["clusters"] == len(inside)
    said = " ".join(compare.load_summary(tmp_path / "out")["warnings"])
    assert "area of 1 of 2 inputs was estimated" in said
    assert "1 inputs were measured without a region" in said


def test_concat_keeps_fields_apart() -> None:
    one = cell(1, field=0)
    both = concat([one, one, cell(2)])
    assert both.table()["field"].unique().sort().to_list() == [0, 1, 2]
    assert both.summary()["area_um2"] == 48
    assert both.summary()["points"] == 3 * one.summary()["points"]
    with pytest.raises(InputError, match="no clusters"):
        concat([])
    points = np.random.default_rng(0).normal(0, 20, (30, 3))
    solid = measure(Localizations({**dict(zip("xyz", points.T, strict=True)), "cluster": np.zeros(30, int)}))
    with pytest.raises(InputError, match="2D and in 3D"):
        concat([one, solid])


def test_wrong_runs_are_refused(experiment, tmp_path) -> None:
    paths, by = experiment
    with pytest.raises(InputError, match="add --by"):
        compare.run(paths, tmp_path / "out")
    with pytest.raises(InputError, match="15 lines that fit no input"):
        compare.run(paths[:1], tmp_path / "out", compare.Settings(by=by))
    with pytest.raises(InputError, match="no such measure"):
        compare.run(paths, tmp_path / "out2", compare.Settings(by=by, measures=("colour",)), workers=1)
    with pytest.raises(InputError):
        compare.Settings.parse({"adjust": "sidak"})
    assert not (tmp_path / "out").exists()
    assert lucule.workflows.load("compare") is compare
