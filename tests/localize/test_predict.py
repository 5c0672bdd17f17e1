"""Movies to localizations: blocks, tiles, files, warnings, refusals."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import tifffile
import torch

from lucule.bench.localize import three_tubes
from lucule.core import FormatError, InputError
from lucule.io import open_movie
from lucule.localize import Recipe, localize, match, train
from lucule.localize import predict as room
from lucule.nn import torch_threads

RECIPE = Recipe.parse(
    {
        "name": "tiny",
        "title": "a network that has hardly learned",
        "network": {"context": 3, "widths": [8, 8, 8, 8, 8], "head": 8},
        "scenes": {
            "shape_px": [32, 32],
            "frames": 3,
            "scenes": 2,
            "samplers": {"csr": 1},
            "density_per_um2": [0.2, 0.5],
        },
        "fit": {"steps": 3, "log_every_steps": 1},
    }
)


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with torch_threads(1):
        return train(RECIPE, out=tmp_path_factory.mktemp("models") / "tiny", device="cpu")


@pytest.fixture(scope="module")
def predictor(folder):
    """The tiny network, made to react to light: it finds an emitter in every bright pixel."""
    loaded = room.load(folder, device="cpu", precision="float32")
    torch.manual_seed(0)
    for parameter in loaded.network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    loaded.network.out.bias.data[0] = 0.0
    return loaded


def counts(frames=7, rows=40, columns=52, seed=0):
    return np.random.default_rng(seed).integers(100, 900, (frames, rows, columns)).astype(np.uint16)


def test_a_table_with_errors_probability_and_history_comes_out(predictor):
    locs = localize(counts(), model=predictor, threshold=0.3)
    assert {"frame", "x", "y", "z", "photons", "background", "x_err", "y_err", "z_err", "p"} <= set(locs.data.columns)
    assert len(locs) > 20
    assert locs.meta.errors == "predicted"
    assert locs.meta.shape_px == (40, 52)
    assert locs.meta.n_frames == 7
    assert len(locs.meta.history) == 1
    assert (np.diff(locs["frame"].astype(int)) >= 0).all()
    assert locs["x"].max() <= 5350  # half a pixel beyond the last one at most, in nm
    assert (locs["p"] >= 0.3).all()


def test_blocks_of_frames_make_no_difference(monkeypatch):
    predictor = room.load("localize_astigmatic", device="cpu", precision="float32")
    recipe = Recipe.parse(predictor.card.recipe, source="recipe of the model")
    movie = three_tubes(recipe, 4e-3, 12, seed=5).movie
    whole = localize(movie, model=predictor)
    monkeypatch.setattr(room, "_block", lambda *_: 2)
    parts = localize(movie, model=predictor)
    assert len(whole) == len(parts) > 30
    for name in ("frame", "x", "y", "z", "p"):
        assert parts[name] == pytest.approx(whole[name], abs=0.01)


@pytest.mark.parametrize("spare", [(0, 0), (2, 1), (6, 0)])
def test_how_many_frames_pass_the_network_at_once_makes_no_difference(predictor, monkeypatch, spare):
    photons = torch.rand(7, 16, 24, generator=torch.Generator().manual_seed(3)) * 900
    whole = room.raw_output(predictor, photons, spare)
    assert whole.shape == (7 - sum(spare), 10, 16, 24)
    for at_once in (1, 3 * 16 * 24):
        monkeypatch.setitem(room._AT_ONCE_PX, "cpu", at_once)
        assert torch.allclose(room.raw_output(predictor, photons, spare), whole, atol=1e-4)


@pytest.mark.parametrize(("in_hardware", "kind"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_for_processors_that_multiply_it(monkeypatch, in_hardware, kind):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: in_hardware, raising=False)
    assert room.load("localize_astigmatic", device="cpu").precision is kind
    assert room.load("localize_astigmatic", device="cpu", precision="float32").precision is torch.float32


def test_bfloat16_moves_emitters_by_little_of_their_errors():
    exact, rounded = (
        room.load("localize_astigmatic", device="cpu", precision=precision) for precision in ("float32", "bfloat16")
    )
    movie = three_tubes(Recipe.parse(exact.card.recipe, source="recipe"), 4e-3, 8, seed=5).movie
    one, other = localize(movie, model=exact), localize(movie, model=rounded)
    found = match(one["frame"], one.xyz(), other["frame"], other.xyz())
    assert len(found.found) > 0.95 * max(len(one), len(other)) > 30
    errors = np.stack([one[f"{axis}_err"] for axis in "xyz"], axis=1)[found.found]
    assert np.median(np.abs(found.difference_nm) / errors, axis=0).max() < 0.15


def test_the_whole_movie_weighs_each_emitter():
    """Between what holds where nothing lasts and where all does, by how many sure emitters are seen again."""
    rows = {"x": [1.0, 2.0, 3.0], "once": [0.0, -2.0, 0.0], "lasting": [4.0, 2.0, -4.0]}
    for again, p in (([True] * 2, [0.953, 0.731]), ([False] * 2, [0.731])):
        table = pl.DataFrame(rows | {"sure": [True, True, False], "again": [*again, False]})
        weighed = room._weighed(table, 0.7)
        assert weighed.columns == ["x", "p"]
        assert weighed["x"].to_list() == [1.0, 2.0][: len(p)]
        assert weighed["p"].to_list() == pytest.approx(p, abs=1e-3)


def test_tiles_make_no_difference(predictor, monkeypatch):
    # refinement knows no tiles, but noise taken for ten emitters in each pixel would carry every difference on
    predictor = replace(predictor, refined=False)
    movie = counts(frames=2, rows=72, columns=200)
    whole = localize(movie, model=predictor, threshold=0.3)
    monkeypatch.setattr(room, "_TILE_PX", 64)
    tiled = localize(movie, model=predictor, threshold=0.3)
    # an emitter on the border of two tiles may be shared differently; all others are the same
    own = {
        (f, round(float(x)), round(float(y))) for f, x, y in zip(whole["frame"], whole["x"], whole["y"], strict=True)
    }
    other = {
        (f, round(float(x)), round(float(y))) for f, x, y in zip(tiled["frame"], tiled["x"], tiled["y"], strict=True)
    }
    assert len(own ^ other) < 0.05 * len(own)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 31)])
def test_any_size_of_field_and_a_single_frame(predictor, shape):
    locs = localize(counts(*shape), model=predictor, threshold=0.3)
    assert locs.meta.shape_px == shape[1:]


def test_files_are_read_frame_by_frame(predictor, tmp_path):
    movie = counts()
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    tifffile.imwrite(tmp_path / "big.ome.tif", movie, bigtiff=True, ome=True)
    tifffile.imwrite(tmp_path / "packed.tif", movie, compression="zlib")
    tifffile.imwrite(tmp_path / "imagej.tif", movie, imagej=True)
    np.save(tmp_path / "movie.npy", movie)
    expected = localize(movie, model=predictor, threshold=0.3)
    for name in ("movie.tif", "big.ome.tif", "packed.tif", "imagej.tif", "movie.npy"):
        with open_movie(tmp_path / name) as opened:
            assert opened.shape == movie.shape
            assert (np.asarray(opened[2:5]) == movie[2:5]).all()
            locs = localize(opened, model=predictor, threshold=0.3)
        assert np.array_equal(locs["x"], expected["x"])
        by_path = localize(tmp_path / name, model=predictor, threshold=0.3)
        assert np.array_equal(by_path["x"], expected["x"])
        assert by_path.meta.history[-1].parameters["movie"] == name


def test_some_frames_are_localized_as_if_they_were_all(predictor):
    some = localize(counts(), model=predictor, threshold=0.3, frames=(2, 5))
    alone = localize(counts()[2:5], model=predictor, threshold=0.3)
    assert np.array_equal(some["x"], alone["x"])
    assert np.array_equal(some["frame"], alone["frame"] + 2)
    with pytest.raises(InputError, match="no such frames"):
        localize(counts(), model=predictor, frames=(5, 9))


def test_a_region_is_localized_alone_and_keeps_its_place(predictor):
    region = localize(counts(), model=predictor, threshold=0.3, roi=(12, 44, 8, 40))
    alone = localize(counts()[:, 8:40, 12:44], model=predictor, threshold=0.3)
    assert len(alone) > 20
    assert region["x"] == pytest.approx(alone["x"] + 1200, abs=0.01)
    assert region["y"] == pytest.approx(alone["y"] + 800, abs=0.01)
    assert region.meta.shape_px == (40, 52)
    with pytest.raises(InputError, match="outside"):
        localize(counts(), model=predictor, roi=(0, 60, 0, 5))


def test_bad_files_are_refused(tmp_path):
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(FormatError, match="not a movie"), open_movie(tmp_path / "text.tif"):
        pass
    with pytest.raises(InputError, match="no such movie"), open_movie(tmp_path / "absent.tif"):
        pass
    np.save(tmp_path / "flat.npy", np.zeros(5))
    with pytest.raises(InputError, match="no movie"), open_movie(tmp_path / "flat.npy"):
        pass


@pytest.mark.parametrize("movie", [np.zeros((0, 8, 8)), np.zeros((8, 8)), [1, 2]])
def test_what_is_no_movie_is_refused(predictor, movie):
    with pytest.raises(InputError, match="no movie"):
        localize(movie, model=predictor)


def test_values_that_are_no_numbers_are_refused_by_frame(predictor):
    movie = counts().astype(np.float32)
    movie[4, 3, 3] = np.nan
    with pytest.raises(InputError, match="no numbers") as caught:
        localize(movie, model=predictor)
    assert "frame 4" in str(caught.value)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_a_threshold_is_a_probability(predictor, threshold):
    with pytest.raises(InputError, match="probability"):
        localize(counts(), model=predictor, threshold=threshold)


def test_a_movie_outside_the_training_range_is_reported(folder, predictor, caplog):
    with caplog.at_level(logging.WARNING, logger="lucule"):
        localize(counts(), model=predictor, threshold=0.1)
    assert "trained from" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="lucule"):
        empty = localize(np.zeros((2, 32, 32), np.uint16), model=folder, threshold=0.999, device="cpu")
    assert len(empty) == 0
    assert "No localization" in caplog.text


def test_another_camera_needs_pixels_of_the_same_size(folder):
    camera = RECIPE.camera_used()
    assert room.load(folder, camera=camera.replace(em_gain=100), device="cpu").camera.em_gain == 100
    with pytest.raises(InputError, match="other pixels"):
        room.load(folder, camera=camera.replace(pixel_size_nm=130))


def test_a_classifier_does_not_localize():
    with pytest.raises(InputError, match="does not localize"):
        room.load("XPILJZ")


def test_a_finished_training_is_left_as_it_is_and_another_one_refused(folder):
    before = (folder / "card.yaml").read_bytes()
    assert train(RECIPE, out=folder, device="cpu") == folder
    assert (folder / "card.yaml").read_bytes() == before
    with pytest.raises(InputError, match="another training"):
        train(RECIPE.replace(seed=5), out=folder, device="cpu")
