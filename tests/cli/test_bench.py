"""`lucule bench` as a user calls it."""

from __future__ import annotations

import polars as pl
import pytest

from lucule.bench import localize_structures, neighbours

TABLE = pl.DataFrame({"value": [1.0]})


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(neighbours, "run", lambda *, seed: TABLE.with_columns(seed=seed))
    monkeypatch.setattr(localize_structures, "run", lambda *, seed: TABLE.with_columns(seed=seed))


def test_list_says_how_to_call_each(lucule):
    names = [line["name"] for line in lucule("bench", "list", "--json").json["results"]["benchmarks"]]
    assert "localize" in names
    assert "localize --study structures" in names


def test_a_benchmark_and_its_study_write_files_of_their_own(lucule, quick, tmp_path):
    answer = lucule("bench", "neighbours", "--seed", 3, "--out", tmp_path, "--json")
    assert answer.json["results"]["neighbours"] == [{"value": 1.0, "seed": 3}]
    answer = lucule("bench", "localize", "--study", "structures", "--out", tmp_path, "--json")
    assert "localize_structures" in answer.json["results"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["localize_structures.json", "neighbours.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "no such benchmark"),
        (("localize_structures",), "no such benchmark"),
        (("localize", "--study", "colours"), "structures"),
        (("neighbours", "--study", "structures"), "none"),
        (("all", "--study", "structures"), "one benchmark"),
    ],
)
def test_bad_calls(lucule, tmp_path, arguments, message):
    answer = lucule("bench", *arguments, "--out", tmp_path)
    assert answer.exit_code == 2
    assert message in answer.err.replace("\n", " ")
