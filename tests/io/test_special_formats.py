"""What is special to one format: tracks, channels by name, blocks behind the table, descriptions beside it, Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lucule.core import FormatError, InputError
from lucule.io import inspect, read


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


class TestThunderstormProtocol:
    SETTINGS = {
        "pixelSize": 160.0, "photons2ADU": 3.6, "quantumEfficiency": 0.9, "isEmGain": True, "gain": 100.0,
        "readoutNoise": 2.0, "offset": 414.0,
    }  # fmt: skip

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "cell.1.csv"
        path.write_text(lines("frame,x [px],y [px]", "5,10.5,20"))
        (tmp_path / "cell.1-protocol.txt").write_text(json.dumps({"version": "1.3", "cameraSettings": self.SETTINGS}))
        return path

    def test_camera(self, path: Path) -> None:
        locs = read(path)
        assert locs.xy().tolist() == [[1680, 3200]]
        camera = locs.meta.camera
        assert camera is not None
        assert (camera.kind, camera.em_gain, camera.baseline, camera.read_noise_electrons) == ("emccd", 100, 414, 0)
        assert inspect(path).metadata["camera"]["pixel_size_nm"] == 160

    def test_the_user_knows_better(self, path: Path) -> None:
        assert read(path, pixel_size_nm=100)["x"].tolist() == [1050]

    @pytest.mark.parametrize("content", ["", "{", '{"cameraSettings": {"pixelSize": -1}}', "[]"])
    def test_damaged_protocol(self, content: str, path: Path) -> None:
        path.with_name("cell.1-protocol.txt").write_text(content)
        with pytest.raises(InputError, match="--pixel-size-nm"):
            read(path)


class TestRapidstormTracks:
    HEADER = (
        '# <localizations insequence="true" repetitions="variable"><field identifier="Position-0-0" unit="nanometer" />'
        '<field identifier="Position-1-0" unit="nanometer" /><field identifier="ImageNumber-0-0" unit="frame" />'
        '<field identifier="Amplitude-0-0" unit="A/D count" />'
        '<localizations><field identifier="Position-0-0" unit="nanometer" />'
        '<field identifier="Position-0-0-uncertainty" unit="nanometer" />'
        '<field identifier="Position-1-0" unit="nanometer" />'
        '<field identifier="Position-1-0-uncertainty" unit="nanometer" />'
        '<field identifier="ImageNumber-0-0" unit="frame" />'
        '<field identifier="Amplitude-0-0" unit="A/D count" /></localizations></localizations>'
    )

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "tracks.txt"
        path.write_text(
            lines(
                self.HEADER,
                "15 25 4 900 2 10 1 20 2 3 500 20 1 30 2 4 400",
                "70 80 9 300 1 70 1 80 2 9 300",
            )
        )
        return path

    def test_localizations_of_a_track_share_an_event(self, path: Path) -> None:
        locs = read(path)
        assert locs["x"].tolist() == [10, 20, 70]
        assert locs["y"].tolist() == [20, 30, 80]
        assert locs["frame"].tolist() == [3, 4, 9]
        assert locs["event"].tolist() == [0, 0, 1]
        assert locs["y_err"].tolist() == [2, 2, 2]

    def test_means_on_request(self, path: Path) -> None:
        locs = read(path, table="tracks")
        assert locs["x"].tolist() == [15, 70]
        assert locs["n_frames"].tolist() == [2, 1]

    def test_cut_off(self, path: Path) -> None:
        path.write_text(path.read_text()[:-8])
        with pytest.raises(FormatError, match="line 3 is incomplete"):
            read(path)


def test_nstorm_channels(tmp_path: Path) -> None:
    names = (
        "Channel Name\tX\tY\tXc\tYc\tHeight\tArea\tWidth\tPhi\tAx\tBG\tI\tFrame\tLength\tLink\tValid\tZ\tZc\tPhotons\t"
        "Lateral Localization Accuracy"
    )
    rest = "1\t2\t3\t4\t500\t5000\t300\t0\t1.1\t90\t6000\t5\t2\t-1\t1\t0\t0\t900\t12"
    path = tmp_path / "nikon.txt"
    rows = [f"{name}\t{rest}" for name in ("647", "Non Specific Activation", "561", "647")]
    path.write_bytes("\r\n".join([names, *rows, ""]).encode())
    locs = read(path)
    assert locs["channel"].tolist() == [0, 1, 2, 0]
    assert locs.meta.vendor["channels"] == ["647", "Non Specific Activation", "561"]
    assert "1 rows are 'Non Specific Activation'" in locs.meta.vendor["notes"][0]


def test_elyra_footer_is_metadata(tmp_path: Path) -> None:
    path = tmp_path / "elyra.txt"
    table = "First Frame\tPosition X [nm]\tPosition Y [nm]\r\n5\t1050.5\t2020.0\r\n"
    footer = "\0\r\r\nVoxelSizeX : 0.0970873786 µm\r\r\nSizeX : 3200\r\r\n\r\nROI List : \r\r\n"
    path.write_bytes((table + footer).encode("latin-1"))
    assert read(path).meta.vendor["elyra"] == {"VoxelSizeX": "0.0970873786 µm", "SizeX": 3200.0}


class TestCaml:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        about = {
            "xCol": 0,
            "yCol": 1,
            "zCol": None,
            "ClusMembershipIDCol": 2,
            "LabelIDCol": 3,
            "ChanIDCol": None,
            "UIDCol": None,
            "InputFileDelimiter": "\t",
            "InputFileExt": ".tsv",
            "ImageSize": [40000, 40000, 0],
        }
        (tmp_path / "AAA Data Descriptions.json").write_text(json.dumps(about))
        (tmp_path / "cell_roi_1.json").write_text("[[0, 0], [1, 1]]")
        # as numpy.savetxt writes it
        (tmp_path / "cell.tsv").write_text(
            lines(
                "x (nm)\ty (nm)\tcluster\tlabel",
                "  1050.500\t  2020.000\t     0.000\t     0.000",
                " 1.5\t2.5\t3.000\t1.000",
            )
        )
        return tmp_path

    def test_columns_by_number(self, folder: Path) -> None:
        locs = read(folder / "cell.tsv")
        assert locs.meta.source is not None
        assert locs.meta.source.format == "caml"
        assert locs["x"].tolist() == [1050.5, 1.5]
        assert locs["cluster"].tolist() == [-1, 3]
        assert locs["label"].tolist() == [0, 1]
        assert locs.meta.vendor["caml"]["ImageSize"] == [40000, 40000, 0]

    def test_scale(self, folder: Path) -> None:
        file = folder / "AAA Data Descriptions.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"DataScale": 2, "xMin": 0}))
        assert read(folder / "cell.tsv")["x"].tolist() == [2101.0, 3.0]

    def test_description_that_does_not_fit(self, folder: Path) -> None:
        file = folder / "AAA Data Descriptions.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"yCol": 7}))
        with pytest.raises(FormatError, match=r"yCol: 7.*0 to 3"):
            read(folder / "cell.tsv")

    def test_no_description(self, folder: Path) -> None:
        (folder / "AAA Data Descriptions.json").unlink()
        with pytest.raises(FormatError, match="JSON file beside it"):
            read(folder / "cell.tsv", format="caml")


class TestParquet:
    def test_foreign(self, tmp_path: Path) -> None:
        path = tmp_path / "points.parquet"
        pl.DataFrame({"x": [1050.5], "y": [2020], "frame": [4], "gene": ["actin"]}).write_parquet(path)
        locs = read(path)
        assert locs.data.row(0, named=True) == {"frame": 4, "x": 1050.5, "y": 2020.0, "gene": "actin"}
        assert "taken as nm" in locs.meta.vendor["notes"][0]
        assert inspect(path).rows == 1

    def test_mapping_and_unit(self, tmp_path: Path) -> None:
        path = tmp_path / "points.pq"
        pl.DataFrame({"a": [10.505], "b": [10.1]}).write_parquet(path)
        locs = read(path, columns={"x": "a", "y": "b"}, unit="px", pixel_size_nm=(100, 200))
        assert locs.xy() == pytest.approx(np.array([[1050.5, 2020]]))

    def test_no_positions(self, tmp_path: Path) -> None:
        path = tmp_path / "points.parquet"
        pl.DataFrame({"a": [1.0]}).write_parquet(path)
        with pytest.raises(FormatError, match="--map x=COLUMN"):
            read(path)

    def test_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "points.parquet"
        path.write_bytes(b"PAR1 and then nothing of use")
        with pytest.raises(FormatError, match="not a readable Parquet file"):
            read(path)

    def test_options_without_meaning_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "points.parquet"
        pl.DataFrame({"x": [1.0], "y": [2.0]}).write_parquet(path)
        with pytest.raises(InputError, match="delimiter"):
            read(path, delimiter=",")
