"""Recognition, bad input, what is recorded, writing by ending, describing."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lucule.core import ColumnError, FormatError, InputError, Localizations, LuculeError, Meta
from lucule.core.files import file_sha256
from lucule.io import FORMATS, formats_table, inspect, read, write

HEADER = '"id","frame","x [nm]","y [nm]","intensity [photon]","uncertainty_xy [nm]"\n'
ROWS = "1,1,10.5,20.5,900,12\n2,1,11.5,21.5,800,13\n3,4,12.5,22.5,700,14\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file with a misleading ending."""
    path = tmp_path / "storm.dat"
    path.write_text(HEADER + ROWS)
    return path


def _reads_the_same(path: Path, **options: Any) -> None:
    locs = read(path, **options)
    assert locs["x"].tolist() == [10.5, 11.5, 12.5]
    assert locs["frame"].tolist() == [0, 0, 3]
    assert locs["photons"].tolist() == [900, 800, 700]


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("UTF-8 with a byte order mark", b"\xef\xbb\xbf" + (HEADER + ROWS).encode()),
        ("UTF-16 little endian", (HEADER + ROWS).encode("utf-16")),
        ("UTF-16 big endian", b"\xfe\xff" + (HEADER + ROWS).encode("utf-16-be")),
        ("Windows line ends", (HEADER + ROWS).replace("\n", "\r\n").encode()),
        ("old Mac line ends", (HEADER + ROWS).replace("\n", "\r").encode()),
        ("no line end at the end", (HEADER + ROWS).rstrip().encode()),
        ("blank lines", ("\n" + HEADER + ROWS.replace("\n2", "\n\n2") + "\n\n").encode()),
        ("blank Windows lines", (HEADER + ROWS + "\n \n").replace("\n", "\r\n").encode()),
        ("comments", ("# made by hand\n" + HEADER + "# begin\n" + ROWS + "# end\n").encode()),
        ("tabs", (HEADER + ROWS).replace(",", "\t").encode()),
        ("semicolons and decimal commas", (HEADER + ROWS).replace(",", ";").replace(".5", ",5").encode()),
        ("blanks around fields", (HEADER + ROWS).replace(",", " , ").encode()),
        ("quoted numbers", (HEADER + ROWS.replace("10.5", '"10.5"')).encode()),
        ("a delimiter at the end of rows", (HEADER + ROWS.replace("\n", ",\n")).encode()),
        ("a delimiter at the end of all lines", (HEADER + ROWS).replace("\n", ",\n").encode()),
        ("gzip", gzip.compress((HEADER + ROWS).encode())),
        ("gzip of UTF-16", gzip.compress((HEADER + ROWS).encode("utf-16"))),
    ],
)
def test_dialects(what: str, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    _reads_the_same(path)


def test_header_in_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "savetxt.txt"
    np.savetxt(path, [[1.5, 2.5], [3.5, 4.5]], header="x_nm y_nm", fmt="%10.3f")
    assert read(path)["y"].tolist() == [2.5, 4.5]


def test_long_file_beyond_the_head(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    frames = np.arange(20_000)
    pl.DataFrame({"frame": frames + 1, "x [nm]": frames * 0.5, "y [nm]": frames * 0.25}).write_csv(path)
    locs = read(path)
    assert np.array_equal(locs["frame"], frames)
    assert inspect(path).rows == 20_000


class TestUnreadable:
    """One clear message each, exit code 2."""

    @pytest.mark.parametrize(
        ("what", "content", "error", "message"),
        [
            ("empty", b"", FormatError, "is empty. Received: 0 bytes"),
            ("binary junk", bytes(range(256)) * 40, FormatError, "binary and of no known kind"),
            ("a movie", b"II*\0" + bytes(100), FormatError, "is a TIFF image or movie"),
            ("a damaged HDF5 file", b"\x89HDF\r\n\x1a\n", FormatError, "storm.dat"),
            ("a damaged zip", b"PK\x03\x04 nothing", FormatError, "storm.dat"),
            ("a damaged gzip", b"\x1f\x8b\x08\x00 nothing", FormatError, "damaged gzip"),
            ("half a gzip", gzip.compress(os.urandom(9999).hex().encode())[:-900], FormatError, "damaged gzip"),
            ("prose", b"Dear Bob,\nthe table is in the other file.\n", FormatError, "not a table of localizations"),
            ("one word", b"hello\n", FormatError, "not a table of localizations"),
            ("text in a number", (HEADER + ROWS.replace("11.5", "abc")).encode(), ColumnError,
             r"column 'x \[nm\]' must hold numbers. Received: 'abc' in row 2"),
            ("text in a vendor column", (HEADER.replace("id", "chi2") + ROWS.replace("\n3", "\ndead")).encode(),
             ColumnError, "'chi2' must hold numbers. Received: 'dead' in row 3"),
            ("cut off in a row", (HEADER + ROWS)[:-8].encode(), FormatError,
             r"ends in the middle of a row.*Received: 4 of 6 fields in the last row \(line 4\)"),
            ("cut off at the last field", (HEADER + ROWS)[:-3].encode(), FormatError, "ends in the middle of a row"),
            ("a short row", (HEADER + ROWS.replace(",800,13", "")).encode(), FormatError, "line 3 has too few fields"),
            ("a long row", (HEADER + ROWS.replace(",800,13", ",800,13,1")).encode(), FormatError,
             "line 3 has too many fields"),
            ("decimal commas between commas", b"frame,x [nm],y [nm]\n1,10,5,20,5\n2,11,5,21,5\n", FormatError,
             "commas cannot be both"),
            ("not finite", (HEADER + ROWS.replace("11.5", "NaN").replace("12.5", "inf")).encode(), ColumnError,
             r"x is not a finite number in 2 of 3 rows. Received: NaN, infinite or empty in row 2, 3"),
            ("Java's NaN", (HEADER + ROWS.replace("11.5", "\ufffd").replace("12.5", "\u221e")).encode(), ColumnError,
             "x is not a finite number in 2 of 3 rows"),
            ("empty position", (HEADER + ROWS.replace("11.5", "")).encode(), ColumnError,
             "x is not a finite number in 1 of 3"),
            ("empty frame", (HEADER + ROWS.replace("3,4,", "3,,")).encode(), ColumnError,
             "frame is not a finite number in 1"),
            ("half a frame", (HEADER + ROWS.replace("3,4,", "3,4.5,")).encode(), ColumnError,
             r"frame must hold whole numbers. Received: a fraction in row 3"),
            ("negative frame", (HEADER + ROWS.replace("3,4,", "3,-4,")).encode(), ColumnError, "frame is out of range"),
            ("pixels", (HEADER + ROWS).replace("[nm]", "[px]").encode(), InputError, "--pixel-size-nm 100"),
        ],
    )  # fmt: skip
    def test_content(self, what: str, content: bytes, error: type[LuculeError], message: str, path: Path) -> None:
        path.write_bytes(content)
        with pytest.raises(error, match=message) as caught:
            read(path)
        assert what
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"There is no file .*nothing\.csv"):
            read(tmp_path / "nothing.csv")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is a folder"):
            read(tmp_path)

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
    def test_permission(self, path: Path) -> None:
        path.chmod(0)
        with pytest.raises(InputError, match="Permission denied"):
            read(path)

    def test_error_of_the_system(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(InputError, match=r"Cannot read .*storm\.dat: Permission denied"):
            read(path)

    def test_text_far_behind_the_head(self, tmp_path: Path) -> None:
        path = tmp_path / "long.csv"
        rows = [f"{i},{i}.5,{i}.25" for i in range(1, 20_001)]
        rows[17_000] = "17001,x17,3"
        path.write_text("\n".join(["frame,x [nm],y [nm]", *rows]))
        with pytest.raises(ColumnError, match="'x17' in row 17001"):
            read(path)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"unit": "inch"}, "Unknown unit of length. Received: inch. Allowed: nm, um, px, m"),
            ({"format": "excel"}, "Unknown file format. Received: excel"),
            ({"pixel_size_nm": 0}, "pixel size must be a positive length"),
            ({"pixel_size_nm": (100, -1)}, "pixel size must be a positive length"),
            ({"columns": {"X": "x [nm]"}}, "Unknown column on the left of the map. Received: X"),
            ({"columns": {"x": "PosX"}}, "has no column 'PosX'"),
            ({"unit": "um"}, r"header gives the unit of 'x \[nm\]'"),
            ({"table": "2"}, "table has no meaning"),
            ({"delimiter": ";"}, "lacks columns that ThunderSTORM"),
            ({"delimiter": "abc"}, "delimiter must be one character"),
            ({"format": "elyra"}, "lacks columns that Zeiss Elyra|no column"),
            ({"format": "picasso"}, "storm.dat"),
        ],
    )
    def test_options(self, options: dict[str, Any], message: str, path: Path) -> None:
        with pytest.raises(InputError, match=message):
            read(path, **options)


class TestUnknownTable:
    def test_the_error_shows_the_way(self, tmp_path: Path) -> None:
        path = tmp_path / "my table.csv"
        path.write_text("Slice,Pos X,Pos Y,Quality\n1,10050.5,2000.1,3\n2,12000.1,30000,4\n")
        with pytest.raises(FormatError) as caught:
            read(path)
        message = str(caught.value)
        assert "columns 'Slice', 'Pos X', 'Pos Y', 'Quality'" in message
        assert "look like nm" in message
        command = f"lucule convert '{path}' --map x='Pos X' --map y='Pos Y' --map frame=Slice --unit nm"
        assert f"{command} --out 'my table.parquet'" in message

    def test_following_it_works(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("Slice,Pos X,Pos Y\n1,10050.5,2000.1\n")
        locs = read(path, columns={"x": "Pos X", "y": "Pos Y", "frame": "Slice"}, unit="nm")
        assert locs["frame"].tolist() == [1]  # nobody said that the file counts from 1
        assert read(path, unit="nm").data.equals(locs.data)

    @pytest.mark.parametrize(
        ("value", "unit"), [("0.000012", "m"), ("12.5", "um"), ("212.5", "px --pixel-size-nm SIZE"), ("31000", "nm")]
    )
    def test_likely_unit(self, value: str, unit: str, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text(f"x,y\n{value},{value}\n")
        with pytest.raises(FormatError, match=f"--unit {unit} --out"):
            read(path)

    def test_columns_of_picasso_count_in_pixels(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("frame,x,y,photons,lpx,lpy\n0,12.5,13.5,900,0.08,0.07\n")
        with pytest.raises(FormatError, match="--unit px --pixel-size-nm SIZE --out"):
            read(path)

    def test_mapping_without_unit(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("a,b\n1,2\n")
        with pytest.raises(FormatError, match=r"--map x=a --map y=b --unit"):
            read(path, columns={"x": "a", "y": "b"})

    def test_only_one_coordinate(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("x_nm,b\n1,2\n")
        with pytest.raises(FormatError, match="--map y=COLUMN"):
            read(path)

    def test_no_names(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("1,2,3\n4,5,6\n")
        with pytest.raises(FormatError, match=r"--map x=column_1 --map y=column_2"):
            read(path)


class TestFewRows:
    def test_names_only(self, path: Path) -> None:
        path.write_text(HEADER)
        locs = read(path)
        assert len(locs) == 0
        assert locs.columns == ["frame", "x", "y", "photons", "x_err", "y_err", "id"]
        assert "no localizations" in locs.meta.vendor["notes"][0]
        assert inspect(path).rows == 0

    def test_names_without_line_end(self, path: Path) -> None:
        path.write_text(HEADER.strip())
        assert len(read(path)) == 0

    def test_one_row(self, path: Path) -> None:
        path.write_text(HEADER + ROWS.split("\n")[0])
        assert read(path)["x"].tolist() == [10.5]


class TestDropInvalid:
    def test_rows_are_left_out_and_counted(self, path: Path) -> None:
        path.write_text(HEADER + ROWS.replace("11.5", "NaN"))
        locs = read(path, drop_invalid=True)
        assert locs["x"].tolist() == [10.5, 12.5]
        assert locs.meta.vendor["dropped_rows"] == 1
        assert locs.meta.history[0].parameters["drop_invalid"] is True

    def test_nothing_to_drop(self, path: Path) -> None:
        assert "dropped_rows" not in read(path, drop_invalid=True).meta.vendor

    def test_everything_dropped(self, path: Path) -> None:
        path.write_text(HEADER + "1,1,NaN,20,900,12\n2,1,10,inf,900,12\n")
        assert len(read(path, drop_invalid=True)) == 0

    def test_empty_z_is_no_z(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("frame,x [nm],y [nm],z [nm]\n1,10,20,\n2,30,40,NaN\n")
        locs = read(path)
        assert "z" not in locs
        assert "z is empty" in locs.meta.vendor["notes"][0]


def test_large_positions_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "stage.csv"
    path.write_text("frame,x [nm],y [nm]\n1,50000010.25,20\n1,50000020.5,30\n")
    locs = read(path)
    assert (locs["x"].astype(float) + locs.meta.origin_nm[0]).tolist() == [50000010.25, 50000020.5]
    again = read(write(locs, tmp_path / "again.csv"))
    assert (again["x"].astype(float) + again.meta.origin_nm[0]).tolist() == [50000010.25, 50000020.5]


class TestRecord:
    def test_source(self, path: Path) -> None:
        source = read(path).meta.source
        assert source is not None
        assert (source.name, source.format, source.size_bytes) == ("storm.dat", "thunderstorm", path.stat().st_size)
        assert source.sha256 == file_sha256(path)

    def test_history(self, path: Path) -> None:
        (done,) = read(str(path), pixel_size_nm=100).meta.history
        assert done.function == "lucule.io.read"
        assert done.parameters["path"] == "storm.dat"  # not where it lies
        assert done.parameters["pixel_size_nm"] == [100.0, 100.0]

    def test_lucule_files_are_read_as_they_are(self, path: Path, tmp_path: Path) -> None:
        locs = read(path).filter("photons > 750")
        again = read(write(locs, tmp_path / "t.parquet"))
        assert again.meta == locs.meta
        assert again.data.equals(locs.data)


class TestWrite:
    @pytest.mark.parametrize("format", [name for name in FORMATS if FORMATS[name].write is not None])
    def test_every_writer_is_read_back(self, format: str, tmp_path: Path) -> None:  # noqa: A002
        locs = Localizations({"frame": [0, 3], "x": [10.5, 11.5], "y": [20.5, 21.5]}, Meta(pixel_size_nm=100))
        ending = FORMATS[format].extensions[0]
        again = read(write(locs, tmp_path / f"t{ending}", format=format))
        assert again["frame"].tolist() == [0, 3]
        assert again.meta.source is None or again.meta.source.format == format

    def test_thunderstorm_names(self, tmp_path: Path) -> None:
        locs = Localizations({"frame": [0], "x": [10.5], "y": [20.5], "x_err": [3.0], "y_err": [4.0], "p": [0.5]})
        text = write(locs, tmp_path / "t.csv").read_text()
        assert text.splitlines()[0] == (
            "id,frame,x [nm],y [nm],uncertainty_xy [nm],uncertainty_x [nm],uncertainty_y [nm],p"
        )
        assert text.splitlines()[1] == "1,1,10.5,20.5,3.535534,3.0,4.0,0.5"

    def test_unknown_ending(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"Received: t\.xyz\. Allowed: .*\.parquet.*; or a format: .*thunderstorm"):
            write(Localizations({"x": [1.0], "y": [2.0]}), tmp_path / "t.xyz")

    def test_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Zeiss Elyra text is not written"):
            write(Localizations({"x": [1.0], "y": [2.0]}), tmp_path / "t.txt", format="elyra")

    def test_nothing_half_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pl.DataFrame, "write_csv", fail)
        with pytest.raises(OSError, match="No space left"):
            write(Localizations({"x": [1.0], "y": [2.0]}), tmp_path / "t.csv")
        assert list(tmp_path.iterdir()) == []


class TestInspect:
    def test_columns(self, path: Path) -> None:
        info = inspect(path)
        assert (info.format, info.title, info.rows, info.size_bytes) == (
            "thunderstorm", "ThunderSTORM CSV", 3, path.stat().st_size,
        )  # fmt: skip
        assert [(c.name, c.unit, c.becomes) for c in info.columns] == [
            ("id", "", "id"),
            ("frame", "", "frame"),
            ("x [nm]", "nm", "x"),
            ("y [nm]", "nm", "y"),
            ("intensity [photon]", "photon", "photons"),
            ("uncertainty_xy [nm]", "nm", "x_err, y_err"),
        ]
        assert info.table().filter(pl.col("becomes") == "x")["meaning"][0].startswith("position to the right")

    def test_pixels_of_unknown_size(self, path: Path) -> None:
        path.write_text((HEADER + ROWS).replace("[nm]", "[px]"))
        assert inspect(path).columns[2].unit == "px"


def test_formats_table() -> None:
    table = formats_table()
    assert table.height == len(FORMATS)
    assert set(table.filter("writes")["name"]) >= {"lucule", "thunderstorm", "smap_csv"}


def test_reading_text_imports_no_binary_reader(path: Path) -> None:
    code = (
        "import sys, lucule.io; lucule.io.read(sys.argv[1]); "
        "print([m for m in ('h5py', 'scipy.io', 'torch', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
