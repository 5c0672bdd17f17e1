"""One small facade over pymmcore-plus: everything else in this room speaks to the microscope through it.

It trusts no device: a stage is asked where it is, a laser what it gives, and frames are counted. What does not answer
is an error of its own kind (`lucule.acquire.faults`).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from lucule.acquire.faults import CameraFault, FocusFault, LaserFault, OverflowFault, StageFault
from lucule.acquire.rig import Channel, Rig, load_rig
from lucule.core import InputError

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

    from lucule.acquire.devices import Slide
    from lucule.acquire.specimen import Specimen

_POLL_S: Final = 0.0005
_POWER_TOLERANCE: Final = 0.01
_SPEED_TOLERANCE: Final = 0.05

Position = tuple[float, float]


class Microscope:
    """A microscope that is on, lasers off.

    Parameters
    ----------
    rig
        What it is; see `load_rig`.

    Raises
    ------
    InputError
        pymmcore-plus is not installed, or the configuration cannot be loaded.

    Examples
    --------
    >>> with Microscope({"based_on": "simulated", "properties": {"Camera-Rows": 64, "Camera-Columns": 64}}) as scope:
    ...     scope.move_to(75, 75)
    ...     _ = scope.set_channel("cell")
    ...     scope.snap().shape
    (64, 64)
    """

    def __init__(self, rig: Rig | str | dict[str, Any] = "simulated") -> None:
        self.rig = load_rig(rig)
        self.core, self._slide = _loaded(self.rig)
        self._light: dict[str, float] = {}
        self.lasers_off()

    def close(self) -> None:
        """Switch the lasers off and release all devices."""
        import pymmcore

        try:
            self.stop()
            self.lasers_off()
        finally:
            self.core.reset()
            # its thread that delivers events would be cut off at the end of the program, which aborts
            pymmcore.CMMCore.registerCallback(self.core, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def specimen(self) -> Specimen | None:
        """The simulated slide, where there is one."""
        return None if self._slide is None else self._slide.specimen

    # where

    @property
    def position_um(self) -> tuple[float, float]:
        """Where the stage says that it is."""
        x, y = self.core.getXYPosition()
        return float(x), float(y)

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move the stage, wait, and look whether it has arrived.

        Raises
        ------
        StageFault
            The place is beyond its limits, it reports an error, goes on moving beyond the time limit, or is elsewhere.
        """
        self._check_range((x_um, y_um))
        try:
            self.core.setXYPosition(x_um, y_um)
            self.core.waitForDevice(self.core.getXYStageDevice())
            x, y = self.position_um
        except Exception as error:
            raise StageFault(f"The stage does not move: {_said(error)}") from error
        if not self.is_at(x_um, y_um):
            raise StageFault(
                "The stage did not arrive",
                received=f"({x:.2f}, {y:.2f}) um",
                allowed=f"({x_um:.2f}, {y_um:.2f}) um within {self.rig.stage_tolerance_um:g} um",
            )

    def _check_range(self, *places: Position) -> None:
        for x, y in places:
            if not self.rig.may_go_to((x, y)).all():
                raise StageFault(
                    "The place is beyond the limits of the stage",
                    received=f"({x:.2f}, {y:.2f}) um",
                    allowed=f"{self.rig.stage_limits_um} um",
                )

    def is_at(self, x_um: float, y_um: float) -> bool:
        """Whether the stage is there, within its tolerance."""
        x, y = self.position_um
        return bool(np.hypot(x - x_um, y - y_um) <= self.rig.stage_tolerance_um)

    @property
    def z_um(self) -> float:
        """Where the focus drive says that it is."""
        return float(self.core.getZPosition())

    def focus_to(self, z_um: float) -> None:
        """Move the focus drive, wait, and look whether it has arrived.

        Raises
        ------
        FocusFault
            It has not.
        """
        try:
            self.core.setZPosition(z_um)
            self.core.waitForDevice(self.core.getFocusDevice())
            z = self.z_um
        except Exception as error:
            raise FocusFault(f"The focus drive does not move: {_said(error)}") from error
        if abs(z - z_um) > self.rig.focus_tolerance_um:
            raise FocusFault(
                "The focus drive did not arrive",
                received=f"{z:.2f} um",
                allowed=f"{z_um:.2f} um within {self.rig.focus_tolerance_um:g} um",
            )

    # light

    def set_laser(self, name: str, power_mw: float) -> None:
        """Set a laser to a power, 0 is off, and look whether it took it.

        Raises
        ------
        InputError
            There is no such laser, or it may not give as much.
        LaserFault
            It did not answer, or says another power.
        """
        if name not in self.rig.lasers:
            raise InputError("The microscope has no such laser", received=name, allowed=", ".join(self.rig.lasers))
        line = self.rig.lasers[name]
        if not 0 <= power_mw <= line.highest_mw:
            raise InputError(
                f"The {name} nm laser may not give this power",
                received=f"{power_mw:g} mW",
                allowed=f"0 to {line.highest_mw:g} mW",
            )
        try:
            self.core.setProperty(line.device, line.power, power_mw / line.mw_per_unit)
            if line.switch is not None:
                self.core.setProperty(line.device, line.switch, line.on if power_mw > 0 else line.off)
            self.core.waitForDevice(line.device)
            given = float(self.core.getProperty(line.device, line.power)) * line.mw_per_unit
            switch = self.core.getProperty(line.device, line.switch) if line.switch else None
        except Exception as error:
            raise LaserFault(f"The {name} nm laser does not answer: {_said(error)}") from error
        wrong_switch = switch is not None and switch != (line.on if power_mw > 0 else line.off)
        if wrong_switch or abs(given - power_mw) > _POWER_TOLERANCE * line.highest_mw:
            state = "" if switch is None else f", switch {switch}"
            raise LaserFault(
                f"The {name} nm laser did not take its setting",
                received=f"{given:g} mW{state}",
                allowed=f"{power_mw:g} mW",
            )
        self._light[name] = power_mw

    @property
    def powers_mw(self) -> dict[str, float]:
        """Power of each laser as last set."""
        return dict(self._light)

    def lasers_off(self) -> None:
        """Close the shutter and switch all lasers off; all of them are tried before an error is raised."""
        failed: list[LaserFault] = []
        self.set_shutter(False)
        for name in self.rig.lasers:
            try:
                self.set_laser(name, 0.0)
            except LaserFault as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def set_shutter(self, is_open: bool) -> None:
        """Open or close the shutter, where there is one."""
        if self.core.getShutterDevice():
            self.core.setShutterOpen(is_open)

    def set_channel(self, name: str, *, power_mw: float | None = None) -> Channel:
        """Set filters and exposure for a channel, and its laser, to its power or another; other lasers go off."""
        channel = self.rig.channel(name)
        for group, preset in channel.presets.items():
            if preset not in self.core.getAvailableConfigs(group):
                raise InputError(
                    f"The configuration has no preset {preset} in the group {group}",
                    received=f"channel {name}",
                    allowed=", ".join(self.core.getAvailableConfigs(group)) or "there is no such group",
                )
            self.core.setConfig(group, preset)
            self.core.waitForConfig(group, preset)
        for laser in self.rig.lasers:
            own = channel.power_mw if power_mw is None else power_mw
            wanted = own if laser == channel.laser else 0.0
            if self._light.get(laser) != wanted:
                self.set_laser(laser, wanted)
        self.set_exposure(channel.exposure_ms)
        return channel

    # camera

    @property
    def shape_px(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return int(self.core.getImageHeight()), int(self.core.getImageWidth())

    @property
    def pixel_size_um(self) -> float:
        """Size of a pixel in the sample.

        Raises
        ------
        InputError
            Neither the configuration nor the rig tells it.
        """
        size = self.rig.pixel_size_um or float(self.core.getPixelSizeUm())
        if size <= 0:
            raise InputError(
                "The size of a pixel is not known", next_step="give pixel_size_um in the settings of the microscope"
            )
        return size

    @property
    def field_um(self) -> tuple[float, float]:
        """Width and height of a frame in the sample."""
        rows, columns = self.shape_px
        return columns * self.pixel_size_um, rows * self.pixel_size_um

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure of the camera."""
        self.core.setExposure(exposure_ms)

    def snap(self) -> NDArray[Any]:
        """Take one picture with open shutter.

        Raises
        ------
        CameraFault
            There was none.
        """
        self.set_shutter(True)
        try:
            self.core.snapImage()
            return np.array(self.core.getImage())
        except Exception as error:
            raise CameraFault(f"The camera took no picture: {_said(error)}") from error
        finally:
            self.set_shutter(False)

    def frames(self, count: int) -> Iterator[NDArray[Any]]:
        """Take a burst with open shutter: exactly `count` frames, or an error.

        Raises
        ------
        CameraFault
            The camera stopped early, or gave nothing for longer than a frame may take.
        OverflowFault
            Frames came faster than they were taken away.
        """
        for frame, _ in self._sequence(count):
            yield frame

    def _sequence(
        self, count: int, *, interval_ms: float = 0.0, tagged: bool = False
    ) -> Iterator[tuple[NDArray[Any], Mapping[str, Any]]]:
        """Frames and, where they are asked for, the notes that come with them."""
        core, shape = self.core, self.shape_px
        patience = self.rig.timeout_s + max(core.getExposure(), interval_ms) / 1000
        received = 0
        self.set_shutter(True)
        try:
            try:
                core.startSequenceAcquisition(count, interval_ms, True)
            except Exception as error:
                raise CameraFault(f"The camera does not start: {_said(error)}") from error
            last = time.monotonic()
            while received < count:
                # asked before the frames are counted: a frame that came in between is not lost
                running = core.isSequenceRunning()
                if core.getRemainingImageCount() > 0:
                    notes: Mapping[str, Any] = {}
                    if tagged:
                        image, said = core.popNextImageAndMD()
                        notes = dict(said)
                    else:
                        image = core.popNextImage()
                    frame = np.asarray(image)
                    if frame.shape != shape:
                        raise CameraFault("A frame has another shape", received=frame.shape, allowed=str(shape))
                    received += 1
                    last = time.monotonic()
                    yield frame, notes
                elif core.isBufferOverflowed():
                    raise OverflowFault("Frames were lost in the full buffer", received=f"{received}/{count} frames")
                elif not running:
                    raise CameraFault("The camera stopped early", received=f"{received}/{count} frames")
                elif time.monotonic() - last > patience:
                    raise CameraFault(
                        "The camera gives no more frames",
                        received=f"{received}/{count} frames",
                        allowed=f"a frame within {patience:.3g} s",
                    )
                else:
                    time.sleep(_POLL_S)
        finally:
            self.stop()

    def check_speed(self) -> None:
        """Look whether the speed of the stage can be set.

        Raises
        ------
        InputError
            The settings of the microscope do not say how, or the stage has no such property.
        """
        speed, stage = self.rig.speed_of_stage(), self._stage
        known = self.core.getDevicePropertyNames(stage)
        for name in speed.properties:
            if name not in known or self.core.isPropertyReadOnly(stage, name):
                raise InputError(
                    "The speed of the stage cannot be set by this property",
                    received=name,
                    allowed=", ".join(n for n in known if not self.core.isPropertyReadOnly(stage, n)) or "none",
                    next_step="name another one, or scan with mode: sequential",
                )

    def along(
        self, start_um: Position, end_um: Position, *, speed_um_s: float, interval_ms: float
    ) -> Iterator[tuple[NDArray[Any], Position]]:
        """Move the stage from one place to another at constant speed while the camera runs with open shutter.

        Each frame comes with the position of the stage in the middle of its exposure: as the camera wrote it down
        (`XPositionUm`, `YPositionUm`), or else as the stage said when the frame came, less half the exposure.

        Raises
        ------
        InputError
            The speed of the stage cannot be set.
        StageFault
            The stage did not take the speed, or did not arrive.
        CameraFault, OverflowFault
            As of `frames`.
        """
        self.check_speed()
        self._check_range(start_um, end_um)
        way = np.subtract(end_um, start_um)
        length = float(np.hypot(*way))
        exposure_ms = float(self.core.getExposure())
        self.move_to(*start_um)
        with self._speed(speed_um_s), self._interval(interval_ms) as between_ms:
            count = int(np.ceil(1000 * length / speed_um_s / max(between_ms, exposure_ms))) + 1
            # the stage first: a frame too early shows the start twice, one too late misses it
            self.core.setXYPosition(*end_um)
            for frame, notes in self._sequence(count, interval_ms=interval_ms, tagged=True):
                if "XPositionUm" in notes and "YPositionUm" in notes:
                    place = float(notes["XPositionUm"]), float(notes["YPositionUm"])
                else:
                    back = way / length * speed_um_s * exposure_ms / 2000 if self.core.deviceBusy(self._stage) else 0.0
                    x, y = np.subtract(self.position_um, back)
                    place = float(x), float(y)
                yield np.array(frame), place
            self.core.waitForDevice(self._stage)
        if not self.is_at(*end_um):
            raise StageFault("The stage did not arrive", received=self.position_um, allowed=f"{end_um} um")

    @property
    def _stage(self) -> str:
        return str(self.core.getXYStageDevice())

    @contextlib.contextmanager
    def _speed(self, um_s: float) -> Iterator[None]:
        """The stage at a speed; afterwards at that of before."""
        speed = self.rig.speed_of_stage()
        before = {name: self.core.getProperty(self._stage, name) for name in speed.properties}
        try:
            for name in speed.properties:
                self.core.setProperty(self._stage, name, um_s / speed.um_s_per_unit)
                given = float(self.core.getProperty(self._stage, name)) * speed.um_s_per_unit
                if abs(given - um_s) > _SPEED_TOLERANCE * um_s:
                    raise StageFault(
                        "The stage did not take its speed", received=f"{given:g} um/s", allowed=f"{um_s:g} um/s"
                    )
            yield
        except RuntimeError as error:
            raise StageFault(f"The speed of the stage cannot be set: {_said(error)}") from error
        finally:
            for name, value in before.items():
                self.core.setProperty(self._stage, name, value)

    @contextlib.contextmanager
    def _interval(self, interval_ms: float) -> Iterator[float]:
        """The camera with a time between frames, as far as it can; gives the time that can be relied on."""
        how, camera = self.rig.frame_interval, self.core.getCameraDevice()
        if how is None:
            yield 0.0
            return
        before = self.core.getProperty(camera, how.property)
        self.core.setProperty(camera, how.property, interval_ms / how.ms_per_unit)
        try:
            yield interval_ms
        finally:
            self.core.setProperty(camera, how.property, before)

    def halt(self) -> None:
        """Stop all that goes on, as after a fault: the stage on its way, the camera, the light."""
        # a stage that cannot be stopped says so; the light must go out all the same
        with contextlib.suppress(RuntimeError):
            self.core.stop(self._stage)
        self.stop()

    def stop(self) -> None:
        """Stop the camera and make it dark: close the shutter, or switch the lasers off where there is none."""
        with contextlib.suppress(RuntimeError):
            if self.core.isSequenceRunning():
                self.core.stopSequenceAcquisition()
        if self.core.getShutterDevice():
            self.set_shutter(False)
        else:
            self.lasers_off()


def _loaded(rig: Rig) -> tuple[UniMMCore, Slide | None]:
    try:
        from pymmcore_plus.experimental.unicore import UniMMCore
    except ImportError:
        raise InputError("A microscope needs pymmcore-plus", next_step='pip install "lucule[acquire]"') from None
    from lucule.acquire.devices import slide_of_configuration

    text = rig.configuration_text()
    core = UniMMCore()
    core.setTimeoutMs(int(1000 * rig.timeout_s))
    with tempfile.TemporaryDirectory() as folder, slide_of_configuration() as slide:
        file = Path(folder) / Path(rig.configuration).name
        file.write_text(text, encoding="utf-8")
        try:
            core.loadSystemConfiguration(file)
        except Exception as error:
            raise InputError(
                f"The configuration cannot be loaded: {_said(error)}", received=rig.configuration
            ) from None
        found = slide()
    core.setAutoShutter(False)
    # once: memory that is asked for again with each burst is touched anew
    core.setCircularBufferMemoryFootprint(rig.buffer_mb)
    return core, found


def _said(error: Exception) -> str:
    """The last line of an error of a device, which names the cause."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
