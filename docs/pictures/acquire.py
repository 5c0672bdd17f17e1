"""Pictures of docs/acquire.md, from a run of cover.yaml; needs Chromium.

lucule run experiment docs/pictures/cover.yaml --out FOLDER
python docs/pictures/acquire.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lucule.acquire import results, writing
from lucule.acquire.control import Control
from lucule.acquire.finder import Overview
from lucule.acquire.ledger import RunLedger
from lucule.acquire.live import LivePage
from lucule.view.slide_map import png, slide_map

IMAGES = Path(__file__).parents[1] / "images"
COLOURS = ("#dfa01e", "#2f7f93", "#8a4f7d", "#69717d")
WINDOW_NM = 800.0


def live_page(run: Path) -> None:
    """The live page as it is at the end of the run."""
    with RunLedger(run) as ledger:
        last = ledger.rows("burst", state="done").row(-1, named=True)
    control = Control()
    control.frame = writing.read_burst(run / last["path"])[-1]
    control.doing = f"field {last['field'] + 1}, molecules, burst {last['number'] + 1}"
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    with LivePage(run, control, port=0) as page:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--window-size=1240,1000", "--virtual-time-budget=6000",
                   f"--screenshot={IMAGES / 'acquire_live.png'}", page.url]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (the browser of this machine)


def covered(run: Path) -> None:
    """The overview with an object and the fields that cover it."""
    overview = Overview.load(next((run / "overview").glob("*_cell.npz")))
    with RunLedger(run) as ledger:
        figure = slide_map(
            overview.image,
            corner_um=overview.corner_um,
            pixel_um=overview.pixel_um,
            objects=ledger.rows("object"),
            fields=ledger.rows("field"),
            field_um=ledger.kept("field_um"),
        )
    (IMAGES / "acquire_cover.png").write_bytes(png(figure))


def overlap(run: Path) -> None:
    """Where fields of a covered object overlap: localizations as the stage has placed them, and as they are joined."""
    with RunLedger(run) as ledger:
        row = ledger.rows("joined", state="done", colour=0).row(0, named=True)
    numbers = [int(number) for number in row["fields"].split(",")]
    tables = [results.localizations(run, number) for number in numbers]
    places = [table.xy() + np.array(table.meta.origin_nm[:2]) for table in tables]
    moved = [xy - np.array(shift) for xy, shift in zip(places, json.loads(row["corrections"]), strict=True)]
    middle = _densest(moved)
    figure = Figure(figsize=(8.4, 4.4), dpi=150, layout="constrained")
    panels = {"As the stage says": places, "Registered by what they show": moved}
    for axes, (title, shown) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for number, (xy, colour) in enumerate(zip(shown, COLOURS, strict=False)):
            near = np.abs(xy - middle).max(axis=1) < WINDOW_NM / 2
            if near.any():
                axes.plot(*((xy[near] - middle).T), ".", ms=3, color=colour, label=f"field {numbers[number] + 1}")
        axes.set_aspect("equal")
        axes.set(xlim=(-WINDOW_NM / 2, WINDOW_NM / 2), ylim=(WINDOW_NM / 2, -WINDOW_NM / 2), xlabel="nm", ylabel="nm")
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    (IMAGES / "acquire_overlap.png").write_bytes(png(figure))


def _densest(places: list[np.ndarray]) -> np.ndarray:
    """The window in which most fields have most localizations."""
    cells = [np.floor(xy / (WINDOW_NM / 2)) for xy in places]
    counts: dict[tuple[float, ...], list[int]] = {}
    for number, own in enumerate(cells):
        for cell, count in zip(*np.unique(own, axis=0, return_counts=True), strict=True):
            counts.setdefault(tuple(cell), [0] * len(places))[number] = int(count)
    best = max(counts, key=lambda cell: sorted(counts[cell])[-2])
    return (np.array(best) + 0.5) * WINDOW_NM / 2


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    live_page(folder / "cover" / "run")
    covered(folder / "cover" / "run")
    overlap(folder / "cover" / "run")
