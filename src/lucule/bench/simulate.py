"""Speed of the simulator: movies, tables, frames on demand, batches for training; Picasso's simulation on one scene.

The whole chain is timed, from specimen to counts or to the finished table; compilation is not. Rates are those of the
machine as it is; the processor time beside them does not count other work on it. Picasso has an ideal camera and draws
the photons of one frame at a time, so that its frames are compared with those of an ideal camera here.
"""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import polars as pl

from lucule import simulate
from lucule.simulate.sample import simulate_truth

MOVIE_FRAMES = 1000
MOVIE_FRAMES_WANTED = 10_000
ON_DEMAND_FRAMES = 400
PICASSO_FRAMES = 40
TORCH_BATCH, TORCH_BATCHES = {"cpu": 64, "cuda": 1024}, 8
ROUNDS = 3
_SCHEMA = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "target": pl.Float64}


def run(*, seed: int) -> pl.DataFrame:
    """Measure every way of looking at a scene; rates are the best of several rounds."""
    rows = [*_movie(seed), *_table(seed), *_on_demand(seed), *_torch(seed), *_beside_picasso(seed)]
    return pl.DataFrame(rows, schema=_SCHEMA, infer_schema_length=None)


def _row(what: str, value: float, unit: str, target: float | None = None, method: str = "lucule") -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "target": target}


def _best(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Shortest time of some rounds, s; the first call, which may compile, is not counted."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _movie(seed: int) -> list[dict[str, Any]]:
    def prepare() -> simulate.Movie:
        return simulate.movie("sarcomere", frames=MOVIE_FRAMES_WANTED, seed=seed)[0]

    chain_s = _best(prepare, 1)
    movie = prepare()
    movie[:8]
    start, spent = time.perf_counter(), time.process_time()
    movie[:MOVIE_FRAMES]
    frames_s = (time.perf_counter() - start) / MOVIE_FRAMES
    spent_ms = 1000 * (time.process_time() - spent) / MOVIE_FRAMES
    emitters = len(movie.truth.emitters) / len(movie)
    scene = f"sarcomere, 256 x 256 px, {emitters:.0f} emitters per frame, EMCCD"
    total = chain_s + frames_s * MOVIE_FRAMES_WANTED
    return [
        _row(f"movie: {scene}", 1 / frames_s, "frames/s"),
        _row("movie: the same, processor time of all cores", spent_ms, "ms/frame"),
        _row(f"movie: {MOVIE_FRAMES_WANTED} such frames (from {MOVIE_FRAMES})", total, "s", 120.0),
    ]


def _table(seed: int) -> list[dict[str, Any]]:
    scene = simulate.load_scene("sarcomere")
    found = simulate.localizations(scene, seed=seed)
    seconds = _best(lambda: simulate.localizations(scene, seed=seed))
    chain_s = _best(lambda: simulate_truth(scene, seed=seed))
    emitters = len(simulate_truth(scene, seed=seed).emitters)
    return [
        _row("table: sarcomere, from specimen to localizations", len(found) / seconds, "rows/s", 1e6),
        _row("table: the same, emitters looked at", emitters / seconds, "rows/s"),
        _row("table: specimen, labels, blinking and frames alone", emitters / chain_s, "rows/s"),
    ]


def _on_demand(seed: int) -> list[dict[str, Any]]:
    rows = []
    for name, stage_nm in (("sarcomere", 20_480.0), ("microtubules", 12_500.0)):
        microscope = simulate.Microscope(name, seed=seed)
        exposure_ms = 1000 * simulate.load_scene(name).acquisition.interval_s

        def work(microscope: simulate.Microscope = microscope, at: float = stage_nm, ms: float = exposure_ms) -> None:
            for _ in range(ON_DEMAND_FRAMES // ROUNDS):
                microscope.frame(at, at, exposure_ms=ms)

        frames = ON_DEMAND_FRAMES // ROUNDS
        rows.append(_row(f"on demand: {name}, 256 x 256 px", frames / _best(work), "frames/s", 200.0))
        before = time.process_time()
        work()
        spent_ms = 1000 * (time.process_time() - before) / frames
        rows.append(_row(f"on demand: {name}, processor time of all cores", spent_ms, "ms/frame"))
    return rows


def torch_rates(device: str, *, seed: int = 1) -> pl.DataFrame:
    """Measure batches for training on one device (`cpu` or `cuda`), in seconds; `run` does it for every device.

    Frames of 40 x 40 px with 20 emitters, from lists that are on the device already to counts that stay there.
    """
    import torch

    from lucule.simulate.optics import compile_psf
    from lucule.simulate.torch_render import expose, render, sensor_to_torch, to_torch

    batch = TORCH_BATCH[device]
    target = 20_000.0 if device == "cuda" else None
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    generator = torch.Generator(device).manual_seed(seed)
    n = batch * 20
    frame = torch.arange(batch, device=device).repeat_interleave(20)
    x, y = (4000 * torch.rand(n, device=device, generator=generator) for _ in "xy")
    z = 1000 * torch.rand(n, device=device, generator=generator) - 500
    photons = torch.full((n,), 2000.0, device=device)
    cameras = {name: simulate.load_camera(name) for name in ("smlm_challenge", "prime95b")}
    psfs = {name: to_torch(compile_psf(name, 100), device) for name in ("gaussian_2d", "astigmatic", "tetrapod")}
    rows = []

    def measure(what: str, frames: Callable[[], torch.Tensor]) -> None:
        def work() -> None:
            for _ in range(TORCH_BATCHES):
                image = frames()
            float(image[0, 0, 0].detach())  # waits for the device

        rate = batch * TORCH_BATCHES / _best(work)
        rows.append(_row(f"torch: {what}, 40 x 40 px, 20 emitters, on {where}", rate, "frames/s", target))

    for psf_name, psf in psfs.items():

        def light(psf: Any = psf, x: torch.Tensor = x) -> torch.Tensor:
            return render(psf, frame, x, y, z, photons, frames=batch, shape=(40, 40), background=20.0, check=False)

        def slope(light: Callable[..., torch.Tensor] = light) -> torch.Tensor:
            at = x.clone().requires_grad_()
            image = light(x=at)
            image.square().sum().backward()
            return image

        measure(f"{psf_name}, without noise", light)
        measure(f"{psf_name}, without noise, with the gradient of x", slope)
        for camera in cameras.values():
            pixels = sensor_to_torch(camera, (40, 40), device)

            def counts(light: Callable[..., torch.Tensor] = light, pixels: Any = pixels) -> torch.Tensor:
                return expose(light(), pixels, generator=generator)

            measure(f"{psf_name}, {'EMCCD' if camera.em_gain > 1 else 'sCMOS'}", counts)
    return pl.DataFrame(rows, schema=_SCHEMA, infer_schema_length=None)


def _torch(seed: int) -> list[dict[str, Any]]:
    import torch

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return [row for device in devices for row in torch_rates(device, seed=seed).to_dicts()]


def _beside_picasso(seed: int) -> list[dict[str, Any]]:
    scene = simulate.load_scene("origami", frames=2000)
    movie, truth = simulate.movie(scene, camera="ideal", psf="gaussian_2d", seed=seed)
    seconds = _best(lambda: movie[:200]) / 200
    frames, light_per_frame = len(movie), float(truth.emitters["photons"].sum()) / len(movie)
    background = float(movie.imaging.background.mean())
    seen = float(np.mean([block.mean() for _, block in movie.chunks()])) - background
    rows = [
        _row("origami in DNA-PAINT, 100 x 100 px, no camera noise", 1 / seconds, "frames/s"),
        _row("the same: photons of all sites in a frame", light_per_frame, "photons"),
        _row("the same: photons in the pixels above the background", seen * movie[0].size, "photons"),
    ]
    chain_s = _best(lambda: simulate_truth(scene, seed=seed))
    rows.append(_row("the same: blinking of 1510 sites over 2000 frames", chain_s, "s"))
    if find_spec("picasso") is None:
        return rows
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from picasso import simulate as picasso
    dyes, dye = truth.dyes, scene.dye
    sites = np.zeros((5, len(dyes)))
    sites[0], sites[1] = dyes["x"] / 100, 100 - dyes["y"] / 100
    rate = dye.photons.photons_per_s / 1000  # photons for each ms
    state = np.random.get_state()
    np.random.seed(seed)  # Picasso draws from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sites that are never bound
        start = time.perf_counter()
        drawn = [
            picasso.distphotons(
                sites, 1000 * scene.acquisition.interval_s, frames, 1000 * dye.dark_time_s,
                1000 * dye.bright_time_s, rate, 0.2 * rate, 1e9,
            )[:2]
            for _ in range(len(dyes))
        ]  # fmt: skip
        light = np.array([photons for photons, _ in drawn])
        blinking_s = time.perf_counter() - start
        start = time.perf_counter()
        for frame in range(PICASSO_FRAMES):
            image = picasso.convertMovie(frame, light, sites, 100, frames, 1.3, rate, 60, 0, False, [], [])
            picasso.check_type(picasso.noisy_p(image[None], 60))
        frames_s = (time.perf_counter() - start) / PICASSO_FRAMES
    np.random.set_state(state)
    what = "origami in DNA-PAINT, 100 x 100 px, no camera noise"
    rows.append(_row(what, 1 / frames_s, "frames/s", method="Picasso"))
    # an ON period within one frame gets light until the end of this frame from Picasso, hence both totals
    bound_ms = sum(float(times[1::2].sum()) for _, times in drawn)
    rows += [
        _row("the same: photons of all sites in a frame", light.sum() / frames, "photons", method="Picasso"),
        _row("the same: its ON times multiplied with the rate", bound_ms * rate / frames, "photons", method="Picasso"),
    ]
    rows.append(_row("the same: blinking of 1510 sites over 2000 frames", blinking_s, "s", method="Picasso"))
    return rows
