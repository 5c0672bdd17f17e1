"""The page shows what happens, obeys its buttons, and draws in a real browser."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire.control import Control, Stopped
from lucule.acquire.finder import Overview
from lucule.acquire.ledger import RunLedger
from lucule.acquire.live import LivePage
from lucule.core import InputError, Localizations, Meta


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


def test_each_colour_of_a_field_is_a_course_of_its_own(page: tuple[LivePage, Control], tmp_path: Path) -> None:
    with RunLedger(tmp_path) as ledger:
        ledger.put("burst", 100_000, field=0, colour=1, number=0, frames=20, state="done", path="fields/m_0.ome.zarr",
                   localizations=0, density_per_um2=0.0)  # fmt: skip
    first, second = json.loads(get(page[0], "state.json"))["courses"]
    assert first["frame"] == [50, 100, 150]
    assert second["frame"] == [20]
    # no spot was seen: that is no width of 0
    assert first["sigma_nm"] == [131.0, 132.0, None]
    assert second["sigma_nm"] == [None]


def test_buttons_pause_resume_and_stop(page: tuple[LivePage, Control]) -> None:
    served, control = page
    assert post(served, "pause") == 200
    assert control.state == "pausing"
    assert post(served, "resume") == 200
    assert control.state == "running"
    assert post(served, "stop", Origin="http://elsewhere.example") == 403
    assert control.state == "running"
    assert post(served, "stop") == 200
    with pytest.raises(Stopped):
        control.point("next")
    assert post(served, "explode") == 404


def test_commands_come_from_the_page_only_but_through_a_tunnel_too(page: tuple[LivePage, Control]) -> None:
    served, control = page
    tunnel = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert post(served, "pause", **tunnel) == 200
    # a page of somewhere else whose name was turned to this machine
    assert post(served, "resume", Host="elsewhere.example", Origin="http://elsewhere.example") == 403
    assert post(served, "resume", Host="localhost:9000", Origin="http://127.0.0.1:8000") == 403
    assert control.state == "pausing"


def test_what_waits_begins_when_it_is_told_to(tmp_path: Path) -> None:
    control, reached = Control(waiting=True), threading.Event()

    def work() -> None:
        control.point("first")
        reached.set()
        control.point("second")

    with LivePage(tmp_path, control, port=0) as served:
        thread = threading.Thread(target=work)
        thread.start()
        assert post(served, "resume") == 200  # that is not the start
        assert not reached.wait(0.7)
        assert json.loads(get(served, "state.json"))["state"] == "waiting"
        assert post(served, "start") == 200
        assert reached.wait(5)
        thread.join()
        assert control.state == "running"
    stopped = Control(waiting=True)
    stopped.stop()
    with pytest.raises(Stopped):
        stopped.point("first")


def test_a_pause_is_one_when_the_work_under_way_is_done() -> None:
    control = Control()
    control.pause()
    assert control.state == "pausing"
    thread = threading.Thread(target=control.point, args=("next",))
    thread.start()
    until = time.monotonic() + 5
    while control.state != "paused":
        assert time.monotonic() < until
        time.sleep(0.01)
    control.resume()
    thread.join()
    assert control.state == "running"


def test_an_open_page_sees_how_it_ended(tmp_path: Path) -> None:
    control = Control()
    answers = []

    def looking(served: LivePage) -> None:
        while not answers or answers[-1]["state"] == "running":
            answers.append(json.loads(get(served, "state.json")))
            time.sleep(0.3)

    with LivePage(tmp_path, control, port=0) as served:
        thread = threading.Thread(target=looking, args=(served,))
        thread.start()
        while not answers:
            time.sleep(0.01)
        control.end("failed", "The stage did not arrive.")
    thread.join()
    assert (answers[-1]["state"], answers[-1]["doing"]) == ("failed", "The stage did not arrive.")
    # nobody looks: nobody waits
    begun = time.monotonic()
    with LivePage(tmp_path, control, port=0) as served, pytest.raises(InputError, match="cannot be served"):
        LivePage(tmp_path, control, port=int(served.url.rstrip("/").rpartition(":")[2]))
    assert time.monotonic() - begun < 2


def test_nothing_to_show_yet_is_no_error(tmp_path: Path) -> None:
    with LivePage(tmp_path, Control(), port=0) as served:
        assert json.loads(get(served, "state.json"))["fields"] == []
        with pytest.raises(urllib.error.HTTPError, match="not yet"):
            get(served, "camera.raw")
        assert served.url in served._repr_html_()


@pytest.mark.slow
def test_a_browser_draws_the_page(page: tuple[LivePage, Control], browser: Any) -> None:
    browser.open(page[0].url)
    browser.wait_for("Number(document.body.dataset.shown) > 0", True)
    dom = browser.value("document.documentElement.outerHTML")
    assert "field 1, burst 1" in dom
    assert "900 localizations" in dom
    assert "&lt;b&gt;0.03" in dom  # text of events is no markup
    assert 'id="camera" width="64" height="64"' in dom


USEFUL = "[...document.querySelectorAll('button')].filter(b => !b.disabled && !b.hidden).map(b => b.textContent).join()"
STATE = "document.getElementById('state').textContent"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["finished", "stopped", "failed"])
def test_a_run_is_led_from_the_browser(tmp_path: Path, browser: Any, end: str) -> None:
    """Wait, start, pause, go on, and end: the page offers what can be done then, and says how it ended."""
    control, steps = Control(waiting=True), []

    def work() -> None:
        try:
            for number in range(1000):
                control.point(f"step {number}")
                steps.append(number)
                time.sleep(0.05)
                if end == "failed" and len(steps) > 60:
                    raise RuntimeError("the stage did not arrive")
                if end == "finished" and len(steps) > 60:
                    break
            control.end("finished", "fields: 3 done")
        except Stopped:
            control.end("stopped", "fields: 1 done")
        except RuntimeError as error:
            control.end("failed", str(error))

    with LivePage(tmp_path, control, port=0) as served:
        browser.open(served.url)
        browser.wait_for(STATE, "waiting")
        assert browser.value(USEFUL) == "Start,Stop"
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.3)
        assert steps == []
        browser.press("Start")
        browser.wait_for(STATE, "running")
        assert browser.value(USEFUL) == "Pause,Stop"
        browser.press("Pause")
        browser.wait_for(STATE, "paused")
        assert browser.value(USEFUL) == "Resume,Stop"
        count = len(steps)
        time.sleep(0.3)
        assert len(steps) == count
        browser.press("Resume")
        if end == "stopped":
            browser.wait_for(STATE, "running")
            browser.press("Stop")
        browser.wait_for(STATE, end)
        assert browser.value(USEFUL) == ""
        thread.join()
    # the end stays, though nobody answers any more
    time.sleep(2)
    assert browser.value(STATE) == end
    wanted = {"finished": "3 done", "stopped": "1 done", "failed": "did not arrive"}[end]
    assert wanted in browser.value("document.getElementById('doing').textContent")
