"""What the first lines of a text say, and what names of columns mean."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucule.io._guess import guess
from lucule.io._pixel_scale import from_two_columns
from lucule.io._text import layout, split_unit
from lucule.io.registry import family


@pytest.mark.parametrize(
    ("text", "delimiter", "names", "decimal_comma"),
    [
        ("a,b\n1,2\n", ",", ("a", "b"), False),
        ("a;b\n1,5;2,5\n", ";", ("a", "b"), True),
        ("a;b\n1.5;2,5\n", ";", ("a", "b"), False),
        ("a\tb c\n1,5\t2\n", "\t", ("a", "b c"), True),
        ("x [nm] y\n1 2 3\n", " ", ("x", "[nm]", "y"), False),
        ("a|b\n1|2\n", "|", ("a", "b"), False),
        ("a,a,\n1,2,3\n", ",", ("a", "a.2", "column_3"), False),
        ("1,2\n3,4\n", ",", ("column_1", "column_2"), False),
        ("# hi\n#a b\n1 2\n", " ", ("a", "b"), False),
        ("# hi there Bob\n1 2\n", " ", ("column_1", "column_2"), False),
        ("", ",", (), False),
    ],
)
def test_layout(text: str, delimiter: str, names: tuple[str, ...], decimal_comma: bool) -> None:
    shape = layout(text.encode())
    assert (shape.delimiter, shape.names, shape.decimal_comma) == (delimiter, names, decimal_comma)


@given(st.binary(max_size=300))
def test_any_bytes_have_a_layout(head: bytes) -> None:
    shape = layout(head)
    assert len(shape.numeric) == len(shape.names) == len(set(shape.names))
    assert family(head) in ("text", "unknown", "zip", "hdf5", "parquet", "npy", "mat5", "asdf")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("x [nm]", ("x", "nm")),
        ("Position X [nm]", ("position x", "nm")),
        ("Y (pix)", ("y", "pix")),
        ("frame", ("frame", "")),
        (" intensity ", ("intensity", "")),
        ("sigma [\u00b5m] ", ("sigma", "\u00b5m")),
    ],
)
def test_split_unit(name: str, parts: tuple[str, str]) -> None:
    assert split_unit(name) == parts


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", "y", "z", "frame"], {"x": ("x", ""), "y": ("y", ""), "z": ("z", ""), "frame": ("frame", "")}),
        (["X_nm", "Y_nm"], {"x": ("X_nm", "nm"), "y": ("Y_nm", "nm")}),
        (["x_pos (px)", "y_pos (px)"], {"x": ("x_pos (px)", "px"), "y": ("y_pos (px)", "px")}),
        (["xnano", "ynano", "t"], {"x": ("xnano", "nm"), "y": ("ynano", "nm"), "frame": ("t", "")}),
        (["PositionX", "PositionY"], {"x": ("PositionX", ""), "y": ("PositionY", "")}),
        (["nPhotons", "Channel"], {"photons": ("nPhotons", ""), "channel": ("Channel", "")}),
        (["lpx", "lpy", "x", "y"], {"x_err": ("lpx", ""), "y_err": ("lpy", ""), "x": ("x", ""), "y": ("y", "")}),
        (
            ["x", "y", "uncertainty [nm]"],
            {"x": ("x", ""), "y": ("y", ""), "x_err": ("uncertainty [nm]", "nm"), "y_err": ("uncertainty [nm]", "nm")},
        ),
        (["max", "exy", "xylophone", "zoo"], {}),
    ],
)  # fmt: skip
def test_guess(names: list[str], expected: dict[str, tuple[str, str]]) -> None:
    found = {to: (field.aliases[0], field.unit) for field in guess(names) for to in field.targets}
    assert found == expected


@pytest.mark.parametrize(("shift", "size"), [(0.0, 117.0), (58.5, 160.25)])
def test_pixel_size_from_two_columns(shift: float, size: float) -> None:
    px = np.random.default_rng(0).uniform(0, 256, (50, 2)).round(6)
    table = pl.DataFrame({"xp": px[:, 0], "yp": px[:, 1], "x": px[:, 0] * size + shift, "y": px[:, 1] * 2 * size})
    found = from_two_columns(layout(table.write_csv().encode()), ("x", "xp"), ("y", "yp"))
    assert found == pytest.approx((size, 2 * size), rel=1e-4)


@pytest.mark.parametrize("text", ["x,xp\n", "x,xp\n5,0\n", "x,xp\na,b\n", "x,y\n1,2\n"])
def test_pixel_size_unknown(text: str) -> None:
    assert from_two_columns(layout(text.encode()), ("x", "xp"), ("y", "yp")) is None
