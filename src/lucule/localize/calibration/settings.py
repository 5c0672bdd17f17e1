"""Settings of a PSF calibration."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lucule.core import Config

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PsfSettings(Config):
    """How a stack of beads is read and judged.

    Attributes
    ----------
    step_nm
        Distance of neighbouring planes: how far stage or objective moves.
    direction
        What moves from one frame to the next. `sample-up`: the sample goes away from the objective, so that a bead
        rises over the focal plane and its z grows. `objective-up`: the focal plane rises into the sample, so that the
        bead sinks below it and its z falls; the same for a sample that goes down.
    z_factor
        Distance that the focal plane moves in the sample for one that the stage moves; below 1 where an oil objective
        looks into water.
    frames_per_step
        Frames taken at each height; they are averaged.
    window_nm
        Side of the square that holds the PSF.
    spot_nm
        Size of what counts as one spot in the search for beads: larger for PSFs with lobes, smaller for denser beads;
        None: 120 nm, and larger where that finds nothing that can be used.
    dim_fraction
        Beads with less light than this part of the median are not used.
    photons, background
        For the curve of the Cramer-Rao bound.

    Examples
    --------
    >>> PsfSettings(step_nm=10).sign
    1
    """

    step_nm: Positive
    direction: Literal["sample-up", "objective-up"] = "sample-up"
    z_factor: Annotated[float, Field(gt=0.2, lt=2)] = 1.0
    frames_per_step: Annotated[int, Field(ge=1)] = 1
    window_nm: Annotated[float, Field(ge=700, le=20_000)] = 2500.0
    spot_nm: Positive | None = None
    dim_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    photons: Positive = 5000.0
    background: Annotated[float, Field(ge=0)] = 50.0

    fewest_planes: ClassVar[int] = 10
    shortest_nm: ClassVar[float] = 300.0
    longest_nm: ClassVar[float] = 20_000.0

    @property
    def sign(self) -> int:
        """1 where z of a bead grows with the number of the frame, else -1."""
        return 1 if self.direction == "sample-up" else -1
