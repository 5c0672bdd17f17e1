"""Movies: lazy, the same bits however they are reached, complete files with metadata and truth."""

from __future__ import annotations

import json
import zlib

import numba
import numpy as np
import polars as pl
import pytest
import tifffile

from lucule import simulate
from lucule.core import FormatError, InputError
from lucule.simulate.scene import Scene, load_scene

BEADS = {
    "field": {"size_um": [4.0, 3.2], "axial_range_nm": 0},
    "layers": {"beads": {"specimen": {"kind": "uniform", "density_per_um2": 2}, "label": 1}},
    "dye": {"kind": "always_on", "photons": {"kind": "rate", "photons_per_s": 50_000}},
    "acquisition": {"frames": 40, "interval_s": 0.02},
    "psf": "gaussian",
    "camera": {"kind": "ideal", "pixel_size_nm": 100},
    "background_photons": 10,
}


def beads(**changes) -> Scene:
    return Scene.parse(BEADS).with_changes(**changes)


@pytest.fixture(scope="module")
def origami():
    return simulate.movie("origami", frames=30, seed=3)


def test_looks_like_an_array(origami) -> None:
    movie, _ = origami
    assert movie.shape == (30, 100, 100)
    assert movie.dtype == np.uint16
    assert len(movie) == 30
    assert movie.nbytes == 30 * 100 * 100 * 2
    assert np.asarray(movie).shape == movie.shape


@pytest.mark.parametrize(
    "index",
    [
        4, -1, np.int64(7), slice(3, 9), slice(20, 5, -3), slice(None), [2, 2, 17], np.arange(30) % 7 == 0, slice(5, 5),
        (5, slice(2, 8), 3), (slice(1, 4), ..., slice(0, 10, 2)), (..., 4), ([1, 8], slice(None), 0), (),
    ],
)  # fmt: skip
def test_indexing_as_numpy_does(origami, index) -> None:
    movie, _ = origami
    everything = np.asarray(movie)
    expected = everything[index]
    got = movie[index]
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, expected)


def test_index_out_of_range(origami) -> None:
    with pytest.raises(IndexError):
        origami[0][30]
    with pytest.raises(InputError, match="no such frames"):
        origami[0].expected(29, 2)


@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_same_bits_whatever_the_chunks(origami, size) -> None:
    movie, _ = origami
    joined = np.concatenate([block for _, block in movie.chunks(size)])
    np.testing.assert_array_equal(joined, movie[:])


def test_same_bits_whatever_the_threads(origami) -> None:
    movie, _ = origami
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        again, truth = simulate.movie("origami", frames=30, seed=3)
        frames = again[10:20]
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(frames, movie[10:20])
    assert truth.emitters.data.equals(origami[1].emitters.data)


def test_another_seed_gives_another_movie(origami) -> None:
    other, _ = simulate.movie("origami", frames=30, seed=4)
    assert not np.array_equal(other[0], origami[0][0])


def test_a_longer_movie_begins_alike() -> None:
    short, _ = simulate.movie(beads(), frames=5, seed=1)
    long, _ = simulate.movie(beads(), frames=9, seed=1)
    np.testing.assert_array_equal(short[:], long[:5])


def test_photons_arrive() -> None:
    movie, truth = simulate.movie(beads(), seed=1)
    light = movie.expected(0, 3)
    inside = light - 10
    x, y = truth.dyes["x"], truth.dyes["y"]
    margin = (x > 700) & (x < 3300) & (y > 700) & (y < 2500)
    assert inside.sum() / 3 > 1000 * margin.sum()
    assert inside.sum() / 3 < 1000 * len(x)
    assert float(np.asarray(movie).mean()) == pytest.approx(float(light.mean()), rel=0.01)


def test_drift_moves_the_emitters() -> None:
    moving = beads(motion={"linear_nm_per_min": (600, -300, 0)})
    _, truth = simulate.movie(moving, seed=1)
    table = truth.emitters.data.join(
        truth.dyes.data.with_row_index("molecule").cast({"molecule": pl.Int32}), on="molecule", suffix="_dye"
    )
    minutes = table["frame"].to_numpy() * 0.02 / 60
    np.testing.assert_allclose((table["x"] - table["x_dye"]).to_numpy(), 600 * minutes, atol=1e-9)
    np.testing.assert_allclose((table["y"] - table["y_dye"]).to_numpy(), -300 * minutes, atol=1e-9)


def test_free_linkage_is_new_in_every_frame() -> None:
    loose = beads(labelling={"free_linkage_nm": 12.0})
    _, truth = simulate.movie(loose, seed=1)
    moved = truth.emitters["x"] - truth.dyes["x"][truth.emitters["molecule"]]
    assert moved.std() == pytest.approx(12.0, rel=0.1)
    one = moved[truth.emitters["molecule"] == 0]
    assert len(np.unique(one)) == 40


def test_illumination_scales_photons() -> None:
    lit = beads(illumination={"profile": "gaussian", "waist_um": 1.5})
    _, truth = simulate.movie(lit, seed=1)
    first = truth.emitters.data.filter(pl.col("frame") == 0)
    r2 = (first["x"] - 2000) ** 2 + (first["y"] - 1600) ** 2
    np.testing.assert_allclose(first["photons"], 1000 * np.exp(-2 * r2 / 1500**2), rtol=1e-6)


def test_channels_share_out_the_light() -> None:
    scene = load_scene("cell", frames=3)
    _, everything = simulate.movie(scene, seed=1)
    parts = [simulate.movie(scene, seed=1, channel=c)[1] for c in (0, 1, 2)]
    assert sum(len(part.emitters) for part in parts) == len(everything.emitters)
    with pytest.raises(InputError, match="no such channel"):
        simulate.movie(scene, seed=1, channel=7)


def test_depth_outside_the_psf() -> None:
    deep = beads(**{"field.axial_range_nm": 3000})
    with pytest.raises(InputError, match="depth range"):
        simulate.movie(deep, seed=1)
    movie, truth = simulate.movie(deep, seed=1, outside="drop")
    assert np.abs(truth.emitters["z"]).max() <= 750
    assert movie[0].shape == (32, 40)


def test_file_and_truth(tmp_path, origami) -> None:
    movie, truth = origami
    path = movie.save(tmp_path / "cell.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        np.testing.assert_array_equal(file.asarray(), movie[:])
        text = file.ome_metadata
        frame = file.pages[11].asarray()
    np.testing.assert_array_equal(frame, movie[11])
    assert 'PhysicalSizeX="0.1"' in text
    assert 'ExposureTime="0.3"' in text
    assert "em_gain" in text
    names = {item.name for item in (tmp_path / "cell.truth").iterdir()}
    assert names == {f"{name}.parquet" for name in
                     ("structures", "epitopes", "dyes", "events", "emitters", "drift")} | {"scene.yaml"}  # fmt: skip
    assert pl.read_parquet(tmp_path / "cell.truth" / "emitters.parquet").equals(truth.emitters.data)
    assert load_scene(tmp_path / "cell.truth" / "scene.yaml") == movie.imaging.scene
    again = movie.save(tmp_path / "again" / "cell.ome.tif")
    assert again.read_bytes() == path.read_bytes()


def test_ome_zarr(tmp_path, origami) -> None:
    movie, truth = origami
    path = movie.save(tmp_path / "cell.ome.zarr")
    about = json.loads((path / "0" / ".zarray").read_text())
    frames, rows, columns = movie.shape
    assert (about["shape"], about["dtype"], about["compressor"]["id"]) == ([frames, rows, columns], "<u2", "zlib")
    blocks = [
        zlib.decompress(file.read_bytes()) for file in sorted(path.glob("0/*/0/0"), key=lambda f: int(f.parts[-3]))
    ]
    chunk = about["chunks"]
    read = np.concatenate([np.frombuffer(block, "<u2").reshape(chunk) for block in blocks])[:frames]
    np.testing.assert_array_equal(read, movie[:])
    scale = json.loads((path / ".zattrs").read_text())["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale == [{"type": "scale", "scale": [0.3, 0.1, 0.1]}]
    assert pl.read_parquet(tmp_path / "cell.truth" / "emitters.parquet").equals(truth.emitters.data)
    movie.save(path)  # replaces the older one
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cell.ome.zarr", "cell.truth"]
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(InputError, match="something else"):
        movie.save(tmp_path / "mine.zarr")


def test_large_movies_become_bigtiff(tmp_path, monkeypatch) -> None:
    import sys

    import lucule.simulate.movie  # noqa: F401

    monkeypatch.setattr(sys.modules["lucule.simulate.movie"], "_CLASSIC_TIFF_MAX", 1000)
    path = simulate.movie(beads(), frames=2, seed=1)[0].save(tmp_path / "big.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff


def test_an_interrupted_write_leaves_no_movie(tmp_path) -> None:
    movie, _ = simulate.movie(beads(), seed=1)

    class Stop:
        def task(self, *_args):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_error):
            return False

        def advance(self, _amount=1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        movie.save(tmp_path / "movie.ome.tif", progress=Stop())
    assert not list(tmp_path.glob("*.tif*"))
    assert not list(tmp_path.rglob(".writing-*"))


def test_only_tiff_and_zarr(tmp_path, origami) -> None:
    with pytest.raises(FormatError, match=r"\.ome\.tif or \.ome\.zarr"):
        origami[0].save(tmp_path / "movie.avi")
    assert not list(tmp_path.iterdir())


def test_a_field_without_molecules() -> None:
    movie, truth = simulate.movie(beads(**{"beads.specimen.density_per_um2": 0}), seed=1)
    assert len(truth.emitters) == 0
    assert movie[:].mean() == pytest.approx(10, rel=0.05)
