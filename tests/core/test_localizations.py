"""The central table: what it accepts, what it refuses, what it keeps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import COLUMNS, ColumnError, FormatError, InputError, Localizations, Meta, Region, Step
from lucule.core.localizations import concat


def table(n: int = 5, **extra: object) -> Localizations:
    x = np.arange(n, dtype=float) * 100
    return Localizations({"x": x, "y": x + 50, "frame": np.arange(n), **extra})


def test_known_columns_get_their_types_and_come_first() -> None:
    locs = Localizations({"vendor": ["a"], "photons": [3], "y": [1], "x": [2], "frame": [7.0], "cluster": [-1]})
    assert locs.columns == ["frame", "x", "y", "photons", "cluster", "vendor"]
    assert all(locs.data[name].dtype == COLUMNS[name].dtype for name in locs.columns[:-1])


def test_columns_are_views_that_cannot_be_written() -> None:
    locs = table()
    assert np.shares_memory(locs["x"], locs["x"])
    with pytest.raises(ValueError, match="read-only"):
        locs["x"][0] = 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": [1.0]}, "no column y"),
        ({"frame": [1]}, "no column x and no column y"),
        ({"x": [1.0, np.nan], "y": [0.0, 0.0]}, "row 2"),
        ({"x": [1.0, 2.0], "y": [np.inf, 0.0]}, "row 1"),
        ({"x": [1.0], "y": [0.0], "z": [np.nan]}, "z holds 1"),
        ({"x": ["a"], "y": [0.0]}, "must hold numbers in nm"),
        ({"x": [1.0], "y": [0.0], "frame": [-1]}, "frame is out of range"),
        ({"x": [1.0], "y": [0.0], "frame": [1.5]}, "whole numbers"),
        ({"x": [1.0], "y": [0.0], "channel": [256]}, "0 to 255"),
        ({"x": [0.0, 1e9], "y": [0.0, 1.0]}, "which no field of view does"),
    ],
)
def test_bad_columns_are_refused(data: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        Localizations(data)


def test_missing_floats_become_nan_but_positions_must_be_there() -> None:
    locs = Localizations({"x": [1.0], "y": [2.0], "photons": [None]})
    assert np.isnan(locs["photons"][0])
    with pytest.raises(ColumnError, match="not finite"):
        Localizations({"x": [None, 1.0], "y": [2.0, 2.0]})


def test_stage_positions_are_kept_to_a_hundredth_of_a_nanometre() -> None:
    x = np.array([5e7 + 0.25, 5e7 + 1000.5])
    locs = Localizations({"x": x, "y": [0.0, 1.0]})
    np.testing.assert_allclose(locs["x"].astype(float) + locs.meta.origin_nm[0], x, atol=0.01)
    assert locs.meta.origin_nm[1:] == (0.0, 0.0)


def test_what_is_no_table_is_told_how_to_be_one() -> None:
    with pytest.raises(InputError, match=r"shape \(5, 2\).*xy\[:, 0\]"):
        Localizations(np.zeros((5, 2)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="x 2, y 1"):
        Localizations({"x": [1.0, 2.0], "y": [3.0]})


def test_empty_and_single_tables() -> None:
    empty = Localizations({"x": [], "y": []})
    assert len(empty) == 0
    assert empty.xy().shape == (0, 2)
    assert not empty.is_3d
    assert len(empty.filter("x > 0")) == 0
    assert repr(empty) == "Localizations(0; x, y)"
    assert len(table(1).crop(Region.rectangle(-1, 0, 1, 100))) == 1


def test_positions_as_arrays() -> None:
    locs = table(3)
    assert locs.xy().dtype == np.float32
    assert locs.xyz()[:, 2].tolist() == [0, 0, 0]
    assert not locs.is_3d
    assert table(3, z=[0, 1, 2]).is_3d


def test_each_function_appends_one_step() -> None:
    locs = table().filter("x > 50").crop(Region.rectangle(0, 0, 350, 1000))
    names = [step.function.rsplit(".", 1)[1] for step in locs.meta.history]
    assert names == ["filter", "crop"]
    assert locs.meta.history[0].parameters == {"condition": "x > 50"}
    assert locs.meta.history[1].parameters["region"]["type"] == "MultiPolygon"
    assert locs.meta.history[1].inputs == (table().filter("x > 50").meta.id,)


def test_nested_functions_are_recorded_once() -> None:
    joined = concat([table(), table().filter("x > 50")])
    assert [step.function for step in joined.meta.history] == ["lucule.core.localizations.concat"]


def test_ids_tell_different_histories_apart() -> None:
    assert table().filter("x > 50").meta.id == table().filter("x > 50").meta.id
    assert table().filter("x > 50").meta.id != table().filter("x > 51").meta.id


def test_concat_moves_tables_to_the_first_origin() -> None:
    first = Localizations({"x": [0.0], "y": [0.0]}, Meta(origin_nm=(1000.0, 0.0, 0.0)))
    second = Localizations({"x": [0.0], "y": [0.0]}, Meta(origin_nm=(3000.0, 500.0, 0.0)))
    joined = Localizations.concat([first, second])
    assert joined["x"].tolist() == [0, 2000]
    assert joined["y"].tolist() == [0, 500]
    with pytest.raises(ColumnError, match="different columns"):
        Localizations.concat([first, table()])
    with pytest.raises(InputError, match="no table"):
        Localizations.concat([])


def test_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match="wrong length"):
        table(5).with_columns(label=np.zeros(4))


def test_unknown_column_names_what_there_is() -> None:
    with pytest.raises(ColumnError, match="frame, x, y"):
        table()["photons"]


@pytest.mark.parametrize("layout", ["input", "tiles"])
def test_file_keeps_rows_metadata_and_history(tmp_path, layout) -> None:
    rng = np.random.default_rng(1)
    locs = Localizations(
        {"x": rng.uniform(0, 1e4, 1000), "y": rng.uniform(0, 1e4, 1000), "note": [str(i) for i in range(1000)]},
        Meta(pixel_size_nm=(127.0, 117.0), vendor={"key": [1, 2]}, history=(Step(function="f", version="1"),)),
    )
    loaded = Localizations.load(locs.save(tmp_path / "a.parquet", layout=layout))
    assert loaded.meta == locs.meta
    if layout == "tiles":
        loaded = Localizations(loaded.data.sort("row").drop("row"), loaded.meta)
    assert loaded.data.equals(locs.data)


def test_region_reads_the_same_rows_from_disk_as_in_memory(tmp_path) -> None:
    rng = np.random.default_rng(2)
    locs = Localizations({"x": rng.uniform(0, 1e4, 5000), "y": rng.uniform(0, 1e4, 5000), "frame": np.arange(5000)})
    path = locs.save(tmp_path / "a.parquet", layout="tiles")
    for region in (Region.rectangle(2000, 1000, 4000, 7000), Region.polygon([(0, 0), (9000, 0), (0, 9000)])):
        loaded = Localizations.load(path, region=region)
        assert sorted(loaded["frame"]) == sorted(locs.crop(region)["frame"])
        assert len(loaded) > 100
    assert Localizations.load(path, columns=["frame"]).columns == ["frame", "x", "y"]
    assert len(Localizations.lazy(path).filter("frame < 10")) == 10


def test_tiled_layout_reads_few_row_groups(tmp_path) -> None:
    """The point of the layout: limits of most row groups exclude a small region."""
    import pyarrow.parquet as pq

    rng = np.random.default_rng(3)
    locs = Localizations({"x": rng.uniform(0, 1e5, 1_000_000), "y": rng.uniform(0, 1e5, 1_000_000)})
    groups = pq.ParquetFile(locs.save(tmp_path / "a.parquet", layout="tiles")).metadata

    def meets(group: int, low: float, high: float) -> bool:
        limits = [groups.row_group(group).column(column).statistics for column in (0, 1)]
        return all(limit.min < high and limit.max > low for limit in limits)

    touched = sum(meets(group, 50_500, 51_500) for group in range(groups.num_row_groups))
    assert groups.num_row_groups == 20
    assert touched <= 4


def test_files_that_are_not_ours(tmp_path) -> None:
    foreign = tmp_path / "foreign.parquet"
    pl.DataFrame({"x": [1.0], "y": [1.0]}).write_parquet(foreign)
    with pytest.raises(FormatError, match="not written by lucule"):
        Localizations.load(foreign)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(table().save(tmp_path / "a.parquet").read_bytes()[:200])
    with pytest.raises(FormatError, match="not a readable Parquet"):
        Localizations.load(broken)
    with pytest.raises(FormatError, match="not a readable Parquet"):
        Localizations.load(tmp_path / "absent.parquet")


def test_newer_files_are_refused(tmp_path) -> None:
    path = tmp_path / "new.parquet"
    Localizations({"x": [1.0], "y": [1.0]}, Meta(format_version=99)).save(path)
    with pytest.raises(FormatError, match="format version 99"):
        Localizations.load(path)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = table().save(tmp_path / "a.parquet")
    before = path.read_bytes()
    monkeypatch.setattr(pl.DataFrame, "write_parquet", _disk_full)
    with pytest.raises(OSError, match="No space"):
        table(3).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _disk_full(self: pl.DataFrame, target, **options: object) -> None:
    target.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_to_pandas() -> None:
    assert table(4).to_pandas().shape == (4, 3)


def test_a_region_in_the_history_survives_the_file(tmp_path) -> None:
    cropped = table().crop(Region.rectangle(0, 0, 350, 1000))
    assert Localizations.load(cropped.save(tmp_path / "a.parquet")).meta == cropped.meta
