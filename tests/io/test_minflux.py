"""MINFLUX: both versions in all containers, last iterations, traces, metres."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest
import scipy.io

from lucule import io
from lucule.core import ColumnError, FormatError, InputError

ITERATION = [
    ("itr", "<i4"),
    ("loc", "<f8", (3,)),
    ("lnc", "<f8", (3,)),
    ("eco", "<i4"),
    ("ecc", "<i4"),
    ("efo", "<f8"),
    ("cfr", "<f8"),
    ("dcr", "<f8"),
    ("gvx", "<f8"),
]
OUTER = [("tim", "<f8"), ("tid", "<i4"), ("vld", "?"), ("sqi", "<u4")]
V2 = [
    ("vld", "?"),
    ("fnl", "?"),
    ("bot", "?"),
    ("tim", "<f8"),
    ("tid", "<u4"),
    ("itr", "<i4"),
    ("loc", "<f8", (3,)),
    ("lnc", "<f8", (3,)),
    ("eco", "<u4"),
    ("efo", "<f4"),
    ("cfr", "<f2"),
    ("dcr", "<f2", (2,)),
]


def version_1() -> np.ndarray:
    """Three localizations with three iterations: trace 5 twice, an aborted one, trace 9."""
    data = np.zeros(4, [("itr", ITERATION, (3,)), *OUTER])
    data["tid"], data["tim"], data["vld"] = [5, 5, 6, 9], [0.5, 0.75, 1, 2], [True, True, False, True]
    data["itr"]["loc"] = np.arange(12).reshape(4, 3, 1) * 1e-7 + np.array([1e-6, -2e-6, 3e-8])
    data["itr"]["eco"] = np.arange(12).reshape(4, 3)
    data["itr"]["cfr"][:, 1] = [0.1, 0.2, 0.3, 0.4]  # measured in the second iteration only
    data["itr"]["cfr"][:, 2] = -3e-5
    return data


def version_2() -> np.ndarray:
    """The same, one row per iteration; the second localization of trace 5 repeats the last iteration only."""
    tid = [5, 5, 5, 5, 6, 6, 9, 9, 9]
    itr = [0, 1, 2, 2, 0, 1, 0, 1, 2]
    data = np.zeros(9, V2)
    data["tid"], data["itr"], data["fnl"], data["vld"] = tid, itr, np.equal(itr, 2), np.not_equal(tid, 6)
    data["tim"] = np.arange(9) / 4
    data["loc"] = np.arange(9)[:, None] * 1e-7 + np.array([1e-6, -2e-6, 3e-8])
    data["eco"] = np.arange(9)
    data["cfr"] = np.where(np.equal(itr, 1), [0, 0.125, 0, 0, 0, 0.5, 0, 0.25, 0], 0)
    data["dcr"] = [[0.75, 0.25]] * 9
    return data


def as_mat(data: np.ndarray) -> dict[str, Any]:
    names = data.dtype.names or ()
    return {
        name: as_mat_struct(data[name]) if data.dtype[name].base.names else data[name].reshape(len(data), -1)
        for name in names
    }


def as_mat_struct(iterations: np.ndarray) -> dict[str, Any]:
    return {name: iterations[name] for name in iterations.dtype.names or ()}


def save(folder: Path, data: np.ndarray, kind: str) -> Path:
    path = folder / f"a.{kind}"
    if kind == "npy":
        np.save(path, data)
    elif kind == "zip":
        np.save(folder / "b.npy", data)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / "b.npy", "data/b.npy")
            archive.writestr("__MACOSX/data/._b.npy", "shadow")
    elif kind == "mat":
        scipy.io.savemat(path, as_mat(data))
    elif kind == "mat73":
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in as_mat(data).items():
                for member, array in value.items() if isinstance(value, dict) else [("", value)]:
                    file[f"{name}/{member}".rstrip("/")] = np.asarray(array, float).T
    else:
        rows = [{name: np.asarray(row[name]).tolist() for name in data.dtype.names or ()} for row in data]
        path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("kind", ["npy", "zip", "mat", "mat73"])
def test_version_1(tmp_path: Path, kind: str) -> None:
    locs = io.read(save(tmp_path, version_1(), kind))
    # last iterations: numbers 2, 5 and 11 of 12; metres to nm
    assert locs.xyz() == pytest.approx(np.array([[1200, -1800, 230], [1500, -1500, 530], [2100, -900, 1130]]))
    assert locs["photons"].tolist() == [2, 5, 11]
    assert locs["event"].tolist() == locs["tid"].tolist() == [5, 5, 9]
    assert locs["tim"].tolist() == [0.5, 0.75, 2]
    assert locs["cfr"].tolist() == pytest.approx([0.1, 0.2, 0.4])
    assert not {"frame", "gvx", "lnc", "vld"} & set(locs.columns)
    assert locs.meta.vendor["minflux"]["version"] == 1


@pytest.mark.parametrize("kind", ["npy", "zip", "mat", "mat73", "json"])
def test_version_2(tmp_path: Path, kind: str) -> None:
    locs = io.read(save(tmp_path, version_2(), kind))
    assert locs.xyz() == pytest.approx(np.array([[1200, -1800, 230], [1300, -1700, 330], [1800, -1200, 830]]))
    assert locs["photons"].tolist() == [2, 3, 8]
    assert locs["event"].tolist() == [5, 5, 9]
    # the repeated localization has no cfr of its own; that of its trace holds
    assert locs["cfr"].tolist() == [0.125, 0.125, 0.25]
    assert locs["dcr"].tolist() == [0.75] * 3
    assert not {"frame", "itr", "fnl", "bot"} & set(locs.columns)
    assert locs.meta.vendor["minflux"]["version"] == 2


def test_version_2_without_flags_takes_the_highest_iteration(tmp_path: Path) -> None:
    data = version_2()
    reduced = data[[name for name in data.dtype.names or () if name != "fnl"]]
    locs = io.read(save(tmp_path, np.array(reduced.tolist(), reduced.dtype), "npy"))
    assert locs["photons"].tolist() == [2, 3, 8]


def test_an_aggregated_measurement_has_one_iteration(tmp_path: Path) -> None:
    data = np.zeros(2, [("itr", ITERATION, (1,)), *OUTER])
    data["vld"], data["itr"]["loc"][:, 0, 0] = True, [1e-6, 2e-6]
    locs = io.read(save(tmp_path, data, "npy"))
    assert locs["x"].tolist() == [1000, 2000]
    assert "z" not in locs  # two-dimensional


def test_z_factor(tmp_path: Path) -> None:
    path = save(tmp_path, version_1(), "npy")
    assert io.read(path, z_factor=0.7)["z"][0] == pytest.approx(161)
    assert io.read(path, z_factor=0.7)["x"][0] == pytest.approx(1200)


def test_the_pixel_size_given_is_kept_for_writing(tmp_path: Path) -> None:
    locs = io.read(save(tmp_path, version_1(), "npy"), pixel_size_nm=100)
    assert locs["x"][0] == pytest.approx(1200)
    back = io.read(io.write(locs, tmp_path / "b.hdf5"))
    np.testing.assert_array_equal(back.xyz(), locs.xyz())


def test_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pixels"):
        io.read(save(tmp_path, version_1(), "npy"), unit="px")


@pytest.mark.parametrize("data", [version_1(), version_2()], ids=["1", "2"])
def test_empty_table(tmp_path: Path, data: np.ndarray) -> None:
    assert len(io.read(save(tmp_path, data[:0], "npy"))) == 0
    data = data.copy()
    data["vld"] = False
    assert len(io.read(save(tmp_path, data, "npy"))) == 0


def test_valid_rows_without_a_position_are_refused_or_dropped(tmp_path: Path) -> None:
    data = version_1()
    data["itr"]["loc"][1, 2] = np.nan
    path = save(tmp_path, data, "npy")
    with pytest.raises(ColumnError, match="--drop-invalid"):
        io.read(path)
    assert io.read(path, drop_invalid=True)["event"].tolist() == [5, 9]


def test_several_arrays_in_a_zip(tmp_path: Path) -> None:
    save(tmp_path, version_1(), "npy")
    path = tmp_path / "c.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "a.npy", "one.npy")
        archive.write(tmp_path / "a.npy", "two.npy")
    with pytest.raises(InputError, match=r"one\.npy, two\.npy"):
        io.read(path)
    assert len(io.read(path, table="two.npy")) == 3


def test_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, version_1(), "npy")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="cut off"):
        io.read(path)
    path = save(tmp_path, version_2(), "json")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(FormatError, match="damaged or incomplete"):
        io.read(path)
    np.save(path := tmp_path / "image.npy", np.zeros((4, 4)))
    with pytest.raises(FormatError, match="no supported format"):
        io.read(path)
    data = version_1()
    names = [name for name in data.dtype.names or () if name != "vld"]
    np.save(path, np.array(data[names].tolist(), data[names].dtype))
    with pytest.raises(FormatError):
        io.read(path)
    with pytest.raises(FormatError, match="no vld"):
        io.read(path, format="minflux")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(path := tmp_path / "a.npy", np.array([{"vld": 1, "tid": 2, "itr": 3}], dtype=object))
    with pytest.raises(FormatError, match="no table of records"):
        io.read(path, format="minflux")


def test_arrays_of_different_length(tmp_path: Path) -> None:
    content = as_mat(version_2())
    content["eco"] = content["eco"][:-1]
    scipy.io.savemat(path := tmp_path / "a.mat", content)
    with pytest.raises(FormatError, match="eco has another length"):
        io.read(path)


@pytest.mark.parametrize("kind", ["npy", "mat"])
def test_inspect(tmp_path: Path, kind: str) -> None:
    info = io.inspect(save(tmp_path, version_1(), kind))
    becomes = {column.name: (column.unit, column.becomes) for column in info.columns}
    assert becomes["loc"] == ("m", "x, y, z")
    assert becomes["eco"][1] == "photons"
    assert becomes["gvx"][1] is None
    assert info.metadata["version"] == 1


def test_real_npy(data_path: Any) -> None:
    path = data_path("minflux/2D_ValidOnly.npy.zip")
    locs = io.read(path)
    with zipfile.ZipFile(path) as archive, archive.open("2D_ValidOnly.npy") as stream:
        records = np.load(stream, allow_pickle=False)
    assert len(locs) == len(records) == 12_580
    np.testing.assert_allclose(locs["x"], records["itr"]["loc"][:, 4, 0] * 1e9, rtol=1e-7)
    np.testing.assert_array_equal(locs["photons"], records["itr"]["eco"][:, 4])
    assert len(np.unique(locs["event"])) == 1250


def test_real_mat(data_path: Any) -> None:
    path = data_path("minflux/Fig1a_Tom70-Dreiklang_Minflux.mat")
    locs = io.read(path)
    published = scipy.io.loadmat(path, simplify_cells=True)["minflux"]
    assert len(locs) == 41_132
    np.testing.assert_allclose(locs.xy(), published["pos"][:, :2], rtol=1e-6)
    np.testing.assert_array_equal(locs["event"], published["id"])
    np.testing.assert_array_equal(locs["tim"], published["t"])
    # repeated localizations of one molecule scatter by a few nm, so the table is in nm
    spread_nm = locs.data.group_by("tid").agg(pl.col("x").std())["x"].drop_nulls().median()
    assert 1 < spread_nm < 10
