"""Real files of other programs, compared with what Locan reads from them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucule.io import inspect, read
from lucule.io.units_check import suspicions

DataPath = Callable[[str], Path]


@pytest.fixture(scope="module")
def locan() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("locan", reason="Locan (dev extra) is the oracle here")


# file, format, rows, Locan's loader, Locan's property -> (lucule column, what lucule adds)
THUNDERSTORM = {
    "position_x": ("x", 0), "position_y": ("y", 0), "frame": ("frame", -1), "intensity": ("photons", 0),
    "local_background": ("background", 0), "psf_sigma": ("sigma_x", 0), "uncertainty": ("x_err", 0),
    "chi_square": ("chi2", 0),
}  # fmt: skip
RAPIDSTORM = {
    "position_x": ("x", 0), "position_y": ("y", 0), "frame": ("frame", 0), "intensity": ("Amplitude-0-0", 0),
    "local_background": ("LocalBackground-0-0", 0), "chi_square": ("FitResidues-0-0", 0),
}  # fmt: skip
FILES = [
    ("vendor_formats/Thunderstorm_dstorm_data.csv", "thunderstorm", 19, "load_thunderstorm_file", THUNDERSTORM),
    ("ecoli_storm/01_storm.csv", "thunderstorm", 29_995, "load_thunderstorm_file", THUNDERSTORM),
    ("ecoli_storm/03_storm.csv", "thunderstorm", 17_361, "load_thunderstorm_file", THUNDERSTORM),
    ("ecoli_storm/07_storm.csv", "thunderstorm", 40_408, "load_thunderstorm_file", THUNDERSTORM),
    ("vendor_formats/rapidSTORM_dstorm_data.txt", "rapidstorm", 14, "load_rapidSTORM_file", RAPIDSTORM),
    (
        "vendor_formats/Elyra_dstorm_data.txt", "elyra", 15, "load_Elyra_file",
        {"position_x": ("x", 0), "position_y": ("y", 0), "frame": ("frame", -1), "intensity": ("photons", 0),
         "uncertainty": ("y_err", 0), "channel": ("channel", -1), "chi_square": ("Chi square", 0)},
    ),
    (
        "vendor_formats/Nanoimager_dstorm_data.csv", "nanoimager", 14, "load_Nanoimager_file",
        {"position_x": ("x", 0), "position_y": ("y", 0), "position_z": ("z", 0), "frame": ("frame", 0),
         "intensity": ("photons", 0), "local_background": ("background", 0), "channel": ("channel", 0)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "format", "rows", "loader", "properties"), FILES, ids=lambda v: v if "/" in str(v) else ""
)
def test_as_locan_reads_it(
    name: str,
    format: str,  # noqa: A002
    rows: int,
    loader: str,
    properties: dict[str, tuple[str, int]],
    data_path: DataPath,
    locan: Any,
) -> None:
    path = data_path(name)
    locs = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(locan, loader)(path).data
    assert len(locs) == len(theirs) == rows
    compared = 0
    for property_, (column, added) in properties.items():
        if property_ in theirs:
            expected = theirs[property_].to_numpy(dtype=np.float64) + added
            np.testing.assert_allclose(locs[column], expected, rtol=1e-6, err_msg=property_)
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize(
    ("name", "format", "rows", "loader", "properties"), FILES, ids=lambda v: v if "/" in str(v) else ""
)
def test_real_file(
    name: str,
    format: str,  # noqa: A002
    rows: int,
    loader: str,
    properties: dict[str, tuple[str, int]],
    data_path: DataPath,
) -> None:
    path = data_path(name)
    locs = read(path)
    assert locs.meta.source is not None
    assert (locs.meta.source.format, len(locs)) == (format, rows)
    assert {column for column, _ in properties.values()} <= set(locs.columns)
    info = inspect(path)
    assert (info.format, info.rows) == (format, rows)
    allowed = ("the table is treated as 2D", "positions count from")
    assert [text for text in suspicions(locs) if not any(known in text for known in allowed)] == []


def test_rapidstorm_tracks(data_path: DataPath, locan: Any) -> None:
    path = data_path("vendor_formats/rapidSTORM_dstorm_track_data.txt")
    locs, means = read(path), read(path, table="tracks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = locan.load_rapidSTORM_track_file(path)
        tracks = theirs.references
    assert len(means) == 14
    assert len(tracks) == 13  # Locan 0.22 skips one line too many behind the header and loses the first track
    assert len(locs) == sum(len(track) for track in tracks) + 2
    for number, track in enumerate(tracks, start=1):
        mine = locs.data.filter(locs.data["event"] == number)
        np.testing.assert_allclose(mine["x"], track.data["position_x"], rtol=1e-6)
        np.testing.assert_allclose(mine["y_err"], track.data["uncertainty_y"], rtol=1e-6)
        assert mine["frame"].to_list() == track.data["frame"].to_list()
        assert means["n_frames"][number] == len(track)


def test_half_a_pixel_of_rapidstorm(data_path: DataPath) -> None:
    path = data_path("vendor_formats/rapidSTORM_dstorm_data.txt")
    np.testing.assert_allclose(read(path, pixel_size_nm=128.3)["x"] - read(path)["x"], 64.15, atol=2e-3)


def test_minflux_csv(data_path: DataPath) -> None:
    path = data_path("minflux/Fig2_U2OS_Tom70-Dreiklang_ATP5B_AB_Minflux3D.csv")
    locs = read(path)
    expected = np.loadtxt(path, delimiter=",", skiprows=1)
    assert locs.meta.source is not None
    assert (locs.meta.source.format, len(locs)) == ("minflux_csv", len(expected))
    np.testing.assert_allclose(locs.xyz(), expected[:, 2:], rtol=1e-6)
    assert np.array_equal(locs["event"], expected[:, 0])
    assert suspicions(locs) == []


def test_prose_is_no_table(data_path: DataPath) -> None:
    from lucule.core import FormatError

    with pytest.raises(FormatError, match="not a table of localizations"):
        read(data_path("vendor_formats/LICENSE.md"))
