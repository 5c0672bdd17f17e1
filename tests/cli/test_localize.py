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


def test_the_ending_chooses_the_format_and_a_region_can_be_named(trained, movie, tmp_path):
    out = tmp_path / "locs.csv"
    region = ("--roi", "16:40,8:", "--threshold", 0.01)
    code, answer = call("localize", movie, "--model", trained[0], "--out", out, "--device", "cpu", *region)
    assert code == 0, answer
    assert out.read_text().startswith("id,frame,x [nm],y [nm]")
    code, answer = call("localize", movie, "--model", trained[0], "--out", out, "--dry-run", *region)
    assert answer["results"]["shape_px"] == [24, 24]


def test_an_interrupted_run_goes_on_and_leaves_nothing_behind(trained, movie, tmp_path, monkeypatch):
    from lucule.localize import predict

    found = predict._find
    calls = []

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return found(*arguments)

    monkeypatch.setattr(predict, "_block", lambda *_: 2)
    monkeypatch.setattr(predict, "_find", dies)
    command = ("localize", movie, "--model", trained[0], "--threshold", 0.01, "--device", "cpu", "--out")
    code, answer = call(*command, tmp_path / "locs.parquet")
    assert code == 130
    assert "goes on from there" in answer["error"]
    assert (tmp_path / "locs.parquet.parts").is_dir()
    code, answer = call(*command, tmp_path / "locs.parquet")
    assert code == 0, answer
    assert len(calls) == 4  # frames 0 to 4 were not done again
    call(*command, tmp_path / "again.parquet")
    locs, again = (lucule.Localizations.load(tmp_path / name) for name in ("locs.parquet", "again.parquet"))
    assert locs.data.equals(again.data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.parquet", "locs.parquet", "movie.tif"]


def test_of_a_movie_with_channels_one_is_chosen_and_its_camera_used(trained, tmp_path):
    frames = np.random.default_rng(0).integers(100, 900, (4, 2, 32, 40)).astype(np.uint16)
    path = tmp_path / "movie.ome.tif"
    tifffile.imwrite(path, frames, ome=True, metadata={"axes": "TCYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1})
    command = ("localize", path, "--model", trained[0], "--out", tmp_path / "a.parquet", "--dry-run")
    code, answer = call(*command)
    assert code == 2
    assert "more than one channel" in answer["error"]
    code, answer = call(*command, "--channel", 1, "--camera", "movie")
    assert code == 2
    assert "kind, baseline, electrons_per_count missing" in answer["error"]
    (tmp_path / "camera.yaml").write_text("kind: scmos\nbaseline: 100\nelectrons_per_count: 0.5\n")
    code, answer = call(*command, "--channel", 1, "--camera", tmp_path / "camera.yaml")
    assert code == 0, answer
    assert answer["results"]["camera"]["pixel_size_nm"] == 100
    assert answer["results"]["shape_px"] == [32, 40]


def test_info_tells_what_a_movie_is(movie, tmp_path):
    code, answer = call("info", movie)
    assert code == 0, answer
    found = answer["results"]
    assert (found["frames"], found["rows"], found["columns"], found["dtype"]) == (6, 32, 40, "uint16")
    assert 100 <= found["counts_min"] < found["counts_median"] < found["counts_max"] < 900
    assert found["camera_needs"] == ["kind", "pixel_size_nm", "baseline", "electrons_per_count"]
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((5, 8, 8), np.uint8))
    code, answer = call("info", movie, tmp_path / "small.tif")
    assert set(answer["results"]) == {str(movie), str(tmp_path / "small.tif")}
    assert "8-bit" in answer["warnings"][0]


def test_what_is_wrong_with_frames_is_a_warning(trained, tmp_path):
    frames = np.random.default_rng(0).integers(100, 900, (6, 32, 40)).astype(np.uint16)
    frames[2], frames[4, :9] = 0, 65535
    np.save(tmp_path / "a.npy", frames)
    out = tmp_path / "a.parquet"
    code, answer = call("localize", tmp_path / "a.npy", "--model", trained[0], "--out", out, "--device", "cpu")
    assert code == 0, answer
    assert any("1 of 6 frames are empty" in warning for warning in answer["warnings"])
    assert any("1 of 6 frames are saturated" in warning for warning in answer["warnings"])
    assert any("that of the network is assumed" in warning for warning in answer["warnings"])
    assert len(lucule.Localizations.load(out).meta.vendor["notes"]) == 3
    (tmp_path / "camera.yaml").write_text("kind: scmos\npixel_size_nm: 100\nbaseline: 100\nelectrons_per_count: 0.5\n")
    _, answer = call("localize", tmp_path / "a.npy", "--model", trained[0], "--camera", tmp_path / "camera.yaml",
                     "--out", tmp_path / "b.parquet", "--device", "cpu")  # fmt: skip
    assert answer["warnings"]
    assert not any("assumed" in warning for warning in answer["warnings"])


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
        (["--roi", "0:50,0:5"], "region cannot be used"),
        (["--roi", "a,b"], "region cannot be used"),
        (["--channel", "1"], "no such channel"),
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


@pytest.mark.parametrize("out", ["locs.xyz", "nothing", "/proc/no/locs.parquet"])
def test_a_table_that_cannot_be_written_is_refused_before_anything_is_fitted(spots, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    code, answer = call("localize", spots[0], "--method", "fit", "--camera", "ideal", "--out", out)
    assert code == 2, answer
    assert "ending" in answer["error"] or "Cannot write to" in answer["error"]
    assert not list(tmp_path.glob("*.parts"))


def test_a_movie_that_cannot_be_fitted_leaves_nothing(tmp_path):
    np.save(tmp_path / "nan.npy", np.full((5, 32, 32), np.nan, np.float32))
    code, answer = call("localize", tmp_path / "nan.npy", "--method", "fit", "--camera", "ideal",
                        "--out", tmp_path / "locs.parquet")  # fmt: skip
    assert code == 2, answer
    assert [path.name for path in tmp_path.iterdir()] == ["nan.npy"]


def test_options_of_a_fit_are_no_options_of_a_network(trained, movie, tmp_path):
    code, answer = call("localize", movie, "--model", trained[0], "--out", tmp_path / "no.parquet", "--multi")
    assert code == 2
    assert "--multi belongs to --method fit" in answer["error"]
