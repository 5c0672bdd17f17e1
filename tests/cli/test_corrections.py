"""`lucule correct` and `lucule resolution` as a user calls them."""

from __future__ import annotations

import polars as pl
import pytest

from lucule import simulate
from lucule.core import Localizations


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("origami") / "origami.parquet"
    simulate.localizations("origami", frames=1500, seed=3).save(path)
    return path


def test_drift(lucule, table, tmp_path) -> None:
    out, plot, curve = tmp_path / "d.parquet", tmp_path / "d.png", tmp_path / "d.csv"
    answer = lucule(
        "correct", "drift", table, "--method", "aim", "--out", out, "--plot", plot, "--curve", curve, "--json"
    )
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    assert results["method"] == "aim"
    assert results["drift_x_nm"] < 10
    assert results["drift_error_nm"] > 0
    assert plot.read_bytes()[:4] == b"\x89PNG"
    history = Localizations.load(out).meta.history
    assert [step.function.split(".")[-1] for step in history[-1:]] == ["correct_drift"]
    again = tmp_path / "again.parquet"
    answer = lucule("correct", "drift", table, "--apply", curve, "--out", again)
    assert answer.exit_code == 0, answer.err
    a, b = Localizations.load(out), Localizations.load(again)
    assert abs(a["x"] - b["x"]).max() < 0.05


def test_link(lucule, table, tmp_path) -> None:
    out, plot = tmp_path / "m.parquet", tmp_path / "m.svg"
    answer = lucule(
        "correct", "link", table, "--radius", "auto", "--gap", "auto", "--out", out, "--plot", plot, "--json"
    )
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    linked = Localizations.load(out)
    assert results["events"] == len(linked) < results["localizations"]
    assert results["why_radius"]
    assert results["on_frames_interval"][0] < results["on_frames"] < results["on_frames_interval"][1]
    assert "<svg" in plot.read_text()
    fixed = lucule("correct", "link", table, "--radius", "50", "--gap", "25", "--keep-rows", "--out", out, "--json")
    assert fixed.json["results"]["radius_nm"] == 50
    assert len(Localizations.load(out)) == results["localizations"]


def test_filter(lucule, table, tmp_path) -> None:
    plot = tmp_path / "f.png"
    answer = lucule(
        "correct", "filter", table, "--where", "photons > 2000 & x_err < 6", "--show", "--plot", plot, "--json"
    )
    assert answer.exit_code == 0, answer.err
    (step,) = answer.json["results"]["steps"]
    assert step["left"] == answer.json["results"]["kept"]
    assert plot.exists()
    out = tmp_path / "f.parquet"
    shown = lucule(
        "correct", "filter", table, "--preset", "sarcomere", "--where", "photons > 500", "--out", out, "--show"
    )
    assert shown.exit_code == 0, shown.err
    assert "percent_discarded" in shown.out
    assert Localizations.load(out).meta.history[-1].parameters["settings"]["preset"] == "sarcomere"


def test_register(lucule, table, tmp_path) -> None:
    locs = Localizations.load(table)
    moved = tmp_path / "ch2.parquet"
    locs.with_columns(x=locs["x"] + 300, y=locs["y"] - 100).save(moved)
    beads = tmp_path / "beads.csv"
    at = [(1000.0 * i, 900.0 * i % 7000) for i in range(1, 10)]
    pl.DataFrame({"x": [x + 300 for x, _ in at], "y": [y - 100 for _, y in at], "reference_x": [x for x, _ in at],
                  "reference_y": [y for _, y in at]}).write_csv(beads)  # fmt: skip
    out, plot = tmp_path / "r.parquet", tmp_path / "r.png"
    for more in (["--beads", beads, "--residuals", tmp_path / "left.csv"], ["--kind", "shift"]):
        answer = lucule(
            "correct", "register", moved, "--reference", table, "--out", out, "--plot", plot, *more, "--json"
        )
        assert answer.exit_code == 0, answer.err
        assert answer.json["results"]["shift_nm"] == pytest.approx([-300, 100], abs=2)
        assert abs((Localizations.load(out)["x"] - locs["x"]).mean()) < 2
    assert pl.read_csv(tmp_path / "left.csv").height == 9


def test_resolution(lucule, table, tmp_path) -> None:
    plot, curve = tmp_path / "frc.png", tmp_path / "frc.csv"
    answer = lucule("resolution", table, "--plot", plot, "--curve", curve, "--course", "--set", "repeats=4", "--json")
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    assert 8 < results["frc_nm"] < 30
    assert results["frc_nm_interval"][0] <= results["frc_nm"] * 1.05
    assert results["limited_by"] in ("precision", "density")
    assert len(results["course"]) == 6
    assert {"frequency_per_nm", "correlation"} <= set(pl.read_csv(curve).columns)
    text = lucule("resolution", table, "--set", "repeats=2")
    assert "limited_by" in text.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("correct", "drift", "TABLE", "--method", "magic"), "auto"),
        (("correct", "link", "TABLE", "--radius", "wide"), "--radius"),
        (("correct", "filter", "TABLE"), "no step"),
        (("correct", "filter", "TABLE", "--where", "photos > 3"), "photos"),
        (("correct", "filter", "TABLE", "--preset", "nature"), "caml"),
        (("resolution", "TABLE", "--split", "thirds"), "split"),
        (("resolution", "TABLE", "--plot", "curve.gif", "--set", "repeats=1"), ".png"),
        (("correct", "register", "TABLE", "--reference", "absent.csv"), "absent.csv"),
    ],
)
def test_what_is_refused(lucule, table, tmp_path, arguments, message) -> None:
    out = tmp_path / "never.parquet"
    given = [table if part == "TABLE" else part for part in arguments]
    options = [] if arguments[0] == "resolution" else ["--out", out]
    answer = lucule(*given, *options)
    assert answer.exit_code == 2, answer.err
    assert message in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
    assert not out.exists()


def test_dry_runs_do_nothing(lucule, table, tmp_path) -> None:
    out = tmp_path / "never.parquet"
    for command in (["correct", "drift"], ["correct", "link"], ["correct", "filter", "--where", "photons > 3"]):
        name, *rest = command[1:]
        answer = lucule(command[0], name, table, *rest, "--out", out, "--dry-run", "--json")
        assert answer.json["results"]["dry_run"]
    assert lucule("resolution", table, "--dry-run", "--json").json["results"]["settings"]["split"] == "blocks"
    assert not out.exists()


def test_a_table_without_frames(lucule, tmp_path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("x [nm],y [nm]\n" + "".join(f"{i * 7 % 991},{i * 13 % 977}\n" for i in range(400)))
    answer = lucule("correct", "drift", path, "--out", tmp_path / "d.parquet", "--json")
    assert answer.exit_code == 2
    assert "--map frame=" in answer.json["error"]
    found = lucule("resolution", path, "--json")
    assert found.exit_code == 0, found.err
    assert found.json["results"]["nena_nm"] is None
    assert "frame" in found.json["results"]["nena_nm_reason"]
