"""`lucule simulate`: tables, movies, lists; one clear message for what cannot be."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import tifffile
import yaml

from lucule.core import Localizations

UNIFORM = {
    "field": {"size_um": 5, "axial_range_nm": 200},
    "layers": {"molecules": {"specimen": {"kind": "uniform", "density_per_um2": 20}}},
    "acquisition": {"frames": 50, "interval_s": 0.02},
}


def written(path, **changes):
    path.write_text(yaml.safe_dump(UNIFORM | changes))
    return path


def test_table_and_truth_in_a_folder(tmp_path, lucule) -> None:
    answer = lucule("simulate", "origami", "--out", tmp_path / "sim", "--frames", 100, "--json")
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    locs = Localizations.load(tmp_path / "sim" / "localizations.parquet")
    assert results["localizations"] == len(locs)
    assert results["frames"] == 100
    structures = pl.read_parquet(tmp_path / "sim" / "localizations.truth" / "structures.parquet")
    assert structures.height == 150
    dyes = pl.read_parquet(tmp_path / "sim" / "localizations.truth" / "dyes.parquet")
    real = locs.data.filter(locs.data["emitters"] > 0)
    assert (dyes["structure"].to_numpy()[real["molecule"].to_numpy()] == real["structure"].to_numpy()).all()
    again = lucule("simulate", tmp_path / "sim" / "localizations.truth" / "scene.yaml", "--out", tmp_path / "b.parquet",
                   "--frames", 100)  # fmt: skip
    assert again.exit_code == 0, again.err
    assert Localizations.load(tmp_path / "b.parquet").data.equals(locs.data)


def test_movie(tmp_path, lucule) -> None:
    scene = written(tmp_path / "scene.yaml")
    answer = lucule("simulate", scene, "--movie", "--frames", 12, "--camera", "prime95b", "--psf", "astigmatic",
                    "--out", tmp_path / "sim", "--json")  # fmt: skip
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["frames"] == 12
    assert tifffile.imread(tmp_path / "sim" / "movie.ome.tif").shape == (12, 50, 50)
    assert (tmp_path / "sim" / "movie.truth" / "emitters.parquet").exists()
    zarr = lucule("simulate", scene, "--movie", "--frames", 12, "--out", tmp_path / "mine.ome.zarr")
    assert zarr.exit_code == 0, zarr.err
    assert (tmp_path / "mine.ome.zarr" / "0" / ".zarray").exists()
    named = lucule("simulate", scene, "--movie", "--frames", 12, "--camera", "prime95b", "--psf", "astigmatic",
                   "--out", tmp_path / "mine.ome.tif")  # fmt: skip
    assert named.exit_code == 0, named.err
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "mine.ome.tif"), tifffile.imread(tmp_path / "sim" / "movie.ome.tif")
    )


def test_imitation_of_a_table(tmp_path, lucule) -> None:
    data = tmp_path / "mine.parquet"
    made = lucule("simulate", "uniform", "--set", "size_um=8", "--frames", 1000, "--out", data)
    assert made.exit_code == 0, made.err
    answer = lucule("simulate", "--like", data, "--out", tmp_path / "like.yaml", "--json")
    assert answer.exit_code == 0, answer.err
    ratio = {row["quantity"]: row["ratio"] for row in answer.json["results"]["measured"]}
    assert ratio["photons"] == pytest.approx(1, abs=0.1)
    assert ratio["decay_s"] is None
    again = lucule("simulate", tmp_path / "like.yaml", "--frames", 10, "--out", tmp_path / "again.parquet")
    assert again.exit_code == 0, again.err
    unknown = lucule("simulate", "--like", tmp_path / "lost.tif", "--camera", "ideal", "--out", tmp_path / "no.yaml")
    assert unknown.exit_code == 2
    assert "no such movie" in " ".join(unknown.err.split())
    assert not (tmp_path / "no.yaml").exists()
    assert lucule("simulate", "--like", data).exit_code == 2
    planned = lucule("simulate", "--like", data, "--interval-s", 0.02, "--dry-run", "--json").json["results"]
    assert (planned["dry_run"], planned["like"], planned["interval_s"]) == (True, str(data), 0.02)
    assert lucule("simulate").exit_code == 2


def test_scenarios_as_before(tmp_path, lucule) -> None:
    answer = lucule("simulate", "csr", "--set", "density_per_um2=5", "--out", tmp_path / "cell.csv", "--json")
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["clusters"] == 0
    assert (tmp_path / "cell.csv").exists()
    into = lucule("simulate", "csr", "--set", "density_per_um2=5", "--out", tmp_path / "folder")
    assert into.exit_code == 0, into.err
    assert (tmp_path / "folder" / "localizations.parquet").exists()


def test_changes_and_dry_run(tmp_path, lucule) -> None:
    answer = lucule("simulate", "sarcomere", "--set", "line_distance_nm=136", "--set", "labelling=0.5",
                    "--set", "double_lines.specimen.tilt_deg={mean: 0, sd: 2}", "--dry-run", "--json")  # fmt: skip
    settings = answer.json["results"]["settings"]
    assert settings["layers"]["double_lines"]["specimen"]["line_distance_nm"] == 136
    assert settings["layers"]["double_lines"]["specimen"]["tilt_deg"] == {"mean": 0, "sd": 2}
    assert settings["labelling"]["probability"] == 0.5
    config = tmp_path / "changes.yaml"
    config.write_text("line_distance_nm: 150\nframes: 5\n")
    answer = lucule("simulate", "sarcomere", "--config", config, "--dry-run", "--json")
    assert answer.json["results"]["settings"]["acquisition"]["frames"] == 5
    assert list(tmp_path.iterdir()) == [config]


def test_list(lucule) -> None:
    results = lucule("simulate", "list", "--json").json["results"]
    assert {"scenes", "scenarios", "specimens", "dyes", "cameras", "psfs"} == set(results)
    assert "sarcomere" in {row["name"] for row in results["scenes"]}
    assert "myofibril" in {row["kind"] for row in results["specimens"]}
    assert "smlm_challenge" in {row["name"] for row in results["cameras"]}
    assert lucule("simulate", "list").exit_code == 0


def no_energy(folder):
    np.save(folder / "dark.npy", np.zeros((9, 15, 15)))
    path = folder / "dark.yaml"
    path.write_text("kind: spline\npath: dark.npy\npixel_size_nm: 100\nz_step_nm: 50\n")
    return ["--psf", path]


def specimen(**settings):
    return {"layers": {"molecules": {"specimen": settings}}}


CASES = {
    "unknown scene": ("sarcomer", {}, "no such scene or scenario"),
    "unknown specimen": (None, specimen(kind="sarcomeres"), "sarcomeres"),
    "negative rate": (None, {"dye": {"kind": "switching", "on_time_s": -0.03, "off_time_s": 5,
                                     "photons": {"kind": "rate", "photons_per_s": 1000}}}, "on_time_s=-0.03"),
    "negative density": (None, specimen(kind="uniform", density_per_um2=-4), "must not be negative"),
    "density that cannot fit": (None, {"layers": {"rings": {
        "specimen": {"kind": "ring", "radius_nm": 900, "epitopes": 10}, "placement": {"count": 60}}}}, "fit"),
    "outside the depth range": (None, {"field": {"size_um": 5, "axial_range_nm": 4000}}, "depth range of the PSF"),
    "unknown camera": (None, ["--camera", "polaroid"], "no such camera"),
    "unknown PSF": (None, ["--psf", "airy"], "no such PSF"),
    "unknown dye": (None, {"dye": "af700"}, "af700"),
    "PSF without energy": (None, no_energy, "no energy"),
    "mistyped setting": (None, ["--set", "axial_range=5"], "no such setting"),
    "movie of a scenario": ("csr", ["--movie"], "positions only"),
    "table as TIFF": (None, ["--out", "table.tif"], "--movie"),
    "movie as CSV": (None, ["--movie", "--out", "movie.csv"], "OME-TIFF"),
    "unknown way with depth": (None, ["--outside", "ignore"], "error, drop"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input(tmp_path, lucule, monkeypatch, name) -> None:
    scene, wrong, message = CASES[name]
    monkeypatch.chdir(tmp_path)
    options = wrong(tmp_path) if callable(wrong) else wrong if isinstance(wrong, list) else []
    if scene is None:
        scene = written(tmp_path / "scene.yaml", **(wrong if isinstance(wrong, dict) else {}))
    before = set(tmp_path.iterdir())
    out = [] if "--out" in options else ["--out", "sim"]
    answer = lucule("simulate", scene, *out, *options)
    assert answer.exit_code == 2, answer.err
    said = " ".join(answer.err.split())
    assert message in said
    assert "Traceback" not in said
    assert said.count("error ") == 1
    assert set(tmp_path.iterdir()) == before


def test_no_output_named(lucule) -> None:
    answer = lucule("simulate", "origami")
    assert answer.exit_code == 2
    assert "--out" in answer.err
