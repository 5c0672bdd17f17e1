"""Movies in blocks: context, regions, interruptions, memory, frames that cannot be trusted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from lucule.core import FormatError, InputError
from lucule.io.movies import opened
from lucule.localize.blocks import Keep, in_blocks, parts_folder, remove_parts

PIXEL = (100.0, 110.0)


def bright(block):
    """Pixels above 1000, and how many frames were seen beside the own ones."""
    frame, row, column = np.nonzero(block.counts[block.own] > 1000)
    seen = len(block.counts) - (block.own.stop - block.own.start)
    table = {"frame": frame, "x": (column + 0.5) * PIXEL[0], "y": (row + 0.5) * PIXEL[1], "seen": [seen] * len(row)}
    return pl.DataFrame(table, schema_overrides={"seen": pl.Int64})


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    values = rng.integers(90, 110, (30, 12, 16)).astype(np.uint16)
    values[np.arange(30), rng.integers(0, 12, 30), rng.integers(0, 16, 30)] = 2000
    return values


@pytest.fixture
def path(tmp_path, counts):
    np.save(tmp_path / "movie.npy", counts)
    return tmp_path / "movie.npy"


def run(movie, find=bright, **options):
    with opened(movie, frames=options.pop("frames", None), roi=options.pop("roi", None)) as source:
        return in_blocks(source, find, **{"size": 4, "pixel_size_nm": PIXEL} | options)


@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_the_size_of_blocks_makes_no_difference(counts, size):
    expected = run(counts, size=30)[0].drop("seen")
    assert expected["frame"].to_list() == list(range(30))
    assert run(counts, size=size, reach=2)[0].drop("seen").equals(expected)


def test_positions_and_frames_are_those_of_the_whole_movie(counts):
    whole = run(counts)[0].drop("seen")
    some = run(counts, frames=(5, 25), roi=(4, 14, 2, 11))[0].drop("seen")
    inside = whole.filter(
        pl.col("frame").is_between(5, 24) & pl.col("x").is_between(400, 1400) & pl.col("y").is_between(220, 1210)
    )
    assert len(some) > 5
    assert some.equals(inside)


def test_neighbours_in_time_are_seen_but_not_beyond_the_wanted_frames(counts):
    assert set(run(counts, reach=2, frames=(10, 20), size=5)[0]["seen"]) == {2}
    assert run(counts, reach=2, size=10)[0]["seen"].rle().struct.unnest().rows() == [(10, 2), (10, 4), (10, 2)]


def test_finished_blocks_survive_an_interruption(tmp_path, path, counts):
    keep = Keep(tmp_path / "parts", "key", seconds=0)
    calls = []

    def dies(block):
        calls.append(len(block.counts))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return bright(block)

    with pytest.raises(KeyboardInterrupt):
        run(path, dies, keep=keep)
    assert len(list(keep.folder.glob("*.parquet"))) == 3
    calls = [0] * 10
    assert run(path, dies, keep=keep)[0].equals(run(counts)[0])
    assert len(calls) == 10 + 8 - 3
    calls = [0] * 10
    assert run(path, dies, keep=keep)[0].equals(run(counts)[0])
    assert len(calls) == 10


def test_an_interruption_writes_what_waits(tmp_path, path):
    keep = Keep(tmp_path / "parts", "key", seconds=1000)

    def dies(block, seen=[]):  # noqa: B006
        seen.append(1)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return bright(block)

    with pytest.raises(KeyboardInterrupt):
        run(path, dies, keep=keep)
    assert [part.stem for part in keep.folder.glob("*.parquet")] == ["0000000000-0000000020"]


def test_damaged_blocks_and_those_of_other_settings_are_made_anew(tmp_path, path, counts):
    keep = Keep(tmp_path / "parts", "key", seconds=0)
    run(path, keep=keep)
    parts = sorted(keep.folder.glob("*.parquet"))
    parts[2].write_bytes(parts[2].read_bytes()[:-3])
    calls = []

    def counted(block):
        calls.append(1)
        return bright(block)

    assert run(path, counted, keep=keep, size=3)[0].equals(run(counts)[0])
    assert len(calls) == 2  # frames 8 to 12 in blocks of 3, which end where finished ones begin
    calls.clear()
    run(path, counted, keep=Keep(keep.folder, "another"))
    assert len(calls) == 8


def test_empty_and_saturated_frames_are_told_and_remembered(tmp_path, path, counts):
    counts[3] = 0
    counts[9] = 7
    counts[20:22, :2] = 65535
    np.save(path, counts)
    keep = Keep(tmp_path / "parts", "key", seconds=0)
    for _ in range(2):
        notes = run(path, keep=keep)[1]
        assert "2 of 30 frames are empty" in notes[0]
        assert "(the first: 3)" in notes[0]
        assert "2 of 30 frames are saturated (the first: 20)" in notes[1]
    assert run(counts, frames=(10, 20))[1] == ()
    assert "at 4095 counts" in run(np.minimum(counts, 4095), saturation=4095)[1][1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_by_frame(counts, value):
    values = counts.astype(np.float32)
    values[14, 3, 3] = value
    with pytest.raises(InputError, match=r"no numbers.*frame 14"):
        run(values, frames=(2, 30))


def test_a_movie_with_one_frame_and_no_spot(counts):
    found, notes = run(counts[:1] * 0 + np.arange(16, dtype=np.uint16))
    assert len(found) == 0
    assert found.schema["frame"] == pl.UInt32
    assert notes == ()


def test_only_what_belongs_to_blocks_is_removed(tmp_path, path):
    folder = parts_folder(tmp_path / "locs.parquet")
    run(path, keep=Keep(folder, "key"))
    (folder / "mine.txt").write_text("keep this")
    with pytest.raises(FormatError, match=r"mine\.txt"):
        remove_parts(folder)
    (folder / "mine.txt").unlink()
    remove_parts(folder)
    assert not folder.exists()
    remove_parts(folder)


FIFTY_GIGABYTES = """
import os, sys
import numpy as np, polars as pl
from pathlib import Path
from lucule.io import open_movie
from lucule.localize.blocks import Keep, in_blocks
seen = []
def find(block):
    seen.append(block.counts.shape)
    row, column = np.divmod(block.counts[block.own].reshape(len(block.counts[block.own]), -1).argmax(1), 512)
    return pl.DataFrame({"frame": np.arange(len(row)), "x": column * 100.0, "y": row * 100.0})
with open_movie(sys.argv[1]) as movie:
    assert movie.shape == (100_000, 512, 512)
    for first in (0, 49_000, 99_000):
        part = movie.part(frames=(first, first + 1000))
        keep = Keep(Path(sys.argv[2]), str(first))
        found, _ = in_blocks(part, find, size=200, reach=2, pixel_size_nm=(100, 100), keep=keep)
        assert found["frame"][0] == first and len(found) == 1000
assert found["x"][999] == 30_000
# not ru_maxrss, which begins with what the parent process had
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 2**20, flush=True)
def dies(block):
    if len(seen) == 18:
        os._exit(9)  # as when the system kills it: nothing is cleaned up
    return find(block)
with open_movie(sys.argv[1], frames=(70_000, 71_000)) as movie:
    in_blocks(movie, dies, size=200, pixel_size_nm=(100, 100), keep=Keep(Path(sys.argv[3]), "key", seconds=0))
"""


def test_a_movie_of_fifty_gigabytes_takes_little_memory_and_goes_on_after_it_was_killed(tmp_path):
    """A file with holes; blocks at its beginning, middle and end, with torch loaded as in a real run."""
    path = tmp_path / "long.npy"
    with path.open("wb") as stream:
        header = {"descr": "<u2", "fortran_order": False, "shape": (100_000, 512, 512)}
        np.lib.format.write_array_header_1_0(stream, header)
        start, length = stream.tell(), 2 * 512 * 512
        stream.truncate(start + 100_000 * length)
        stream.seek(start + 99_999 * length + 600)
        stream.write(b"\xff\xff")
    assert path.stat().st_size > 50e9
    command = [sys.executable, "-c", FIFTY_GIGABYTES, path, tmp_path / "parts", tmp_path / "killed"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert float(done.stdout) < 1.5
    calls = []

    def find(block):
        calls.append(len(block.counts))
        return pl.DataFrame({"frame": np.arange(200), "x": np.zeros(200), "y": np.zeros(200)})

    found, _ = run(path, find, frames=(70_000, 71_000), size=200, keep=Keep(tmp_path / "killed", "key"))
    assert calls == [200, 200]
    assert found["frame"].to_list() == list(range(70_000, 71_000))
