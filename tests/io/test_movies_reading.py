"""What all movies share: regions, processes, cameras, refusals, names of formats."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from lucule.core import FormatError, InputError
from lucule.io import MOVIE_FORMATS, MovieInfo, movies, open_movie
from lucule.io.movies import CameraNotes, opened
from lucule.simulate import load_camera

MOVIE = np.random.default_rng(0).integers(0, 4000, (9, 20, 24)).astype(np.uint16)


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "a.npy", MOVIE)
    return tmp_path / "a.npy"


def test_parts_of_parts_know_where_they_lie(path):
    with open_movie(path, frames=(1, 9), roi=(2, 20, 4, 18)) as movie:
        part = movie.part(frames=(2, 5), roi=(1, 3, 0, 5))
    assert (part.first, part.corner_px, part.shape) == (3, (3, 4), (3, 5, 2))
    with opened(part) as again:
        assert np.array_equal(again[:], MOVIE[3:6, 4:9, 3:5])
        assert again.window == (slice(4, 9), slice(3, 5))
        again.close()


@pytest.mark.parametrize("frames", [(0, 10), (-1, 3), (5, 5), (6, 2)])
def test_frames_that_are_not_there_are_refused(path, frames):
    with pytest.raises(InputError, match="no such frames"):
        open_movie(path, frames=frames)


@pytest.mark.parametrize("roi", [(0, 25, 0, 20), (-1, 5, 0, 5), (5, 5, 0, 5), (0, 5, 20, 21)])
def test_regions_outside_are_refused(path, roi):
    with pytest.raises(InputError, match=r"outside.*0:24,0:20 pixels"):
        open_movie(path, roi=roi)


def test_movies_travel_to_other_processes_as_paths(path):
    with open_movie(path, frames=(2, 8), roi=(1, 9, 2, 12)) as movie:
        sent = pickle.dumps(movie)
        assert len(sent) < 1000
        with pickle.loads(sent) as there:
            assert np.array_equal(there[:], movie[:])
            assert (there.first, there.corner_px) == (2, (1, 2))
            assert there.fingerprint() == movie.fingerprint()


def test_the_fingerprint_follows_content_and_choice(path):
    def of(**options):
        with open_movie(path, **options) as movie:
            return movie.fingerprint()

    whole = of()
    assert of() == whole
    assert of(frames=(0, 5)) != whole
    assert of(roi=(0, 5, 0, 5)) != whole
    np.save(path, MOVIE[:8])
    assert of() != whole


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "is empty"), (b"frame,x,y\n1,2,3\n", "not a movie"), (bytes(99), "not a movie")]
)
def test_files_that_are_no_movies_are_refused(tmp_path, content, problem):
    (tmp_path / "a.tif").write_bytes(content)
    assert movies.sniff(tmp_path / "a.tif") is None
    with pytest.raises(FormatError, match=problem):
        open_movie(tmp_path / "a.tif")


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such movie"):
        open_movie(tmp_path / "absent.tif")
    with pytest.raises(FormatError, match=r"not a movie.*folder"):
        open_movie(tmp_path)


@pytest.mark.parametrize("thing", [np.zeros((0, 8, 8)), np.zeros((8, 8)), [1, 2], None])
def test_what_is_no_stack_of_frames_is_refused(thing):
    with pytest.raises(InputError, match="no movie"), opened(thing):
        pass


def test_arrays_are_movies_too():
    with opened(MOVIE, frames=(1, 8), roi=(1, 9, 2, 12)) as movie:
        assert np.array_equal(movie[1:3], MOVIE[2:4, 2:12, 1:9])
        assert np.array_equal(movie[::-1], MOVIE[1:8][::-1, 2:12, 1:9])
        with pytest.raises(InputError, match="Only a movie in a file"):
            movie.fingerprint()


INFO = MovieInfo(Path("a.tif"), "tiff", "TIFF", (9, 20, 24), "uint16", 8640, pixel_size_nm=(100, 100),
                 camera=CameraNotes(em_gain=300, bit_depth=14))  # fmt: skip


def test_what_a_camera_lacks_is_asked_for_by_name():
    with pytest.raises(InputError, match="baseline, electrons_per_count missing"):
        INFO.camera_with()
    camera = INFO.camera_with(baseline=200, electrons_per_count=12.0)
    assert (camera.kind, camera.em_gain, camera.saturation) == ("emccd", 300, 16383)


def test_another_camera_is_noticed():
    camera = load_camera("smlm_challenge", pixel_size_nm=160, em_gain=300)
    assert INFO.disagreements(camera) == [
        "The movie says pixel_size_nm 100; the camera that is used has 160",
    ]
    assert INFO.disagreements(load_camera("smlm_challenge", pixel_size_nm=100, em_gain=302)) == []


def test_formats_are_named_and_described():
    assert {MOVIE_FORMATS[name].name for name in MOVIE_FORMATS} == set(MOVIE_FORMATS)
    with pytest.raises(InputError, match="Unknown movie format"):
        MOVIE_FORMATS["avi"]
