"""`lucule average` as a user calls it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from lucule.core import Localizations

CORNERS = np.array([[0.0, 0.0], [60.0, 0.0], [0.0, 90.0], [30.0, 30.0]])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Twelve turned particles of four sites, without any symmetry."""
    rng = np.random.default_rng(1)
    xy, group = [], []
    for k, angle in enumerate(rng.uniform(0, 2 * np.pi, 12)):
        c, s = np.cos(angle), np.sin(angle)
        xy.append(CORNERS.repeat(8, axis=0) @ [[c, s], [-s, c]] + [400.0 * k + 300, 300] + rng.normal(0, 3, (32, 2)))
        group += [k] * 32
    points = np.concatenate(xy)
    path = tmp_path_factory.mktemp("particles") / "particles.parquet"
    columns = {"x": points[:, 0], "y": points[:, 1], "x_err": np.full(384, 3.0), "y_err": np.full(384, 3.0)}
    Localizations(columns | {"group": group}).save(path)
    return path


def test_average(lucule, table, tmp_path) -> None:
    answer = lucule("average", table, "--symmetry", "none", "--out", tmp_path / "avg", "--set", "starts=1", "--json")
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    assert results["particles"] == results["particles_averaged"] == 12
    assert results["sites"] == 4
    assert results["nearest_site_nm"] == pytest.approx(42.4, abs=2)
    assert 2 < results["half_set_frc_nm"] < 25
    folder = tmp_path / "avg"
    assert (folder / "average.png").read_bytes()[:4] == b"\x89PNG"
    aligned = Localizations.load(folder / "average.parquet")
    assert len(aligned) == 384
    assert np.hypot(aligned["x"], aligned["y"]).max() < 120
    assert {"particle", "angle_deg", "weight", "score", "class", "outlier"} <= set(
        pl.read_csv(folder / "particles.csv").columns
    )
    run = json.loads((folder / "run.json").read_text())
    assert run["settings"]["symmetry"] == "none"
    assert run["results"]["particles"] == 12


def test_dry_run_writes_nothing(lucule, table, tmp_path) -> None:
    answer = lucule(
        "average", table, "--symmetry", "8", "--dimensions", "2", "--out", tmp_path / "a", "--dry-run", "--json"
    )
    assert answer.json["results"]["settings"]["symmetry"] == 8
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--group", "pick"], "no column pick"),
        (["--symmetry", "round"], "symmetry"),
        (["--dimensions", "3"], "positions in z"),
        (["--unit", "um"], "far larger"),
    ],
)
def test_what_cannot_be_averaged_ends_in_one_message(lucule, table, tmp_path, arguments, message) -> None:
    path = table
    if "--unit" in arguments:  # a text file in nm, read as if it were um
        path = tmp_path / "t.csv"
        Localizations.load(table).data.rename({"x": "px", "y": "py"}).write_csv(path)
        arguments = [*arguments, "--map", "x=px", "--map", "y=py"]
    answer = lucule("average", path, "--out", tmp_path / "a", *arguments)
    assert answer.exit_code == 2
    assert message in " ".join(answer.err.split())
    assert not (tmp_path / "a").exists()
