"""The table of conditions: what may stand in it, and every way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from lucule.core import FormatError, InputError
from lucule.workflows import conditions


@pytest.fixture
def inputs(tmp_path):
    paths = [tmp_path / "results" / cell / "clusters.parquet" for cell in ("cell1", "cell2", "cell3")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    return paths


def table(tmp_path, text, name="condition.csv", encoding="utf-8") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("cell1", "cell2", "cell3"),
        ("cell1/clusters.parquet", "results/cell2/clusters.parquet", "./results/cell3/clusters.parquet"),
        ("results/cell1", "results\\cell2", "cell3/clusters"),
        ("cell1.csv", "data/cell2.csv", "cell3.hdf5"),
    ],
)
def test_every_way_to_name_an_input(tmp_path, inputs, names) -> None:
    text = "file,condition\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
    found = conditions.match(inputs, table(tmp_path, text))
    assert [own.path for own in found] == inputs
    assert [own.condition for own in found] == ["a", "b", "a"]
    assert [own.cell for own in found] == list(names)
    assert found[0].replicate is None


def test_absolute_paths_other_separators_and_columns(tmp_path, inputs) -> None:
    text = "Condition;FILE;note;cell; replicate\r\n" + "".join(f"x ;{path};;one;1\r\n" for path in inputs)
    found = conditions.match(inputs, table(tmp_path, text, encoding="utf-8-sig"))
    assert {(own.condition, own.cell, own.replicate) for own in found} == {("x", "one", "1")}
    tabs = table(tmp_path, "file\tcondition\ncell1\ta, b\ncell2\tc\ncell3\tc\n")
    assert conditions.match(inputs, tabs)[0].condition == "a, b"


def test_conditions_come_in_the_order_of_the_table(tmp_path, inputs) -> None:
    text = "file,condition\ncell3,control\ncell1,drug\ncell2,control\n"
    assert [own.condition for own in conditions.match(inputs, table(tmp_path, text))] == ["control", "drug", "control"]


@pytest.mark.parametrize(
    ("lines", "messages"),
    [
        (["cell1,a", "cell2,b"], ["1 inputs without a line", "cell3"]),
        (["cell1,a", "cell2,b", "cell3,b", "cell9,b"], ["1 lines that fit no input: cell9"]),
        (["cell1,a", "cell2,b", "cell3,b", "results/cell3,a"], ["1 inputs with several lines"]),
        (["clusters.parquet,a"], ["clusters.parquet (3 files)", "3 inputs without a line"]),
        (["cell7,a", "cell1,b"], ["lines that fit no input: cell7", "2 inputs without a line"]),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, inputs, lines, messages) -> None:
    path = table(tmp_path, "file,condition\n" + "\n".join(lines) + "\n")
    with pytest.raises(InputError) as raised:
        conditions.match(inputs, path)
    for message in messages:
        assert message in str(raised.value)


def test_a_cell_has_one_condition(tmp_path, inputs) -> None:
    path = table(tmp_path, "file,condition,cell\ncell1,a,one\ncell2,b,one\ncell3,b,two\n")
    with pytest.raises(InputError, match="1 cells under several conditions: one"):
        conditions.match(inputs, path)
    lines = "cell1,a,one,1\ncell2,a,one,2\ncell3,b,two,1\n"
    replicated = table(tmp_path, f"file,condition,cell,replicate\n{lines}")
    with pytest.raises(InputError, match="1 cells in several replicates: one"):
        conditions.match(inputs, replicated)
    with pytest.raises(InputError, match="1 inputs named twice"):
        conditions.match([*inputs, inputs[0]], path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a table"),
        ("file,group\ncell1,a\n", "no column condition"),
        ("file,condition\n", "no lines"),
        ("file,condition\ncell1,a\ncell2,\n", "empty cells.*line 3"),
        ("file,condition\ncell1,a,b,c\n", "not a table"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message) -> None:
    with pytest.raises(FormatError, match=message):
        conditions.read(table(tmp_path, text))


def test_unreadable(tmp_path) -> None:
    with pytest.raises(InputError, match="Cannot read"):
        conditions.read(tmp_path / "absent.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes("file,condition\nZelle ä,a\n".encode("latin-1"))
    with pytest.raises(FormatError, match="UTF-8"):
        conditions.read(path)
