"""Movies that are no TIFF: NumPy, DAX, Picasso RAW, NDTiff, OME-Zarr, ND2."""

from __future__ import annotations

import json
import struct
from collections import namedtuple

import numpy as np
import pytest

from lucule.core import FormatError, InputError
from lucule.io import open_movie
from lucule.io.movies import sniff
from lucule.simulate.zarr_out import write_movie

MOVIE = np.random.default_rng(0).integers(0, 4000, (9, 20, 24)).astype(np.uint16)


def same(path, expected=MOVIE, **options):
    with open_movie(path, **options) as movie:
        assert movie.shape == expected.shape
        assert movie.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(movie[:], expected)
        assert np.array_equal(movie[::3], expected[::3])
        assert movie[4:4].shape == (0, *expected.shape[1:])
        part = movie.part(frames=(1, 6), roi=(3, 17, 2, 20))
        assert np.array_equal(part[1:4], expected[2:5, 2:20, 3:17])
        return movie.info


def cut(path, by=10):
    path.write_bytes(path.read_bytes()[:-by])


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1", "<f4"])
def test_npy(tmp_path, dtype):
    np.save(tmp_path / "a.data", MOVIE.astype(dtype))
    (tmp_path / "a.data.npy").rename(tmp_path / "a.data")
    assert same(tmp_path / "a.data", MOVIE.astype(dtype)).format == "npy"
    cut(tmp_path / "a.data", 1)
    with pytest.raises(FormatError, match=r"cut off.*hold 8 of 9 frames"):
        open_movie(tmp_path / "a.data")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.zeros(5), "no movie"),
        (np.zeros((0, 4, 4), np.uint16), "no movie"),
        (np.asfortranarray(MOVIE), "Fortran"),
        (np.zeros((2, 3, 4), bool), "no counts"),
        (np.zeros((2, 3, 4), complex), "no counts"),
    ],
)
def test_arrays_that_are_no_movies_are_refused(tmp_path, values, problem):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(FormatError, match=problem):
        open_movie(tmp_path / "a.npy")


def test_a_table_in_an_npy_file_is_not_taken_for_a_movie(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(5, [("tim", "f8"), ("itr", "i4")]))
    with pytest.raises(FormatError, match="not a movie"):
        open_movie(tmp_path / "a.npy")


INF = """information file for
movie.dax
machine name = storm2
binning = 2 x 2
data type = 16 bit integers (binary, {order} endian)
frame dimensions = 24 x 20
number of frames = 9
x_start = 11
y_start = 21
"""


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("named", ["movie.dax", "movie.inf"])
def test_dax(tmp_path, order, named):
    (tmp_path / "movie.dax").write_bytes(MOVIE.astype(">u2" if order == "big" else "<u2").tobytes())
    (tmp_path / "movie.inf").write_text(INF.format(order=order))
    info = same(tmp_path / named)
    assert info.camera.binning == 2
    assert info.camera.region_px == (10, 20, 24, 20)
    assert info.unsaid == ["kind", "pixel_size_nm", "baseline", "electrons_per_count"]
    cut(tmp_path / "movie.dax")
    with pytest.raises(FormatError, match="cut off"):
        open_movie(tmp_path / named)


def test_what_describes_the_frames_must_lie_beside_them(tmp_path):
    for name, beside in (("movie.dax", "movie.inf"), ("movie.raw", "movie.yaml")):
        (tmp_path / name).write_bytes(MOVIE.tobytes())
        with pytest.raises(FormatError, match=beside):
            open_movie(tmp_path / name)


YAML = """Byte Order: '{order}'
Data Type: uint16
Frames: 9
Height: 20
Width: 24
Pixelsize: 130
Baseline: 100
Sensitivity: 1.2
Camera: X
Micro-Manager Metadata:
  Camera: Andor
  Exposure-ms: 20
  Andor-EMGain: '90'
---
Box Size: 7
"""


@pytest.mark.parametrize("order", "<>")
def test_picasso_raw(tmp_path, order):
    (tmp_path / "movie.raw").write_bytes(MOVIE.astype(f"{order}u2").tobytes())
    (tmp_path / "movie.yaml").write_text(YAML.format(order=order))
    info = same(tmp_path / "movie.raw")
    assert info.exposure_ms == 20
    camera = info.camera_with()
    assert (camera.kind, camera.em_gain, camera.baseline, camera.electrons_per_count) == ("emccd", 90, 100, 1.2)
    assert camera.pixel_size_nm == (130, 130)
    cut(tmp_path / "movie.raw")
    with pytest.raises(FormatError, match="cut off"):
        open_movie(tmp_path / "movie.raw")


def test_a_table_beside_the_description_of_a_movie_is_no_movie(tmp_path):
    (tmp_path / "movie.yaml").write_text(YAML.format(order="<"))
    (tmp_path / "movie.inf").write_text(INF.format(order="big"))
    (tmp_path / "movie.csv").write_text("frame,x,y\n1,2,3\n")
    assert sniff(tmp_path / "movie.csv") is None


def test_a_real_picasso_movie(data_path):
    with open_movie(data_path("picasso/testdata.raw")) as movie:
        assert movie.shape == (100, 32, 32)
        assert movie.info.pixel_size_nm == (160, 160)
        assert movie.info.exposure_ms == 300
        expected = np.fromfile(data_path("picasso/testdata.raw"), "<u2").reshape(100, 32, 32)
        assert np.array_equal(movie[37:41], expected[37:41])
        with pytest.raises(InputError, match="kind, baseline, electrons_per_count missing"):
            movie.info.camera_with()


def ndtiff(folder, channels=("red",), files=2):
    """Write frames, their metadata and an index as NDTiff does; the frames lie in several files."""
    folder.mkdir(exist_ok=True)
    metadata = json.dumps({"PixelSizeUm": 0.108, "Exposure-ms": 15, "Camera": "Prime"}).encode()
    index, contents = b"", [struct.pack("<2sHIIII", b"II", 42, 8, 483729, 3, 3) for _ in range(files)]
    for time, frame in enumerate(MOVIE):
        for number, channel in enumerate(channels):
            file = time * files // len(MOVIE)
            axes = json.dumps({"time": time, "channel": channel}).encode()
            name = f"a_NDTiffStack{f'_{file}' if file else ''}.tif".encode()
            offset = len(contents[file]) + 5
            contents[file] += bytes(5) + (frame + 5000 * number).astype("<u2").tobytes() + metadata
            index += struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name
            index += struct.pack("<IiiiiIii", offset, 24, 20, 4, 0, offset + frame.nbytes, len(metadata), 0)
    for file, content in enumerate(contents):
        (folder / f"a_NDTiffStack{f'_{file}' if file else ''}.tif").write_bytes(content)
    (folder / "NDTiff.index").write_bytes(index)
    return folder


@pytest.mark.parametrize("named", [".", "NDTiff.index", "a_NDTiffStack_1.tif"])
def test_ndtiff(tmp_path, named):
    info = same(ndtiff(tmp_path / "a") / named)
    assert info.format == "ndtiff"
    assert info.pixel_size_nm == (108.0, 108.0)
    assert info.exposure_ms == 15
    assert info.camera.name == "Prime"


def test_ndtiff_with_channels_missing_files_and_a_damaged_index(tmp_path):
    folder = ndtiff(tmp_path / "a", ("blue", "red"))
    with pytest.raises(InputError, match="more than one channel"):
        open_movie(folder)
    same(folder, MOVIE + np.uint16(5000), channel=1)
    index = (folder / "NDTiff.index").read_bytes()
    (folder / "NDTiff.index").write_bytes(index[:-7])
    with pytest.raises(FormatError, match=r"damaged or cut off.*17 complete entries"):
        open_movie(folder)
    (folder / "NDTiff.index").write_bytes(index)
    (folder / "a_NDTiffStack_1.tif").unlink()
    with pytest.raises(FormatError, match=r"no a_NDTiffStack_1\.tif"):
        open_movie(folder, channel=0)


def test_ome_zarr_of_the_simulator(tmp_path):
    chunks = [MOVIE]
    write_movie(tmp_path / "a.zarr", chunks, shape=MOVIE.shape, pixel_size_nm=(100, 110), interval_s=0.03, notes={})
    info = same(tmp_path / "a.zarr")
    assert info.format == "ome_zarr"
    assert info.pixel_size_nm == (100.0, 110.0)
    assert info.exposure_ms == 30.0


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_of_others(tmp_path, version):
    import zarr

    values = np.stack([MOVIE, MOVIE + 5000], axis=1)[:, :, None]  # t, c, z, y, x
    root = zarr.open_group(tmp_path / "a", mode="w", zarr_format=version)
    root.create_array("full", data=values, chunks=(4, 1, 1, 20, 24))
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "tczyx"]
    steps = [{"type": "scale", "scale": [1, 1, 1, 0.1, 0.1]}]
    multiscales = [{"axes": axes, "datasets": [{"path": "full", "coordinateTransformations": steps}]}]
    root.attrs.update({"multiscales": multiscales} if version == 2 else {"ome": {"multiscales": multiscales}})
    with pytest.raises(InputError, match="more than one channel"):
        open_movie(tmp_path / "a")
    info = same(tmp_path / "a", values[:, 1, 0], channel=1)
    assert info.pixel_size_nm == (100.0, 100.0)
    assert info.axes == {"time": 9, "channel": 2}


def test_bare_zarr_arrays_and_groups_without_an_image(tmp_path):
    import zarr

    zarr.create_array(tmp_path / "a", data=MOVIE, chunks=(4, 20, 24))
    same(tmp_path / "a")
    zarr.open_group(tmp_path / "b", mode="w")
    with pytest.raises(FormatError, match="no image"):
        open_movie(tmp_path / "b")


class FakeNd2:
    """As much of `nd2.ND2File` as is used. No package writes ND2, so that only recognition and this seam are tested."""

    text_info = {"capturing": "Camera Name: Andor DU-897\r\n  Exposure: 30 ms\r\n  EM Gain Multiplier: 300\r\n"}
    dtype = np.dtype("u2")

    def __init__(self, path):
        self.path = str(path)
        self.closed = False
        self.sizes = {"T": 9, "C": 2, "Y": 20, "X": 24}

    def read_frame(self, number):
        return np.stack([MOVIE[number], MOVIE[number] + 5000])

    def voxel_size(self):
        return namedtuple("Voxel", "x y z")(0.16, 0.16, 1.0)

    def close(self):
        self.closed = True


def test_nd2_through_its_package(tmp_path, monkeypatch):
    import nd2

    (tmp_path / "a.x").write_bytes(b"\xda\xce\xbe\x0a" + bytes(100))
    with pytest.raises(FormatError, match="cannot be read as ND2"):
        open_movie(tmp_path / "a.x")
    monkeypatch.setattr(nd2, "ND2File", FakeNd2)
    with pytest.raises(InputError, match="more than one channel"):
        open_movie(tmp_path / "a.x")
    info = same(tmp_path / "a.x", MOVIE + np.uint16(5000), channel=1)
    assert (info.format, info.exposure_ms, info.camera.em_gain) == ("nd2", 30.0, 300.0)
    assert info.pixel_size_nm == (160.0, 160.0)
