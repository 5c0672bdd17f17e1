"""Pictures of docs/acquire.md, from the folder of `lucule run experiment demo --out FOLDER`; needs Chromium.

python docs/pictures/acquire.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from lucule.acquire import writing
from lucule.acquire.control import Control
from lucule.acquire.finder import Overview
from lucule.acquire.ledger import RunLedger
from lucule.acquire.live import LivePage
from lucule.view.slide_map import png, slide_map

IMAGES = Path(__file__).parents[1] / "images"


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


def slide(run: Path) -> None:
    """The overview with objects and fields."""
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
    (IMAGES / "acquire_slide.png").write_bytes(png(figure))


if __name__ == "__main__":
    folder = Path(sys.argv[1]) / "demo" / "run"
    live_page(folder)
    slide(folder)
