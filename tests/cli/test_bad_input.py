"""Whatever is wrong with the input: one clear message, exit code 2, nothing half-written."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import pytest

from lucule.workflows import WORKFLOWS

HEADER = '"id","frame","x [nm]","y [nm]","intensity [photon]"\n'
ROWS = "".join(f"{i},{i},{100.5 * i},{50.25 * i},1000\n" for i in range(1, 40))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


CASES = {
    "empty.csv": (b"", "empty"),
    "header_only.csv": (HEADER, "no localizations"),
    "nan.csv": (HEADER + ROWS + "40,40,NaN,1,1000\n", "not a finite number"),
    "infinite.csv": (HEADER + ROWS + "40,40,inf,1,1000\n", "not a finite number"),
    "text.csv": (HEADER + ROWS + "40,40,abc,1,1000\n", "abc"),
    "missing_columns.csv": ('"id","frame","intensity [photon]"\n1,1,1000\n', "--map x="),
    "pixels.csv": ("frame,x [px],y [px]\n" + ROWS.replace(",1000\n", "\n").split("\n", 1)[1], "--pixel-size-nm"),
    "empty.hdf5": (b"", "empty"),
    "truncated.csv": ((HEADER + ROWS)[:-12], "cut"),
    "junk.csv": (bytes(np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8)), ""),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_files(tmp_path, lucule, name) -> None:
    content, message = CASES[name]
    path, out = write(tmp_path / name, content), tmp_path / "out"
    answer = lucule("run", "clusters", path, "--out", out)
    assert answer.exit_code == 2, answer.err
    said = " ".join(answer.err.split())
    assert message in said
    assert "Traceback" not in said
    assert name in (out / "report.html").read_text(), "a report names the input that failed"
    assert not list(out.glob("*/localizations.parquet"))
    assert not list(out.rglob(".writing-*"))
    converted = lucule("convert", path, "--out", tmp_path / "converted.parquet", "--json")
    assert converted.exit_code == 2
    assert converted.json["results"] is None
    assert converted.json["error"]
    assert not (tmp_path / "converted.parquet").exists()


def test_a_folder_and_a_missing_file(tmp_path, lucule) -> None:
    for path in (tmp_path, tmp_path / "absent.csv"):
        answer = lucule("run", "clusters", path, "--out", tmp_path / "out")
        assert answer.exit_code == 2
        assert "Traceback" not in answer.err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_an_unreadable_file(tmp_path, lucule) -> None:
    path = write(tmp_path / "locked.csv", HEADER + ROWS)
    path.chmod(0)
    assert lucule("info", path).exit_code == 2


def test_one_row_has_a_result(tmp_path, lucule) -> None:
    """One localization is a valid table; it is just not in any cluster."""
    path = write(tmp_path / "one.csv", HEADER + "1,1,100,200,1000\n")
    answer = lucule("run", "clusters", path, "--out", tmp_path / "out", "--json")
    assert answer.exit_code == 0, answer.err
    table = pl.read_parquet(tmp_path / "out" / "one" / "localizations.parquet")
    assert table["label"].to_list() == [0]
    assert table["cluster"].to_list() == [-1]


@pytest.mark.parametrize(("n", "model"), [(1_000_000, "XPILJZ"), (20_000, "graph")])
def test_very_many_identical_points(n, model, tmp_path, lucule) -> None:
    path = tmp_path / "same.parquet"
    pl.DataFrame({"x": np.full(n, 500.0), "y": np.full(n, 700.0)}).write_parquet(path)
    answer = lucule("run", "clusters", path, "--out", tmp_path / "out", "--json", "--set", f"model={model}")
    assert answer.exit_code == 0, answer.err
    assert any("duplicate" in warning.lower() for warning in answer.json["warnings"])


def test_no_path_is_broken_in_a_message(tmp_path, cell, lucule) -> None:
    absent = tmp_path / ("long_" * 30) / "absent.roi"
    assert str(absent) in lucule("run", "clusters", cell, "--out", tmp_path / "out", "--region", absent).err


def test_wrong_settings_are_named(tmp_path, cell, lucule) -> None:
    for arguments, message in (
        (["--set", "modle=XPILJZ"], "modle is not a known key"),
        (["--model", "NOSUCH"], "XPILJZ"),
        (["--set", "min_points=0"], "min_points"),
        (["--map", "x"], "--map needs"),
        (["--set", "filter=nothing > 1"], "nothing"),
        (["--set", "filter=x > 1e12"], "fulfils"),
        (["--region", tmp_path / "absent.roi"], "absent.roi"),
        (["--config", tmp_path / "absent.yaml"], "Cannot read"),
    ):
        answer = lucule("run", "clusters", cell, "--out", tmp_path / "out", *arguments)
        assert answer.exit_code == 2, (arguments, answer.err)
        assert message in " ".join(answer.err.split())
    assert lucule("run", "nothing", cell, "--out", tmp_path / "out").exit_code == 2
    assert lucule("run", "clusters", cell).exit_code == 2
    assert lucule("run", "clusters", "--out", tmp_path / "out").exit_code == 2
    assert lucule("run", "clusters", cell, cell, "--out", tmp_path / "out").exit_code == 2


def test_an_interrupted_command_says_what_became_of_its_work(cell, lucule, tmp_path, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def interrupted_in_compiled_code(*_: object, **__: object) -> None:
        try:
            interrupted()
        except KeyboardInterrupt as stop:
            raise SystemError("CPUDispatcher returned a result with an exception set") from stop

    for fault in (interrupted, interrupted_in_compiled_code):
        monkeypatch.setattr("lucule.cluster.measure", fault)
        answer = lucule("cluster", cell, "--method", "dbscan", "--out", tmp_path / "c.parquet")
        assert answer.exit_code == 130
        assert "Interrupted. Nothing was left half-written" in " ".join(answer.err.split())
        assert not (tmp_path / "c.parquet").exists()
        monkeypatch.setattr("lucule.workflows.clusters.run", fault)
        answer = lucule("run", "clusters", cell, "--out", tmp_path / "r")
        assert answer.exit_code == 130
        assert "What is finished is kept; the same command goes on" in " ".join(answer.err.split())


def test_the_help_of_run_names_every_workflow(lucule):
    told = lucule("run", "--help").out
    assert all(name in told for name in WORKFLOWS)
