"""Sphinx configuration."""

from lucule.core import package_version

project = "lucule"
author = "the lucule developers"
copyright = "2026, the lucule developers"
release = package_version()

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated"]
smartquotes = False  # options begin with two hyphens, not with a dash
html_theme = "furo"
html_title = "lucule"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
napoleon_google_docstring = False


def _write_tables(_app: object) -> None:
    """Tables that are made from the code, so that they cannot disagree with it."""
    from pathlib import Path

    from lucule.core import COLUMNS
    from lucule.io import MOVIE_FORMATS, formats_table

    folder = Path(__file__).parent / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "formats.md").write_text(_markdown(formats_table().rows(named=True)))
    movies = [{"format": f.title, "notes": f.notes} for f in (MOVIE_FORMATS[name] for name in MOVIE_FORMATS)]
    (folder / "movies.md").write_text(_markdown(movies))
    columns = [{"column": c.name, "type": str(c.dtype), "unit": c.unit, "meaning": c.meaning} for c in COLUMNS.values()]
    (folder / "columns.md").write_text(_markdown(columns))


def _markdown(rows: list) -> str:
    head = list(rows[0])
    cells = [[str("" if row[name] is None else row[name]).replace("|", "\\|") for name in head] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *cells]) + "\n"


def setup(app: object) -> None:
    app.connect("builder-inited", _write_tables)
