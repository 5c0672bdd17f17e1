"""`lucule compare` and `lucule overlap` as a user calls them."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.cluster import measure
from lucule.core import Localizations, Region

SIDE = 3000.0


def _save(path, seed, number=12, radius=30.0, channels=1):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(100, SIDE - 100, (number, 1, 2))
    points = (centre + rng.normal(0, radius / 2, (number, 15, 2))).reshape(-1, 2)
    columns = {"x": points[:, 0], "y": points[:, 1], "cluster": np.repeat(np.arange(number), 15)}
    if channels > 1:
        columns["channel"] = columns["cluster"] % channels
    measure(Localizations(columns), region=Region.rectangle(0, 0, SIDE, SIDE)).save(path)
    return path


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    paths = [_save(folder / f"{'ab'[i // 4]}{i}" / "clusters.parquet", i, radius=30 + 15 * (i // 4)) for i in range(8)]
    by = folder / "condition.csv"
    by.write_text("file,condition\n" + "".join(f"{path.parent.name},{path.parent.name[0]}\n" for path in paths))
    return paths, by


FAST = ("--set", "measures=[cluster_area_nm2]", "--set", "resamples=100", "--workers", "1")


def test_compare(cells, tmp_path, lucule) -> None:
    paths, by = cells
    out = tmp_path / "comparison"
    answer = lucule("compare", *paths, "--by", by, "--out", out, "--json", *FAST)
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    assert results["conditions"] == {"a": 4, "b": 4}
    assert results["tests"][0]["measure"] == "cluster_area_nm2"
    assert results["pairs"][0]["cliffs_delta"] == 1
    assert "Dunn" in results["methods"]
    assert any("Fewer than 5 cells" in warning for warning in answer.json["warnings"])
    said = lucule("compare", *paths, "--by", by, "--out", out, *FAST)
    assert said.exit_code == 0
    assert "cluster_area_nm2" in said.out
    assert lucule("report", out, "--json").exit_code == 0
    again = lucule("run", out / "run.yaml", "--json")
    assert again.exit_code == 0, again.err
    assert len(again.json["results"]["inputs"]) == 8


def test_dry_run_and_wrong_use(cells, tmp_path, lucule) -> None:
    paths, by = cells
    out = tmp_path / "out"
    planned = lucule("compare", *paths, "--by", by, "--out", out, "--dry-run", "--json")
    assert planned.json["results"]["settings"]["adjust"] == "holm"
    for arguments, message in (
        ([*paths, "--out", out], "--by condition.csv"),
        ([*paths, "--by", by], "--out COMPARISON"),
        ([*paths[:3], "--by", by, "--out", out], "5 lines that fit no input"),
        ([*paths, "--by", tmp_path / "absent.csv", "--out", out], "Cannot read"),
        ([*paths, "--by", by, "--out", out, "--set", "adjust=none of them"], "adjust"),
        ([*paths, "--by", by, "--out", out, "--set", "adjusted=holm"], "not a known key"),
    ):
        answer = lucule("compare", *arguments)
        assert answer.exit_code == 2, arguments
        assert message in " ".join(answer.err.split())
    assert not out.exists()


def test_a_file_that_is_no_table_of_clusters(cells, tmp_path, lucule) -> None:
    paths, by = cells
    wrong = tmp_path / "wrong" / "clusters.parquet"
    wrong.parent.mkdir()
    Localizations({"x": [1.0], "y": [2.0]}).save(wrong)
    both = tmp_path / "condition.csv"
    both.write_text(by.read_text() + "wrong,a\n")
    answer = lucule("compare", *paths, wrong, "--by", both, "--out", tmp_path / "out", "--json", *FAST)
    assert answer.exit_code == 2
    assert answer.json["results"]["conditions"] == {"a": 4, "b": 4}
    assert any("does not hold clusters" in warning for warning in answer.json["warnings"])
    both.write_text("file,condition\nwrong,a\n")
    alone = lucule("compare", wrong, "--by", both, "--out", tmp_path / "alone", "--json", *FAST)
    assert alone.exit_code == 2
    assert alone.json["results"]["reason"] == "no input could be read"


def test_overlap(tmp_path, lucule) -> None:
    both = _save(tmp_path / "both.parquet", 1, number=60, channels=2)
    answer = lucule("overlap", both, "--channels", "0,1", "--shifts", "19", "--json")
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["clusters_a"] == answer.json["results"]["clusters_b"] == 30
    assert answer.json["results"]["edge"] == "the region inside which A was measured"
    one, other = _save(tmp_path / "one.parquet", 2), _save(tmp_path / "other.parquet", 2)
    same = lucule("overlap", one, other, "--shifts", "19", "--reach-nm", "10", "--json").json["results"]
    assert (same["a_touching_b"], same["a_covered_by_b"], same["a_touching_b_p"]) == (1, pytest.approx(1), 0.1)
    assert "a_touching_b" in lucule("overlap", one, other, "--shifts", "19").out
    for arguments, message in (
        ([both, "--channels", "0"], "Two channels"),
        ([one], "cannot be chosen by channel"),
        ([tmp_path / "absent.parquet"], "absent.parquet"),
    ):
        wrong = lucule("overlap", *arguments)
        assert wrong.exit_code == 2
        assert message in " ".join(wrong.err.split())
