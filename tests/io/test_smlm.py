"""`.smlm`: types, shapes, offsets, units, several tables; tables that come back as they were written."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from lucule import io
from lucule.core import ColumnError, FormatError, InputError, Localizations
from lucule.testing import localizations

Column = tuple[str, str, Any, str, Any]  # header, dtype, shape, unit, values

SPOT: list[Column] = [
    ("x", "float32", 1, "nm", [350.0]),
    ("y", "float32", 1, "nm", [550.0]),
    ("z", "float32", 1, "um", [-0.05]),
    ("frame", "uint32", 1, "frame", [7]),
    ("intensity", "float32", 1, "photon", [900.0]),
    ("background", "float32", 1, "photon", [12.0]),
    ("x_precision", "float32", 1, "nm", [10.0]),
    ("channel", "uint8", 1, "", [2]),
]


def save(
    path: Path,
    *tables: list[Column],
    names: tuple[str, ...] = ("table.bin",),
    channels: tuple[str, ...] = ("default",),
    changes: dict[str, Any] | None = None,
    file_changes: dict[str, Any] | None = None,
) -> Path:
    """A file with one or several tables."""
    manifest: dict[str, Any] = {"format_version": "0.2", "formats": {}, "files": [], "name": "test"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, channel, columns in zip(names, channels, tables, strict=True):
            rows = len(columns[0][4])
            shapes = [tuple(shape) if isinstance(shape, list) else () for _, _, shape, _, _ in columns]
            types = [(column[0], column[1], shape) for column, shape in zip(columns, shapes, strict=True)]
            table = np.zeros(rows, np.dtype(types))
            for column in columns:
                table[column[0]] = column[4]
            archive.writestr(name, table.tobytes())
            manifest["formats"][name] = {
                "type": "table",
                "mode": "binary",
                "columns": len(columns),
                "headers": [column[0] for column in columns],
                "dtype": [column[1] for column in columns],
                "shape": [column[2] for column in columns],
                "units": [column[3] for column in columns],
            }
            info = {"name": name, "type": "table", "format": name, "channel": channel, "rows": rows, "offset": {}}
            manifest["files"].append(info | (file_changes or {}))
        archive.writestr("manifest.json", json.dumps(manifest | (changes or {})))
    return path


def test_one_spot(tmp_path: Path) -> None:
    locs = io.read(save(tmp_path / "a.smlm", SPOT))
    expected = {"frame": 7, "x": 350, "y": 550, "z": -50, "photons": 900, "background": 12, "x_err": 10, "channel": 2}
    assert locs.data.select(*expected).row(0, named=True) == pytest.approx(expected)
    assert locs.meta.vendor["smlm"]["name"] == "test"


def test_counts_are_not_photons(tmp_path: Path) -> None:
    columns = [(*column[:3], column[3].replace("photon", ""), column[4]) for column in SPOT]
    locs = io.read(save(tmp_path / "a.smlm", columns))
    assert "photons" not in locs
    assert locs["intensity"].tolist() == [900]
    assert locs["background_in_file"].tolist() == [12]
    assert io.read(tmp_path / "a.smlm", columns={"photons": "intensity"})["photons"].tolist() == [900]


def test_offsets_are_added(tmp_path: Path) -> None:
    """The specification stores signed numbers as unsigned ones with a negative offset."""
    columns = [("x", "uint16", 1, "nm", [30]), ("y", "uint16", 1, "um", [3]), ("q", "uint8", 1, "", [0])]
    locs = io.read(save(tmp_path / "a.smlm", columns, file_changes={"offset": {"x": -100, "y": 0.5, "q": -1}}))
    assert locs.data.row(0) == (-70, 3500, -1)


def test_vectors_and_patches(tmp_path: Path) -> None:
    patch = np.arange(1600, dtype="u2").reshape(1, 40, 40)
    columns = [*SPOT[:2], ("v", "float32", [3], "", [[1, 2, 3]]), ("raw", "uint16", [40, 40], "", patch)]
    locs = io.read(save(tmp_path / "a.smlm", [columns[3], *columns[:3], SPOT[3]]))
    assert (locs["v_0"][0], locs["v_2"][0]) == (1, 3)
    assert locs["frame"].tolist() == [7]  # stands behind the others, so their sizes were respected
    assert not [name for name in locs.columns if name.startswith("raw")]
    info = io.inspect(tmp_path / "a.smlm")
    assert {column.name: column.becomes for column in info.columns}["raw"] is None


def test_channels_and_fields(tmp_path: Path) -> None:
    columns = [column for column in SPOT if column[0] != "channel"]
    names = ("a.bin", "b.bin", "c.bin")
    path = save(tmp_path / "a.smlm", columns, columns, columns, names=names, channels=("red", "green", "red"))
    locs = io.read(path)
    assert locs["channel"].tolist() == [0, 1, 0]
    assert locs["field"].tolist() == [0, 0, 1]
    assert [table["channel"] for table in locs.meta.vendor["smlm"]["tables"]] == ["red", "green", "red"]
    assert len(io.read(path, table="b.bin")) == 1
    assert len(io.read(path, table="red")) == 2
    with pytest.raises(InputError, match=r"a\.bin, b\.bin, c\.bin"):
        io.read(path, table="d.bin")
    save(path, columns, columns[:3], names=names[:2], channels=("red", "green"))
    with pytest.raises(ColumnError, match=r"--table a\.bin"):
        io.read(path)


def test_frames_of_thunderstorm_start_at_1(tmp_path: Path) -> None:
    name = "Thunderstorm_localization_table.bin"
    columns = [*SPOT[:2], ("frame", "float32", 1, "", [8]), ("sigma", "float32", 1, "nm", [150])]
    locs = io.read(save(tmp_path / "a.smlm", columns, names=(name,)))
    assert locs["frame"].tolist() == [7]
    assert (locs["sigma_x"][0], locs["sigma_y"][0]) == (150, 150)


def test_units(tmp_path: Path) -> None:
    columns = [("x", "float32", 1, "px", [3.5]), ("y", "float32", 1, "pixel", [5.5]), ("q", "float32", 1, "um", [2.0])]
    path = save(tmp_path / "a.smlm", columns)
    with pytest.raises(InputError, match="--pixel-size-nm"):
        io.read(path)
    assert io.read(path, pixel_size_nm=(100, 120)).data.row(0) == (350, 660, 2000)
    save(path, [("x", "float32", 1, "furlong", [3.5]), columns[1]])
    with pytest.raises(FormatError, match="furlong"):
        io.read(path)
    assert io.read(path, unit="um")["x"].tolist() == [3500]


@pytest.mark.parametrize(
    ("changes", "file_changes", "message"),
    [
        ({"format_version": "1.0"}, None, "unsupported version"),
        ({"formats": {}}, None, "describes a table wrongly"),
        ({"files": []}, None, "holds no table"),
        (None, {"rows": 2}, "not as long"),
        (None, {"rows": "many"}, "describes a table wrongly"),
    ],
)
def test_wrong_manifests(
    tmp_path: Path, changes: dict[str, Any] | None, file_changes: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        io.read(save(tmp_path / "a.smlm", SPOT, changes=changes, file_changes=file_changes))


def test_damaged_zip(tmp_path: Path) -> None:
    path = save(tmp_path / "a.smlm", SPOT)
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    with pytest.raises(FormatError, match="damaged or incomplete zip"):
        io.read(path)
    path.write_bytes(content.replace(b"format_version", b"format_versionx", 1))
    with pytest.raises(FormatError):
        io.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(FormatError, match="no supported format"):
        io.read(path)


def test_text_tables_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.smlm", SPOT, changes={"formats": {"table.bin": {"type": "table", "mode": "text"}}})
    with pytest.raises(FormatError, match="unzip the file"):
        io.read(path)


# -- writing


@settings(max_examples=40, deadline=None)
@given(localizations())
def test_round_trip(locs: Localizations) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = io.read(io.write(locs, Path(folder) / "a.smlm"))
    assert_frame_equal(back.data, locs.data)
    assert back.meta.model_copy(update={"source": None, "history": (), "vendor": {}}) == locs.meta
    assert len(back.meta.history) == 1


def test_only_types_of_the_specification_are_written(tmp_path: Path) -> None:
    columns = {"x": [1.0], "y": [2.0], "cluster": [-1], "frame": [4], "flag": [True], "id": [-(2**40)]}
    locs = Localizations(columns)
    path = io.write(locs, tmp_path / "a.smlm")
    with zipfile.ZipFile(path) as archive:
        form = json.loads(archive.read("manifest.json"))["formats"]["smlm-table(binary)"]
    assert set(form["dtype"]) <= {"uint8", "uint16", "uint32", "float32", "float64"}
    assert_frame_equal(io.read(path).data, locs.data)
    with pytest.raises(ColumnError, match="exactly"):
        io.write(locs.with_columns(id=np.array([2**60])), path)


def test_text_is_refused(tmp_path: Path) -> None:
    locs = Localizations(pl.DataFrame({"x": [1.0], "y": [2.0], "name": ["a"]}))
    with pytest.raises(ColumnError, match="cannot hold column name"):
        io.write(locs, tmp_path / "a.smlm")
    assert not list(tmp_path.iterdir())


def test_locan_reads_what_is_written(tmp_path: Path, locan: Any) -> None:
    columns = {"x": [1.0, 2], "y": [3.0, 4], "frame": [5, 6], "photons": [7.0, 8], "cluster": [-1, 3]}
    path = io.write(Localizations(columns), tmp_path / "a.smlm")
    theirs = locan.load_SMLM_file(path).data
    assert theirs["position_x"].tolist() == [1, 2]
    assert theirs["frame"].tolist() == [5, 6]
    assert theirs["intensity"].tolist() == [7, 8]


def test_real_file(data_path: Any, locan: Any) -> None:
    path = data_path("vendor_formats/SMLM_dstorm_data.smlm")
    locs = io.read(path)
    theirs = locan.load_SMLM_file(path).data
    pairs = {"x": "position_x", "y": "position_y", "frame": "frame", "intensity": "intensity"}
    for ours, name in pairs.items():
        np.testing.assert_array_equal(locs[ours], theirs[name])
    assert len(locs) == 10
