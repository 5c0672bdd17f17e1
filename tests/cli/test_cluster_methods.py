"""`lucule cluster --method`: published methods by name, settings by --set and --config, plain errors."""

from __future__ import annotations

from io import StringIO

import numpy as np
from rich.console import Console

from lucule import io
from lucule.cli.terminal import show_results
from lucule.core import Localizations


def test_a_table_keeps_its_names_and_breaks_its_long_texts():
    console = Console(width=80, file=StringIO())
    rows = [{"name": "dbscan", "what": "cores and their neighbours " * 4, "settings": "epsilon_nm=50, " * 9, "n": 12}]
    show_results(console, {"methods": rows})
    shown = console.file.getvalue()
    assert "dbscan" in shown
    assert "12" in shown
    assert shown.count("epsilon_nm=50") == 9
    assert shown.count("neighbours") == 4


def test_a_table_within_a_row_is_a_table_below_it():
    console = Console(width=100, file=StringIO())
    rows = [
        {"input": name, "axons": [{"axon": 0, "period_nm": 190.16053}, {"axon": 1, "period_nm": 7.0}]} for name in "pq"
    ]
    show_results(console, {"inputs": rows})
    shown = console.file.getvalue()
    assert "{" not in shown
    assert shown.count("190.2") == 2
    assert "axons p" in shown


def test_nested_settings_are_shown_line_by_line() -> None:
    console = Console(file=StringIO(), width=80)
    settings = {"frames": 5000, "layers": {"spots": {"label": 1, "dye": None}}, "extra": {}}
    show_results(console, {"settings": settings, "camera": {}})
    assert console.file.getvalue().splitlines() == [
        "settings", "  frames: 5,000", "  layers:", "    spots:", "      label: 1", "      dye: -", "  extra: -",
        "camera: -",
    ]  # fmt: skip


def test_a_method_by_name(lucule, cell, tmp_path):
    out, table = tmp_path / "d.parquet", tmp_path / "clusters.csv"
    answer = lucule(
        "cluster", cell, "--method", "dbscan", "--set", "epsilon_nm=30", "--set", "min_points=6",
        "--set", "filter=x > 0", "--out", out, "--clusters", table, "--json",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.err
    found, read = Localizations.load(out), io.read(cell)
    assert (found["x"] == read["x"]).all()
    assert answer.json["results"]["clustered"] == (found["cluster"] >= 0).sum() > 100
    last = found.meta.history[-1]
    assert last.function == "lucule.cluster.methods.dbscan.dbscan"
    assert last.parameters["settings"] == {"epsilon_nm": 30, "min_points": 6}
    assert len(table.read_text().splitlines()) == found["cluster"].max() + 2


def test_settings_from_a_file_and_a_dry_run(lucule, cell, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("min_points: 7\ndrop_invalid: true\n")
    answer = lucule(
        "cluster", cell, "--method", "hdbscan", "--config", config, "--set", "core_points=4",
        "--out", tmp_path / "h.parquet", "--dry-run", "--json",
    )  # fmt: skip
    plan = answer.json["results"]
    assert plan["method_settings"] == {"min_points": 7, "core_points": 4, "selection": "lasting"}
    assert plan["settings"]["drop_invalid"] is True
    assert not (tmp_path / "h.parquet").exists()


def test_a_wrong_key_lists_the_right_ones(lucule, cell, tmp_path):
    answer = lucule("cluster", cell, "--method", "dbscan", "--set", "eps=50", "--out", tmp_path / "d.parquet")
    assert answer.exit_code == 2
    assert "eps is not a known key" in answer.err
    assert "epsilon_nm" in answer.err
    assert not (tmp_path / "d.parquet").exists()


def test_a_wrong_method_and_a_model_with_a_method(lucule, cell, tmp_path):
    out = tmp_path / "d.parquet"
    answer = lucule("cluster", cell, "--method", "kmeans", "--out", out)
    assert answer.exit_code == 2
    assert "hdbscan" in answer.err
    answer = lucule("cluster", cell, "--method", "dbscan", "--model", "XPILJZ", "--out", out)
    assert answer.exit_code == 2
    assert "network only" in answer.err


def test_methods_are_listed(lucule, cell, tmp_path):
    answer = lucule("cluster", cell, "--method", "list", "--out", tmp_path / "none.parquet", "--json")
    names = [one["name"] for one in answer.json["results"]["methods"]]
    assert {"dbscan", "bayesian", "voronoi"} <= set(names)


def test_2d_methods_refuse_3d(lucule, tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "xyz.parquet"
    Localizations(dict(zip("xyz", rng.uniform(0, 500, (3, 60)), strict=True))).save(path)
    answer = lucule("cluster", path, "--method", "getis", "--out", tmp_path / "g.parquet")
    assert answer.exit_code == 2
    assert "2D only" in answer.err
    answer = lucule("cluster", path, "--method", "focal", "--out", tmp_path / "f.parquet")
    assert answer.exit_code == 0, answer.err
