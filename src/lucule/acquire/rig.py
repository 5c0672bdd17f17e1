"""Which microscope: its Micro-Manager configuration, and what its devices mean."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from lucule.core import Camera, Config, InputError
from lucule.core.config import read_yaml

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

DATA: Final = resources.files("lucule.acquire") / "data"
PACKAGED: Final = ("simulated", "mixed", "demo_camera")


class LaserLine(Config):
    """One laser.

    Attributes
    ----------
    device
        Its label in the configuration.
    power
        Property that sets its power, in mW at the sample after `mw_per_unit`.
    switch
        Property that switches it, with the values `on` and `off`; None: power 0 is off.
    mw_per_unit
        mW at the sample for one unit of the property.
    highest_mw
        Never more than this.
    """

    device: str
    power: str
    switch: str | None = None
    on: str = "1"
    off: str = "0"
    mw_per_unit: Positive = 1.0
    highest_mw: Positive = 100.0


class StageSpeed(Config):
    """How the speed of the XY stage is set.

    Attributes
    ----------
    properties
        Its properties that set it: one, or one for each axis, such as `MotorSpeedX-S(mm/s)`.
    um_s_per_unit
        Speed for one unit of them.
    highest_um_s
        Never more than this.
    """

    properties: Annotated[tuple[str, ...], Field(min_length=1)]
    um_s_per_unit: Positive = 1.0
    highest_um_s: Positive = 1000.0


class FrameInterval(Config):
    """The property of the camera that sets the time from one frame of a sequence to the next.

    Attributes
    ----------
    property
        Its name.
    ms_per_unit
        Time for one unit of it.
    """

    property: str
    ms_per_unit: Positive = 1.0


class Channel(Config):
    """What is set for one kind of picture.

    Attributes
    ----------
    presets
        Group -> preset of the configuration, such as a filter.
    laser, power_mw
        The laser that is on, and its power; None: the presets do all.
    exposure_ms
        Exposure.
    """

    presets: dict[str, str] = {}
    laser: str | None = None
    power_mw: NotNegative = 0.0
    exposure_ms: Positive = 50.0


class Rig(Config):
    """A microscope.

    Attributes
    ----------
    configuration
        Micro-Manager configuration file.
    lasers, channels
        By name.
    properties
        `device-property` -> value, set before the devices are initialized (`pre`) or after.
    camera
        What turns its counts into photons.
    pixel_size_um
        Where the configuration has none.
    illumination_radius_um
        Radius of the disk that is exposed; 0: half the diagonal of the field.
    stage_tolerance_um, focus_tolerance_um
        How far from the wanted place counts as arrived.
    stage_limits_um
        Rectangle (x_min, y_min, x_max, y_max) that the stage must not leave; None: it has no limits, or knows its own.
    stage_speed
        How the speed of the stage is set; needed for continuous scans.
    frame_interval
        How the time between frames is set; without it, what a camera gives too often during a continuous scan is left
        out.
    timeout_s
        Longest wait for a device; for a frame, beyond its exposure.
    buffer_mb
        Memory for frames on their way.
    """

    configuration: str
    camera: Camera
    lasers: dict[str, LaserLine] = {}
    channels: dict[str, Channel] = {}
    properties: dict[str, str | float | int] = {}
    pixel_size_um: Positive | None = None
    illumination_radius_um: NotNegative = 0.0
    stage_tolerance_um: Positive = 0.5
    focus_tolerance_um: Positive = 0.2
    stage_limits_um: tuple[float, float, float, float] | None = None
    stage_speed: StageSpeed | None = None
    frame_interval: FrameInterval | None = None
    timeout_s: Positive = 5.0
    buffer_mb: Annotated[int, Field(gt=0)] = 256

    def may_go_to(self, xy_um: ArrayLike) -> NDArray[np.bool_]:
        """Which positions `(n, 2)` lie within the limits of the stage."""
        places = np.reshape(xy_um, (-1, 2))
        if self.stage_limits_um is None:
            return np.ones(len(places), bool)
        limits = np.array(self.stage_limits_um)
        inside: NDArray[np.bool_] = ((places >= limits[:2]) & (places <= limits[2:])).all(axis=1)
        return inside

    def speed_of_stage(self) -> StageSpeed:
        """How the speed of the stage is set.

        Raises
        ------
        InputError
            The settings do not say.
        """
        if self.stage_speed is None:
            raise InputError(
                "A continuous scan needs a stage whose speed can be set",
                received="a microscope without stage_speed",
                allowed="stage_speed: {properties: [...], um_s_per_unit: ...} in its settings",
                next_step="add it, or scan with mode: sequential",
            )
        return self.stage_speed

    @model_validator(mode="after")
    def _known(self) -> Self:
        limits = self.stage_limits_um
        if limits and not (limits[0] < limits[2] and limits[1] < limits[3]):
            raise ValueError("stage_limits_um: x_min < x_max and y_min < y_max, um")
        for name, channel in self.channels.items():
            if channel.laser is None:
                continue
            if channel.laser not in self.lasers:
                raise ValueError(f"channel {name} names the laser {channel.laser}, which is not among the lasers")
            highest = self.lasers[channel.laser].highest_mw
            if channel.power_mw > highest:
                raise ValueError(f"channel {name}: {channel.power_mw:g} mW, but the laser may give {highest:g} mW")
        for key in self.properties:
            if "-" not in key:
                raise ValueError(f"property {key}: device-property is wanted, such as Camera-Rows")
        return self

    def channel(self, name: str) -> Channel:
        """A channel by name.

        Raises
        ------
        InputError
            There is no such channel.
        """
        if name not in self.channels:
            raise InputError("The microscope has no such channel", received=name, allowed=", ".join(self.channels))
        return self.channels[name]

    def configuration_text(self) -> str:
        """The configuration file with `properties` put in.

        Raises
        ------
        InputError
            There is no such file.
        """
        path = self._path()
        text = path.read_text(encoding="utf-8")
        if not self.properties:
            return text
        python = {line.split(",")[1] for line in text.splitlines() if line.startswith("#py pyDevice,")}
        lines = []
        for key, value in self.properties.items():
            device, _, name = key.partition("-")
            lines.append(f"{'#py ' if device in python else ''}Property,{device},{name},{value}")
        before, found, after = text.partition("Property,Core,Initialize,1")
        return before + "\n".join(lines) + "\n" + found + after

    def _path(self) -> Path:
        packaged = DATA / self.configuration
        given = Path(self.configuration).expanduser()
        if given.is_file():
            return given
        if packaged.is_file():
            with resources.as_file(packaged) as path:
                return path
        from pymmcore_plus import find_micromanager

        adapters = find_micromanager()
        if adapters and (Path(adapters) / self.configuration).is_file():
            return Path(adapters) / self.configuration
        raise InputError(
            "There is no such Micro-Manager configuration",
            received=self.configuration,
            allowed="the path of a .cfg file, or a packaged microscope: " + ", ".join(PACKAGED),
        )


def load_rig(rig: Rig | str | os.PathLike[str] | dict[str, Any]) -> Rig:
    """Give a microscope by the name of a packaged one, from a YAML file, or from settings.

    Settings may begin from another microscope with `based_on`; what they name replaces what stands there.

    Raises
    ------
    InputError
        There is no such microscope, or a value cannot be used.

    Examples
    --------
    >>> load_rig("simulated").lasers["405"].device
    'Laser405'
    >>> load_rig({"based_on": "simulated", "illumination_radius_um": 20}).illumination_radius_um
    20.0
    """
    if isinstance(rig, Rig):
        return rig
    if isinstance(rig, dict):
        values = dict(rig)
        base = values.pop("based_on", None)
        start = load_rig(base).model_dump() if base else {}
        for key, value in values.items():
            merged = isinstance(value, dict) and isinstance(start.get(key), dict)
            start[key] = start[key] | value if merged else value
        return Rig.parse(start, source="microscope")
    name = str(rig)
    if name in PACKAGED:
        with resources.as_file(DATA / f"{name}.yaml") as path:
            return Rig.parse(read_yaml(path), source=f"microscope {name}")
    if name.endswith((".yaml", ".yml")):
        values = read_yaml(name)
        configuration = values.get("configuration")
        beside = Path(name).parent / str(configuration)
        if configuration and beside.is_file():
            values["configuration"] = str(beside)
        return load_rig(values)
    raise InputError(
        "There is no such microscope", received=name, allowed=f"{', '.join(PACKAGED)}, or the path of a YAML file"
    )
