from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import shapely

from lucule.core import FormatError, InputError, Localizations, Region
from lucule.view import Picture, report
from lucule.view.report import (
    Code,
    Figure,
    Gallery,
    KeyValues,
    Link,
    Report,
    Section,
    Table,
    Text,
    Value,
    Warnings,
    cluster_section,
    summarise,
    to_html,
)

EVIL = "<script>alert('x')</script> & \"quotes\""
PNG = Picture(np.zeros((20, 30, 3), np.uint8), 10.0, (0.0, 0.0)).png()
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order, ids unique, links lead somewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.headings: list[int] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute"
        values = dict(attrs)
        self.tags.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values["href"]))
        if tag == "img":
            self.images.append(values)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        assert not any(name.startswith("on") for name in names)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(document: Report) -> Page:
    """Parse and check what every page must fulfil."""
    html = to_html(document)
    assert html.startswith("<!DOCTYPE html>")
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"url\((?!#)", html)
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= {*page.ids, *(f"{name}-closed" for name in page.ids)}
    assert all(image["alt"] and str(image["src"]).startswith("data:image/png;base64,") for image in page.images)
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    return page


def test_every_kind_of_block_and_escaped_text() -> None:
    blocks = (
        Text(EVIL + "\n\nSecond paragraph."),
        Warnings((EVIL,)),
        KeyValues((Value(EVIL, EVIL, unit=EVIL, note=EVIL, interval=(1.0, 2.0)),), style="cards", title=EVIL),
        KeyValues((Value("a", 1.5), Value("b", float("nan"), "nm")), title="List"),
        Table((EVIL, "n"), ((EVIL, 12345), (Link(EVIL, EVIL), None)), title=EVIL, note=EVIL),
        Figure(PNG, alt=EVIL, caption=EVIL),
        Gallery((Figure(PNG, "x"), Figure('<svg viewBox="0 0 1 1"><path id="a" d="M0 0"/></svg>', "y")), title=EVIL),
        Code(EVIL, EVIL),
    )
    page = read(Report(EVIL, (Section(EVIL, blocks, note=EVIL),), EVIL, (Text(EVIL),), (Code("c", EVIL, True),)))
    text = "".join(page.text)
    assert text.count(EVIL) > 15
    assert "12,345" in text
    assert "nan" not in text


def test_warnings_and_failures_stand_on_top_and_link() -> None:
    sections = (
        Section("one", (Warnings(("Positions drift.",)),)),
        Section("two", error="The file is empty."),
        Section("three", (Warnings(("Positions drift.", "Few frames.")),)),
    )
    html = to_html(Report("Clusters", sections))
    read(Report("Clusters", sections))
    head = html[: html.index('class="input"')]
    assert ">1 input failed<" in head
    assert '<a href="#section-2">two</a>: The file is empty.' in head
    assert head.count("Positions drift.") == 1
    assert '<a href="#section-1">one</a>, <a href="#section-3">three</a>: Positions drift.' in head


def test_the_warnings_of_a_single_input_are_not_repeated() -> None:
    html = to_html(Report("Clusters", (Section("one", (Warnings(("Positions drift.",)),)),)))
    assert html.count("Positions drift.") == 1


def test_no_sections_and_equal_titles() -> None:
    read(Report("Nothing", ()))
    read(Report("Twice", (Section("cell"), Section("cell", error="failed"))))


def test_a_date_is_shown() -> None:
    assert "20 November 2026, 14:05" in to_html(Report("t", (), created=datetime(2026, 11, 20, 14, 5)))


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = report.write(Report("Clusters", ()), tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8").endswith("</html>")
    with pytest.raises(InputError):
        report.write(Report("Clusters", ()), tmp_path)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_tables_and_figures_check_their_content() -> None:
    with pytest.raises(InputError, match="does not fit"):
        Table(("a", "b"), (("only one",),))
    with pytest.raises(InputError, match="PNG or SVG"):
        Figure(b"GIF89a", "x")
    with pytest.raises(InputError):
        Figure("<svg><script/></svg>", "x")
    assert Figure(PNG, "x").size_px == (480, 320)


def test_the_summary_takes_its_columns_from_the_cards() -> None:
    def cards(*values: Value) -> tuple[KeyValues, ...]:
        return (KeyValues(values, style="cards"),)

    sections = (
        Section("one", cards(Value("Clusters", 3), Value("Size", 40.0, "nm", interval=(30.0, 50.0)))),
        Section("two", cards(Value("Clusters", 5), Value("Size", 60.0, "nm", interval=(20.0, 70.0)))),
        Section("three", error="No."),
    )
    table, gallery = summarise(sections)
    assert isinstance(table, Table)
    assert table.columns == ("Input", "Clusters", "Size (nm)")
    assert table.rows[1] == (Link("two", "two"), 5, 60.0)
    assert table.rows[2] == (Link("three", "three"), "failed", None)
    assert isinstance(gallery, Gallery)
    assert len(gallery.figures) == 1
    read(Report("r", sections, summary=(table, gallery)))
    only_failed = summarise((Section("x", error="No."),))
    assert isinstance(only_failed[0], Table)
    assert only_failed[0].rows == ((Link("x", "x"), "failed"),)


class Clusters:
    """Discs of 30 nm radius as measured clusters."""

    def __init__(self, centres: np.ndarray, n_points: int = 40) -> None:
        self.centres = centres.reshape(-1, 2)
        self.n_points = n_points

    def table(self) -> pl.DataFrame:
        count = len(self.centres)
        return pl.DataFrame(
            {
                "cluster": np.arange(count),
                "n_points": np.full(count, self.n_points),
                "x": self.centres[:, 0],
                "y": self.centres[:, 1],
                "area_nm2": np.full(count, np.pi * 30**2),
                "density_per_um2": np.full(count, 1e4),
                "eccentricity": np.full(count, 0.4),
            }
        )

    def outlines(self) -> np.ndarray | None:
        return shapely.buffer(shapely.points(self.centres), 30.0)

    def summary(self) -> dict[str, object]:
        per_um2 = len(self.centres) / 36
        return {"clusters_per_um2": per_um2, "area_um2": 36.0, "area_from": "the region", "percent_clustered": 41.0}


class Clusters3D(Clusters):
    """The same without outlines and areas."""

    def table(self) -> pl.DataFrame:
        volume = pl.lit(4 / 3 * np.pi * 30**3).alias("volume_nm3")
        return super().table().drop("area_nm2", "density_per_um2").with_columns(volume, density_per_um3=pl.lit(1e6))

    def outlines(self) -> None:
        return None


def cell(n_clusters: int, *, three_d: bool = False, seed: int = 0) -> tuple[Localizations, Clusters]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(200, 5800, (n_clusters, 2))
    clustered = np.repeat(centres, 40, axis=0) + rng.normal(0, 15, (40 * n_clusters, 2))
    xy = np.vstack([clustered, rng.uniform(0, 6000, (3000, 2))]).astype(np.float32)
    label = np.arange(len(xy)) < len(clustered)
    columns = {
        "x": xy[:, 0],
        "y": xy[:, 1],
        "x_err": np.full(len(xy), 9.0, np.float32),
        "label": label.astype(np.uint8),
        "p_label": rng.uniform(0.5, 1, len(xy)).astype(np.float32),
    }
    if three_d:
        columns["z"] = rng.normal(0, 200, len(xy)).astype(np.float32)
    return Localizations(columns), Clusters(centres)


def galleries(section: Section) -> dict[str, int]:
    return {block.title: len(block.figures) for block in section.blocks if isinstance(block, Gallery)}


def test_a_section_on_clusters() -> None:
    locs, clusters = cell(60, three_d=True)
    section = cluster_section("cell 1", locs, clusters, warnings=["Few frames."], settings={"model": "XPILJZ"})
    assert galleries(section) == {"Overview": 3, "Zooms": 3, "Distributions": 6}
    assert section.warnings == ("Few frames.",)
    page = read(Report("Clusters", (section,)))
    text = " ".join(" ".join(page.text).split())
    for expected in ("5,400", "44.4 %", "60", "10,000 per µm²", "model: XPILJZ", "Few frames."):
        assert expected in text


@pytest.mark.parametrize("n_clusters", [0, 1, 2])
def test_few_clusters(n_clusters: int) -> None:
    locs, clusters = cell(n_clusters)
    section = cluster_section("cell", locs, clusters)
    assert galleries(section)["Zooms"] == max(n_clusters, 1) if n_clusters else galleries(section)["Zooms"] == 3
    read(Report("Clusters", (section,), summary=summarise((section,))))


def test_an_empty_table_and_one_localization() -> None:
    empty = Localizations({"x": [], "y": [], "label": np.empty(0, np.uint8)})
    section = cluster_section("empty", empty, Clusters(np.empty((0, 2))))
    assert galleries(section) == {"Distributions": 5}
    one = cluster_section("one", Localizations({"x": [5.0], "y": [5.0]}), Clusters(np.empty((0, 2))))
    assert galleries(one) == {"Overview": 1, "Distributions": 5}
    read(Report("Clusters", (section, one), summary=summarise((section, one))))


def test_a_region_is_drawn() -> None:
    locs, clusters = cell(8)
    region = Region.rectangle(1000, 1000, 5000, 5000)
    with_region = cluster_section("cell", locs, clusters, region=region)
    without = cluster_section("cell", locs, clusters)
    overviews = [
        next(block for block in section.blocks if isinstance(block, Gallery)) for section in (with_region, without)
    ]
    assert overviews[0].figures[0].content != overviews[1].figures[0].content


def test_the_cards_take_the_numbers_of_the_summary() -> None:
    section = cluster_section("cell", *cell(9))
    cards = next(block for block in section.blocks if isinstance(block, KeyValues))
    values = {value.label: value for value in cards.values}
    assert values["Clusters per µm²"] == Value("Clusters per µm²", 0.25, note="in 36 µm²: the region")
    assert values["Clustered"].note == "41 % in clusters"
    assert values["Cluster diameter"] == Value("Cluster diameter", 60.0, "nm", interval=(60.0, 60.0))


def test_clusters_in_3d_have_volumes_and_no_outlines() -> None:
    locs, clusters = cell(20, three_d=True)
    section = cluster_section("cell", locs, Clusters3D(clusters.centres))
    cards = next(block for block in section.blocks if isinstance(block, KeyValues))
    assert {"Cluster volume", "Cluster diameter"} <= {value.label for value in cards.values}
    assert galleries(section) == {"Overview": 3, "Zooms": 3, "Distributions": 6}
    read(Report("Clusters", (section,)))


def test_the_real_measurement_fits() -> None:
    from lucule import cluster

    locs, _ = cell(20)
    for table in (locs, locs.with_columns(z=np.random.default_rng(0).normal(0, 15, len(locs)))):
        grouped = cluster.group(table)
        section = cluster_section("cell", grouped, cluster.measure(grouped))
        read(Report("Clusters", (section,)))


def test_sections_are_kept_as_json(tmp_path: Path) -> None:
    section = cluster_section("cell", *cell(5), warnings=["Few frames."])
    path = section.save(tmp_path / "section.json")
    assert Section.load(path) == section
    assert to_html(Report("r", (Section.load(path),))) == to_html(Report("r", (section,)))


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"": "Text", "text": "x"}', '{"": "Unknown"}', '{"": "Section"}']
)
def test_damaged_sections_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "section.json"
    path.write_text(content)
    with pytest.raises(FormatError, match="not a section"):
        Section.load(path)
    with pytest.raises(FormatError, match="Cannot read"):
        Section.load(tmp_path / "missing.json")


def test_a_report_on_a_real_table(data_path: object) -> None:
    table = pl.read_csv(data_path("ecoli_storm/03_storm.csv"))  # type: ignore[operator]
    locs = Localizations(
        {"x": table["x [nm]"], "y": table["y [nm]"], "x_err": table["uncertainty_xy [nm]"], "frame": table["frame"] - 1}
    )
    section = cluster_section("03_storm", locs, Clusters(locs.xy()[:: len(locs) // 50]))
    html = to_html(Report("Clusters", (section,)))
    assert 50_000 < len(html) < 5_000_000
    read(Report("Clusters", (section,)))


def test_matplotlib_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, lucule.view; sys.exit(any(m in sys.modules for m in ('matplotlib', 'numba', 'jinja2', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
