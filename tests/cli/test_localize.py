"""`lucule localize` and `lucule train` of localization networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import lucule
from lucule.cli import app
from lucule.core.config import dump_yaml
from lucule.nn import torch_threads
from lucule.simulate import load_camera
from lucule.simulate.camera import expose
from lucule.simulate.optics import compile_psf

RECIPE = {
    "task": "localize",
    "name": "tiny",
    "title": "a network that has hardly learned",
    "network": {"context": 3, "widths": [8, 8, 8, 8, 8], "head": 8},
    "scenes": {"shape_px": [32, 32], "frames": 3, "scenes": 2, "samplers": {"csr": 1.0}},
    "fit": {"steps": 1000},
    "budgets": {"smoke": {"fit": {"steps": 2, "log_every_steps": 1}, "validation_batches": 1}},
}


def call(*arguments):
    with torch_threads(1):
        result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    (folder / "recipe.yaml").write_text(dump_yaml(RECIPE))
    code, answer = call("train", folder / "recipe.yaml", "--budget", "smoke", "--device", "cpu", "--out",
                        folder / "tiny", "--set", "fit.steps=1")  # fmt: skip
    return folder / "tiny", code, answer


@pytest.fixture
def movie(tmp_path):
    frames = np.random.default_rng(0).integers(100, 900, (6, 32, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", frames)
    return tmp_path / "movie.tif"


def test_training_takes_the_budget_and_then_what_is_set_by_hand(trained):
    folder, code, answer = trained
    assert code == 0
    assert answer["results"]["model"] == "tiny"
    assert answer["results"]["scores"]["train_step"] == 1
    assert {path.name for path in folder.iterdir()} >= {"card.yaml", "weights.safetensors", "log.csv", "recipe.yaml"}


def test_a_movie_becomes_a_table(trained, movie, tmp_path):
    out = tmp_path / "locs.parquet"
    code, answer = call("localize", movie, "--model", trained[0], "--out", out, "--threshold", 0.01, "--frames", "1:4",
                        "--device", "cpu")  # fmt: skip
    assert code == 0, answer
    assert answer["results"]["frames"] == 3
    locs = lucule.Localizations.load(out)
    assert len(locs) == answer["results"]["localizations"]
    assert locs.meta.history[-1].parameters["movie"] == "movie.tif"


def test_a_dry_run_writes_nothing(trained, movie, tmp_path):
    code, answer = call("localize", movie, "--model", trained[0], "--out", tmp_path / "no.parquet", "--dry-run")
    assert code == 0
    assert answer["results"]["frames"] == 6
    assert not (tmp_path / "no.parquet").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "3:9"], "frames cannot be used"),
        (["--frames", "a:b"], "frames cannot be used"),
        (["--method", "magic"], "no such method"),
        (["--threshold", "2"], "probability"),
        (["--camera", "orca"], "no such camera"),
        (["--model", "absent"], "no such model"),
    ],
)
def test_bad_input_is_one_message_and_code_2(trained, movie, tmp_path, options, message):
    chosen = options if "--model" in options else [*options, "--model", trained[0]]
    code, answer = call("localize", movie, "--out", tmp_path / "locs.parquet", *chosen)
    assert code == 2
    assert message in answer["error"]
    assert not (tmp_path / "locs.parquet").exists()


def test_a_movie_that_is_cut_off_is_refused(trained, movie, tmp_path):
    movie.write_bytes(movie.read_bytes()[:3000])
    code, answer = call("localize", movie, "--model", trained[0], "--out", tmp_path / "locs.parquet")
    assert code == 2, answer
    assert not (tmp_path / "locs.parquet").exists()


@pytest.fixture
def spots(tmp_path):
    """Ten frames with one emitter each, and the camera."""
    camera = load_camera("ideal")
    light = 20 + compile_psf("astigmatic", 100).image(1610, 2030, 150, 6000, (36, 40))
    tifffile.imwrite(tmp_path / "spots.tif", expose(light[None].repeat(10, axis=0), camera, seed=1))
    camera.to_yaml(tmp_path / "camera.yaml")
    return tmp_path / "spots.tif", tmp_path / "camera.yaml"


@pytest.mark.parametrize("options", [["--psf", "astigmatic"], ["--psf", "astigmatic", "--multi"],
                                     ["--model", "elliptical", "--false-alarms", "0.001"]])  # fmt: skip
def test_a_movie_is_fitted(spots, tmp_path, options):
    out = tmp_path / "locs.parquet"
    code, answer = call("localize", spots[0], "--method", "fit", "--camera", spots[1], "--out", out, *options)
    assert code == 0, answer
    locs = lucule.Localizations.load(out)
    assert len(locs) == 10
    assert np.abs(locs["x"] - 1610).max() < 5 * locs["x_err"].max()
    assert len(locs.meta.history) == 1
    assert locs.meta.history[0].parameters["settings"]["multi"] == ("--multi" in options)
    if "--psf" in options:
        assert np.abs(locs["z"] - 150).max() < 5 * locs["z_err"].max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "does not say everything about its camera"),
        (["--camera", "ideal", "--model", "round"], "cannot be used"),
        (["--camera", "ideal", "--psf", "absent"], "no such PSF"),
        (["--camera", "ideal", "--threshold", "0.5"], "belongs to --method network"),
        (["--camera", "ideal", "--false-alarms", "0"], "cannot be used"),
        (["--camera", "gainless.yaml"], "no gain"),
        (["--camera", "ideal", "--roi", "0:8,0:8"], "region of the fit"),
    ],
)
def test_bad_input_of_a_fit_is_one_message_and_code_2(spots, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gainless.yaml").write_text("kind: scmos\npixel_size_nm: 100\nbaseline: 100\n")
    code, answer = call("localize", spots[0], "--method", "fit", "--out", tmp_path / "locs.parquet", *options)
    assert code == 2, answer
    assert message in answer["error"]
    assert not (tmp_path / "locs.parquet").exists()


def test_options_of_a_fit_are_no_options_of_a_network(trained, movie, tmp_path):
    code, answer = call("localize", movie, "--model", trained[0], "--out", tmp_path / "no.parquet", "--multi")
    assert code == 2
    assert "--multi belongs to --method fit" in answer["error"]
