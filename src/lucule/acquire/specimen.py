"""What lies under the simulated objective: a slide with stained cells whose labelled molecules blink and bleach."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucule.core.config import read_yaml
from lucule.simulate import Microscope, Slide, load_camera, widefield
from lucule.simulate.camera import Sensor, expose, sensor
from lucule.simulate.scene import Objective
from lucule.simulate.widefield import SHAPES, psf_of

# which stain a laser excites, and the power and exposure at which a stain gives the light of `simulate.widefield`
STAINS: Final = {"405": "nucleus", "488": "cell"}
# which colour channel of the molecules a laser reads out
READOUTS: Final = {"647": 0, "561": 1}
ACTIVATION: Final = "405"
STAIN_POWER_MW: Final = 1.0
STAIN_EXPOSURE_MS: Final = 50.0
_STAIN_NM: Final = 600.0
# beyond this an image is a smear, and a wider blur only costs time
_WIDEST_BLUR_PX: Final = 40.0
_SHORTEST_WAY_PX: Final = 0.1
# makes the random numbers of the drift others than those of everything else with this seed
_CREEP: Final = 405_647


class Travel(NamedTuple):
    """A movement of the stage at constant speed: from, to, speed, and the time at which it began."""

    start_um: tuple[float, float]
    end_um: tuple[float, float]
    speed_um_s: float
    since_s: float

    def at(self, time_s: float) -> tuple[float, float]:
        """Where the stage is at a time."""
        start, way = np.array(self.start_um), np.subtract(self.end_um, self.start_um)
        length = float(np.hypot(*way))
        gone = min(self.speed_um_s * (time_s - self.since_s) / length, 1.0) if length else 1.0
        x, y = start + gone * way
        return float(x), float(y)

    @property
    def until_s(self) -> float:
        """Time at which it arrives."""
        return self.since_s + float(np.hypot(*np.subtract(self.end_um, self.start_um))) / self.speed_um_s


@dataclass
class Specimen:
    """A slide, what illuminates it and where it is looked at; images are in the axes of the slide.

    Attributes
    ----------
    slide
        Cells and their molecules.
    seed
        Seed of everything.
    shape_px
        Rows and columns of the camera.
    axes
        2 x 2 matrix from movements of the stage to movements over the slide: rotation, mirror, scale.
    tilt_nm_per_um
        Slope of the slide along its x and y: where the focus lies.
    drift_nm_per_min
        How far the slide creeps while frames are taken: standard deviation along each axis after a minute, of a random
        walk that follows from the seed.
    readout_mw, activation_mw
        Powers that count as 1 for the dyes.
    thermal
        Return of the dyes without activation light, relative to that at `activation_mw`.
    z_um
        Position of the focus drive.
    error_um
        How far the stage is from where it says that it is.
    exposing
        Whether a sequence of frames is being taken. Time goes on with the frames; in between it does not.
    powers_mw
        Power of each laser that is on.
    shutter_open, passes
        The shutter, and the laser whose light the emission filter lets pass; None: no filter.
    """

    slide: Slide
    seed: int = 1
    shape_px: tuple[int, int] = (256, 256)
    axes: NDArray[np.float64] = field(default_factory=lambda: np.eye(2))
    tilt_nm_per_um: tuple[float, float] = (0.0, 0.0)
    drift_nm_per_min: float = 0.0
    readout_mw: float = 100.0
    activation_mw: float = 1.0
    thermal: float = 0.3
    error_um: tuple[float, float] = (0.0, 0.0)
    exposing: bool = False
    z_um: float = 0.0
    powers_mw: dict[str, float] = field(default_factory=dict)
    shutter_open: bool = True
    passes: str | None = None
    frames: int = 0
    _rest_um: tuple[float, float] = (0.0, 0.0)
    _travel: Travel | None = None

    @cached_property
    def molecules(self) -> Microscope:
        """The labelled molecules of the slide, with their memory."""
        return Microscope(self.slide, shape_px=self.shape_px, seed=self.seed, camera=self._camera)

    @cached_property
    def _camera(self) -> Any:
        first = next(iter(self.slide.cells.values())).scene
        return first.camera or load_camera("ideal")

    @cached_property
    def _creep(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, _CREEP])

    @cached_property
    def _crept_um(self) -> list[NDArray[np.float64]]:
        return [np.zeros(2)]

    @cached_property
    def _sensor(self) -> Sensor:
        return sensor(self.molecules.camera, self.shape_px)

    @property
    def xy_um(self) -> tuple[float, float]:
        """Where the stage says that it is now."""
        return self.stage_at(self.molecules.time_s)

    def stage_at(self, time_s: float) -> tuple[float, float]:
        """Where the stage says that it is at a time."""
        return self._rest_um if self._travel is None else self._travel.at(time_s)

    def move(self, x_um: float, y_um: float, *, speed_um_s: float) -> None:
        """Send the stage to a place; speed 0 is at once."""
        if speed_um_s > 0:
            self._travel = Travel(self.xy_um, (x_um, y_um), speed_um_s, self.molecules.time_s)
        else:
            self._rest_um, self._travel = (x_um, y_um), None

    def is_moving(self) -> bool:
        """Whether the stage is on its way; where no frames are taken, time goes on until it has arrived."""
        if self._travel is None:
            return False
        left = self._travel.until_s - self.molecules.time_s
        if left > 0 and self.exposing:
            return True
        self.molecules.wait(max(left, 0.0))
        self._rest_um, self._travel = self._travel.end_um, None
        return False

    @property
    def centre_um(self) -> tuple[float, float]:
        """Place on the slide in the middle of the image."""
        return self._centre(self.molecules.time_s)

    def _centre(self, time_s: float) -> tuple[float, float]:
        x, y = self.axes @ (np.add(self.stage_at(time_s), self.error_um) + self.drift_um(time_s))
        return float(x), float(y)

    def drift_um(self, time_s: float) -> NDArray[np.float64]:
        """How far the slide has crept against the stage at a time, straight from second to second."""
        if not self.drift_nm_per_min:
            return np.zeros(2)
        second = int(time_s)
        while len(self._crept_um) < second + 2:
            step = self._creep.normal(0, self.drift_nm_per_min / 1000 / np.sqrt(60), 2)
            self._crept_um.append(self._crept_um[-1] + step)
        part = time_s - second
        now: NDArray[np.float64] = (1 - part) * self._crept_um[second] + part * self._crept_um[second + 1]
        return now

    @property
    def defocus_nm(self) -> float:
        """Height of the focal plane above the slide, where it is looked at."""
        return self._defocus_nm(self.centre_um)

    def _defocus_nm(self, centre_um: tuple[float, float]) -> float:
        return 1000 * self.z_um - float(np.dot(self.tilt_nm_per_um, centre_um))

    def prepare(self) -> None:
        """Compile what draws molecules, which takes seconds on a new machine: a camera is not asked for patience.

        A second slide is looked at, so that this one stays as it is.
        """
        cells = self.slide.overview(seed=self.seed)
        if len(cells):
            x, y = cells.select("x_um", "y_um").row(0)
            other = Microscope(self.slide, shape_px=(16, 16), seed=self.seed, camera=self._camera)
            other.frame(1000 * x, 1000 * y, exposure_ms=100)

    def image(self, exposure_ms: float) -> NDArray[np.uint16]:
        """Expose the camera once.

        A stage on its way blurs stains along it; molecules are drawn where they are in the middle of the exposure.
        """
        lit = {name: power for name, power in self.powers_mw.items() if power > 0} if self.shutter_open else {}
        seen = {name for name in lit if self.passes in (None, name)}
        begun = self.molecules.time_s
        first, last = (self._centre(begun + part * exposure_ms / 1000) for part in (0.0, 1.0))
        x, y = (first[0] + last[0]) / 2, (first[1] + last[1]) / 2
        # at most one colour in a frame: the one that is seen
        readouts = sorted(READOUTS.keys() & lit, key=lambda name: name not in seen)
        if readouts:
            laser = readouts[0]
            molecules = self.molecules.frame(
                1000 * x,
                1000 * y,
                focus_nm=self._defocus_nm((x, y)),
                power=lit[laser] / self.readout_mw,
                channel=READOUTS[laser],
                activation=self.thermal + lit.get(ACTIVATION, 0.0) / self.activation_mw,
                exposure_ms=exposure_ms,
            )
            if laser in seen:
                return molecules
        else:
            self.molecules.wait(exposure_ms / 1000)
        light = np.zeros(self.shape_px, np.float32)
        for name in sorted(seen & set(STAINS)):
            strength = lit[name] / STAIN_POWER_MW * exposure_ms / STAIN_EXPOSURE_MS
            light += np.float32(strength) * self._stain(STAINS[name], (x, y))
        light = self._smeared(light, np.subtract(last, first))
        self.frames += 1
        # a second stream of noise: frames of molecules have their own
        frames = expose(light[None], self._sensor, seed=self.seed + 1, first_frame=self.frames)
        counts: NDArray[np.uint16] = frames[0]
        return counts

    def _smeared(self, light: NDArray[np.float32], way_um: NDArray[np.float64]) -> NDArray[np.float32]:
        """What the camera sees while the slide moves along a way: the mean over places on it."""
        from scipy.ndimage import shift

        way_px = 1000 * way_um / self.molecules.camera.pixel_size_nm
        length = float(np.hypot(*way_px))
        if length < _SHORTEST_WAY_PX:
            return light
        places = (np.arange(int(np.ceil(2 * length))) + 0.5) / np.ceil(2 * length) - 0.5
        # when the field moves to the right, what is in it moves to the left
        moved = [shift(light, -part * way_px[::-1], order=1, mode="nearest") for part in places]
        mean: NDArray[np.float32] = np.mean(moved, axis=0, dtype=np.float32)
        return mean

    def _stain(self, name: str, centre_um: tuple[float, float]) -> NDArray[np.float32]:
        from scipy.ndimage import gaussian_filter

        pixel_nm = self.molecules.camera.pixel_size_nm[0]
        rows, columns = self.shape_px
        x, y = centre_um
        half = columns * pixel_nm / 2000, rows * pixel_nm / 2000
        bounds = (x - half[0], y - half[1], x + half[0], y + half[1])
        stained = [n for n in SHAPES if n == name and self._has(n)]
        taken = widefield(
            self.slide, seed=self.seed, channels=stained or ["dyes"], bounds_um=bounds, pixel_size_nm=pixel_nm
        )
        image = taken.expected[0, :rows, :columns]
        psf = psf_of(Objective(), _STAIN_NM)
        blur = psf.sigma_nm * abs(self._defocus_nm(centre_um)) / (psf.depth_nm or np.inf) / pixel_nm
        sharp: NDArray[np.float32] = image if blur < 0.05 else gaussian_filter(image, min(blur, _WIDEST_BLUR_PX))
        return sharp

    def _has(self, name: str) -> bool:
        fields = [kind.scene.field for kind in self.slide.cells.values()]
        if name == "nucleus":
            return all(field.nucleus_radius_um is not None for field in fields)
        return all(field.outline == "cell" for field in fields)

    def state(self) -> dict[str, NDArray[Any]]:
        """What the specimen remembers: put into another one of the same slide and seed, it goes on from there."""
        return {"frames": np.array(self.frames), **self.molecules.state()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Go back to a state."""
        self.frames = int(state["frames"])
        self.molecules.restore({name: values for name, values in state.items() if name != "frames"})


def load_slide(path: str | Path) -> Slide:
    """Read a slide from a YAML file.

    Raises
    ------
    InputError
        The file cannot be read, or a value in it cannot be used.
    """
    return Slide.parse(read_yaml(path), source=str(path))
