"""SMAP: frames and pixels from 1, the camera's region of interest, several files in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from lucule import io
from lucule.core import FormatError, Localizations

# a spot in the centre of the pixel in column 3, row 5 of the camera frame (from 0), that is pixel (4, 6) in MATLAB
SPOT = {"frame": [8], "xnm": [400.0], "ynm": [600.0], "znm": [-50.0], "phot": [900.0], "bg": [12.0]}
ERRORS = {"xnmerr": [10.0], "ynmerr": [20.0], "locprecnm": [15.8], "locprecznm": [30.0], "PSFxnm": [120.0]}
CAMERA = {"cam_pixelsize_um": [[0.1, 0.1]], "roi": [[0.0, 0.0, 32.0, 24.0]], "Width": 32.0, "Height": 24.0}


def save_v5(path: Path, loc: dict[str, Any], *, info: Any = CAMERA, numbers: tuple[int, ...] = (1,)) -> Path:
    """As SMAP saves with -v7: one structure, or an array of them, for the files."""
    infos = info if isinstance(info, list) else [info]
    files = [{"info": one, "number": float(number)} for one, number in zip(infos, numbers, strict=True)]
    columns = {name: np.atleast_2d(values).T for name, values in loc.items()}
    scipy.io.savemat(path, {"saveloc": {"loc": columns, "file": files if len(files) > 1 else files[0]}})
    return path


def save_v73(path: Path, loc: dict[str, Any], infos: list[dict[str, Any]]) -> Path:
    """As MATLAB writes version 7.3: transposed, structure arrays as references, empty arrays as their sizes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("saveloc/loc")
        for name, values in loc.items():
            array = np.atleast_2d(np.asarray(values, float))
            member = group.create_dataset(name, data=array if array.size else np.array([0, 0], "u8"))
            member.attrs["MATLAB_class"] = np.bytes_("double")
            if not array.size:
                member.attrs["MATLAB_empty"] = np.uint8(1)
        stored = []
        for number, info in enumerate(infos):
            one = file.create_group(f"#refs#/{number}")
            for name, value in info.items():
                is_text = isinstance(value, str)
                data = np.array([[ord(letter)] for letter in value], "u2") if is_text else np.atleast_2d(value).T
                one[name] = data
                one[name].attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")
            file[f"#refs#/n{number}"] = np.array([[number + 1.0]])
            file[f"#refs#/n{number}"].attrs["MATLAB_class"] = np.bytes_("double")
            stored.append((one.ref, file[f"#refs#/n{number}"].ref))
        if len(infos) == 1:
            file["saveloc/file/info"] = file["#refs#/0"]
        else:
            for place, name in enumerate(("info", "number")):
                file[f"saveloc/file/{name}"] = np.array([[row[place]] for row in stored], dtype=h5py.ref_dtype)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")
    return path


@pytest.mark.parametrize("version", ["7", "7.3"])
def test_one_spot(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a_sml.mat"
    loc = SPOT | ERRORS | {"channel": [2], "filenumber": [1], "groupindex": [11], "LLrel": [-0.5], "xpix": [4.0]}
    locs = io.read(save_v5(path, loc) if version == "7" else save_v73(path, loc, [CAMERA | {"comment": "sCMOS"}]))
    expected = {
        "frame": 7,
        "x": 350,
        "y": 550,
        "z": -50,
        "photons": 900,
        "background": 12,
        "x_err": 10,
        "y_err": 20,
        "z_err": 30,
        "sigma_x": 120,
        "channel": 2,
        "event": 11,
        "field": 0,
        "LLrel": -0.5,
        "locprecnm": 15.8,
    }
    assert locs.data.row(0, named=True) == pytest.approx(expected)
    assert locs.meta.pixel_size_nm == (100, 100)
    assert locs.meta.shape_px == (24, 32)


def test_the_region_of_interest_is_subtracted(tmp_path: Path) -> None:
    info = CAMERA | {"cam_pixelsize_um": [[0.1, 0.12]], "roi": [[100.0, 200.0, 32.0, 24.0]]}
    loc = SPOT | {"xnm": [104 * 100.0], "ynm": [206 * 120.0]}
    locs = io.read(save_v5(tmp_path / "a.mat", loc, info=info))
    assert locs.xy()[0].tolist() == pytest.approx([350, 660])


@pytest.mark.parametrize("version", ["7", "7.3"])
def test_each_file_of_a_table_has_its_own_camera(tmp_path: Path, version: str) -> None:
    infos = [CAMERA, CAMERA | {"roi": [[10.0, 0.0, 32.0, 24.0]]}]
    loc = {"frame": [1, 1], "xnm": [400.0, 1400.0], "ynm": [600.0, 600.0], "filenumber": [1, 2]}
    path = tmp_path / "a.mat"
    locs = io.read(save_v5(path, loc, info=infos, numbers=(1, 2)) if version == "7" else save_v73(path, loc, infos))
    assert locs["x"].tolist() == [350, 350]
    assert locs["field"].tolist() == [0, 1]
    loc["filenumber"] = [1, 3]
    with pytest.raises(FormatError, match="filenumber 3"):
        io.read(save_v5(tmp_path / "b.mat", loc, info=infos, numbers=(1, 2)))


def test_without_a_camera_positions_stay_and_a_note_says_so(tmp_path: Path) -> None:
    path = save_v5(tmp_path / "a.mat", SPOT, info={"comment": "imported"})
    locs = io.read(path)
    assert locs["x"].tolist() == [400]
    assert "no camera pixel" in locs.meta.vendor["notes"][0]
    assert io.read(path, pixel_size_nm=100)["x"].tolist() == [350]


def test_one_precision_for_both_axes(tmp_path: Path) -> None:
    locs = io.read(save_v5(tmp_path / "a.mat", SPOT | {"locprecnm": [15.0], "zerr": [40.0]}))
    assert (locs["x_err"][0], locs["y_err"][0], locs["z_err"][0]) == (15, 15, 40)


def test_frames_that_start_at_0(tmp_path: Path) -> None:
    loc = SPOT | {name: [*values, *values] for name, values in SPOT.items()} | {"frame": [0, 5]}
    assert io.read(save_v5(tmp_path / "a.mat", loc))["frame"].tolist() == [0, 5]


def test_empty_table(tmp_path: Path) -> None:
    locs = io.read(save_v73(tmp_path / "a.mat", {name: [] for name in SPOT}, [CAMERA]))
    assert len(locs) == 0
    assert {"frame", "x", "y", "photons"} <= set(locs.columns)


def test_inspect(tmp_path: Path) -> None:
    info = io.inspect(save_v73(tmp_path / "a.mat", SPOT | {"xpix": [4.0]}, [CAMERA]))
    assert info.rows == 1
    becomes = {column.name: (column.unit, column.becomes) for column in info.columns}
    assert becomes["xnm"] == ("nm", "x")
    assert becomes["xpix"] == ("px", None)


def test_files_that_are_not_smaps(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"image": np.zeros((3, 3))})
    with pytest.raises(FormatError, match="no supported format"):
        io.read(path)
    scipy.io.savemat(path, {"saveloc": {"fitparameters": 1.0}})
    with pytest.raises(FormatError, match="no SMAP localizations"):
        io.read(path)
    save_v5(path, {name: values * 500 for name, values in SPOT.items()})
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(FormatError, match="damaged or incomplete"):
        io.read(path)
    with h5py.File(path, "w", userblock_size=512) as file:
        file["lds"], file["partnames"] = 1, 2
    with pytest.raises(FormatError, match="single file"):
        io.read(path)


def test_real_file(data_path: Any, locan: Any) -> None:
    path = data_path("vendor_formats/smap_dstorm_data.mat")
    locs = io.read(path)
    theirs = locan.load_SMAP_file(path).data
    assert len(locs) == len(theirs) == 4884
    # Locan keeps frames from 1 and positions with pixel centres at whole pixels; pixels are 104 nm
    np.testing.assert_array_equal(locs["frame"], theirs["frame"] - 1)
    np.testing.assert_allclose(locs["x"], theirs["position_x"] - 52, atol=0.002)
    np.testing.assert_allclose(locs["y"], theirs["position_y"] - 52, atol=0.002)
    for ours, name in {"z": "position_z", "photons": "intensity", "x_err": "uncertainty_x", "LLrel": "LLrel"}.items():
        np.testing.assert_allclose(locs[ours], theirs[name], rtol=1e-6)
    assert locs.meta.exposure_ms == 20
    assert not {"xpix", "PSFxpix"} & set(locs.columns)


def test_picasso_exports_for_smap(picasso_io: Any, tmp_path: Path) -> None:
    """The older kind of MATLAB file, camera beside the table instead of in a list of files."""
    import pandas as pd

    table = pd.DataFrame({"frame": [7], "x": [4.0], "y": [6.0], "photons": [900.0], "bg": [1.0], "lpx": [0.1]})
    table = table.assign(lpy=0.1, sx=1.0, sy=1.0)
    picasso_io.export_smap(str(tmp_path / "a.mat"), table, [{"Pixelsize": 100, "Width": 32, "Height": 24}])
    locs: Localizations = io.read(tmp_path / "a_sml.mat")
    assert locs["frame"].tolist() == [7]
    assert locs["x"].tolist() == [350]
    assert locs.meta.pixel_size_nm == (100, 100)
