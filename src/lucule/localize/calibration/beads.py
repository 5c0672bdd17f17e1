"""Beads of a stack: where they are, and which cannot be used, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from lucule.core import Camera, InputError
from lucule.localize.calibration.reading import Source, blocks, clipping_level, frames_of
from lucule.localize.calibration.settings import PsfSettings
from lucule.simulate.camera import Sensor, sensor

Floats: TypeAlias = NDArray[np.float64]

# of the spot's size: the second Gaussian of the difference, and the distance of two maxima
_WIDE, _ONE_MAXIMUM = 3.3, 3.0
# The first parts two beads that are 600 nm apart. The others see a PSF with lobes as one; they are tried where the
# first leaves nothing, and believed from this many beads on.
_SPOTS_NM, _ENOUGH = (120.0, 250.0, 500.0), 3
_SIGNIFICANT: Final = 8.0
# below this part of the brightest bead there are its own diffraction rings
_FAINTEST: Final = 0.02
_MAD: Final = 1.4826
# planes closer than this are averaged: the PSF does not change between them
_PLANE_NM: Final = 20.0
# a neighbour counts from this part of the light of the bead itself; nearby, in sizes of the spot, a faint one is part
# of the PSF
_NEIGHBOUR_LIGHT, _NEARBY_LIGHT, _NEARBY = 0.03, 0.25, 8.0
# how far from its middle a neighbour out of focus still sends light
_SPREAD_NM: Final = 600.0
_BAD_PIXEL: Final = 6.0
_LOST: Final = 0.8
_TOO_CLOSE: Final = "too close"


@dataclass(frozen=True, eq=False)
class Bead:
    """One bead.

    Attributes
    ----------
    movie
        Number of the stack.
    row, column
        Its central pixel.
    planes
        Photons `(planes, side, side)`; empty where the window leaves the frame.
    stage_nm
        How far it was lifted over the focal plane in each plane, from the middle of the stack.
    seen
        Pixels of the window that can be used.
    photons
        Median photons of a plane.
    bleached
        Part of the photons lost from the first tenth of the planes to the last.
    reason
        Why it is not used; empty where it is.
    clipped
        Whether it reached the largest count.
    near
        Central pixels (row, column) of the beads whose light is in its window.
    """

    movie: int
    row: int
    column: int
    planes: Floats
    stage_nm: Floats
    seen: NDArray[np.bool_]
    photons: float = np.nan
    bleached: float = np.nan
    reason: str = ""
    clipped: bool = False
    near: tuple[tuple[int, int], ...] = ()

    @property
    def crowded(self) -> bool:
        """Whether the light of others is all that speaks against it."""
        return self.reason.startswith(_TOO_CLOSE)

    @property
    def gap_px(self) -> float:
        """Distance of the nearest of those in its window; infinite where there is none."""
        return min((float(np.hypot(row - self.row, column - self.column)) for row, column in self.near), default=np.inf)

    def rejected(self, reason: str) -> Bead:
        """Give the same bead, not to be used for this reason; an earlier reason stays."""
        return self if self.reason else replace(self, reason=reason)


@dataclass(frozen=True, eq=False)
class BeadStack:
    """A stack in photons, planes averaged to a distance of 20 nm or what they had.

    Attributes
    ----------
    photons
        `(planes, rows, columns)`, float32.
    stage_nm
        As in `Bead`.
    clipped
        Pixels that reached the largest count in some plane.
    bad
        Pixels that are much noisier than the others.
    """

    photons: NDArray[np.float32]
    stage_nm: Floats
    clipped: NDArray[np.bool_]
    bad: NDArray[np.bool_]


def read_beads(movie: Source, camera: Camera, settings: PsfSettings) -> BeadStack:
    """Read a stack of beads and turn it into photons.

    Raises
    ------
    InputError
        Too few planes, a step that cannot be, or frames without anything on them.
    """
    with frames_of(movie, "bead stack") as frames:
        every = settings.frames_per_step
        planes = frames.shape[0] // every
        if frames.shape[0] % every:
            raise InputError(
                "The frames do not fill whole steps", received=f"{frames.shape[0]} frames, {every} per step"
            )
        span = (planes - 1) * settings.step_nm
        if planes < settings.fewest_planes or not settings.shortest_nm <= span <= settings.longest_nm:
            raise InputError(
                "The stack is no calibration",
                received=f"{planes} planes, {settings.step_nm:g} nm apart: {span:g} nm in all",
                allowed=f"{settings.fewest_planes} planes or more, {settings.shortest_nm:g} to "
                f"{settings.longest_nm:g} nm from the first to the last",
                next_step="check that --step-nm is the distance of neighbouring planes in nm, and that the file holds "
                "one plane per frame (else --frames-per-step)",
            )
        pixels = sensor(camera.without_pattern(), (frames.shape[1], frames.shape[2]))
        group = every * max(int(_PLANE_NM // settings.step_nm), 1)
        size = -(-frames.shape[0] // group)
        total = np.zeros((size, *frames.shape[1:]), np.float32)
        number = np.zeros(size)
        height = np.zeros(size)
        highest = np.full(frames.shape[1:], -np.inf)
        level = np.inf
        for first, block in blocks(frames, "bead stack"):
            level = min(level, clipping_level(block, camera.saturation))
            np.maximum(highest, block.max(axis=0), out=highest)
            for index, frame in enumerate(block, start=first):
                total[index // group] += frame
                number[index // group] += 1
                height[index // group] += index // every
    counts = total / number[:, None, None].astype(np.float32)
    if np.ptp(counts) == 0:
        raise InputError("The stack holds nothing", received=f"every value is {counts.flat[0]:g}")
    scale = pixels.electrons_per_count / (camera.em_gain * camera.quantum_efficiency)
    stage = settings.sign * settings.step_nm * settings.z_factor * (height / number - (planes - 1) / 2)
    return BeadStack((counts - pixels.baseline) * scale, stage, highest >= level, _bad_pixels(pixels))


def _bad_pixels(pixels: Sensor) -> NDArray[np.bool_]:
    middle = float(np.median(pixels.read_noise))
    return np.asarray(pixels.read_noise > _BAD_PIXEL * middle if middle > 0 else np.zeros_like(pixels.read_noise, bool))


def find_beads(stack: BeadStack, pixel_nm: float, side_px: int, settings: PsfSettings, movie: int = 0) -> list[Bead]:
    """Find beads and judge each by itself: at the border, saturated, too near to another one, faint.

    Beads are local maxima of the mean over all planes after a difference of Gaussians, eight standard deviations above
    its noise.

    Parameters
    ----------
    stack
        The stack in photons.
    pixel_nm, side_px
        Camera pixel, and side of the window around a bead.
    settings
        Limits.
    movie
        Number of the stack, kept with the beads.
    """
    even, odd = (stack.photons[k::2].mean(axis=0, dtype=np.float64) for k in (0, 1))
    first: list[Bead] = []
    for spot_nm in _SPOTS_NM if settings.spot_nm is None else (settings.spot_nm,):
        found = _find(stack, (even, odd), spot_nm / pixel_nm, pixel_nm, side_px, settings, movie)
        usable = sum(not bead.reason for bead in found)
        first = first or found
        if usable >= (_ENOUGH if found is not first else 1):
            return found
    return first


def _find(
    stack: BeadStack,
    halves: tuple[Floats, Floats],
    spot_px: float,
    pixel_nm: float,
    side_px: int,
    settings: PsfSettings,
    movie: int,
) -> list[Bead]:
    even, odd = (gaussian_filter(half, spot_px) - gaussian_filter(half, _WIDE * spot_px) for half in halves)
    band = (even + odd) / 2
    # what every second plane shows and the others do not is noise
    noise = _MAD * float(np.median(np.abs(even - odd))) / 2
    least = max(_SIGNIFICANT * noise, _FAINTEST * float(band.max()))
    reach = max(round(_ONE_MAXIMUM * spot_px), 1)
    highest = (band == maximum_filter(band, 2 * reach + 1)) & (band > least)
    places = np.argwhere(highest)
    half = side_px // 2
    found = _judge_light([_cut(stack, int(row), int(column), half, movie) for row, column in places], settings)
    return _judge_neighbours(found, band[tuple(places.T)], half, spot_px, pixel_nm)


def _cut(stack: BeadStack, row: int, column: int, half: int, movie: int) -> Bead:
    rows, columns = stack.photons.shape[1:]
    top, left = row - half, column - half
    if min(top, left) < 0 or row + half >= rows or column + half >= columns:
        empty = np.empty((0, 0, 0))
        return Bead(movie, row, column, empty, stack.stage_nm, np.empty((0, 0), bool), reason="at the border")
    part = (slice(top, row + half + 1), slice(left, column + half + 1))
    planes = stack.photons[(slice(None), *part)].astype(np.float64)
    bead = Bead(movie, row, column, planes, stack.stage_nm, ~stack.bad[part], *light_of(planes))
    near = (
        slice(max(row - half // 2, 0), row + half // 2 + 1),
        slice(max(column - half // 2, 0), column + half // 2 + 1),
    )
    clipped = int(stack.clipped[near].sum())
    if not clipped:
        return bead
    return replace(bead, clipped=True).rejected(f"saturated: {clipped} pixels at the largest count")


def light_of(planes: Floats) -> tuple[float, float]:
    """Median photons of the planes `(planes, side, side)` of a bead, and the part of them that was lost on the way."""
    light = (planes - border_level(planes)[:, None, None]).sum(axis=(1, 2))
    tenth = max(len(light) // 10, 1)
    start, end = float(np.median(light[:tenth])), float(np.median(light[-tenth:]))
    return float(np.median(light)), 1 - end / start if start > 0 else np.nan


def border_level(planes: Floats) -> Floats:
    """Median of the outermost pixels of each plane."""
    edge = np.concatenate([planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]], axis=1)
    level: Floats = np.median(edge, axis=1)
    return level


def _judge_light(found: Sequence[Bead], settings: PsfSettings) -> list[Bead]:
    known = [bead.photons for bead in found if not bead.reason]
    usual = float(np.median(known)) if known else 0.0
    judged = []
    for bead in found:
        least = settings.dim_fraction * usual
        if bead.photons < least:
            bead = bead.rejected(f"dim: {bead.photons:,.0f} photons, below {least:,.0f}")
        elif bead.bleached > _LOST:
            bead = bead.rejected(f"bleached: {100 * bead.bleached:.0f} % of its photons are lost")
        judged.append(bead)
    return judged


def _judge_neighbours(found: Sequence[Bead], height: Floats, half: int, spot_px: float, pixel_nm: float) -> list[Bead]:
    """Refuse beads whose window holds light of another; a much brighter one is undisturbed by a faint one."""
    place = np.array([(bead.row, bead.column) for bead in found], dtype=np.float64).reshape(-1, 2)
    limit = half + _SPREAD_NM / pixel_nm
    judged = []
    for i, bead in enumerate(found):
        distance = np.abs(place - place[i]).max(axis=1)
        least = np.where(distance < _NEARBY * spot_px, _NEARBY_LIGHT, _NEIGHBOUR_LIGHT)
        near = (distance < limit) & (height > least * height[i])
        near[i] = False
        if near.any():
            bead = replace(bead, near=tuple((found[j].row, found[j].column) for j in np.flatnonzero(near)))
            bead = bead.rejected(f"{_TOO_CLOSE}: another bead {pixel_nm * bead.gap_px:,.0f} nm away")
        judged.append(bead)
    return judged


def rejections(beads: Sequence[Bead]) -> dict[str, int]:
    """Reasons without their details, and how many beads each of them took.

    Examples
    --------
    >>> rejections([])
    {}
    """
    counts: dict[str, int] = {}
    for bead in beads:
        if bead.reason:
            name = bead.reason.partition(":")[0]
            counts[name] = counts.get(name, 0) + 1
    return counts


def none_left(beads: Sequence[Bead], window_nm: float) -> InputError:
    """Explain why there is nothing to calibrate with."""
    counts: dict[str, Any] = rejections(beads)
    said = ", ".join(f"{number} {name}" for name, number in counts.items())
    return InputError(
        "No bead can be used",
        received=f"{len(beads)} found" + (f"; rejected: {said}" if said else ""),
        allowed=f"single, unsaturated beads, {window_nm / 2:g} nm or more from the border and farther from each other",
        next_step="record a stack with fewer or brighter beads, or take a smaller window (--window-nm)",
    )
