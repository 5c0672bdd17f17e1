"""The scan in numbers: how bright and how long each picture is, and how fast the stage may move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.acquire.plan import Plan
from lucule.core import InputError

Floats = NDArray[np.float64]

# the stage needs so long to come to its speed, and a camera to its first frame
_RUN_UP_S: Final = 0.1
# of a row that is turned further against the axes of the stage, both axes would need speeds of their own
_LARGEST_TURN_DEG: Final = 1.0
# of a field: the middle of an exposure lies a little behind its begin
_SLACK: Final = 0.02


@dataclass(frozen=True)
class Light:
    """One picture of the scan.

    Attributes
    ----------
    exposure_ms, power_mw
        Exposure and power of the laser of its channel.
    part
        Light of the picture relative to what the channel asks for: less than 1 where the laser is at its limit.
    """

    exposure_ms: float
    power_mw: float
    part: float


def light_of(plan: Plan, channel: str) -> Light:
    """Exposure and power of the pictures of a channel: a shorter exposure gets more power, as far as it is allowed."""
    known = plan.microscope.channel(channel)
    exposure = plan.scan.exposure_ms or known.exposure_ms
    if known.laser is None or known.power_mw == 0:
        return Light(exposure, known.power_mw, exposure / known.exposure_ms)
    highest = min(plan.limits.power_mw.get(known.laser, np.inf), plan.microscope.lasers[known.laser].highest_mw)
    power = min(known.power_mw * known.exposure_ms / exposure, highest)
    return Light(exposure, power, power * exposure / (known.power_mw * known.exposure_ms))


@dataclass(frozen=True)
class Motion:
    """How a row is scanned while the stage moves.

    Attributes
    ----------
    speed_um_s
        Speed of the field of view.
    pitch_um
        From one picture to the next.
    run_up_um
        How far before the first picture the movement begins.
    """

    speed_um_s: float
    pitch_um: float
    run_up_um: float

    @property
    def interval_ms(self) -> float:
        """Time from one picture to the next."""
        return 1000 * self.pitch_um / self.speed_um_s

    def seconds(self, tiles: int) -> float:
        """Time for a row."""
        return (self.run_up_um + tiles * self.pitch_um) / self.speed_um_s


def motion_of(plan: Plan, channel: str, *, width_um: float, pixel_um: float) -> Motion:
    """The fastest movement whose blur is as small as the plan says.

    Parameters
    ----------
    width_um
        Of the field along the row.
    pixel_um
        Size of a pixel of the camera.

    Raises
    ------
    InputError
        The speed of the stage cannot be set.
    """
    scan, stage = plan.scan, plan.microscope.speed_of_stage()
    exposure_s = light_of(plan, channel).exposure_ms / 1000
    pitch = width_um * (1 - scan.overlap_percent / 100)
    seen_um = max(round((scan.overview_pixel_um or pixel_um) / pixel_um), 1) * pixel_um
    speed = min(stage.highest_um_s / plan.affine.scale, scan.blur_px * seen_um / exposure_s, pitch / exposure_s)
    # a camera that is wired to the stage gives its first picture at once: then the run-up is lost at the end of the row
    return Motion(speed, pitch, min(_RUN_UP_S * speed, (width_um - pitch) / 2))


def check_axes(plan: Plan) -> None:
    """Refuse a continuous scan with a camera that is turned against the axes of the stage.

    Raises
    ------
    InputError
        It is.
    """
    x, y = plan.affine.to_stage((1.0, 0.0))
    turn = float(np.degrees(np.arctan2(min(abs(x), abs(y)), max(abs(x), abs(y)))))
    if turn > _LARGEST_TURN_DEG:
        raise InputError(
            "A continuous scan needs rows along an axis of the stage",
            received=f"a camera turned by {turn:.1f} degrees",
            allowed=f"up to {_LARGEST_TURN_DEG:g} degrees, or that much beside a quarter turn",
            next_step="turn the camera, or scan with mode: sequential",
        )


def rows_of(tiles: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Tiles of the ledger that one movement can take: of one region, row and channel, in the order of x."""
    keys = ("region", "y_um", "channel")

    def key(tile: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(tile[name] for name in keys)

    first: dict[tuple[Any, ...], int] = {}
    for tile in tiles:
        first.setdefault(key(tile), tile["id"])
    ordered = sorted(tiles, key=lambda tile: (first[key(tile)], tile["x_um"]))
    return [list(group) for _, group in groupby(ordered, key=key)]


def is_backwards(row: Sequence[dict[str, Any]], channels: int) -> bool:
    """Whether a row is scanned against x: every second pass is, whether or not those before it are done again.

    Parameters
    ----------
    row
        Tiles of the row; their numbers go on from place to place, and at each place from channel to channel.
    channels
        Of the scan.
    """
    first = min(tile["id"] for tile in row)
    row_number, channel = first // (len(row) * channels), first % channels
    return bool((row_number * channels + channel) % 2)


def is_covered(places_um: Floats, wanted_um: Floats, *, width_um: float, pitch_um: float) -> bool:
    """Whether pictures along a row leave no gap, and begin and end where they should but for an overlap.

    Parameters
    ----------
    places_um
        Middles of the pictures along the row, `(n,)`.
    wanted_um
        Middles of the tiles, `(k,)`.
    width_um, pitch_um
        Width of a picture, and distance of the tiles.

    Examples
    --------
    >>> is_covered(np.array([4.5, 12.0, 22.0]), np.array([5.0, 14.0, 23.0]), width_um=10, pitch_um=9)
    True
    >>> is_covered(np.array([4.5, 15.0, 22.0]), np.array([5.0, 14.0, 23.0]), width_um=10, pitch_um=9)
    False
    """
    places, slack = np.sort(places_um), width_um - pitch_um + _SLACK * width_um
    reached = places[0] <= wanted_um.min() + slack and places[-1] >= wanted_um.max() - slack
    return bool(reached and np.diff(places).max(initial=0.0) <= width_um)


def seconds(plan: Plan, rows: Sequence[int], *, width_um: float, pixel_um: float, move_s: float) -> float:
    """Time for a scan of rows of so many tiles each, in the mode of the plan."""
    total = 0.0
    for channel in plan.scan.channels:
        if plan.scan.mode == "sequential":
            total += sum(rows) * light_of(plan, channel).exposure_ms / 1000
        else:
            motion = motion_of(plan, channel, width_um=width_um, pixel_um=pixel_um)
            total += sum(move_s + motion.seconds(tiles) for tiles in rows)
    return total + (sum(rows) * move_s if plan.scan.mode == "sequential" else 0.0)
