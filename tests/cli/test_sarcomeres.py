"""`lucule sarcomeres`: what it plans, and what it refuses before any work."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lucule.cli import app


def call(*arguments):
    result = CliRunner().invoke(app, ["sarcomeres", *map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x [nm],y [nm]\n1,2\n3,4\n")
    return path


def test_the_plan_names_all_settings_and_writes_nothing(table, tmp_path) -> None:
    code, answer = call(table, "--out", tmp_path / "out", "--set", "lines.linker_nm=15", "--dry-run")
    assert code == 0
    assert "linker_nm" in json.dumps(answer)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--model", "nothing"],
        ["--regions", "missing.geojson"],
        ["--set", "lines.linker=sideways"],
        ["--set", "colour=1"],
    ],
)
def test_wrong_settings_are_refused(table, tmp_path, wrong) -> None:
    code, answer = call(table, "--out", tmp_path / "out", *wrong)
    assert code == 2
    assert "error" in answer


def test_a_missing_table_is_an_error_of_its_own(tmp_path) -> None:
    code, _ = call(tmp_path / "missing.csv", "--out", tmp_path / "out")
    assert code != 0
