"""DECODE: rows before columns, pixel centres, variances, empty datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lucule import io
from lucule.core import FormatError, InputError

# a spot in the centre of the pixel in row 5, column 3; pixels are 120 nm along the rows' axis, 100 nm along columns
SPOT = {"xyz": [[5.0, 3.0, -50.0]], "phot": [900.0], "bg": [12.0], "prob": [0.75], "frame_ix": [7], "id": [-1]}
ABOUT = {"xy_unit": "px", "px_size": np.array([120.0, 100.0], "f4")}


def save(path: Path, data: dict[str, Any], about: dict[str, Any] = ABOUT) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            integer = name in ("frame_ix", "id")
            file[f"data/{name}"] = h5py.Empty("f4") if values is None else np.asarray(values, "i8" if integer else "f4")
        file.create_group("meta").attrs.update(about)
        file.create_group("decode").attrs["version"] = "0.10.0"
    return path


def test_one_spot(tmp_path: Path) -> None:
    locs = io.read(save(tmp_path / "a.h5", SPOT | {"xyz_sig": [[0.2, 0.1, 30]], "phot_sig": [40.0], "xyz_cr": None}))
    expected = {
        "frame": 7,
        "x": 350,
        "y": 660,
        "z": -50,
        "photons": 900,
        "background": 12,
        "x_err": 10,
        "y_err": 24,
        "z_err": 30,
        "p": 0.75,
        "id": -1,
        "phot_sig": 40,
    }
    assert locs.data.row(0, named=True) == pytest.approx(expected)
    assert locs.meta.pixel_size_nm == (100, 120)
    assert locs.meta.errors == "predicted"
    assert locs.meta.vendor["decode"]["version"] == "0.10.0"


def test_the_cramer_rao_bound_is_a_variance(tmp_path: Path) -> None:
    locs = io.read(save(tmp_path / "a.h5", SPOT | {"xyz_cr": [[0.04, 0.01, 900]], "xyz_sig": None}))
    assert (locs["x_err"][0], locs["y_err"][0], locs["z_err"][0]) == pytest.approx((10, 24, 30))
    assert locs.meta.errors == "crlb"
    both = io.read(save(tmp_path / "b.h5", SPOT | {"xyz_cr": [[0.04, 0.01, 900]], "xyz_sig": [[0.3, 0.3, 3]]}))
    assert both["x_err"][0] == pytest.approx(30)
    assert both["x_cr"][0] == pytest.approx(10)


def test_nm(tmp_path: Path) -> None:
    data = SPOT | {"xyz": [[600.0, 300.0, -50.0]], "xyz_sig": [[24.0, 10.0, 30.0]]}
    locs = io.read(save(tmp_path / "a.h5", data, ABOUT | {"xy_unit": "nm"}))
    assert locs.xyz()[0].tolist() == pytest.approx([350, 660, -50])
    assert locs["y_err"][0] == pytest.approx(24)


def test_nm_without_a_pixel_size(tmp_path: Path) -> None:
    path = save(tmp_path / "a.h5", SPOT | {"xyz": [[600.0, 300.0, -50.0]]}, {"xy_unit": "nm"})
    locs = io.read(path)
    assert locs.xy()[0].tolist() == [300, 600]
    assert "centre of pixel" in locs.meta.vendor["notes"][0]
    assert io.read(path, pixel_size_nm=(100, 120)).xy()[0].tolist() == [350, 660]


def test_what_the_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "a.h5", SPOT, {"xy_unit": "px"})
    with pytest.raises(InputError, match="--pixel-size-nm"):
        io.read(path)
    assert io.read(path, pixel_size_nm=100)["x"].tolist() == [350]
    assert io.inspect(path).rows == 1  # describing the file needs neither
    path = save(tmp_path / "b.h5", SPOT, {"px_size": ABOUT["px_size"]})
    with pytest.raises(InputError, match="--unit px"):
        io.read(path)
    assert io.read(path, unit="px")["y"].tolist() == [660]


def test_several_colour_channels(tmp_path: Path) -> None:
    locs = io.read(save(tmp_path / "a.h5", SPOT | {"phot": [[900.0, 100.0]]}))
    assert (locs["phot_0"][0], locs["phot_1"][0]) == (900, 100)
    assert "photons" not in locs
    assert io.read(tmp_path / "a.h5", columns={"photons": "phot_0"})["photons"].tolist() == [900]


def test_empty_table(tmp_path: Path) -> None:
    data = {"xyz": np.empty((0, 3)), "frame_ix": [], "phot": [], "xyz_sig": None}
    assert len(io.read(save(tmp_path / "a.h5", data))) == 0
    assert io.inspect(tmp_path / "a.h5").rows == 0


def test_damaged(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="three values"):
        io.read(save(tmp_path / "a.h5", SPOT | {"xyz": [[1.0, 2.0]]}))
    with pytest.raises(FormatError, match="no positions"):
        io.read(save(tmp_path / "b.h5", SPOT | {"xyz": None}))


def test_inspect(tmp_path: Path) -> None:
    info = io.inspect(save(tmp_path / "a.h5", SPOT | {"xyz_sig": [[0.2, 0.1, 30]]}))
    becomes = {column.name: (column.unit, column.becomes) for column in info.columns}
    assert info.rows == 1
    assert becomes["x"] == ("px", "x")
    assert becomes["z_sig"] == ("nm", "z_err")


@pytest.mark.parametrize(("name", "rows"), [("decode_dstorm_data", 96), ("decode_dstorm_data_empty", 0)])
def test_real_files(name: str, rows: int, data_path: Any, locan: Any) -> None:
    path = data_path(f"vendor_formats/{name}.h5")
    locs = io.read(path)
    assert len(locs) == rows
    if not rows:
        return
    theirs = locan.load_decode_file(path).data  # pixels, DECODE's axes; 127 nm along rows, 117 nm along columns
    np.testing.assert_allclose(locs["x"], (theirs["position_y"] + 0.5) * 117, rtol=1e-5, atol=0.01)
    np.testing.assert_allclose(locs["y"], (theirs["position_x"] + 0.5) * 127, rtol=1e-5, atol=0.01)
    np.testing.assert_allclose(locs["z"], theirs["position_z"])
    np.testing.assert_allclose(locs["x_err"], theirs["y_sig"] * 117, rtol=1e-6)
    np.testing.assert_array_equal(locs["frame"], theirs["frame"])
    np.testing.assert_allclose(locs["photons"], theirs["intensity"])
    np.testing.assert_allclose(locs["background"], theirs["local_background"])
