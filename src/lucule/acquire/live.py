"""An acquisition watched in a browser: slide, camera, growing reconstruction, curves; start, pause, resume, stop.

The page is served on this machine only, by the standard library. In Jupyter the same page stands in a frame.
"""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.acquire.control import Control
from lucule.acquire.finder import Overview
from lucule.acquire.ledger import NAME, RunLedger
from lucule.acquire.results import table_of
from lucule.acquire.rig import DATA
from lucule.core import InputError, Localizations

_SIDE_PX: Final = 512
_LARGEST_SLIDE_PX: Final = 1200
_EVENTS: Final = 12
_SPOT_PX: Final = 0.8
# names of this machine: what asks under another one comes from elsewhere
_HERE: Final = ("127.0.0.1", "localhost", "::1")
# a page that asked so recently is open; it is given as long to see how the acquisition ended
_OPEN_S: Final = 5.0
_PICTURES_S: Final = 1.0


class LivePage:
    """The page of one acquisition, served while the block lasts.

    Parameters
    ----------
    folder
        Folder of the run; the page reads its ledger.
    control
        Shared with the acquisition.
    port
        0: any that is free.

    Raises
    ------
    InputError
        Another program has the port.

    Examples
    --------
    >>> import tempfile, urllib.request
    >>> with LivePage(tempfile.mkdtemp(), Control(), port=0) as page:
    ...     urllib.request.urlopen(page.url).status
    200
    """

    def __init__(self, folder: str | Path, control: Control, *, port: int = 8765) -> None:
        self._folder, self._control = Path(folder), control
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Answers, self))
        except OSError as error:
            raise InputError(
                f"The live page cannot be served: {error.strerror}",
                received=f"port {port}",
                next_step="name another port; 0 takes any that is free",
            ) from None
        self._asked_s, self._told = -np.inf, threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._control.is_over and time.monotonic() - self._asked_s < _OPEN_S:
            self._told.wait(_OPEN_S)
            # after the state, it asks for the pictures
            time.sleep(_PICTURES_S)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _repr_html_(self) -> str:
        """The page inside a notebook."""
        return f'<iframe src="{self.url}" width="100%" height="900" style="border:0"></iframe>'

    def state(self) -> dict[str, Any]:
        """What the page shows, but for its pictures."""
        found: dict[str, Any] = {
            "state": self._control.state, "doing": self._control.doing, "fields": [], "courses": [], "events": [],
            "current": None, "field_um": [0, 0], "slide": {"x_um": 0, "y_um": 0, "pixel_um": 1},
        }  # fmt: skip
        if not (self._folder / NAME).exists():
            return found
        with RunLedger(self._folder) as ledger:
            fields, bursts = ledger.rows("field"), _done(ledger)
            found["fields"] = fields.select("id", "x_um", "y_um", "state").to_dicts()
            found["events"] = [
                f"{row['subject']}: {row['message']}" for row in ledger.rows("event").tail(_EVENTS).reverse().to_dicts()
            ]
            found["field_um"] = ledger.kept("field_um") or [0, 0]
        # each colour of a field is a movie of its own, and spots that were not seen have no width
        for (number, _), rows in bursts.group_by("field", "colour", maintain_order=True):
            known = rows.with_columns(frame=pl.col("frames").cum_sum())
            columns = ("frame", "density_per_um2", "sigma_nm", "drift_x_nm", "drift_y_nm")
            found["courses"].append(known.select(columns).to_dict(as_series=False))
            found["current"] = number
        if (overview := self.slide()) is not None:
            x, y = overview.corner_um
            found["slide"] = {"x_um": x, "y_um": y, "pixel_um": overview.pixel_um}
        return found

    def answer(self) -> bytes:
        """The state for an open page."""
        is_over = self._control.is_over
        content = json.dumps(self.state()).encode()
        self._asked_s = time.monotonic()
        if is_over:
            self._told.set()
        return content

    def slide(self) -> Overview | None:
        """The first overview, in pixels that a page can show."""
        paths = sorted((self._folder / "overview").glob("*.npz"))
        if not paths:
            return None
        overview = Overview.load(paths[0])
        step = -(-max(overview.image.shape) // _LARGEST_SLIDE_PX)
        return Overview(overview.image[::step, ::step], overview.corner_um, overview.pixel_um * step)

    def reconstruction(self) -> tuple[NDArray[np.float64], int] | None:
        """Histogram of the localizations of the field that is imaged, and their number."""
        if not (self._folder / NAME).exists():
            return None
        from scipy.ndimage import gaussian_filter

        with RunLedger(self._folder) as ledger:
            bursts = _done(ledger)
        if not len(bursts):
            return None
        own = bursts.filter(pl.col("field") == bursts["field"][-1])
        parts = [Localizations.load(self._folder / table_of(path)) for path in own["path"]]
        places = np.vstack([part.xy() for part in parts])
        rows, columns = parts[0].meta.shape_px or (1, 1)
        pixel = parts[0].meta.pixel_size_nm or (1.0, 1.0)
        edges = [np.linspace(0, size, _SIDE_PX + 1) for size in (rows * pixel[1], columns * pixel[0])]
        counts, _, _ = np.histogram2d(places[:, 1], places[:, 0], bins=edges)
        # single pixels would be lost on a screen
        return gaussian_filter(np.sqrt(counts), _SPOT_PX), len(places)

    def picture(self, name: str) -> tuple[NDArray[np.uint8], str] | None:
        """`slide`, `camera` or `locs` as grey values, and a note."""
        if name == "camera":
            frame = self._control.frame
            return None if frame is None else (_grey(frame), f"{frame.min()} to {frame.max()} counts")
        if name == "locs":
            made = self.reconstruction()
            return None if made is None else (_grey(made[0]), f"{made[1]:,} localizations")
        overview = self.slide()
        if overview is None:
            return None
        # where no tile is, the overview is 0, which no camera gives
        seen = overview.image[overview.image > 0]
        return _grey(np.maximum(overview.image, seen.min(initial=2**16 - 1))), ""

    def command(self, name: str) -> bool:
        """Start, pause, resume or stop; tell whether there is such a command."""
        control = self._control
        commands = {"start": control.start, "pause": control.pause, "resume": control.resume, "stop": control.stop}
        if name in commands:
            commands[name]()
        return name in commands


def _done(ledger: RunLedger) -> pl.DataFrame:
    return ledger.rows("burst", state="done").sort("field", "colour", "number")


def _grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0 to 255 between the percentiles that leave out single pixels."""
    low, high = np.percentile(values, (0.5, 99.8))
    scaled = (values.astype(np.float64) - low) / max(float(high - low), 1e-9)
    return np.asarray(255 * np.clip(scaled, 0, 1), np.uint8)


class _Answers(BaseHTTPRequestHandler):
    """Answers of the server."""

    def __init__(self, page: LivePage, *args: Any) -> None:
        self._page = page
        super().__init__(*args)

    def do_GET(self) -> None:
        """The page, its state, its pictures."""
        name = self.path.split("?")[0].strip("/")
        if name == "":
            self._send("text/html; charset=utf-8", (DATA / "live.html").read_bytes())
        elif name == "state.json":
            self._send("application/json", self._page.answer())
        elif name in ("slide.raw", "camera.raw", "locs.raw"):
            found = self._page.picture(name.removesuffix(".raw"))
            if found is None:
                self.send_error(404, "not yet")
                return
            image, note = found
            self._send("application/octet-stream", image.tobytes(), {"X-Shape": f"{image.shape[0]},{image.shape[1]}",
                                                                     "X-Note": note})  # fmt: skip
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Commands; only from the page itself, since other pages of the browser can send them, too.

        The port that the browser knows may be another one, where the page comes through a tunnel.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin", "")
        if urlsplit(f"//{host}").hostname not in _HERE or (origin and urlsplit(origin).netloc != host):
            self.send_error(403)
        elif self._page.command(self.path.strip("/")):
            self._send("application/json", b"{}")
        else:
            self.send_error(404)

    def _send(self, kind: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Requests are not logged."""
