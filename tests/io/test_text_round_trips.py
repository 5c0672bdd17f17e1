"""What lucule writes as text it reads back, bit by bit, whatever the table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucule.core import Localizations
from lucule.io import read, write
from lucule.testing import localizations


@pytest.mark.parametrize("format", ["thunderstorm", "smap_csv", "lucule"])
@settings(max_examples=60, deadline=None)
@given(locs=localizations())
def test_nothing_is_lost(format: str, locs: Localizations) -> None:  # noqa: A002
    with tempfile.TemporaryDirectory() as folder:
        path = write(locs, Path(folder) / "table.out", format=format)
        # SMAP's positions are half a pixel away when the pixel size is known; only the user of the reader can say so
        size = locs.meta.pixel_size_nm if format == "smap_csv" else None
        again = read(path, pixel_size_nm=size)
    for name in locs.columns:
        assert name in again, name
        assert again[name].dtype == locs[name].dtype
        if name in "xy" and size is not None:  # added and taken off again in float64
            np.testing.assert_allclose(again[name], locs[name], rtol=1e-7, atol=1e-9)
        else:
            np.testing.assert_array_equal(again[name], locs[name], err_msg=name)
    assert again.meta.origin_nm == locs.meta.origin_nm


@settings(max_examples=30, deadline=None)
@given(locs=localizations(min_size=1, vendor_columns=False), shift=st.tuples(*[st.floats(-5e7, 5e7)] * 3))
def test_positions_with_an_origin(locs: Localizations, shift: tuple[float, float, float]) -> None:
    moved = Localizations(locs.data, locs.meta.model_copy(update={"origin_nm": shift}))
    with tempfile.TemporaryDirectory() as folder:
        again = read(write(moved, Path(folder) / "table.csv"))
    for axis, before, after in zip("xyz", moved.meta.origin_nm, again.meta.origin_nm, strict=True):
        if axis in locs:
            # float32 resolves 0.06 nm, once on each side
            difference = (moved[axis].astype(float) + before) - (again[axis].astype(float) + after)
            assert np.abs(difference).max() <= 0.13


def test_a_second_reading_is_the_same(tmp_path: Path) -> None:
    first = tmp_path / "first.csv"
    first.write_text(
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","bkgstd [photon]","uncertainty_xy [nm]"\n'
        "7,3,10.25,20.5,130.1,900,5.5,12\n"
    )
    second = write(read(first), tmp_path / "second.csv")
    assert second.read_text().splitlines()[0] == (
        "id,frame,x [nm],y [nm],sigma [nm],intensity [photon],uncertainty_xy [nm],bkgstd [photon]"
    )
    assert read(second).data.equals(read(first).data)
