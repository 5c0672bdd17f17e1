"""Movies in TIFF files of all kinds, and in folders of them."""

from __future__ import annotations

import json
import logging
import struct

import numpy as np
import pytest
import tifffile

from lucule.core import FormatError, InputError
from lucule.io import open_movie

MOVIE = np.random.default_rng(0).integers(0, 4000, (9, 20, 24)).astype(np.uint16)


def same(path, expected=MOVIE, **options):
    """Whether all of a movie, some frames, every second frame and a region are what they should be."""
    with open_movie(path, **options) as movie:
        assert movie.shape == expected.shape
        assert movie.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(movie[:], expected)
        assert np.array_equal(movie[2:5], expected[2:5])
        assert np.array_equal(movie[::2], expected[::2])
        assert movie[3:3].shape == (0, *expected.shape[1:])
        part = movie.part(frames=(1, 6), roi=(3, 17, 2, 20))
        assert np.array_equal(part[1:4], expected[2:5, 2:20, 3:17])
        return movie.info


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"metadata": None},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"bigtiff": True},
        {"ome": True, "bigtiff": True, "metadata": {"axes": "TYX"}},
        {"byteorder": ">"},
        {"rowsperstrip": 3},
        {"tile": (16, 16)},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
    ],
    ids=str,
)
def test_all_kinds_of_tiff_give_the_same_frames(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.b", MOVIE, **kind)  # the ending does not matter
    info = same(tmp_path / "a.b")
    assert info.format == "tiff"
    assert info.size_bytes == (tmp_path / "a.b").stat().st_size


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
def test_all_types_of_values_are_read_and_doubtful_ones_noted(tmp_path, dtype):
    values = (MOVIE % 200).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    notes = " ".join(same(tmp_path / "a.tif", values).notes)
    assert ("8-bit" in notes) == (dtype == "u1")
    assert ("floating" in notes) == (dtype[0] == "f")


@pytest.mark.parametrize("silence", ["level", "disabled", "all"])
def test_a_cut_file_is_refused_though_messages_are_silenced(tmp_path, silence):
    tifffile.imwrite(tmp_path / "a.tif", MOVIE)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    logger = logging.getLogger("tifffile")
    before = logger.level, logger.disabled
    try:
        logger.setLevel(logging.CRITICAL if silence == "level" else before[0])
        logger.disabled = silence == "disabled"
        logging.disable(logging.CRITICAL if silence == "all" else logging.NOTSET)
        with pytest.raises(FormatError, match="cut off"), open_movie(tmp_path / "a.tif"):
            pass
        assert logger.disabled == (silence == "disabled")
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(before[0])
        logger.disabled = before[1]


def test_frames_written_one_by_one_are_read_where_they_lie(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for frame in MOVIE:
            writer.write(frame, contiguous=False, metadata=None)
    same(tmp_path / "a.tif")


def test_one_page_is_a_movie_of_one_frame(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MOVIE[0])
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.shape == (1, 20, 24)
        assert np.array_equal(movie[0:5], MOVIE[:1])


def test_imagej_stacks_beyond_four_gigabytes_have_all_their_frames(tmp_path):
    """ImageJ writes one page, and all frames behind it; here 5.2 GB with a hole."""
    path, frames = tmp_path / "stack.tif", 10_000
    marked = np.arange(512 * 512, dtype=np.uint16).reshape(512, 512)
    tifffile.imwrite(path, np.zeros((512, 512), np.uint16), metadata=None, byteorder=">",
                     description=f"ImageJ=1.53t\nimages={frames}\nframes={frames}\nloop=false\n")  # fmt: skip
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[0]
    with path.open("r+b") as stream:
        stream.truncate(start + frames * marked.nbytes)
        stream.seek(start + 9_998 * marked.nbytes)
        stream.write(marked.astype(">u2").tobytes())
    with open_movie(path) as movie:
        assert movie.shape == (frames, 512, 512)
        assert np.array_equal(movie[9_998:9_999][0], marked)
        assert not movie[9_997:9_998].any()
    with path.open("r+b") as stream:
        stream.truncate(start + (frames - 1) * marked.nbytes)
    with pytest.raises(FormatError, match="cut off"):
        open_movie(path)


@pytest.mark.parametrize("kind", [{}, {"imagej": True}, {"ome": True}, {"metadata": None}, {"compression": "zlib"}])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_files_that_are_cut_off_are_refused(tmp_path, kind, kept):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, MOVIE, **kind)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(FormatError, match=r"cut off|damaged"):
        open_movie(path)


def test_colours_and_frames_of_different_sizes_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match="colour"):
        open_movie(tmp_path / "rgb.tif")
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as writer:
        writer.write(MOVIE[0], metadata=None)
        writer.write(MOVIE[0, :10], metadata=None)
    with pytest.raises(FormatError, match="different sizes"):
        open_movie(tmp_path / "sizes.tif")
    tifffile.imwrite(tmp_path / "complex.tif", MOVIE.astype(np.complex64))
    with pytest.raises(FormatError, match="no counts"):
        open_movie(tmp_path / "complex.tif")


def test_of_several_channels_and_planes_one_is_chosen(tmp_path):
    values = np.random.default_rng(1).integers(0, 999, (5, 3, 2, 8, 10)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, ome=True, metadata={"axes": "TZCYX"})
    with pytest.raises(InputError, match=r"more than one z.*--z 0 to 2"):
        open_movie(tmp_path / "a.ome.tif", channel=0)
    with pytest.raises(InputError, match="more than one channel") as caught:
        open_movie(tmp_path / "a.ome.tif", z=0)
    assert "time 5, z 3, channel 2" in str(caught.value)
    with open_movie(tmp_path / "a.ome.tif", channel=1, z=2) as movie:
        assert np.array_equal(movie[:], values[:, 2, 1])
        assert movie.info.chosen == {"channel": 1, "z": 2}
    with pytest.raises(InputError, match="no such channel"):
        open_movie(tmp_path / "a.ome.tif", channel=2, z=0)
    with pytest.raises(InputError, match="no such position"):
        open_movie(tmp_path / "a.ome.tif", channel=0, z=0, position=1)


def test_several_images_of_an_ome_file_are_positions(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for shift in (0, 100):
            writer.write(MOVIE + shift, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match="more than one position"):
        open_movie(tmp_path / "a.ome.tif")
    same(tmp_path / "a.ome.tif", (MOVIE + 100).astype(np.uint16), position=1)


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="24" SizeY="20" SizeC="1" SizeZ="1" SizeT="9"
PhysicalSizeX="108" PhysicalSizeXUnit="nm" PhysicalSizeY="0.11"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}
<Plane TheC="0" TheT="0" TheZ="0" ExposureTime="30" ExposureTimeUnit="ms"/></Pixels></Image></OME>"""


def ome_files(folder):
    """An OME movie of two files: five frames and four."""
    where = [("one.ome.tif", 5, 0), ("two.ome.tif", 4, 5)]
    data = "".join(
        f'<TiffData FirstT="{start + k}" IFD="{k}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for name, count, start in where
        for k in range(count)
    )
    for name, count, start in where:
        with tifffile.TiffWriter(folder / name) as writer:
            for frame in range(count):
                text = OME.format(data=data).replace("<OME ", f'<OME UUID="urn:uuid:{name}" ')
                writer.write(MOVIE[start + frame], metadata=None, contiguous=False,
                             description=text.encode() if frame == 0 else None)  # fmt: skip


@pytest.mark.parametrize("named", ["one.ome.tif", "two.ome.tif"])
def test_ome_movies_of_several_files_are_one_movie_with_metadata(tmp_path, named):
    ome_files(tmp_path)
    info = same(tmp_path / named)
    assert info.pixel_size_nm == (108.0, 110.0)
    assert info.exposure_ms == 30.0


def test_a_missing_file_of_several_is_told(tmp_path):
    ome_files(tmp_path)
    (tmp_path / "one.ome.tif").unlink()
    with pytest.raises(FormatError, match=r"missing.*first gap at frame 0"):
        open_movie(tmp_path / "two.ome.tif")


SUMMARY = {"Prefix": "run", "Channels": 1, "Slices": 1, "Positions": 1, "PixelSize_um": 0.1, "TimeFirst": True,
           "SlicesFirst": True, "MicroManagerVersion": "2.0.1"}  # fmt: skip
OF_IMAGE = {"Exposure-ms": 25.0, "PixelSizeUm": 0.1, "Camera": "Andor", "Andor-Gain": "250", "Andor-EMSwitch": "On",
            "Andor-Camera": "DU-897", "Binning": "1", "ROI": "10-20-24-20", "BitDepth": 14}  # fmt: skip


def mm_stack(path, frames, first, announced):
    """Write a file as Micro-Manager does: pages of 13 tags with the pixels right behind them, and an index of them."""
    summary = json.dumps(SUMMARY | {"Frames": announced}).encode()
    of_image = json.dumps(OF_IMAGE).encode()
    places, body = [], b""
    start = 40 + len(summary)
    for frame in frames:
        place = start + len(body)
        behind = place + 162 + frame.nbytes
        tags = [(256, 4, 1, 24), (257, 4, 1, 20), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
                (273, 4, 1, place + 162), (277, 3, 1, 1), (278, 4, 1, 20), (279, 4, 1, frame.nbytes),
                (282, 5, 1, behind), (283, 5, 1, behind + 8), (296, 3, 1, 3),
                (51123, 2, len(of_image), behind + 16)]  # fmt: skip
        end = behind + 16 + len(of_image)
        last = len(places) == len(frames) - 1
        body += struct.pack("<H", 13) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        body += struct.pack("<I", 0 if last else end) + frame.tobytes() + struct.pack("<IIII", 1, 1, 1, 1) + of_image
        places.append(place)
    index = start + len(body)
    head = struct.pack("<2sHI", b"II", 42, start) + struct.pack("<IIIIIIII", 54773648, index, 483765892, 0, 99384722, 0,
                                                                2355492, len(summary))  # fmt: skip
    entries = b"".join(struct.pack("<IIIII", 0, 0, first + k, 0, place) for k, place in enumerate(places))
    path.write_bytes(head + summary + body + struct.pack("<II", 3453623, len(places)) + entries)


@pytest.mark.parametrize("named", ["run_MMStack_Pos0.ome.tif", "run_MMStack_Pos0_1.ome.tif", "."])
def test_micro_manager_stacks_of_several_files_are_one_movie_with_metadata(tmp_path, named):
    mm_stack(tmp_path / "run_MMStack_Pos0.ome.tif", MOVIE[:6], 0, 9)
    mm_stack(tmp_path / "run_MMStack_Pos0_1.ome.tif", MOVIE[6:], 6, 9)
    info = same(tmp_path / named)
    assert info.pixel_size_nm == (100.0, 100.0)
    assert info.exposure_ms == 25.0
    assert info.camera.em_gain == 250
    assert info.camera.region_px == (10, 20, 24, 20)
    assert info.camera_values()["saturation"] == 2**14 - 1


def test_a_stack_that_was_stopped_has_the_frames_that_were_taken(tmp_path):
    mm_stack(tmp_path / "run_MMStack_Pos0.ome.tif", MOVIE, 0, 500)
    info = same(tmp_path / "run_MMStack_Pos0.ome.tif")
    assert "announces 500 frames and holds 9" in " ".join(info.notes)


def test_a_stack_without_its_first_file_is_refused(tmp_path):
    mm_stack(tmp_path / "run_MMStack_Pos0_1.ome.tif", MOVIE[6:], 6, 9)
    with pytest.raises(FormatError, match="begins at frame 6"):
        open_movie(tmp_path / "run_MMStack_Pos0_1.ome.tif")


def test_imagej_says_pixel_size_and_interval(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MOVIE, imagej=True, resolution=(10, 8),
                     metadata={"axes": "TYX", "unit": "um", "finterval": 0.05})  # fmt: skip
    info = same(tmp_path / "a.tif")
    assert info.pixel_size_nm == (100.0, 125.0)
    assert info.exposure_ms == 50.0


def test_folders_of_frames_are_sorted_by_number(tmp_path):
    for number, frame in enumerate(MOVIE):
        tifffile.imwrite(tmp_path / f"frame{number + 3}.tif", frame)
    (tmp_path / "LICENSE").write_text("not a frame")
    (tmp_path / "._frame1.tif").write_bytes(b"of the Finder")
    info = same(tmp_path)
    assert info.format == "frames"


def test_folders_of_micro_manager_images_have_channels_and_metadata(tmp_path):
    for time in range(9):
        for channel in range(2):
            name = f"img_channel00{channel}_position000_time{time:09d}_z000.tif"
            tifffile.imwrite(tmp_path / name, MOVIE[time] + channel * 5000)
    (tmp_path / "metadata.txt").write_text(json.dumps({"Summary": {"Frames": 9}, "FrameKey-0-0-0": OF_IMAGE}, indent=1))
    with pytest.raises(InputError, match="more than one channel"):
        open_movie(tmp_path)
    info = same(tmp_path, MOVIE + np.uint16(5000), channel=1)
    assert info.exposure_ms == 25.0
    assert info.pixel_size_nm == (100.0, 100.0)
    (tmp_path / "img_channel001_position000_time000000003_z000.tif").unlink()
    with pytest.raises(FormatError, match="missing"):
        open_movie(tmp_path, channel=1)


def test_a_frame_that_does_not_fit_is_named(tmp_path):
    for number in range(3):
        tifffile.imwrite(tmp_path / f"f{number}.tif", MOVIE[number, : 20 - 5 * (number == 2)])
    with open_movie(tmp_path) as movie, pytest.raises(FormatError, match=r"f2.tif does not fit"):
        movie[:]


def test_a_folder_of_movies_is_no_movie(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"cell{number}.tif", MOVIE)
    with pytest.raises(FormatError, match="several movies"):
        open_movie(tmp_path)


def test_real_movies_are_read(data_path):
    with open_movie(data_path("tetrapod_storm_movie")) as movie:
        assert movie.shape == (50, 332, 492)
        assert 20 < movie[40:41].mean() < 100
    with open_movie(data_path("vendor_formats/images.tif")) as movie:
        assert movie.shape == (5, 128, 128)
        assert "along z" in movie.info.notes[0]


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 3, 1]])
@pytest.mark.parametrize("metadata", [{}, None])
def test_a_movie_that_was_written_piece_by_piece_is_one_movie(tmp_path, pieces, metadata):
    movie = np.random.default_rng(1).integers(0, 999, (7, 9, 11)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for piece in np.split(movie, np.cumsum(pieces)[:-1]):
            writer.write(piece if len(piece) > 1 else piece[0], metadata=metadata, photometric="minisblack")
    with open_movie(tmp_path / "a.tif") as opened:
        assert opened.shape == movie.shape
        assert np.array_equal(opened[:], movie)
