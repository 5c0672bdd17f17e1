"""A matplotlib figure as SVG that lives inside a page: text stays text, colours follow the page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Final

from lucule.core import InputError
from lucule.view import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# name of the page's colour for each colour of the plots
PAGE_COLOURS: Final = {
    plots.INK: "ink",
    plots.MUTED: "muted",
    plots.RULE: "rule",
    plots.ACCENT: "accent",
    plots.SOFT: "soft",
}


def inline_svg(figure: Figure, *, name: str, alt: str) -> str:
    """The figure as one `<svg>` element without namespaces, metadata, or style rules that would leak into the page.

    Parameters
    ----------
    figure
        From `lucule.view.plots`.
    name
        Put before every id, so that several figures can stand on one page.
    alt
        What the figure shows, for readers who cannot see it.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lucule"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - written by matplotlib a line above
    for parent in root.iter():
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _adapt(element, name)
    view_box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"class": "plot", "viewBox": view_box, "role": "img", "aria-label": alt})
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _adapt(element: ET.Element, name: str) -> None:
    element.tag = _local(element.tag)
    attributes = {_local(key): value for key, value in element.attrib.items()}
    if "id" in attributes:
        attributes["id"] = f"{name}-{attributes['id']}"
    if attributes.get("href", "").startswith("#"):
        attributes["href"] = f"#{name}-{attributes['href'][1:]}"
    for key, value in attributes.items():
        attributes[key] = re.sub(r"url\(#", f"url(#{name}-", value)
    if "style" in attributes:
        attributes["style"] = _page_colours(attributes["style"])
    element.attrib.clear()
    element.attrib.update(attributes)


def _page_colours(style: str) -> str:
    for colour, page_name in PAGE_COLOURS.items():
        style = style.replace(colour, f"var(--{page_name}, {colour})")
    return re.sub(r"font: ([^;]*?)('DejaVu Sans'[^;]*)", r"font: \1inherit", style)


def check_inert(text: str) -> None:
    """Refuse an SVG that could run a script or fetch something.

    Raises
    ------
    InputError
        The text is not one `<svg>` element, or holds scripts, event handlers or references to the outside.

    Examples
    --------
    >>> check_inert('<svg viewBox="0 0 1 1"><path d="M0 0h1"/></svg>')
    """
    if "<!" in text:
        raise InputError("A figure must be one svg element without a doctype", received=text[:40])
    try:
        root = ET.fromstring(text)  # noqa: S314 - doctypes, and with them entities, are refused above
    except ET.ParseError as error:
        raise InputError(f"A figure is not valid SVG: {error}") from None
    if _local(root.tag) != "svg":
        raise InputError("A figure must be one svg element", received=text[:40])
    for element in root.iter():
        if _local(element.tag).lower() in ("script", "foreignobject", "style", "image", "iframe"):
            raise InputError("A figure may not hold this element", received=_local(element.tag))
        for key, value in element.attrib.items():
            outside = _local(key) in ("href", "src") and not value.startswith("#")
            if _local(key).lower().startswith("on") or outside or re.search(r"url\((?!#)", value):
                raise InputError(
                    "A figure may not refer to the outside or run scripts", received=f"{_local(key)}={value}"
                )
