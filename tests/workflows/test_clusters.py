"""The main job: from tables to a report, resumed, repeated, and with inputs that fail."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import polars as pl
import pytest
import yaml

import lucule
from lucule.cluster import scores
from lucule.core import InputError, Localizations, Meta, Region
from lucule.simulate import varied_fields
from lucule.workflows import batch, clusters

PRODUCTS = ("localizations.parquet", "clusters.parquet", "clusters.csv")


@pytest.fixture(scope="module")
def truth() -> Localizations:
    room = lucule.simulate
    return room.simulate(room.load("caml_demo", cell_radius_um=(3, 4), field_size_um=9), seed=1)


@pytest.fixture(scope="module")
def table(truth, tmp_path_factory):
    path = tmp_path_factory.mktemp("input") / "cell.csv"
    lucule.write(truth, path)
    return path


@pytest.fixture(scope="module")
def results(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    return out, clusters.run([table], out)


def test_every_row_comes_back_in_input_order(truth, results) -> None:
    out, (outcome,) = results
    assert outcome.error is None
    found = pl.read_parquet(out / "cell" / "localizations.parquet")
    np.testing.assert_allclose(found["x"], truth["x"], atol=0.01)
    assert {"label", "p_label", "cluster"} <= set(found.columns)
    assert (found["label"] == truth["true_label"]).mean() > 0.95
    assert all((out / "cell" / name).exists() for name in PRODUCTS)


def test_paths_may_be_text_and_one_input_needs_no_list(table, results) -> None:
    out, (outcome,) = results
    assert clusters.run(str(table), str(out)) == clusters.run([str(table)], out) == [outcome]
    with pytest.raises(InputError, match="named twice"):
        clusters.run([str(table), table], out)


def test_clusters_agree_with_the_truth(truth, results) -> None:
    out, (outcome,) = results
    found = pl.read_csv(out / "cell" / "clusters.csv")
    true = len(np.unique(truth["true_cluster"])) - 1
    assert found.filter(pl.col("n_points") >= 20).height == pytest.approx(true, rel=0.1)  # some that touch are one
    rows = pl.read_parquet(out / "cell" / "localizations.parquet")
    assert scores.rand_index(truth["true_cluster"], rows["cluster"].to_numpy()) > 0.95
    assert outcome.summary["percent_clustered"] == pytest.approx(50, abs=5)


def test_history_names_source_and_every_step(table, results) -> None:
    out, _ = results
    meta = Localizations.load(out / "cell" / "localizations.parquet").meta
    assert meta.source.name == "cell.csv"
    assert meta.source.sha256 == batch.source_of(table)
    assert [step.function.rsplit(".", 1)[1] for step in meta.history] == ["read", "find"]


def test_report_is_one_file_that_needs_nothing_else(results) -> None:
    page = (results[0] / "report.html").read_text()
    assert "<img" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert len(page) < 8e6


def test_nothing_is_done_twice(table, results, monkeypatch) -> None:
    out, before = results
    times = {path: path.stat().st_mtime_ns for path in (out / "cell").rglob("*.*")}
    monkeypatch.setattr(lucule.classify, "classify", _must_not_run)
    assert clusters.run([table], out)[0].summary == before[0].summary
    assert {path: path.stat().st_mtime_ns for path in (out / "cell").rglob("*.*")} == times


def test_only_what_changed_is_done_again(table, tmp_path, monkeypatch) -> None:
    clusters.run([table], tmp_path, clusters.Settings(model="XPILJZ"))
    monkeypatch.setattr(lucule.classify, "classify", _must_not_run)
    fewer = clusters.run([table], tmp_path, clusters.Settings(model="XPILJZ", min_points=30))[0].summary
    assert pl.read_csv(tmp_path / "cell" / "clusters.csv")["n_points"].min() >= 30
    assert fewer["clusters"] > 0


def test_damaged_products_are_made_again(table, tmp_path) -> None:
    clusters.run([table], tmp_path)
    product = tmp_path / "cell" / "clusters.csv"
    before = product.read_bytes()
    product.write_bytes(before[:100])
    clusters.run([table], tmp_path)
    assert product.read_bytes() == before


def test_a_failing_input_does_not_stop_the_others(table, tmp_path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("no,table\nof,localizations\n")
    outcomes = clusters.run([bad, table], tmp_path / "out", workers=2)
    assert [outcome.error is None for outcome in outcomes] == [False, True]
    assert batch.exit_code(outcomes) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "bad" in page
    assert (tmp_path / "out" / "cell" / "clusters.csv").exists()


def test_the_same_table_in_three_formats_has_the_same_result(truth, tmp_path) -> None:
    locs = Localizations(truth.data.select("x", "y"), Meta(pixel_size_nm=100.0)).with_columns(
        frame=np.arange(len(truth)), photons=np.full(len(truth), 1000.0), x_err=np.full(len(truth), 10.0),
        y_err=np.full(len(truth), 10.0),
    )  # fmt: skip
    paths = [lucule.write(locs, tmp_path / name) for name in ("a.csv", "b.hdf5", "c.parquet")]
    outcomes = clusters.run(paths, tmp_path / "out")
    tables = [pl.read_parquet(tmp_path / "out" / name / "localizations.parquet") for name in "abc"]
    for other in tables[1:]:
        # a CSV file rounds positions, which may tip a localization on the edge of a decision
        assert (other["label"] == tables[0]["label"]).mean() > 0.9995
        assert other.height == tables[0].height
    assert outcomes[1].summary["clusters"] == pytest.approx(outcomes[0].summary["clusters"], rel=0.005)
    assert tables[1]["label"].equals(tables[2]["label"])


def test_region(table, tmp_path) -> None:
    geojson = tmp_path / "half.geojson"
    lucule.io.regions.write_geojson(Region.rectangle(0, 0, 4500, 9000), geojson)
    whole, part = (
        clusters.run([table], tmp_path / name, settings)[0].summary
        for name, settings in (("a", clusters.Settings()), ("b", clusters.Settings(region=geojson)))
    )
    assert 0.3 < part["clusters"] / whole["clusters"] < 0.7


def test_run_file_repeats_the_run(table, results, tmp_path) -> None:
    out, (outcome,) = results
    name, inputs, settings = batch.read_run_file(out / "run.yaml", [])
    assert (name, inputs) == ("clusters", [table.resolve()])
    again = clusters.run(inputs, tmp_path, clusters.Settings.parse(settings))[0]
    assert again.summary == outcome.summary
    assert (tmp_path / "cell" / "clusters.csv").read_bytes() == (out / "cell" / "clusters.csv").read_bytes()
    assert yaml.safe_load((out / "run.yaml").read_text())["versions"]["lucule"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupted_work_goes_on(tmp_path) -> None:
    """Ctrl-C while the second stage runs: the first is kept, nothing is half-written, the rerun finishes."""
    room = lucule.simulate
    path, out = tmp_path / "big.parquet", tmp_path / "out"
    room.simulate(room.load("caml_demo"), seed=1).save(path)
    command = [sys.executable, "-m", "lucule", "run", "clusters", str(path), "--out", str(out)]
    command += ["--set", "model=XPILJZ"]  # which has two stages
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    labelled = out / "big" / "steps" / "labelled.parquet"
    deadline = time.monotonic() + 120
    # a stage is finished once the ledger says so, a moment after its file appears
    while not _is_recorded(out, "big/label") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not list(out.rglob(".writing-*"))
    kept = labelled.stat().st_mtime_ns
    assert clusters.run([path], out, clusters.Settings(model="XPILJZ"))[0].error is None
    assert labelled.stat().st_mtime_ns == kept


def test_wrong_runs_are_refused(table, tmp_path) -> None:
    with pytest.raises(InputError, match="no input"):
        clusters.run([], tmp_path)
    with pytest.raises(InputError, match="twice"):
        clusters.run([table, table], tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="folder"):
        clusters.run([table], file)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(InputError, match="written"):
            clusters.run([table], tmp_path / "locked")


def _is_recorded(out, work: str) -> bool:
    ledger = out / ".lucule.sqlite"
    if not ledger.exists():
        return False
    try:
        with closing(sqlite3.connect(ledger)) as connection:
            return connection.execute("SELECT 1 FROM done WHERE work = ?", (work,)).fetchone() is not None
    except sqlite3.OperationalError:  # the table is only just being made
        return False


def _must_not_run(*_: object, **__: object) -> None:
    raise AssertionError("this stage was done already")


def test_blinks_are_seen_once() -> None:
    """Molecules at random that are seen several times in a row are no clusters, and all rows get the answer."""
    family = varied_fields.FAMILIES["random"].replace(
        blinks=(5, 6), density_per_um2=(20, 40), error_nm=(5, 10), localizations=(1500, 2000)
    )
    locs = varied_fields.varied_field(family, seed=3).table()
    linked, blink_of = clusters.as_blinks(locs)
    assert len(blink_of) == len(locs) > 1.5 * len(linked)
    apart = np.hypot(linked["x"][blink_of] - locs["x"], linked["y"][blink_of] - locs["y"])
    assert np.median(apart) < 10
    found = clusters.find(locs)
    assert len(found) == len(locs)
    assert len(np.unique(np.column_stack([blink_of, found["cluster"]]), axis=0)) == len(linked)
    assert clusters.as_blinks(Localizations(locs.data.drop("frame"), locs.meta))[1] is None
    assert clusters.as_blinks(locs.filter("x < -1"))[1] is None
    # frames that number the rows are no times, even where rows that follow each other lie at one place
    by_molecule = locs.data.sort("molecule").with_columns(frame=np.arange(len(locs), dtype=np.uint32))
    assert clusters.as_blinks(Localizations(by_molecule, locs.meta))[1] is None


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan])
def test_a_few_errors_that_are_no_errors_do_not_hide_the_others(value, caplog) -> None:
    family = varied_fields.FAMILIES["random"].replace(
        blinks=(5, 6), density_per_um2=(20, 40), error_nm=(5, 10), localizations=(1500, 2000)
    )
    locs = varied_fields.varied_field(family, seed=3).table()
    odd = {name: np.where(np.arange(len(locs)) % 100 == 7, value, locs[name]) for name in ("x_err", "y_err", "photons")}
    found, expected = clusters.find(locs.with_columns(**odd)), clusters.find(locs)
    assert np.mean((found["cluster"] >= 0) == (expected["cluster"] >= 0)) > 0.99
    np.testing.assert_array_equal(found["x_err"], np.float32(odd["x_err"]))  # the table itself stays as it was
    assert "x_err is not a positive number" in caplog.text
    assert "photons is not a positive number" in caplog.text


def test_a_column_without_errors_says_nothing(caplog) -> None:
    table = Localizations({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0], "x_err": [0.0, 0.0, 5.0], "photons": [9.0] * 3})
    assert clusters.with_plausible_errors(table) is table
    assert not caplog.text
