"""Locan's ASDF files, read without the asdf package."""

from __future__ import annotations

import bz2
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucule import io
from lucule.core import FormatError

COLUMNS = ["position_x", "position_y", "frame", "uncertainty", "intensity"]
ROWS = np.array([[350.0, 550.0, 7, 10, 5000], [1.0, 2.0, 8, 20, 6000]], "f4")


def save(
    path: Path,
    *,
    compression: bytes = bytes(4),
    inline: bool = False,
    meta: dict[str, Any] | None = None,
    columns: list[str] = COLUMNS,
) -> Path:
    content = ROWS.T.tobytes()  # column after column, as pandas hands it to Locan
    packed = {b"zlib": zlib.compress, b"bzp2": bz2.compress}.get(compression, bytes)(content)
    data = (
        json.dumps(ROWS.tolist())
        if inline
        else (
            "!core/ndarray-1.0.0\n  source: 1\n  datatype: float32\n  byteorder: little\n"
            "  shape: [2, 5]\n  strides: [4, 8]"
        )
    )
    tree = (
        "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
        f"columns: {json.dumps(columns)}\ndata: {data}\nmeta: {json.dumps(json.dumps(meta or {}))}\n...\n"
    )

    def block(payload: bytes, kind: bytes) -> bytes:
        header = struct.pack(">I4sQQQ16s", 0, kind, len(payload), len(payload), len(content), bytes(16))
        return b"\xd3BLK" + struct.pack(">H", len(header)) + header + payload

    path.write_bytes(tree.encode() + block(b"another block", bytes(4)) + block(packed, compression))
    return path


@pytest.mark.parametrize("compression", [bytes(4), b"zlib", b"bzp2"])
def test_one_spot(tmp_path: Path, compression: bytes) -> None:
    locs = io.read(save(tmp_path / "a.asdf", compression=compression))
    expected = {"frame": 7, "x": 350, "y": 550, "x_err": 10, "y_err": 10, "intensity": 5000}
    assert locs.data.row(0, named=True) == expected
    assert len(locs) == 2
    assert locs.meta.source is not None
    assert locs.meta.source.format == "locan"


def test_inline_numbers(tmp_path: Path) -> None:
    assert io.read(save(tmp_path / "a.asdf", inline=True))["x"].tolist() == [350, 1]


def test_units_in_the_metadata(tmp_path: Path) -> None:
    meta = {"localization_properties": [{"name": f"position_{axis}", "unit": "px"} for axis in "xy"]}
    path = save(tmp_path / "a.asdf", meta=meta)
    assert io.read(path, pixel_size_nm=(100, 10)).xy()[0].tolist() == [35000, 5500]


def test_inspect(tmp_path: Path) -> None:
    info = io.inspect(save(tmp_path / "a.asdf"))
    assert info.rows == 2
    assert [column.becomes for column in info.columns] == ["x", "y", "frame", "x_err", "intensity"]


def test_damaged(tmp_path: Path) -> None:
    path = save(tmp_path / "a.asdf")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FormatError, match="damaged or incomplete"):
        io.read(path)
    with pytest.raises(FormatError, match="do not agree"):
        io.read(save(path, columns=COLUMNS[:4]))
    with pytest.raises(FormatError, match="compression"):
        io.read(save(path, compression=b"lz4\0"))
    path.write_bytes(path.read_bytes().replace(b"data: ", b"data: [", 1))
    with pytest.raises(FormatError, match="damaged ASDF"):
        io.read(path)


def test_real_file(data_path: Any, locan: Any) -> None:
    pytest.importorskip("asdf")
    path = data_path("vendor_formats/npc_gp210.asdf")
    locs = io.read(path)
    theirs = locan.load_asdf_file(path).data
    assert len(locs) == len(theirs) == 202
    pairs = {"x": "position_x", "y": "position_y", "frame": "frame", "intensity": "intensity"}
    for ours, name in pairs.items():
        np.testing.assert_array_equal(locs[ours], theirs[name])
