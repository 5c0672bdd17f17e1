"""What lies between the emitters of a scene and its pictures or tables: optics, camera, light, movement."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl
from numba import njit, prange
from numpy.typing import NDArray

from lucule.core import Camera, InputError
from lucule.simulate.camera import Sensor, load_camera
from lucule.simulate.camera import sensor as sensor_of
from lucule.simulate.chain import Dyes, Emitters, Truth
from lucule.simulate.optics import PSF, Kernel, compile_psf, load_psf, parse_psf
from lucule.simulate.sample import simulate_truth
from lucule.simulate.sampling import normal, seed_stream
from lucule.simulate.scene import Scene
from lucule.simulate.streams import key, stream

Floats: TypeAlias = NDArray[np.float64]
CameraLike: TypeAlias = Camera | str | os.PathLike[str] | None
PSFLike: TypeAlias = PSF | str | os.PathLike[str] | dict[str, Any] | None
Outside: TypeAlias = Literal["error", "drop"]

DEFAULT_CAMERA: Final = "emccd_ixon897"
DEFAULT_PSF: Final = "gaussian"
# a field that is a whole number of pixels must not gain one by rounding
_ROUNDING: Final = 1e-6
_PIXELS_MAX: Final = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Imaging:
    """Everything that decides what a camera sees of the emitters of one scene.

    Attributes
    ----------
    scene, seed
        What is imaged.
    kernel
        The PSF on the pixels of the camera.
    sensor
        The camera and its pixels.
    background
        Photons per pixel in the first frame, float32 `(rows, columns)`.
    drift_nm
        Displacement of the sample in every frame, `(frames, 3)`.
    """

    scene: Scene
    seed: int
    kernel: Kernel
    sensor: Sensor
    background: NDArray[np.float32]
    drift_nm: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.background.shape
        return rows, columns

    @property
    def camera(self) -> Camera:
        """The camera."""
        return self.sensor.camera

    def background_factors(self, first: int, frames: int) -> NDArray[np.float32]:
        """Background of some frames relative to the first one."""
        return self.scene.background.over_time(np.arange(first, first + frames)).astype(np.float32)


def resolve_camera(camera: CameraLike, scene: Scene | None = None) -> Camera:
    """Give the camera: the one named, else that of the scene, else `DEFAULT_CAMERA`."""
    chosen = camera if camera is not None else scene.camera if scene is not None else None
    return chosen if isinstance(chosen, Camera) else load_camera(str(chosen or DEFAULT_CAMERA))


def resolve_psf(psf: PSFLike, scene: Scene | None = None) -> PSF:
    """Give the PSF: the one named, else that of the scene, else `DEFAULT_PSF`."""
    chosen = psf if psf is not None else scene.psf if scene is not None else None
    if isinstance(chosen, dict):
        return parse_psf(chosen)
    if chosen is None or isinstance(chosen, str | os.PathLike):
        return load_psf(str(chosen or DEFAULT_PSF))
    return chosen


def field_shape(scene: Scene, pixel_size_nm: tuple[float, float]) -> tuple[int, int]:
    """Rows and columns that cover the field of a scene.

    Raises
    ------
    InputError
        These are more pixels than a camera has.
    """
    width, height = (1000 * side for side in scene.field.size_um)
    columns = max(ceil(width / pixel_size_nm[0] - _ROUNDING), 1)
    rows = max(ceil(height / pixel_size_nm[1] - _ROUNDING), 1)
    if rows * columns > _PIXELS_MAX:
        raise InputError(
            "The field is too large for one picture",
            received=f"{rows} x {columns} pixels",
            allowed=f"up to {_PIXELS_MAX:,} pixels",
            next_step="choose a smaller field.size_um or larger pixels",
        )
    return rows, columns


def prepare(scene: Scene, *, camera: CameraLike = None, psf: PSFLike = None, seed: int) -> Imaging:
    """Resolve optics and camera of a scene, and draw its background and drift.

    Raises
    ------
    InputError
        An unknown camera or PSF, or settings that do not fit together.
    """
    device = resolve_camera(camera, scene)
    kernel = compile_psf(resolve_psf(psf, scene), device.pixel_size_nm)
    shape = field_shape(scene, device.pixel_size_nm)
    level = scene.background_photons.one(stream(seed, "background level"))
    light = scene.background.replace(photons_per_pixel=level)
    background = light.map(shape, device.pixel_size_nm, illumination=scene.illumination, seed=seed)
    times = scene.acquisition
    drift = scene.motion.displacement(
        times.frames, frame_time_s=times.interval_s, exposure_s=times.exposure_s, seed=seed
    )
    return Imaging(scene, seed, kernel, sensor_of(device, shape), background, drift)


def channels_of(scene: Scene) -> list[int]:
    """Colour channels of a scene, ascending."""
    return sorted({layer.channel for layer in scene.layers.values()})


def channel_of_layers(scene: Scene) -> NDArray[np.uint8]:
    """Colour channel of each layer."""
    return np.array([layer.channel for layer in scene.layers.values()], dtype=np.uint8)


def seen_truth(imaging: Imaging, *, channel: int | None = None, outside: Outside = "error") -> Truth:
    """Run the whole chain of a scene; its emitters are those that the camera sees, where it sees them.

    Photons are scaled by the illumination; positions hold the free linkage error and the drift.

    Raises
    ------
    InputError
        There is no such channel, or emitters lie outside the depth range of the PSF and `outside` is `error`.
    """
    scene = imaging.scene
    if channel is not None and channel not in channels_of(scene):
        known = ", ".join(map(str, channels_of(scene)))
        raise InputError("The scene has no such channel", received=channel, allowed=known)
    if outside not in ("error", "drop"):
        raise InputError("Unknown way with emitters outside the depth range", received=outside, allowed="error, drop")
    truth = simulate_truth(scene, seed=imaging.seed)
    emitters = _as_seen(truth.emitters, truth.dyes, imaging)
    if channel is not None:
        mine = channel_of_layers(scene)[truth.dyes["layer"]] == channel
        emitters = Emitters(emitters.data.filter(pl.Series(mine[emitters["molecule"]])))
    if outside == "drop":
        low, high = imaging.kernel.z_range_nm
        emitters = Emitters(emitters.data.filter(pl.col("z").is_between(low, high)))
    elif len(emitters):
        imaging.kernel.check_depth(emitters["z"])
    return Truth(truth.structures, truth.epitopes, truth.dyes, truth.events, emitters)


def _as_seen(emitters: Emitters, dyes: Dyes, imaging: Imaging) -> Emitters:
    scene = imaging.scene
    columns = {axis: emitters[axis] for axis in "xyz"}
    photons = emitters["photons"]
    if scene.illumination.profile != "uniform" or scene.illumination.unevenness:
        field_nm = (1000 * scene.field.size_um[0], 1000 * scene.field.size_um[1])
        light = scene.illumination.at(dyes["x"], dyes["y"], field_nm, seed=imaging.seed)
        photons = photons * light[emitters["molecule"]]
    labellings = [layer.labelling or scene.labelling for layer in scene.layers.values()]
    linkage = np.array([labelling.free_linkage_nm for labelling in labellings])
    if linkage.any():
        own = linkage[dyes["layer"][emitters["molecule"]]]
        moved = _scattered(key(imaging.seed, "free linkage"), emitters["event"], emitters["frame"], own)
        columns = {axis: columns[axis] + moved[i] for i, axis in enumerate("xyz")}
    if imaging.drift_nm.any():
        drift = imaging.drift_nm[emitters["frame"]]
        columns = {axis: columns[axis] + drift[:, i] for i, axis in enumerate("xyz")}
    return Emitters(emitters.data.with_columns(photons=photons, **columns))


@njit(cache=True, parallel=True)
def _scattered(
    stream_key: np.uint64, event: NDArray[np.int32], frame: NDArray[np.uint32], sigma: Floats
) -> NDArray[np.float64]:
    """Normal displacements `(3, n)`, a new one for each event in each frame."""
    out = np.empty((3, len(event)))
    for i in prange(len(event)):
        state = np.empty(4, np.uint64)
        seed_stream(state, stream_key, event[i], frame[i])
        for axis in range(3):
            out[axis, i] = sigma[i] * normal(state)
    return out
