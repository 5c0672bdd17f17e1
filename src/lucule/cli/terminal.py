"""How lucule writes to a terminal: results to standard output, progress and messages to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.table import Table
from rich.text import Text

from lucule.core.progress import Task

# a file or a pipe has no width of its own, and tables should not be folded for a terminal that is not there
console = Console(width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True)

UNBOUNDED = 10_000
LONGEST_WORD = 24


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Bar) -> Text:
        speed = task.finished_speed or task.speed
        rate = f"{_short(speed)} {task.fields['unit']}/s" if speed and task.fields["unit"] else ""
        return Text(rate, style="cyan", no_wrap=True)


class _BarTask:
    def __init__(self, bars: Bars, identity: Any) -> None:
        self._bars, self._identity = bars, identity

    def advance(self, amount: int = 1) -> None:
        self._bars.advance(self._identity, amount)


class _RichProgress:
    """Shows tasks as bars with rate and time left."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
        identity = self._bars.add_task(label, total=total, unit=unit)
        try:
            yield _BarTask(self._bars, identity)
        finally:
            self._bars.stop_task(identity)
            self._bars.refresh()


@contextmanager
def progress_bars() -> Iterator[_RichProgress]:
    """Progress on standard error; nothing but the final messages when that is not a terminal."""
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
        disable=not errors.is_terminal,
    ) as bars:
        yield _RichProgress(bars)


def show_results(target: Console, results: Mapping[str, Any]) -> None:
    """Print results, one line each; lists of mappings become tables, and those within a row tables below it."""
    for key, value in results.items():
        if _rows(value):
            inner = [{name: item for name, item in row.items() if _rows(item)} for row in value]
            outer = [{name: item for name, item in row.items() if not _rows(item)} for row in value]
            table = _table(key, outer)
            needed = Measurement.get(target, target.options.update_width(UNBOUNDED), table).minimum
            if len({tuple(row) for row in outer}) == 1 and needed <= target.width:
                target.print(table)
            else:
                for row in outer:
                    _show_values(target, key, row)
            for row, tables in zip(outer, inner, strict=True):
                named = str(next(iter(row.values()), "")) if len(value) > 1 else ""
                show_results(target, {f"{name} {named}".strip(): table for name, table in tables.items()})
        elif isinstance(value, Mapping) and value:
            _show_values(target, key, value)
        else:
            target.print(Text(f"{key}: {_cell(value)}"))


def _rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _show_values(target: Console, title: str, values: Mapping[str, Any]) -> None:
    target.print(Text(title.replace("_", " "), style="bold"))
    for line in _lines(values, "  "):
        target.print(Text(line))


def _lines(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """One line for each value; what holds values itself stands above them, as in YAML."""
    for name, item in values.items():
        if isinstance(item, Mapping) and item:
            yield f"{indent}{name}:"
            yield from _lines(item, indent + "  ")
        else:
            yield f"{indent}{name}: {_cell(item)}"


def _table(title: str, rows: list[Mapping[str, Any]]) -> Table:
    table = Table(title=title.replace("_", " "), title_justify="left")
    for name in rows[0]:
        cells = [_cell(row.get(name)) for row in rows]
        number = all(isinstance(row.get(name), int | float | None) for row in rows)
        # only long text gives way where the terminal is narrow, never a name or a number
        short = number or max(map(len, cells)) <= LONGEST_WORD
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=short)
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in rows[0]))
    return table


def _cell(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return str(value)


def _short(number: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f} {suffix}"
    return f"{number:.1f}"
