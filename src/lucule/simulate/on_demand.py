"""A microscope to steer: a frame at any stage position, focus, laser power and exposure; molecules remember."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.core import Camera, InputError
from lucule.simulate import kinetics
from lucule.simulate.camera import expose
from lucule.simulate.camera import sensor as sensor_of
from lucule.simulate.chain import Dyes
from lucule.simulate.dye import Dye
from lucule.simulate.imaging import CameraLike, PSFLike, resolve_camera, resolve_psf
from lucule.simulate.optics import Astigmatic, Gaussian, Illumination, compile_psf, kernels
from lucule.simulate.sample import draw_sample, label_sample
from lucule.simulate.scene import Scene, load_scene
from lucule.simulate.slide import Slide
from lucule.simulate.streams import key, stream

Floats: TypeAlias = NDArray[np.float64]

# Gaussians hold to this depth; beyond the end of its range a PSF keeps its shape
_DEEPEST_NM: Final = 5000.0
# molecules up to here outside the picture are illuminated, and their light reaches into it
_MARGIN_NM: Final = 2000.0
_DRIFT_STEP_S: Final = 1.0
# what of a molecule changes with time; the rest follows from the seed
_REMEMBERED: Final = ("state", "random", "remaining", "last_s")


@dataclass(eq=False)
class _Molecules:
    """Molecules of one layer in one field, with the state in which they are now."""

    x: Floats
    y: Floats
    z: Floats
    channel: int
    chain: kinetics.Chain
    states: list[str]
    lasers: list[str]
    state: NDArray[np.int64]
    random: NDArray[np.uint64]
    own: Floats
    remaining: Floats
    last_s: Floats
    lit: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    light: Floats = field(default_factory=lambda: np.empty(0))

    def rates(self, activation: float) -> tuple[Floats, Floats]:
        """Rates that do not depend on the readout light, and those that do, at its reference power."""
        chain = self.chain
        readout = np.array([False, *(laser == "readout" for laser in self.lasers)])[chain.schedule]
        power = np.array([1.0, *(activation if laser == "activation" else 1.0 for laser in self.lasers)])
        steady = np.where(readout, 0.0, chain.rates * power[chain.schedule])
        return steady, np.where(readout, chain.rates, 0.0)


class Microscope:
    """A simulated microscope on a scene or a slide.

    What bleached stays bleached, what is not looked at waits in the dark, and cells of a slide are drawn when they
    first come into view. The laser powers given here take the place of the schedules of the dyes. Frames depend on the
    seed and on everything done before, and on nothing else.

    Parameters
    ----------
    scene
        A scene, the name of a packaged one, a YAML file, or a slide.
    camera, psf
        As for `movie`; of a slide, by default those of its first kind of cell.
    shape_px
        Rows and columns of a frame.
    illumination
        Profile of the light over the field of view; it moves with the stage.
    seed
        Seed of everything.

    Attributes
    ----------
    time_s
        Time since the start.

    Examples
    --------
    >>> microscope = Microscope("origami", shape_px=(64, 64), seed=1)
    >>> microscope.frame(5000, 5000, exposure_ms=300).shape
    (64, 64)
    >>> microscope.time_s
    0.3
    """

    def __init__(
        self,
        scene: Scene | Slide | str | os.PathLike[str],
        *,
        camera: CameraLike = None,
        psf: PSFLike = None,
        shape_px: tuple[int, int] = (256, 256),
        illumination: Illumination | None = None,
        seed: int = 1,
    ) -> None:
        if min(shape_px) < 1:
            raise InputError("A frame needs pixels", received=shape_px, allowed="1 x 1 or more")
        self._source = scene if isinstance(scene, Slide) else load_scene(scene)
        self._seed = seed
        first = self._source if isinstance(self._source, Scene) else next(iter(self._source.cells.values())).scene
        self._scene = first
        self.camera: Camera = resolve_camera(camera, first)
        description = resolve_psf(psf, first)
        if isinstance(description, Gaussian | Astigmatic):
            description = description.replace(z_range_nm=(-_DEEPEST_NM, _DEEPEST_NM))
        self._kernel = compile_psf(description, self.camera.pixel_size_nm)
        self._sensor = sensor_of(self.camera, shape_px)
        self._illumination = illumination or first.illumination
        level = first.background_photons.one(stream(seed, "background level"))
        light = first.background.replace(photons_per_pixel=level)
        self._background = light.map(shape_px, self.camera.pixel_size_nm, illumination=self._illumination, seed=seed)
        self._reference_s = first.acquisition.exposure_s or first.acquisition.interval_s
        self._fields: dict[int, list[_Molecules]] = {}
        self._seen: list[_Molecules] = []
        self._corner = (np.nan, np.nan)  # nowhere yet
        self._drift = np.zeros((1, 3))
        self._frames = 0
        self.time_s = 0.0

    def __repr__(self) -> str:
        rows, columns = self._background.shape
        return f"Microscope({rows} x {columns} px, {self.time_s:g} s since the start)"

    @property
    def field_of_view_nm(self) -> tuple[float, float]:
        """Width and height of a frame in the sample."""
        rows, columns = self._background.shape
        return columns * self.camera.pixel_size_nm[0], rows * self.camera.pixel_size_nm[1]

    def frame(
        self,
        stage_x_nm: float,
        stage_y_nm: float,
        *,
        focus_nm: float = 0.0,
        power: float = 1.0,
        activation: float = 1.0,
        exposure_ms: float = 20.0,
        channel: int | None = None,
    ) -> NDArray[np.uint16]:
        """Take one frame; time goes on by the exposure.

        Parameters
        ----------
        stage_x_nm, stage_y_nm
            Position in the sample that lies in the middle of the frame.
        focus_nm
            Height of the focal plane in the sample.
        power, activation
            Power of the readout and activation lasers, relative to the reference of the dyes. Photons, bleaching and
            all ways out of ON go with the readout.
        exposure_ms
            Exposure.
        channel
            Colour channel whose dyes are excited and seen; None: all.

        Returns
        -------
        Counts, uint16 `(rows, columns)`.

        Raises
        ------
        InputError
            A value is negative or not a number.
        """
        given = {"power": power, "activation": activation, "exposure_ms": exposure_ms}
        for name, value in (given | {"stage_x_nm": stage_x_nm, "stage_y_nm": stage_y_nm, "focus_nm": focus_nm}).items():
            if not np.isfinite(value) or (name in given and value < 0):
                allowed = "0 or more" if name in given else "a finite number, nm"
                raise InputError(f"{name} cannot be used", received=value, allowed=allowed)
        width, height = self.field_of_view_nm
        self._move_to(stage_x_nm - width / 2, stage_y_nm - height / 2)
        exposure_s = exposure_ms / 1000
        dx, dy, dz = self._displacement(self.time_s + exposure_s / 2)
        scale = power * exposure_s / self._reference_s
        image = (self._background * np.float32(scale))[None]
        corner_x, corner_y = self._corner
        low, high = self._kernel.z_range_nm
        for group in self._seen:
            if channel is not None and group.channel != channel:
                continue
            photons = self._emitted(group, exposure_s, power, activation)
            on = np.flatnonzero(photons > 0)
            rows = group.lit[on]
            kernels.add_to_frame(
                image[0],
                self._kernel.model,
                group.x[rows] + (dx - corner_x),
                group.y[rows] + (dy - corner_y),
                np.clip(group.z[rows] + (dz - focus_nm), low, high),
                photons[on],
            )
        self.time_s += exposure_s
        counts = expose(image, self._sensor, seed=self._seed, first_frame=self._frames)
        self._frames += 1
        frame: NDArray[np.uint16] = counts[0]
        return frame

    def wait(self, seconds: float) -> None:
        """Let time pass in the dark."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise InputError("Time only goes forwards", received=seconds, allowed="0 s or more")
        self.time_s += seconds

    def state(self) -> dict[str, NDArray[Any]]:
        """What the molecules drawn so far and the clock are, as arrays.

        Another microscope of the same scene and seed that gets it with `restore` gives the same frames from there on.
        """
        kept: dict[str, NDArray[Any]] = {"time_s": np.array(self.time_s), "taken": np.array(self._frames)}
        for number, groups in self._fields.items():
            for layer, group in enumerate(groups):
                kept |= {f"{number}/{layer}/{name}": getattr(group, name).copy() for name in _REMEMBERED}
        return kept

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Go back to a state."""
        self.time_s, self._frames = float(state["time_s"]), int(state["taken"])
        self._fields, self._seen, self._corner = {}, [], (np.nan, np.nan)
        for key_, values in state.items():
            if "/" in key_:
                number, layer, name = key_.split("/")
                if int(number) not in self._fields:
                    self._fields[int(number)] = self._drawn(int(number))
                setattr(self._fields[int(number)][int(layer)], name, values.copy())

    def fractions(self) -> dict[str, float]:
        """Fraction of the molecules drawn so far that are in each state of their dye."""
        total: dict[str, int] = {}
        for group in (group for groups in self._fields.values() for group in groups):
            counts = np.bincount(group.state, minlength=len(group.states))
            for name, count in zip(group.states, counts, strict=True):
                total[name] = total.get(name, 0) + int(count)
        n = max(sum(total.values()), 1)
        return {name: count / n for name, count in total.items()}

    def _move_to(self, x: float, y: float) -> None:
        if self._corner == (x, y):
            return
        width, height = self.field_of_view_nm
        reach = (x - _MARGIN_NM, y - _MARGIN_NM, x + width + _MARGIN_NM, y + height + _MARGIN_NM)
        if isinstance(self._source, Slide):
            bounds_um = (reach[0] / 1000, reach[1] / 1000, reach[2] / 1000, reach[3] / 1000)
            fields = self._source.visible(bounds_um, seed=self._seed)["cell"].to_list()
        else:
            fields = [0]
        self._seen = []
        for number in fields:
            if number not in self._fields:
                self._fields[number] = self._drawn(number)
            for group in self._fields[number]:
                group.lit = np.flatnonzero(
                    (group.x > reach[0]) & (group.x < reach[2]) & (group.y > reach[1]) & (group.y < reach[3])
                )
                at = group.x[group.lit] - x, group.y[group.lit] - y
                group.light = self._illumination.at(*at, (width, height), seed=self._seed)
                if len(group.lit):
                    self._seen.append(group)
        self._corner = (x, y)

    def _drawn(self, number: int) -> list[_Molecules]:
        """Molecules of a scene, or of one cell of a slide, as they are before any light."""
        if isinstance(self._source, Slide):
            sample = self._source.sample(number, seed=self._seed)
            corner = self._source.corner_nm(number, seed=self._seed)
        else:
            sample, corner = draw_sample(self._source, seed=self._seed), (0.0, 0.0)
        dyes = label_sample(sample)
        layers = enumerate(sample.scene.layers.items())
        return [
            _molecules(dyes, layer, settings.dye or sample.scene.dye, settings.channel, corner,
                       int(key(sample.seed, "blinking", name)))
            for layer, (name, settings) in layers
        ]  # fmt: skip

    def _emitted(self, group: _Molecules, exposure_s: float, power: float, activation: float) -> Floats:
        """Let the lit molecules of a group live through an exposure; photons of each of them."""
        dark, _ = group.rates(0.0)
        steady, readout = group.rates(activation)
        on_s = _live(
            group.lit, group.light, group.last_s, self.time_s, exposure_s, power, dark, steady, readout,
            group.chain.brightness, group.state, group.random, group.remaining,
        )  # fmt: skip
        return on_s * group.own[group.lit] * group.light * (power * group.chain.photons)

    def _displacement(self, time_s: float) -> tuple[float, float, float]:
        motion = self._scene.motion
        needed = int(time_s / _DRIFT_STEP_S) + 2
        if needed > len(self._drift):
            # a longer course begins like a shorter one
            self._drift = motion.displacement(2 * needed, frame_time_s=_DRIFT_STEP_S, seed=self._seed)
        at = time_s / _DRIFT_STEP_S
        before = self._drift[int(at)]
        moved = before + (at - int(at)) * (self._drift[int(at) + 1] - before)
        return float(moved[0]), float(moved[1]), float(moved[2])


def _molecules(dyes: Dyes, layer: int, dye: Dye, channel: int, corner_nm: tuple[float, float], seed: int) -> _Molecules:
    rows = np.flatnonzero(dyes["layer"] == layer)
    markov = dye.markov()
    chain = markov.compiled()
    if chain.photon_model != kinetics.RATE:
        raise InputError(
            "Frames on demand need dyes with photons at a rate",
            received=f"photons of kind {markov.photons.kind}",
            allowed="photons: {kind: rate, photons_per_s: ...}",
        )
    lasers = sorted({rate.schedule for rate in markov.rates if rate.schedule is not None})
    state, random, own, remaining = kinetics.begin(key(seed, "photophysics"), 0, len(rows), chain)
    x, y, z = dyes["x"][rows] + corner_nm[0], dyes["y"][rows] + corner_nm[1], dyes["z"][rows]
    names = list(markov.brightness)
    return _Molecules(x, y, z, channel, chain, names, lasers, state, random, own, remaining, np.zeros(len(rows)))


@njit(cache=True)
def _live(
    lit: NDArray[np.int64],
    light: Floats,
    last_s: Floats,
    now_s: float,
    exposure_s: float,
    power: float,
    dark: Floats,
    steady: Floats,
    readout: Floats,
    brightness: Floats,
    state: NDArray[np.int64],
    random: NDArray[np.uint64],
    remaining: Floats,
) -> Floats:
    """Move lit molecules on: first through the dark since they were last seen, then through one exposure."""
    on_s = np.empty(len(lit))
    rates = np.empty_like(steady)
    for n, i in enumerate(lit):
        if now_s > last_s[i]:
            kinetics._advance_one(i, state, random, remaining, brightness, dark, now_s - last_s[i])
        last_s[i] = now_s + exposure_s
        s, local, total = state[i], power * light[n], 0.0
        for b in range(rates.shape[1]):
            total += steady[s, b] + readout[s, b] * local
        if total * exposure_s < remaining[i]:  # nothing happens to most molecules
            remaining[i] -= total * exposure_s
            on_s[n] = brightness[s] * exposure_s
            continue
        for a in range(rates.shape[0]):
            for b in range(rates.shape[1]):
                rates[a, b] = steady[a, b] + readout[a, b] * local
        on_s[n] = kinetics._advance_one(i, state, random, remaining, brightness, rates, exposure_s)
    return on_s
