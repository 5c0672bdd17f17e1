"""One self-contained HTML file from a report: no script, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lucule.core import package_version
from lucule.core.files import write_text
from lucule.view.annotate import number_text
from lucule.view.report.model import PLOT_NAME, Cell, Figure, Link, Report, Warnings

if TYPE_CHECKING:
    from markupsafe import Markup

MISSING: Final = "\N{EN DASH}"
FOLDER: Final = Path(__file__).parent


def write(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write `report` to one HTML file, complete or not at all.

    Examples
    --------
    >>> import tempfile
    >>> from lucule.view.report import Section, Text
    >>> page = write(Report("Clusters", (Section("cell", (Text("12 clusters."),)),)), tempfile.mkdtemp() + "/r.html")
    >>> "12 clusters." in page.read_text(encoding="utf-8")
    True
    """
    return write_text(path, to_html(report))


def to_html(report: Report) -> str:
    """The report as the text of one HTML page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    anchors = {section.title: f"section-{number}" for number, section in reversed(list(enumerate(report.sections, 1)))}
    numbers = count(1)
    template = environment.get_template("page.html")
    return template.render(
        report=report,
        # the style sheet is part of the package
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        version=package_version(),
        alerts=_alerts(report),
        anchors=anchors,
        kind=lambda block: type(block).__name__,
        is_link=lambda cell: isinstance(cell, Link),
        is_number=lambda cell: isinstance(cell, int | float) or cell is None,
        missing=MISSING,
        text_of=cell_text,
        next_number=lambda: next(numbers),
        png_data=_png_data,
        plot=_plot,
    )


def cell_text(value: Cell) -> str:
    """A cell as text: whole numbers with separators, others with three digits, what is missing as a dash.

    Examples
    --------
    >>> cell_text(29995), cell_text(0.12345), cell_text("cell 1")
    ('29,995', '0.123', 'cell 1')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, Link):
        return value.text
    return f"{value:,}" if isinstance(value, int) else number_text(value)


def _alerts(report: Report) -> dict[str, Any]:
    """Failed sections, and warnings with the sections that have them, for the top of the page."""
    warnings: dict[str, list[str]] = {}
    for title, items in _warnings(report):
        for item in items:
            warnings.setdefault(item, []).append(title)
    return {"failed": [section for section in report.sections if section.error is not None], "warnings": warnings}


def _warnings(report: Report) -> Iterator[tuple[str, tuple[str, ...]]]:
    for block in report.summary:
        if isinstance(block, Warnings):
            yield "", block.items
    for section in report.sections:
        yield section.title, section.warnings


def _png_data(figure: Figure) -> str:
    if isinstance(figure.content, str):
        raise TypeError("a plot is not a PNG")
    return "data:image/png;base64," + base64.b64encode(figure.content).decode("ascii")


def _plot(figure: Figure, number: int) -> Markup:
    from markupsafe import Markup

    # checked for scripts and outside references when the figure was made
    return Markup(str(figure.content).replace(PLOT_NAME, f"plot-{number}"))  # noqa: S704
