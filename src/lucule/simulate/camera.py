"""Cameras: from expected photons to counts.

`lucule.core.Camera` describes a camera; `expose` takes the picture. Photons on the sensor become electrons (quantum
efficiency, Poisson), spurious charge joins them, an EM register multiplies them (gamma distributed for n electrons in,
Basden et al. 2003, MNRAS 345, 985), read noise is added, and electrons become counts above the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
import yaml
from numba import njit, prange
from numpy.typing import NDArray

from lucule.core import Camera, FormatError, InputError
from lucule.core.config import read_yaml
from lucule.simulate import streams
from lucule.simulate.sampling import gamma, normal, poisson, poisson_table, seed_stream

_FOLDER: Final = resources.files("lucule.simulate") / "cameras"
# Pixels of a drawn sensor come from streams of this many columns, so that a smaller field is part of a larger one.
_COLUMNS_DRAWN: Final = 4096
_COUNTS_MAX: Final = int(np.iinfo(np.uint16).max)

Map = NDArray[np.float32]


def available_cameras() -> list[str]:
    """Names of the packaged cameras.

    Examples
    --------
    >>> "smlm_challenge" in available_cameras()
    True
    """
    return sorted(file.name.removesuffix(".yaml") for file in _FOLDER.iterdir() if file.name.endswith(".yaml"))


def load_camera(name: str | Path, **changes: Any) -> Camera:
    """Give a packaged camera by name, or one from a YAML file, with some of its values changed.

    Raises
    ------
    InputError
        There is no such camera, or a value is not allowed.

    Examples
    --------
    >>> round(1 / load_camera("smlm_challenge").photons_per_count, 3)  # counts for one photon
    6.0
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        values = read_yaml(text)
        for key in ("baseline", "electrons_per_count", "read_noise_electrons"):
            if isinstance(values.get(key), str):  # maps lie beside the file that names them
                values[key] = Path(text).parent / values[key]
        return Camera.parse(values | changes, source=text)
    if text not in available_cameras():
        raise InputError(
            "There is no such camera",
            received=text,
            allowed=", ".join(available_cameras()),
            next_step="or give a .yaml file",
        )
    values = yaml.safe_load((_FOLDER / f"{text}.yaml").read_text(encoding="utf-8"))
    return Camera.parse(values | changes, source=f"camera {text}")


@dataclass(frozen=True, eq=False)
class Sensor:
    """A camera's pixels, every map float32 `(rows, columns)`.

    Attributes
    ----------
    camera
        What it was made from.
    baseline
        Counts in the dark.
    electrons_per_count
        Electrons for one count.
    read_noise
        Standard deviation in electrons.
    dark_electrons
        Mean spurious charge and dark current in electrons per frame.
    """

    camera: Camera
    baseline: Map
    electrons_per_count: Map
    read_noise: Map
    dark_electrons: Map

    def crop(self, window: tuple[slice, slice]) -> Sensor:
        """Give the pixels of some rows and columns."""
        maps = (self.baseline, self.electrons_per_count, self.read_noise, self.dark_electrons)
        return Sensor(self.camera, *(values[window] for values in maps))


def sensor(camera: Camera, shape: tuple[int, int]) -> Sensor:
    """Draw or read the maps of a camera for a field of `(rows, columns)` pixels.

    Where the camera names a map, its upper left part is used. Where it gives a spread, pixels are drawn: with the same
    `sensor_seed` a smaller field is the upper left part of a larger one.

    Raises
    ------
    FormatError
        A map cannot be read, is smaller than the field, or holds values that are not allowed.

    Examples
    --------
    >>> sensor(load_camera("prime95b"), (4, 5)).read_noise.shape
    (4, 5)
    """
    rows = [streams.stream(camera.sensor_seed, "sensor", row) for row in range(shape[0])]

    def drawn(value: float | Path, spread: float, what: str, *, relative: bool = False) -> Map:
        if isinstance(value, Path):
            return _read_map(value, shape, what)
        noise = np.stack([rng.standard_normal(_COLUMNS_DRAWN) for rng in rows])[:, : shape[1]] if spread else 0.0
        if not relative:
            return np.broadcast_to(value + spread * noise, shape).astype(np.float32)
        return np.broadcast_to(value * np.exp(spread * noise), shape).astype(np.float32)

    if shape[1] > _COLUMNS_DRAWN and camera.baseline_spread + camera.gain_spread + camera.read_noise_spread > 0:
        raise InputError("The sensor is too wide", received=f"{shape[1]} columns", allowed=f"up to {_COLUMNS_DRAWN}")
    baseline = drawn(camera.baseline, camera.baseline_spread, "baseline")
    gain = drawn(camera.electrons_per_count, camera.gain_spread, "electrons_per_count", relative=True)
    read_noise = drawn(camera.read_noise_electrons, camera.read_noise_spread, "read_noise_electrons", relative=True)
    dark = np.full(shape, camera.spurious_charge_electrons, np.float32)
    if camera.hot_pixel_fraction:
        chance = np.stack([rng.random((2, _COLUMNS_DRAWN))[:, : shape[1]] for rng in rows], axis=1)
        dark -= np.where(chance[0] < camera.hot_pixel_fraction, camera.hot_pixel_electrons, 0) * np.log(chance[1])
    return Sensor(camera, baseline, gain, read_noise, dark.astype(np.float32))


def _read_map(path: Path, shape: tuple[int, int], what: str) -> Map:
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else tifffile.imread(path)
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise FormatError(f"The map of {what} cannot be read: {error}", received=path, allowed=".tif or .npy") from None
    if values.ndim != 2 or values.shape[0] < shape[0] or values.shape[1] < shape[1]:
        raise FormatError(
            f"The map of {what} does not cover the field",
            received=f"{path}: {values.shape}",
            allowed=f"at least {shape} pixels",
        )
    values = values[: shape[0], : shape[1]].astype(np.float32)
    low = {"baseline": -np.inf, "electrons_per_count": np.finfo(np.float32).tiny, "read_noise_electrons": 0.0}[what]
    if not np.isfinite(values).all() or values.min() < low:
        raise FormatError(f"The map of {what} holds values that are not allowed", received=f"{path}: {values.min():g}")
    return values


def expose(
    photons: NDArray[np.float32],
    camera: Camera | Sensor,
    *,
    seed: int,
    first_frame: int = 0,
) -> NDArray[np.uint16]:
    """Take pictures: expected photons on the sensor to counts.

    Every row of every frame has its own random stream, made from the seed, the number of the frame and the row: the
    result does not depend on threads nor on how a movie is cut into calls.

    Parameters
    ----------
    photons
        Expected photons per pixel `(frames, rows, columns)`, before the quantum efficiency. Values below zero, as
        splines have by rounding, count as zero.
    camera
        The camera, or its sensor for repeated calls.
    seed
        Seed of the noise.
    first_frame
        Number of the first frame.

    Returns
    -------
    Counts, uint16, same shape.

    Raises
    ------
    InputError
        `photons` is not `(frames, rows, columns)`, holds NaN or inf, or the camera gives more than 16 bits.

    Examples
    --------
    >>> expose(np.full((1, 2, 3), 100, np.float32), load_camera("ideal"), seed=1)
    array([[[116,  95,  87],
            [112, 109,  91]]], dtype=uint16)
    """
    photons = np.ascontiguousarray(photons, dtype=np.float32)
    if photons.ndim != 3:
        raise InputError("Expected photons must be frames", received=photons.shape, allowed="(frames, rows, columns)")
    pixels = camera if isinstance(camera, Sensor) else sensor(camera, photons.shape[1:])
    if pixels.baseline.shape != photons.shape[1:]:
        raise InputError(
            "The sensor and the frames differ", received=photons.shape[1:], allowed=f"{pixels.baseline.shape}"
        )
    kind = pixels.camera
    if kind.saturation > _COUNTS_MAX:
        raise InputError(
            "Movies hold 16 bits", received=f"saturation={kind.saturation}", allowed=f"up to {_COUNTS_MAX}"
        )
    counts = np.empty(photons.shape, np.uint16)
    bad = _expose(
        photons,
        pixels.baseline,
        pixels.electrons_per_count,
        pixels.read_noise,
        pixels.dark_electrons,
        kind.quantum_efficiency,
        kind.em_gain,
        float(kind.saturation),
        streams.key(seed, "camera"),
        first_frame,
        poisson_table(),
        counts,
    )
    if bad:
        raise InputError("Expected photons must be finite numbers", received=f"{bad} pixels that are not")
    return counts


@njit(cache=True, parallel=True)
def _expose(
    photons: Map,
    baseline: Map,
    electrons_per_count: Map,
    read_noise: Map,
    dark: Map,
    efficiency: float,
    em_gain: float,
    saturation: float,
    key: np.uint64,
    first_frame: int,
    table: NDArray[np.float64],
    counts: NDArray[np.uint16],
) -> int:
    frames, rows, columns = photons.shape
    bad = 0
    for line in prange(frames * rows):
        frame, row = line // rows, line % rows
        state = np.empty(4, np.uint64)
        seed_stream(state, key, first_frame + frame, row)
        for column in range(columns):
            expected = float(photons[frame, row, column])
            if not np.isfinite(expected):
                bad += 1
                continue
            electrons = poisson(state, table, max(expected, 0.0) * efficiency + dark[row, column])
            if em_gain > 1 and electrons > 0:
                electrons = em_gain * gamma(state, electrons)
            if read_noise[row, column] > 0:
                electrons += read_noise[row, column] * normal(state)
            value = np.floor(electrons / electrons_per_count[row, column] + baseline[row, column] + 0.5)
            counts[frame, row, column] = np.uint16(min(max(value, 0.0), saturation))
    return bad
