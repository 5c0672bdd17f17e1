"""The plan of an acquisition: what is scanned, what is looked for, how it is imaged, and when to stop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from lucule.acquire.calibration import Affine
from lucule.acquire.rig import Rig, load_rig
from lucule.core import Config, InputError
from lucule.core.config import read_yaml

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

THRESHOLD_CLASS: Final = "object"
"""Class of what a threshold finds."""

PLANS: Final = resources.files("lucule.acquire") / "plans"


class Wells(Config):
    """Wells of a plate, see `useq.WellPlatePlan`.

    Attributes
    ----------
    plate
        Name of the plate, such as `96-well`.
    a1_um
        Position of the stage at the middle of A1.
    rotation_deg
        Of the plate on the stage.
    wells
        Names, such as B3.
    size_um
        Width and height of the area in the middle of each well.
    """

    plate: str = "96-well"
    a1_um: tuple[Finite, Finite] = (0.0, 0.0)
    rotation_deg: Finite = 0.0
    wells: Annotated[tuple[str, ...], Field(min_length=1)]
    size_um: tuple[Positive, Positive]


class Scan(Config):
    """The wide-field scan.

    Attributes
    ----------
    area_um
        Rectangle (x_min, y_min, x_max, y_max) in positions of the stage; either this or `wells`.
    wells
        Areas in wells of a plate.
    channels
        One to three channels; objects are looked for in the first.
    overlap_percent
        How far neighbouring tiles overlap.
    overview_pixel_um
        Size of the pixels of the overview; None: those of the camera.
    mode
        `sequential`: the stage stops for each picture. `continuous`: it moves along each row at constant speed while
        the camera runs; the light is on all along.
    exposure_ms
        Exposure of the pictures; None: that of each channel. The laser gives as much more power as the exposure is
        shorter, up to its limit.
    blur_px
        How far a continuous scan moves during an exposure at most, in pixels of the overview.
    """

    area_um: tuple[Finite, Finite, Finite, Finite] | None = None
    wells: Wells | None = None
    channels: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)] = ("cell",)
    overlap_percent: Annotated[float, Field(ge=0, le=50)] = 10.0
    overview_pixel_um: Positive | None = None
    mode: Literal["sequential", "continuous"] = "sequential"
    exposure_ms: Positive | None = None
    blur_px: Positive = 0.5

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels: each one once, not {', '.join(self.channels)}")
        if (self.area_um is None) == (self.wells is None):
            raise ValueError("exactly one of area_um and wells")
        if self.area_um and not (self.area_um[0] < self.area_um[2] and self.area_um[1] < self.area_um[3]):
            raise ValueError("area_um: x_min < x_max and y_min < y_max, um")
        return self


class Objects(Config):
    """What is looked for, and which of it is imaged.

    Attributes
    ----------
    finder
        `threshold`: bright objects by Otsu's threshold. `model`: the network that `model` names.
    model
        A packaged segmentation model, or the folder of a trained one.
    classes
        Only objects of these classes; empty: all.
    minimum_area_um2, maximum_area_um2
        Others are not imaged.
    minimum_confidence
        Nor are those that the network is less sure of.
    quota
        At most so many fields for each class and each well; None: all. Which ones follows from `seed`.
    merge_distance_um
        Objects whose middles are nearer than this share a field, where the field has room for them.
    large
        Objects larger than a field: `centre`, `random` fields inside the object, or `cover` it completely.
    fields_per_large
        Number of random fields in a large object.
    cover_overlap_percent
        How far the fields that cover an object overlap, in percent of their sides: no further than registration needs,
        as what lies there is exposed twice; see `lucule.acquire.covering` and `Stitching`.
    seed
        Of every choice.
    """

    finder: Literal["threshold", "model"] = "threshold"
    model: str | None = None
    classes: tuple[str, ...] = ()
    minimum_area_um2: NotNegative = 10.0
    maximum_area_um2: Positive | None = None
    minimum_confidence: Fraction = 0.0
    quota: Count | None = None
    merge_distance_um: NotNegative = 0.0
    large: Literal["centre", "random", "cover"] = "random"
    fields_per_large: Count = 1
    cover_overlap_percent: Annotated[float, Field(gt=0, le=50)] = 15.0
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _model_named(self) -> Self:
        if self.finder == "model" and self.model is None:
            raise ValueError("finder: model needs the name of a model")
        if self.finder == "threshold" and self.model is not None:
            raise ValueError("a model is only used with finder: model")
        if self.finder == "threshold" and not {*self.classes} <= {THRESHOLD_CLASS}:
            raise ValueError(f"a threshold knows no classes: all it finds is of the class {THRESHOLD_CLASS}")
        if self.maximum_area_um2 is not None and self.maximum_area_um2 <= self.minimum_area_um2:
            raise ValueError(
                f"maximum_area_um2 must be above minimum_area_um2, {self.minimum_area_um2:g}, "
                f"not {self.maximum_area_um2:g}"
            )
        return self


class Stitching(Config):
    """How the fields that cover an object (`objects: {large: cover}`) are joined; see `lucule.acquire.stitching`.

    Attributes
    ----------
    largest_shift_nm
        What two fields that overlap may lie beside each other; where their localizations say more, that is recorded
        and not followed. 0: the stage is trusted.
    largest_residual_nm
        Where the overlaps of an object contradict each other by more, none of them is followed.
    take_off_drift
        Whether the drift during the movie of each field is taken off before; see `lucule.acquire.drifting`.
    """

    largest_shift_nm: NotNegative = 300.0
    largest_residual_nm: Positive = 50.0
    take_off_drift: bool = True


class Density(Config):
    """How the 405 nm laser holds the density of emitters; see `lucule.acquire.feedback`.

    Attributes
    ----------
    target_per_um2
        Emitters for a um2 of the field and frame.
    laser
        The activating laser.
    start_mw, lowest_mw, highest_mw
        Powers.
    largest_step
        Largest factor from one burst to the next.
    """

    target_per_um2: Positive
    laser: str = "405"
    start_mw: NotNegative = 0.1
    lowest_mw: NotNegative = 0.01
    highest_mw: Positive = 20.0
    largest_step: Annotated[float, Field(gt=1)] = 4.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lowest_mw < self.highest_mw:
            raise ValueError("lowest_mw must be below highest_mw")
        if self.start_mw > self.highest_mw:
            raise ValueError(f"start_mw must be at most highest_mw, {self.highest_mw:g}, not {self.start_mw:g}")
        return self


class Stop(Config):
    """When a field is left before its last frame; every rule can be switched off with null.

    Attributes
    ----------
    count_gain
        The last burst added less than this fraction of all localizations so far.
    frc_gain
        The last doubling of the movie improved the Fourier ring correlation by less than this fraction.
    bleached_fraction
        The density fell below this fraction of the target (or of the first burst) with the activation at its limit.
    empty_per_um2
        Fewer emitters for a um2 and frame than this after the first burst.
    defocus_factor
        Spots are wider than those of the first burst by this factor.
    """

    count_gain: Fraction | None = 0.01
    frc_gain: Fraction | None = None
    bleached_fraction: Fraction | None = 0.05
    empty_per_um2: NotNegative | None = 0.0005
    defocus_factor: Annotated[float, Field(gt=1)] | None = 1.5


class Imaging(Config):
    """A dSTORM movie of one colour.

    Attributes
    ----------
    channel
        Channel of the microscope.
    frames
        Most frames of a field.
    burst_frames
        Frames of a burst: between bursts the movie can be paused, the focus and the density are looked at.
    exposure_ms, power_mw
        Exposure and readout power; None: those of the channel.
    density
        Control of the density; None: no activation.
    """

    channel: str = "molecules"
    frames: Count = 10_000
    burst_frames: Annotated[int, Field(ge=1, le=1000)] = 250
    exposure_ms: Positive | None = None
    power_mw: Positive | None = None
    density: Density | None = None


class Focusing(Config):
    """How the focus is found and held.

    Attributes
    ----------
    method
        `none`: the focus stays where it is. `software`: a stack of pictures before each field. `lock`: the hardware
        of the configuration. `surface`: software autofocus at `points` places before the scan, and a surface through
        them.
    channel
        In which channel software autofocus looks.
    range_um, steps
        Of the stack.
    points
        Places for the surface, 3 or more.
    """

    method: Literal["none", "software", "lock", "surface"] = "none"
    channel: str = "cell"
    range_um: Positive = 4.0
    steps: Annotated[int, Field(ge=5)] = 9
    points: Annotated[int, Field(ge=3)] = 4


class Limits(Config):
    """What must not be exceeded, whatever else is asked.

    Attributes
    ----------
    power_mw
        Laser -> highest power.
    dose_mj_per_um2
        Light on a place of the sample, all lasers together.
    """

    power_mw: dict[str, Positive] = {}
    dose_mj_per_um2: Positive | None = None


class Errors(Config):
    """What is done about a fault.

    Attributes
    ----------
    retries
        How often the work is tried again.
    then
        What is done then: `skip` it, or `stop`.
    give_up_after
        So many failures one after the other stop the run.
    """

    retries: Annotated[int, Field(ge=0)] = 2
    then: Literal["skip", "stop"] = "skip"
    give_up_after: Count = 3


class Plan(Config):
    """All of an acquisition.

    Attributes
    ----------
    microscope
        A packaged microscope, a YAML file, or its settings; see `lucule.acquire.rig`.
    scan, objects, stitch, imaging, stop, focus, limits, errors
        See there. Several settings of `imaging` are colours, taken one after the other in each field.
    format
        OME-Zarr, or one OME-TIFF for each burst.
    calibration
        File that `lucule acquire --calibrate` wrote; None: the stage moves along the axes of the camera.
    watchdog_s
        Lasers are switched off when the acquisition has not answered for so long; 0: no watchdog.

    Examples
    --------
    >>> plan = load_plan({"scan": {"area_um": [0, 0, 100, 100]}, "imaging": {"frames": 500}})
    >>> plan.imaging[0].frames, plan.objects.finder
    (500, 'threshold')
    """

    microscope: Rig = Field(default="simulated", validate_default=True)
    scan: Scan
    objects: Objects = Objects()
    stitch: Stitching = Stitching()
    imaging: tuple[Imaging, ...] = (Imaging(),)
    stop: Stop = Stop()
    focus: Focusing = Focusing()
    limits: Limits = Limits()
    errors: Errors = Errors()
    format: Literal["zarr", "tiff"] = "zarr"
    calibration: Affine | None = None
    watchdog_s: NotNegative = 60.0

    @field_validator("microscope", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return load_rig(value)

    @field_validator("imaging", mode="before")
    @classmethod
    def _one_colour(cls, value: Any) -> Any:
        return (value,) if isinstance(value, Mapping | Imaging) else value

    @field_validator("calibration", mode="before")
    @classmethod
    def _from_file(cls, value: Any) -> Any:
        return Affine.from_yaml(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        rig = self.microscope
        if len(self.imaging) not in (1, 2):
            raise ValueError(f"imaging: one or two colours, not {len(self.imaging)}")
        for name in (*self.scan.channels, *(colour.channel for colour in self.imaging)):
            if name not in rig.channels:
                raise ValueError(f"the microscope has no channel {name}, but {', '.join(rig.channels)}")
        if self.focus.method in ("software", "surface") and self.focus.channel not in rig.channels:
            raise ValueError(f"focus: the microscope has no channel {self.focus.channel}")
        if unknown := sorted({*self.limits.power_mw} - {*rig.lasers}):
            # a limit that holds for nothing would be trusted
            raise ValueError(
                f"limits.power_mw: the microscope has no laser {', '.join(unknown)}, "
                f"but {', '.join(rig.lasers) or 'none'}"
            )
        powers = [(rig.channels[name].laser, rig.channels[name].power_mw) for name in self.scan.channels]
        for colour in self.imaging:
            channel = rig.channels[colour.channel]
            powers.append((channel.laser, colour.power_mw or channel.power_mw))
            if colour.density is not None:
                powers.append((colour.density.laser, colour.density.highest_mw))
        for laser, power in powers:
            if laser is None:
                continue
            if laser not in rig.lasers:
                raise ValueError(f"the microscope has no laser {laser}")
            highest = min(self.limits.power_mw.get(laser, float("inf")), rig.lasers[laser].highest_mw)
            if power > highest:
                raise ValueError(f"{power:g} mW of the {laser} nm laser are asked for, {highest:g} mW are allowed")
        return self

    @property
    def affine(self) -> Affine:
        """Movements of the stage in the axes of the camera."""
        return self.calibration or Affine()


def available_plans() -> list[str]:
    """Names of the packaged plans.

    Examples
    --------
    >>> "demo" in available_plans()
    True
    """
    return sorted(file.name.removesuffix(".yaml") for file in PLANS.iterdir() if file.name.endswith(".yaml"))


def plan_path(plan: str | os.PathLike[str]) -> Path:
    """File of a plan, given by its path or as the name of a packaged one.

    Raises
    ------
    InputError
        There is no such plan.
    """
    if str(plan) in available_plans():
        with resources.as_file(PLANS / f"{plan}.yaml") as path:
            return path
    if Path(plan).is_file():
        return Path(plan)
    raise InputError(
        "There is no such plan",
        received=plan,
        allowed=f"the path of a YAML file, or a packaged plan: {', '.join(available_plans())}",
    )


def load_plan(
    plan: Plan | str | os.PathLike[str] | Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Plan:
    """Give a plan by the name of a packaged one, from a YAML file, or from settings, with some values changed.

    Parameters
    ----------
    changes
        Nested settings; what they name replaces what stands in the plan, in every colour where they name `imaging`.

    Raises
    ------
    InputError
        There is no such plan, or a value cannot be used.

    Examples
    --------
    >>> [colour.frames for colour in load_plan("demo", {"imaging": {"frames": 300}}).imaging]
    [300]
    """
    if isinstance(plan, Plan):
        values, source = plan.model_dump(), "plan"
    elif isinstance(plan, Mapping):
        values, source = dict(plan), "plan"
    else:
        values, source = read_yaml(plan_path(plan)), str(plan)
    return Plan.parse(_merged(values, changes or {}), source=source)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        before = merged.get(key)
        if not isinstance(value, Mapping):
            merged[key] = value
        elif isinstance(before, Mapping):
            merged[key] = _merged(before, value)
        elif isinstance(before, list | tuple):
            merged[key] = [_merged(item, value) if isinstance(item, Mapping) else item for item in before]
        elif key == "microscope":
            merged[key] = {"based_on": before or "simulated", **value}
        else:
            merged[key] = dict(value)
    return merged
