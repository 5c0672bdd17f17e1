"""`lucule calibrate` as a user calls it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from lucule.localize.calibration import load_psf_file
from lucule.simulate import bead_stack, load_camera, load_psf
from lucule.simulate.camera import expose
from lucule.simulate.optics import compile_psf


@pytest.fixture(scope="module")
def beads(tmp_path_factory):
    path = tmp_path_factory.mktemp("beads") / "beads.tif"
    x, y = np.array([1640.0, 4710, 1610, 4790]), np.array([1620.0, 1690, 4730, 4750])
    kernel = compile_psf("astigmatic", 100)
    movie = bead_stack(kernel, load_camera("emccd_ixon897"), x, y, 40_000.0, shape=(64, 64), step_nm=50, planes=21)
    tifffile.imwrite(path, movie.counts)
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camera")
    camera = load_camera("prime95b")
    for name, light in (("dark", 0), ("flat_1", 50), ("flat_2", 200)):
        tifffile.imwrite(folder / f"{name}.tif", expose(np.full((40, 48, 40), light, np.float32), camera, seed=light))
    return folder


def test_psf(lucule, beads, tmp_path):
    out = tmp_path / "psf.h5"
    answer = lucule("calibrate", "psf", beads, "--step-nm", 50, "--camera", "emccd_ixon897", "--out", out, "--json")
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    assert results["beads_used"] == 4
    assert results["astigmatic"]
    assert results["z_range_nm"][0] < 0 < results["z_range_nm"][1]
    assert (tmp_path / "psf.png").read_bytes()[:4] == b"\x89PNG"
    found = load_psf_file(out)
    assert found.history[0].parameters["movies"][0]["name"] == "beads.tif"
    # what was measured is what simulations use
    movie = tmp_path / "movie.tif"
    answer = lucule("simulate", "origami", "--movie", "--frames", 2, "--psf", out, "--camera", "emccd_ixon897",
                    "--outside", "drop", "--out", movie)  # fmt: skip
    assert answer.exit_code == 0, answer.err
    other = lucule("simulate", "origami", "--movie", "--frames", 2, "--psf", out, "--camera", "prime95b", "--set",
                   "camera.pixel_size_nm=120", "--out", movie)  # fmt: skip
    assert other.exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--step-nm", -10), "step_nm"),
        (("--step-nm", 0.05), "--step-nm"),
        (("--step-nm", 50, "--direction", "up"), "direction"),
        (("--step-nm", 50, "--window-nm", 6000), "at the border"),
        (("--step-nm", 50, "--frames-per-step", 2), "whole steps"),
        (("--step-nm", 50, "--plot", "page.gif"), "plot cannot be written"),
    ],
)
def test_bad_calls(lucule, beads, tmp_path, options, message):
    out = tmp_path / "psf.h5"
    answer = lucule("calibrate", "psf", beads, *options, "--camera", "emccd_ixon897", "--out", out)
    assert answer.exit_code == 2
    assert message in answer.err.replace("\n", "")
    assert not out.exists()


def test_plan(lucule, beads, tmp_path):
    out = tmp_path / "psf.h5"
    answer = lucule("calibrate", "psf", beads, "--step-nm", 50, "--camera", "ideal", "--out", out, "--set",
                    "window_nm=2100", "--dry-run", "--json")  # fmt: skip
    assert answer.json["results"]["settings"]["window_nm"] == 2100
    assert not out.exists()


def test_camera(lucule, frames, tmp_path):
    out = tmp_path / "camera.yaml"
    files = [frames / f"{name}.tif" for name in ("dark", "flat_1", "flat_2")]
    answer = lucule("calibrate", "camera", *files, "--camera", "prime95b", "--out", out, "--json")
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["counts_per_electron"] == pytest.approx(1.02, rel=0.03)
    assert len(answer.json["results"]["written"]) == 4
    assert load_camera(out).read_noise_electrons.name == "camera_read_noise_electrons.tif"
    assert (tmp_path / "camera.png").exists()
    plain = lucule("calibrate", "camera", *files, "--kind", "scmos", "--pixel-size-nm", 100, "--no-maps", "--json")
    assert plain.exit_code == 0, plain.err
    assert "--out is not given" in plain.json["warnings"][-1]


def test_camera_from_a_movie(lucule, tmp_path):
    camera = load_camera("emccd_ixon897")
    light = np.broadcast_to(np.linspace(5, 200, 64), (40, 64, 64)).astype(np.float32)
    tifffile.imwrite(tmp_path / "movie.tif", expose(light, camera, seed=1))
    out = tmp_path / "camera.yaml"
    answer = lucule(
        "calibrate", "camera", "--movie", tmp_path / "movie.tif", "--camera", "emccd_ixon897", "--out", out, "--json"
    )
    assert answer.exit_code == 0, answer.err
    low, high = answer.json["results"]["counts_per_electron_interval"]
    assert low < 100 / 12 < high
    assert load_camera(out).em_gain == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "ordinary movie"),
        (("dark.tif",), "no flat frames"),
        (("flat_1.tif", "dark.tif"), "dark movie first"),
        (("missing.tif", "flat_1.tif"), "no such"),
        (("dark.tif", "flat_1.tif", "--out", "camera.txt"), "YAML file"),
        (("dark.tif", "flat_1.tif", "--out", "camera.yaml", "--plot", "page.gif"), "plot cannot be written"),
    ],
)
def test_bad_camera_calls(lucule, frames, arguments, message):
    answer = lucule("calibrate", "camera", *(frames / name if "." in name else name for name in arguments),
                    "--camera", "prime95b")  # fmt: skip
    assert answer.exit_code == 2
    assert message in answer.err.replace("\n", " ")
    assert not list(frames.glob("camera.*"))


def test_what_cannot_be_measured_must_be_named(lucule, frames):
    answer = lucule("calibrate", "camera", frames / "dark.tif", frames / "flat_1.tif", "--kind", "scmos")
    assert answer.exit_code == 2
    assert "--pixel-size-nm" in answer.err


@pytest.mark.slow
def test_pupil(lucule, tmp_path):
    psf = load_psf("tetrapod", z_range_nm=(-800, 800))
    kernel, rng = compile_psf(psf.replace(zernike_nm={7: 40.0}), 110), np.random.default_rng(1)
    light = np.full((30, 80, 80), 20, np.float32)
    for image in light:
        image += kernel.image(*rng.uniform(2200, 6600, (2, 1)), rng.uniform(-600, 600, 1), 15_000.0, image.shape)
    tifffile.imwrite(tmp_path / "movie.tif", expose(light, load_camera("ideal", pixel_size_nm=110), seed=1))
    psf.to_yaml(tmp_path / "start.yaml")
    load_camera("ideal", pixel_size_nm=110).to_yaml(tmp_path / "camera.yaml")
    call = ("calibrate", "pupil", tmp_path / "movie.tif", "--psf", tmp_path / "start.yaml", "--camera",
            tmp_path / "camera.yaml", "--json")  # fmt: skip
    answer = lucule(*call, "--out", tmp_path / "psf.yaml")
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["zernike_nm"]["7"] == pytest.approx(40, abs=4)
    assert load_psf(tmp_path / "psf.yaml").zernike_nm[7] == pytest.approx(40, abs=4)
    assert lucule(*call, "--out", tmp_path / "psf.h5").exit_code == 2
