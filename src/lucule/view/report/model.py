"""What a report is made of: sections of blocks, plain data without any layout.

A later stage adds its own `Section`, or adds blocks to one. Every block is a frozen dataclass of plain values, so that
a section can be kept as JSON beside the results it shows and put into a report again without drawing anything.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import struct
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from lucule.core import FormatError, InputError
from lucule.core.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

    from lucule.view.picture import Picture

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# stands for the name of a plot until the page gives it one of its own
PLOT_NAME: Final = "lucule-plot"
PALETTE_COLOURS: Final = 256


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs, separated by empty lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Warnings:
    """What a reader must know before trusting the rest; the page repeats it at its top."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One number (or word) with what it means.

    Attributes
    ----------
    label, value, unit
        What, how much, of what; a value that is not a number is shown as a dash.
    note
        One more line.
    interval
        Lower and upper limit of something.
    limits
        What these are the limits of.
    """

    label: str
    value: str | int | float
    unit: str = ""
    note: str = ""
    interval: tuple[float, float] | None = None
    limits: str = "median, IQR"


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Values as cards (the few that matter most) or as a list."""

    values: tuple[Value, ...]
    style: Literal["cards", "list"] = "list"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A cell of a table that leads to the section of that title."""

    text: str
    section: str


Cell = str | int | float | Link | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table; numbers are set to the right, missing values shown as a dash."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if wrong := [row for row in self.rows if len(row) != len(self.columns)]:
            raise InputError(
                "A row of a table does not fit its columns",
                received=f"{len(wrong[0])} cells",
                allowed=f"{len(self.columns)} cells",
            )


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture (PNG) or a plot (SVG) with its caption.

    Attributes
    ----------
    content
        Bytes of a PNG file, or text of one `<svg>` element.
    alt
        What is to be seen, for readers who cannot see it.
    caption
        Below the figure.
    """

    content: bytes | str
    alt: str
    caption: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.content, bytes):
            if not self.content.startswith(PNG_SIGNATURE):
                raise InputError("A figure must be PNG or SVG", received=repr(self.content[:8]))
        else:
            from lucule.view.svg import check_inert

            check_inert(self.content)

    @classmethod
    def of_picture(cls, picture: Picture, *, alt: str, caption: str = "") -> Self:
        """A rendered picture with scale bar and legend, limited to 256 colours (about half the size)."""
        return cls(picture.png(colours=PALETTE_COLOURS), alt, caption)

    @classmethod
    def of_plot(cls, figure: MatplotlibFigure, *, alt: str, caption: str = "") -> Self:
        """A plot of `lucule.view.plots`, whose colours will follow those of the page."""
        from lucule.view.svg import inline_svg

        return cls(inline_svg(figure, name=PLOT_NAME, alt=alt), alt, caption)

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height of a PNG; None for SVG."""
        if isinstance(self.content, str):
            return None
        width, height = struct.unpack(">II", self.content[16:24])
        return int(width), int(height)


@dataclass(frozen=True, slots=True)
class Gallery:
    """Figures side by side, as many as the window has room for."""

    figures: tuple[Figure, ...]
    title: str = ""
    size: Literal["large", "medium", "small"] = "medium"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """Settings or history as text; folded away unless `unfolded`."""

    title: str
    text: str
    unfolded: bool = False


Block = Text | Warnings | KeyValues | Table | Figure | Gallery | Code


@dataclass(frozen=True, slots=True)
class Section:
    """One input (or one topic) of a report.

    Attributes
    ----------
    title
        Name of the input.
    blocks
        What is shown, in order.
    note
        One line below the title.
    error
        Why this input failed; the page names it at its top.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    note: str = ""
    error: str | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings of the section."""
        return tuple(item for block in self.blocks if isinstance(block, Warnings) for item in block.items)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write as JSON, complete or not at all."""
        return write_text(path, json.dumps(_plain(self), ensure_ascii=False))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Section:
        """Read what `save` wrote.

        Raises
        ------
        FormatError
            The file is not there or not a section.
        """
        try:
            section = _rebuilt(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise FormatError(f"Cannot read {path}: {error.strerror}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"{path} is not a section of a report: {error}") from None
        if not isinstance(section, Section):
            raise FormatError(f"{path} is not a section of a report")
        return section


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Attributes
    ----------
    title
        Heading.
    sections
        One per input.
    subtitle
        One line below the heading.
    summary
        Shown before all sections, after the warnings: for several inputs, a table with a line for each.
    closing
        Shown after all sections: settings, versions.
    created
        When the results were made.
    """

    title: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    summary: tuple[Block, ...] = ()
    closing: tuple[Block, ...] = ()
    created: datetime | None = field(default=None)


_KINDS: Final[dict[str, Any]] = {
    kind.__name__: kind for kind in (Text, Warnings, Value, KeyValues, Link, Table, Figure, Gallery, Code, Section)
}


def _plain(value: Any) -> Any:
    """JSON values; dataclasses carry their name, bytes are base64."""
    if dataclasses.is_dataclass(value):
        return {"": type(value).__name__} | {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"": "bytes", "base64": base64.b64encode(value).decode("ascii")}
    return value


def _rebuilt(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_rebuilt(item) for item in value)
    if isinstance(value, dict):
        content = dict(value)
        name = content.pop("")
        if name == "bytes":
            return base64.b64decode(content["base64"], validate=True)
        return _KINDS[name](**{key: _rebuilt(item) for key, item in content.items()})
    return value
