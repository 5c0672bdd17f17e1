"""Each text format: half pixels, axes, frame base and units, pinned by one spot as the program writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lucule.io import FORMATS, inspect, read


@dataclass(frozen=True)
class Case:
    """A file with one localization, and what reading it must give."""

    name: str
    content: str | bytes
    expected: dict[str, float]
    options: dict[str, Any] = field(default_factory=dict)
    pixel_size_nm: tuple[float, float] | None = None
    title: str = ""

    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.encode()


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


RAPIDSTORM_FIELDS = (
    '<field identifier="Position-0-0" unit="nanometer" min="0 m" max="8.442e-006 m" />'
    '<field identifier="Position-0-0-uncertainty" unit="nanometer" />'
    '<field identifier="Position-1-0" unit="nanometer" />'
    '<field identifier="Position-1-0-uncertainty" unit="nanometer" />'
    '<field identifier="ImageNumber-0-0" unit="frame" />'
    '<field identifier="Amplitude-0-0" unit="A/D count" />'
)
ELYRA = (
    "Index\tFirst Frame\tNumber Frames\tFrames Missing\tPosition X [nm]\tPosition Y [nm]\tPrecision [nm]\t"
    "Number Photons\tBackground variance\tChi square\tPSF half width [nm]\tChannel\tZ Slice\r\n"
    "1\t5\t2\t0\t1050.5\t2020.0\t8.5\t472\t5.33\t0.28\t110.0\t2\t1\r\n"
    "\0\r\r\nVoxelSizeX : 0.0970873786 \xb5m\r\r\nSizeX : 3200\r\r\n\r\nROI List : \r\r\n"
).encode("latin-1")
NSTORM_NAMES = (
    "Channel Name\tX\tY\tXc\tYc\tHeight\tArea\tWidth\tPhi\tAx\tBG\tI\tFrame\tLength\tLink\tValid\tZ\tZc\tPhotons\t"
    "Lateral Localization Accuracy\tXw\tYw"
)
DECODE_COMMENTS = ("# DECODE EmitterSet", '# {"version": "0.10"}', '# {"xy_unit": "UNIT", "px_size": [100.0, 200.0]}')
DECODE_ROW = lines(
    "x,y,z,phot,frame_ix,id,prob,bg,x_cr,y_cr,z_cr,x_sig,y_sig,z_sig",
    "9.7,4.75,-30,900,4,0,0.9,20,0.01,0.04,25,SIG",
)

CASES = (
    Case(
        "thunderstorm",
        lines(
            '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]","bkgstd [photon]",'
            '"chi2","uncertainty_xy [nm]"',
            "1,5,1050.5,2020,130,900,20,5.5,1.5,12",
        ),
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "sigma_x": 130,
            "sigma_y": 130,
            "photons": 900,
            "background": 20,
            "x_err": 12,
            "y_err": 12,
            "id": 1,
            "bkgstd": 5.5,
            "chi2": 1.5,
        },
        title="new names",
    ),
    Case(
        "thunderstorm",
        lines(
            "frame,x [nm],y [nm],z [nm],sigma1 [nm],sigma2 [nm],intensity [photon],uncertainty [nm],detections",
            "5.0,1050.5,2020,-30,130,140,900,12,3",
        ),
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "z": -30,
            "sigma_x": 130,
            "sigma_y": 140,
            "photons": 900,
            "x_err": 12,
            "y_err": 12,
            "n_frames": 3,
        },
        title="old names, no quotes, no id, frame as a float",
    ),
    Case(
        "thunderstorm",
        lines(
            '"id,""frame"",""x [nm]"",""y [nm]"",""uncertainty_xy [nm]"",""uncertainty_z [nm]"""',
            "73897.0,5.0,1050.5,2020.0,12.0,40.0",
        ),
        {"frame": 4, "x": 1050.5, "y": 2020, "x_err": 12, "y_err": 12, "z_err": 40, "id": 73897},
        title="header quoted as a whole",
    ),
    Case(
        "thunderstorm",
        lines("frame,x [px],y [px],z [nm],sigma [px]", "5,10.505,10.1,-30,1.3"),
        {"frame": 4, "x": 1050.5, "y": 2020, "z": -30, "sigma_x": 130, "sigma_y": 260},
        {"pixel_size_nm": (100, 200)},
        (100, 200),
        "pixels count from the corner",
    ),
    Case(
        "thunderstorm",
        lines("frame,x [um],y [um],intensity [ADU]", "5,1.0505,2.02,900"),
        {"frame": 4, "x": 1050.5, "y": 2020, "intensity": 900},
        title="micrometres; counts stay what they are",
    ),
    Case(
        "abbelight",
        lines(
            '"id","frame","x [nm]","y [nm]","z [nm]","sigma1 [nm]","sigma2 [nm]","intensity [photon]",'
            '"uncertainty_xy [nm]","ratio_SAF [photon]","z_SAF [nm]","z_Astigm [nm]"',
            "1,5,1050.5,2020,-30,130,140,900,12,0.5,80,-35",
        ),
        {"frame": 4, "x": 1050.5, "y": 2020, "z": -30, "x_err": 12, "z_SAF": 80, "z_Astigm": -35},
    ),
    Case(
        "rapidstorm",
        lines(f'# <localizations insequence="true" repetitions="variable">{RAPIDSTORM_FIELDS}</localizations>')
        + "1000.5 25 1920 30 4 3500.5\n",
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "x_err": 25,
            "y_err": 30,
            "Amplitude-0-0": 3500.5,
        },
        {"pixel_size_nm": (100, 200)},
        (100, 200),
        "half a pixel is added when its size is known",
    ),
    Case(
        "rapidstorm",
        lines(f'# <localizations insequence="true" repetitions="variable">{RAPIDSTORM_FIELDS}</localizations>')
        + "1000.5 25 1920 30 4 3500.5\n",
        {"frame": 4, "x": 1000.5, "y": 1920},
        title="no pixel size, no half pixel",
    ),
    Case(
        "nstorm",
        lines(
            f"{NSTORM_NAMES}\tXwc\tYwc\tZw\tZwc",
            "647\t1.0\t2.0\t3.0\t4.0\t500\t5000\t300\t0\t1.1\t90\t6000\t5\t2\t-1\t1\t5.0\t6.0\t900\t12\t7.0\t8.0\t"
            "1050.5\t2020\t9.0\t-30",
        ),
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "z": -30,
            "photons": 900,
            "x_err": 12,
            "y_err": 12,
            "n_frames": 2,
            "channel": 0,
            "Link": -1,
            "Width": 300,
            "Xc": 3.0,
        },
        title="warped and corrected for drift",
    ),
    Case(
        "nstorm",
        lines(
            NSTORM_NAMES,
            "647\t1.0\t2.0\t1050.5\t2020\t500\t5000\t300\t0\t1.1\t90\t6000\t5\t2\t-1\t1\t5.0\t-30\t900\t12\t7.0\t8.0",
        ),
        {"frame": 4, "x": 1050.5, "y": 2020, "z": -30},
        title="corrected for drift before warped",
    ),
    Case(
        "elyra",
        ELYRA,
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "photons": 472,
            "x_err": 8.5,
            "y_err": 8.5,
            "n_frames": 2,
            "channel": 1,
            "PSF half width": 110.0,
        },
    ),
    Case(
        "nanoimager",
        lines("Channel,Frame,X (nm),Y (nm),Z (nm),Photons,Background", "1,4,1050.5,2020,-30,900,20"),
        {"frame": 4, "x": 1050.5, "y": 2020, "z": -30, "photons": 900, "background": 20, "channel": 1},
        title="old",
    ),
    Case(
        "nanoimager",
        lines(
            "Channel,Frame,X (nm),Y (nm),Z (nm),X precision (nm),Y precision (nm),X (pix),Y (pix),Z (pix),"
            "X precision (pix),Y precision (pix),Photons,Background,PSF Sigma X (pix),PSF Sigma Y (pix),p-value",
            "1,4,1170,2020,-30,12,13,10,17.265,0,0.1,0.11,900,20,1.2,1.1,0.9",
        ),
        {"x": 1170, "y": 2020, "x_err": 12, "y_err": 13, "sigma_x": 140.4, "sigma_y": 128.7, "X (pix)": 10},
        pixel_size_nm=(117, 117),
        title="new: widths in pixels, whose size follows from two columns",
    ),
    Case(
        "rainstorm",
        lines(
            "idx,frame_idx,x_coord,y_coord,I,sig_x,sig_y,Sum_signal,Sum_signal_ph,x_std,y_std,x_nm,y_nm,z_coord",
            "1,5,10.505,20.2,700,1.3,1.4,4000,900,0.1,0.1,1050.5,2020,-0.3",
        ),
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "z": -30,
            "photons": 900,
            "sigma_x": 130,
            "sigma_y": 140,
            "idx": 1,
            "x_std": 0.1,
        },
        pixel_size_nm=(100, 100),
    ),
    Case(
        "smlm_challenge",
        lines("Ground-truth,frame,xnano,ynano,znano,intensity ", "7,5,1050.5,2020,-30,900"),
        {"frame": 4, "x": 1050.5, "y": 2020, "z": -30, "photons": 900, "Ground-truth": 7},
    ),
    Case(
        "decode_csv",
        lines(*DECODE_COMMENTS).replace("UNIT", "px") + DECODE_ROW.replace("SIG", "0.2,0.3,6"),
        # DECODE's x runs along the rows, pixels of 100 nm; its y along the columns, pixels of 200 nm
        {
            "frame": 4,
            "x": (4.75 + 0.5) * 200,
            "y": (9.7 + 0.5) * 100,
            "z": -30,
            "photons": 900,
            "background": 20,
            "p": 0.9,
            "x_err": 60,
            "y_err": 20,
            "z_err": 6,
        },
        pixel_size_nm=(200, 100),
        title="pixels, error predicted",
    ),
    Case(
        "decode_csv",
        lines(*DECODE_COMMENTS).replace("UNIT", "nm")
        + DECODE_ROW.replace("9.7,4.75", "970,950").replace("0.01,0.04", "100,400").replace("SIG", ",,"),
        {"frame": 4, "x": 1050, "y": 1020, "x_err": 20, "y_err": 10, "z_err": 5},
        pixel_size_nm=(200, 100),
        title="nm, error from the CRLB",
    ),
    Case(
        "smap_csv",
        lines("frame,xnm,ynm,znm,phot,bg,locprecnm,locprecznm,PSFxnm,channel", "5,1100.5,2120,-30,900,20,12,40,130,1"),
        {
            "frame": 4,
            "x": 1050.5,
            "y": 2020,
            "z": -30,
            "photons": 900,
            "background": 20,
            "x_err": 12,
            "y_err": 12,
            "z_err": 40,
            "sigma_x": 130,
            "channel": 1,
        },
        {"pixel_size_nm": (100, 200)},
        (100, 200),
        "MATLAB's pixel centres",
    ),
    Case(
        "minflux_csv",
        lines("tid,t,x,y,z", "110,0.04,-1050.5,2020,-30"),
        {"x": -1050.5, "y": 2020, "z": -30, "event": 110, "t": 0.04},
    ),
    Case(
        "delimited",
        lines("Frame;PosX_um;PosY_um;Precision", "4;1,0505;2,02;0,012"),
        {"frame": 4, "x": 1050.5, "y": 2020, "Precision": 0.012},
        title="units in the names, semicolons, decimal commas",
    ),
    Case(
        "delimited",
        lines("A B C", "4 10.505 10.1"),
        {"x": 1050.5, "y": 2020, "frame": 4},
        {"columns": {"x": "B", "y": "C", "frame": "A"}, "unit": "px", "pixel_size_nm": (100, 200)},
        (100, 200),
        "a mapping, blanks, pixels",
    ),
    Case(
        "delimited",
        lines("4,1.0505e-6,2.02e-6"),
        {"x": 1050.5, "y": 2020, "column_1": 4},
        {"columns": {"x": "column_2", "y": "column_3"}, "unit": "m"},
        title="no names, metres",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.title}".rstrip("-"))
def test_one_spot(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "table.foo"  # the ending says nothing
    path.write_bytes(case.data())
    locs = read(path, **case.options)
    assert locs.meta.source is not None
    assert locs.meta.source.format == case.name
    assert len(locs) == 1
    assert locs.meta.pixel_size_nm == case.pixel_size_nm
    for column, value in case.expected.items():
        assert locs[column][0] == pytest.approx(value, rel=1e-6), column
    described = inspect(path, **case.options)
    assert (described.format, described.rows) == (case.name, 1)
    becomes = {name for column in described.columns if column.becomes for name in column.becomes.split(", ")}
    assert set(case.expected) <= becomes | {"channel"}  # N-STORM's channels come from their names


def test_every_text_format_has_a_spot() -> None:
    text = {found.name for found in FORMATS.of_family("text")}
    # CAML's tables need a second file, MINFLUX's JSON is no table of lines
    assert text - {"caml", "minflux"} == {case.name for case in CASES}


def test_frames_that_begin_at_0_are_not_shifted(tmp_path: Path) -> None:
    path = tmp_path / "mimic.csv"
    path.write_text(lines("frame,x [nm],y [nm]", "0,10,20", "3,10,20"))
    locs = read(path)
    assert locs["frame"].tolist() == [0, 3]
    assert "counts from 0" in locs.meta.vendor["notes"][0]


def test_units_of_vendor_columns_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(lines("frame,x [nm],y [nm],bkgstd [photon]", "1,10,20,5.5"))
    assert read(path).meta.vendor["units"] == {"bkgstd": "photon"}


def test_text_under_a_name_of_ours_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(lines("frame,x [nm],y [nm],label,p", "1,10,20,actin,0.5"))
    assert read(path).data.row(0, named=True) == {"frame": 0, "x": 10.0, "y": 20.0, "p": 0.5, "label_in_file": "actin"}


def test_vendor_columns_never_pass_for_others(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(lines("x,y,a,b", "1,2,30,40"))
    locs = read(path, columns={"x": "a", "y": "b"}, unit="nm")
    assert locs.data.row(0, named=True) == {"x": 30.0, "y": 40.0, "x_in_file": 1.0, "y_in_file": 2.0}
