"""The page shows what happens, obeys its buttons, and draws in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire.control import Control, Stopped
from lucule.acquire.finder import Overview
from lucule.acquire.ledger import RunLedger
from lucule.acquire.live import LivePage
from lucule.core import Localizations, Meta

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[LivePage, Control]]:
    rng = np.random.default_rng(1)
    Overview(rng.integers(100, 400, (90, 120)).astype(np.uint16), (5.0, -3.0), 0.5).save(
        tmp_path / "overview" / "a.npz"
    )
    (tmp_path / "fields").mkdir()
    xy = rng.uniform(0, 6400, (300, 2))
    Localizations({"x": xy[:, 0], "y": xy[:, 1]}, Meta(shape_px=(64, 64), pixel_size_nm=100.0)).save(
        tmp_path / "fields" / "m_0.parquet"
    )
    with RunLedger(tmp_path) as ledger:
        ledger.keep("field_um", [6.4, 6.4])
        ledger.put("field", 0, region="a", x_um=20.0, y_um=10.0, state="done")
        ledger.put("burst", 0, field=0, colour=0, number=0, frames=50, state="done", path="fields/m_0.ome.zarr",
                   localizations=300, density_per_um2=0.03, sigma_nm=131.0, drift_x_nm=0.0, drift_y_nm=0.0)  # fmt: skip
        ledger.put("burst", 1, field=0, colour=0, number=1, frames=50, state="done", path="fields/m_0.ome.zarr",
                   localizations=300, density_per_um2=0.02, sigma_nm=132.0, drift_x_nm=-12.0,
                   drift_y_nm=5.0)  # fmt: skip
        ledger.put("burst", 2, field=0, colour=0, number=2, frames=50, state="done", path="fields/m_0.ome.zarr",
                   localizations=300, density_per_um2=0.01)  # fmt: skip
        ledger.note("decision", "field 0, burst 0", "go on: <b>0.03</b> seen")
    control = Control()
    control.frame = rng.integers(100, 500, (64, 64)).astype(np.uint16)
    control.doing = "field 1, burst 1"
    with LivePage(tmp_path, control, port=0) as served:
        yield served, control


def get(page: LivePage, name: str) -> bytes:
    with urllib.request.urlopen(page.url + name, timeout=30) as answer:
        content: bytes = answer.read()
    return content


def post(page: LivePage, name: str, **headers: str) -> int:
    request = urllib.request.Request(page.url + name, method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_state_tells_fields_courses_and_events(page: tuple[LivePage, Control]) -> None:
    state = json.loads(get(page[0], "state.json"))
    assert state["doing"] == "field 1, burst 1"
    assert state["fields"] == [{"id": 0, "x_um": 20.0, "y_um": 10.0, "state": "done"}]
    course = state["courses"][0]
    assert course["frame"] == [50, 100, 150]
    assert course["density_per_um2"] == [0.03, 0.02, 0.01]
    # a drift that could not be told is no drift of 0
    assert course["drift_x_nm"] == [0.0, -12.0, None]
    assert course["drift_y_nm"] == [0.0, 5.0, None]
    assert len(get(page[0], "camera.raw")) == 64 * 64
    assert len(get(page[0], "slide.raw")) == 90 * 120
    assert len(get(page[0], "locs.raw")) == 512 * 512


def test_buttons_pause_resume_and_stop(page: tuple[LivePage, Control]) -> None:
    served, control = page
    assert post(served, "pause") == 200
    assert control.state == "paused"
    assert post(served, "resume") == 200
    assert control.state == "running"
    assert post(served, "stop", Origin="http://elsewhere.example") == 403
    assert control.state == "running"
    assert post(served, "stop") == 200
    with pytest.raises(Stopped):
        control.point("next")
    assert post(served, "explode") == 404


def test_nothing_to_show_yet_is_no_error(tmp_path: Path) -> None:
    with LivePage(tmp_path, Control(), port=0) as served:
        assert json.loads(get(served, "state.json"))["fields"] == []
        with pytest.raises(urllib.error.HTTPError, match="not yet"):
            get(served, "camera.raw")
        assert served.url in served._repr_html_()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_a_browser_draws_the_page(page: tuple[LivePage, Control]) -> None:
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               "--virtual-time-budget=6000", "--dump-dom", page[0].url]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout
    assert 'data-shown="' in dom
    assert "field 1, burst 1" in dom
    assert "900 localizations" in dom
    assert "&lt;b&gt;0.03" in dom  # text of events is no markup
    assert 'id="camera" width="64" height="64"' in dom
