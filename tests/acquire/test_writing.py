"""Bursts are on disk as they were taken, with their metadata, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucule.acquire import writing
from lucule.acquire.faults import CameraFault, WritingFault
from lucule.core import FormatError

HOW: dict[str, Any] = {"pixel_size_um": 0.1, "exposure_ms": 20.0, "notes": {"field": "3"}}


def frames(count: int, *, fails: bool = False) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full((32, 48), number, np.uint16)
    if fails:
        raise CameraFault("stopped")


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
@pytest.mark.parametrize("count", [1, 250, 1000])
def test_a_burst_comes_back(tmp_path: Path, ending: str, count: int) -> None:
    path = writing.write_burst(tmp_path / f"burst{ending}", frames(count), shape=(count, 32, 48), **HOW)
    back = writing.read_burst(path)
    assert back.shape == (count, 32, 48)
    assert (back[:, 5, 5] == np.arange(count)).all()


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
def test_blocks_that_are_filled_again_do_not_mix_frames(tmp_path: Path, ending: str) -> None:
    """Frames as large as these make more blocks than there are."""
    many = (np.full((512, 512), number, np.uint16) for number in range(60))
    path = writing.write_burst(tmp_path / f"b{ending}", many, shape=(60, 512, 512), **HOW)
    back = writing.read_burst(path)
    assert (back == np.arange(60)[:, None, None]).all()


def test_a_tiff_tells_its_pixel_and_time(tmp_path: Path) -> None:
    import tifffile

    path = writing.write_burst(tmp_path / "b.ome.tif", frames(5), shape=(5, 32, 48), **HOW)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        for text in ('PhysicalSizeX="0.1"', 'TimeIncrement="20.0"', "field: 3"):
            assert text in file.ome_metadata


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
def test_a_burst_that_ends_early_is_an_error_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    with pytest.raises(CameraFault):
        writing.write_burst(tmp_path / f"b{ending}", frames(100, fails=True), shape=(1000, 32, 48), **HOW)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
def test_a_full_disk_is_a_fault_of_its_own(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.zarr_out, "write_movie", full)
    monkeypatch.setattr(writing, "_write_tiff", full)
    with pytest.raises(WritingFault, match="No space left"):
        writing.write_burst(tmp_path / f"b{ending}", frames(5), shape=(5, 32, 48), **HOW)


def test_what_is_no_burst_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        writing.read_burst(tmp_path / "missing.ome.tif")
    with pytest.raises(FormatError):
        writing.read_burst(tmp_path / "missing.ome.zarr")
