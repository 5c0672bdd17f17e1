"""Simulated devices for ordinary Micro-Manager configuration files, on lines that begin with `#py`.

The devices of one file share a slide: each takes the one that was loaded last, so `Slide` comes first in the file.
Cameras, stages and lasers have the property `Fault`, which makes them fail as real ones do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pymmcore_plus.core import FocusDirection
from pymmcore_plus.experimental.unicore.devices._camera import SimpleCameraDevice
from pymmcore_plus.experimental.unicore.devices._generic_device import GenericDevice
from pymmcore_plus.experimental.unicore.devices._properties import pymm_property
from pymmcore_plus.experimental.unicore.devices._shutter import ShutterDevice
from pymmcore_plus.experimental.unicore.devices._stage import StageDevice, XYStageDevice
from pymmcore_plus.experimental.unicore.devices._state import StateDevice

from lucule.acquire.specimen import Specimen, load_slide

DATA: Final = resources.files("lucule.acquire") / "data"
_STEP_UM: Final = 0.01
_loading = threading.local()


class SimulatedFault(RuntimeError):
    """A device does what its property `Fault` says."""


@contextmanager
def slide_of_configuration() -> Iterator[Callable[[], Slide | None]]:
    """While a configuration is loaded: afterwards, the function given tells the slide that was in it."""
    _loading.slide = None
    yield lambda: _loading.slide
    _loading.slide = None


def _slide_here() -> Slide:
    slide: Slide | None = getattr(_loading, "slide", None)
    if slide is None:
        raise SimulatedFault("A simulated device needs a slide: load lucule.acquire.devices,Slide before it.")
    return slide


class Slide(GenericDevice):
    """The slide on the stage. With `Drift_nm_per_min` it creeps; see `lucule.acquire.specimen.Specimen`."""

    def __init__(self) -> None:
        super().__init__()
        _loading.slide = self
        self._specimen: Specimen | None = None
        self.rows, self.columns = 256, 256
        text = (("File", "slide.yaml"),)
        numbers = (
            ("Seed", 1), ("Rotation_deg", 0.0), ("Scale", 1.0), ("MirrorX", 0), ("TiltX_nm_per_um", 0.0),
            ("TiltY_nm_per_um", 0.0), ("Drift_nm_per_min", 0.0), ("ReadoutReference_mW", 100.0),
            ("ActivationReference_mW", 1.0), ("ThermalReturn", 0.3),
        )  # fmt: skip
        for name, value in (*text, *numbers):
            self.register_property(name=name, default_value=value, is_pre_init=True)

    @property
    def specimen(self) -> Specimen:
        """What is rendered; made when it is first looked at, from the properties."""
        if self._specimen is None:
            value = self.get_property_value
            file = Path(str(value("File")))
            angle, scale = np.radians(float(value("Rotation_deg"))), float(value("Scale"))
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            with resources.as_file(DATA / file.name) as packaged:
                slide = load_slide(file if file.exists() else packaged)
            self._specimen = Specimen(
                slide,
                seed=int(value("Seed")),
                shape_px=(self.rows, self.columns),
                axes=scale * turn @ np.diag([-1.0 if int(value("MirrorX")) else 1.0, 1.0]),
                tilt_nm_per_um=(float(value("TiltX_nm_per_um")), float(value("TiltY_nm_per_um"))),
                drift_nm_per_min=float(value("Drift_nm_per_min")),
                readout_mw=float(value("ReadoutReference_mW")),
                activation_mw=float(value("ActivationReference_mW")),
                thermal=float(value("ThermalReturn")),
            )
            self._specimen.prepare()
        return self._specimen


class _Faulty:
    """A device with the property `Fault`."""

    FAULTS: tuple[str, ...] = ()

    def _add_fault(self) -> None:
        self.register_property(name="Fault", default_value="none", allowed_values=("none", *self.FAULTS))  # type: ignore[attr-defined]

    @property
    def fault(self) -> str:
        """What is wrong with it."""
        return str(self.get_property_value("Fault"))  # type: ignore[attr-defined]


class Camera(_Faulty, SimpleCameraDevice):
    """A camera on the slide.

    `Fault`: `error` raises from the frame `FaultAfter` of a sequence on, `dead` gives nothing from there on, `drop`
    leaves that frame out. `RealTime` 1 gives frames no faster than they are exposed. `Interval_ms` is the time from one
    frame of a sequence to the next, where that is longer than the exposure. `TagPosition` 1 tells with each frame where
    the stage was in the middle of its exposure, as a stage and a camera do that are wired to each other.
    """

    FAULTS = ("error", "dead", "drop")

    def __init__(self) -> None:
        super().__init__()
        self._slide = _slide_here()
        self._exposure_ms = 20.0
        self._taken = self._sequence = 0
        for name, value in (("Rows", 256), ("Columns", 256)):
            self.register_property(name=name, default_value=value, is_pre_init=True, limits=(1, 65_536))
        self.register_property(name="RealTime", default_value=0)
        self.register_property(name="Interval_ms", default_value=0.0)
        self.register_property(name="TagPosition", default_value=1)
        self.register_property(name="FaultAfter", default_value=0)
        self._add_fault()

    def initialize(self) -> None:
        """Tell the slide the size of the sensor."""
        self._slide.rows, self._slide.columns = self.sensor_shape()

    def get_exposure(self) -> float:
        """Exposure, ms."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Set the exposure, ms."""
        self._exposure_ms = float(exposure)

    def sensor_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.get_property_value("Rows")), int(self.get_property_value("Columns"))

    def dtype(self) -> DTypeLike:
        """Type of the counts."""
        return np.uint16

    def start_sequence(self, n: int | None, get_buffer: Any) -> Any:
        """Give frames; a fault counts from the first of them."""
        self._taken = 0
        self._sequence += 1
        specimen = self._slide.specimen
        specimen.exposing = True
        try:
            for metadata in super().start_sequence(n, get_buffer):
                yield metadata
                if self.fault == "drop" and n is not None and self._taken >= n - 1:
                    return
        finally:
            specimen.exposing = False

    def snap(self, buffer: NDArray[np.uint16]) -> Mapping[str, str]:
        """Expose one frame."""
        begun = time.perf_counter()
        if self._taken >= int(self.get_property_value("FaultAfter")):
            if self.fault == "error":
                raise SimulatedFault("The camera reports an error.")
            if self.fault == "dead":
                self._hang()
        specimen = self._slide.specimen
        x, y = specimen.stage_at(specimen.molecules.time_s + self._exposure_ms / 2000)
        buffer[:] = specimen.image(self._exposure_ms)
        self._taken += 1
        lasts_ms = self._exposure_ms
        if specimen.exposing:
            lasts_ms = max(lasts_ms, float(self.get_property_value("Interval_ms")))
            specimen.molecules.wait((lasts_ms - self._exposure_ms) / 1000)
        if int(self.get_property_value("RealTime")):
            time.sleep(max(lasts_ms / 1000 - (time.perf_counter() - begun), 0))
        return (
            {"XPositionUm": f"{x:.4f}", "YPositionUm": f"{y:.4f}"}
            if int(self.get_property_value("TagPosition"))
            else {}
        )

    def _hang(self) -> None:
        """Give nothing, until the next sequence begins."""
        own = self._sequence
        while self._sequence == own:
            time.sleep(0.01)
        raise SimulatedFault("The camera was dead.")


class XYStage(_Faulty, XYStageDevice):
    """A stage with steps of 10 nm.

    `Fault`: `stalled` does not move, and does not say so. `Speed_um_s` is its speed, 0 moves at once.
    `Repeatability_nm` is the standard deviation of how far beside it arrives, which it does not know.
    """

    FAULTS = ("stalled",)

    def __init__(self) -> None:
        super().__init__()
        self._slide = _slide_here()
        self.register_property(name="Speed_um_s", default_value=0.0)
        self.register_property(name="Repeatability_nm", default_value=0.0)
        self._add_fault()

    def set_position_um(self, x: float, y: float) -> None:
        """Move."""
        if self.fault == "stalled":
            return
        specimen, steps = self._slide.specimen, (round(x / _STEP_UM), round(y / _STEP_UM))
        # the same place gives the same error, so that a run that is resumed sees the same
        rng = np.random.default_rng([specimen.seed, *(number % 2**32 for number in steps)])
        error = float(self.get_property_value("Repeatability_nm")) / 1000 * rng.normal(size=2)
        specimen.error_um = float(error[0]), float(error[1])
        speed = float(self.get_property_value("Speed_um_s"))
        specimen.move(steps[0] * _STEP_UM, steps[1] * _STEP_UM, speed_um_s=speed)

    def busy(self) -> bool:
        """Whether it is on its way."""
        return self._slide.specimen.is_moving()

    def get_position_um(self) -> tuple[float, float]:
        """Where it is."""
        return self._slide.specimen.xy_um

    def home(self) -> None:
        """Go to (0, 0)."""
        self.set_position_um(0, 0)

    def stop(self) -> None:
        """Stay where it is."""
        self._slide.specimen.move(*self._slide.specimen.xy_um, speed_um_s=0)

    def set_origin_x(self) -> None:
        """Refuse: the slide has its own origin."""
        raise NotImplementedError("the origin is the corner of the slide")

    set_origin_y = set_origin_x


class Focus(_Faulty, StageDevice):
    """A focus drive. `Fault`: `stalled` does not move."""

    FAULTS = ("stalled",)

    def __init__(self) -> None:
        super().__init__()
        self._slide = _slide_here()
        self._add_fault()

    def set_position_um(self, val: float) -> None:
        """Move."""
        if self.fault != "stalled":
            self._slide.specimen.z_um = float(val)

    def get_position_um(self) -> float:
        """Where it is."""
        return self._slide.specimen.z_um

    def get_focus_direction(self) -> FocusDirection:
        """Up is towards the sample."""
        return FocusDirection.TowardSample

    def set_focus_direction(self, sign: int) -> None:
        """Accept only the direction that it has."""
        if sign != int(FocusDirection.TowardSample):
            raise ValueError("the simulated focus moves towards the sample")

    def home(self) -> None:
        """Go to 0."""
        self.set_position_um(0)

    def stop(self) -> None:
        """Movements are immediate."""

    def set_origin(self) -> None:
        """Refuse: 0 is the slide at its corner."""
        raise NotImplementedError("the origin is the slide at its corner")


class Laser(_Faulty, GenericDevice):
    """A laser, named by its wavelength.

    `Fault`: `silent` ignores what it is told. `Record`: a file that gets a line for each change, as of an interlock.
    """

    FAULTS = ("silent",)

    def __init__(self) -> None:
        super().__init__()
        self._slide = _slide_here()
        self._power_mw, self._on = 0.0, "0"
        self.register_property(name="Wavelength_nm", default_value="647", is_pre_init=True)
        self.register_property(name="Record", default_value="", is_pre_init=True)
        self._add_fault()

    @pymm_property(limits=(0.0, 1000.0))
    def Power_mW(self) -> float:
        """Power at the sample."""
        return self._power_mw

    @Power_mW.setter
    def _set_power(self, value: float) -> None:
        if self.fault != "silent":
            self._power_mw = float(value)
            self._shine()

    @pymm_property(allowed_values=["0", "1"])
    def On(self) -> str:
        """1 when it emits."""
        return self._on

    @On.setter
    def _set_on(self, value: str) -> None:
        if self.fault != "silent":
            self._on = value
            self._shine()

    def _shine(self) -> None:
        name = str(self.get_property_value("Wavelength_nm"))
        power = self._power_mw if self._on == "1" else 0.0
        self._slide.specimen.powers_mw[name] = power
        if record := str(self.get_property_value("Record")):
            with Path(record).open("a", encoding="utf-8") as file:
                file.write(f"{time.time():.3f} {name} nm {power:g} mW\n")


class Shutter(ShutterDevice):
    """The shutter before all lasers."""

    def __init__(self) -> None:
        super().__init__()
        self._slide = _slide_here()

    def get_open(self) -> bool:
        """Whether light passes."""
        return self._slide.specimen.shutter_open

    def set_open(self, open: bool) -> None:  # noqa: A002 (name of the interface)
        """Open or close it."""
        self._slide.specimen.shutter_open = bool(open)


class Filter(StateDevice):
    """The emission filter: which laser's fluorescence reaches the camera."""

    POSITIONS: Final = {0: "405", 1: "488", 2: "647", 3: "561"}

    def __init__(self) -> None:
        super().__init__(dict(self.POSITIONS))
        self._slide = _slide_here()
        self._state = 0

    def get_state(self) -> int:
        """Position of the wheel."""
        return self._state

    def set_state(self, position: int) -> None:
        """Turn the wheel."""
        self._state = position
        self._slide.specimen.passes = self.POSITIONS[position]
