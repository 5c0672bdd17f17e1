"""Drift and vibration: how far the sample has moved in each frame."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config, InputError
from lucule.simulate import streams

Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Axes: TypeAlias = tuple[Finite, Finite, Finite]
NotNegativeAxes: TypeAlias = tuple[NotNegative, NotNegative, NotNegative]


class Motion(Config):
    """Drift and vibration of the sample; all triples are (x, y, z).

    Attributes
    ----------
    linear_nm_per_min
        Steady drift.
    settling_nm, settling_time_s
        Drift that dies out, for example after the sample was put on the stage: its whole way, and its time constant.
    walk_nm_per_sqrt_min
        Random walk: standard deviation after one minute.
    vibration_nm, vibration_hz
        Amplitude and frequency of a sine, averaged over the exposure; its phase is random.
    jitter_nm
        Independent movement from frame to frame, standard deviation.

    Examples
    --------
    >>> Motion(linear_nm_per_min=(60, 0, -30)).displacement(3, frame_time_s=1.0, seed=1).tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, -0.5], [2.0, 0.0, -1.0]]
    """

    linear_nm_per_min: Axes = (0.0, 0.0, 0.0)
    settling_nm: Axes = (0.0, 0.0, 0.0)
    settling_time_s: Annotated[float, Field(gt=0)] = 300.0
    walk_nm_per_sqrt_min: NotNegativeAxes = (0.0, 0.0, 0.0)
    vibration_nm: NotNegativeAxes = (0.0, 0.0, 0.0)
    vibration_hz: Annotated[float, Field(gt=0)] = 30.0
    jitter_nm: NotNegativeAxes = (0.0, 0.0, 0.0)

    def displacement(
        self, frames: int, *, frame_time_s: float, exposure_s: float | None = None, seed: int = 0
    ) -> NDArray[np.float64]:
        """Displacement of the sample in every frame, `(frames, 3)` in nm; drift is 0 in the first.

        A longer movie with the same seed begins with the same displacements.

        Parameters
        ----------
        frames
            Number of frames.
        frame_time_s, exposure_s
            Time from frame to frame, and open shutter; None: all of the frame.
        seed
            Seed of walk, jitter and phase.

        Raises
        ------
        InputError
            A number is not above 0, or the exposure is longer than the frame.
        """
        exposure = frame_time_s if exposure_s is None else exposure_s
        if frames < 1 or not 0 < exposure <= frame_time_s:
            raise InputError(
                "Times of the movie cannot be used",
                received=f"{frames} frames, {frame_time_s:g} s per frame, {exposure:g} s exposure",
                allowed="1 frame or more, exposure above 0 and not longer than the frame",
            )
        time = np.arange(frames)[:, None] * frame_time_s
        moved: NDArray[np.float64] = np.array(self.linear_nm_per_min) * time / 60
        moved = moved - np.array(self.settling_nm) * np.expm1(-time / self.settling_time_s)
        for axis, name in enumerate("xyz"):
            steps = streams.stream(seed, "motion", "walk", name).standard_normal(frames)
            steps[0] = 0.0
            moved[:, axis] += self.walk_nm_per_sqrt_min[axis] * np.sqrt(frame_time_s / 60) * np.cumsum(steps)
            jitter = streams.stream(seed, "motion", "jitter", name).standard_normal(frames)
            moved[:, axis] += self.jitter_nm[axis] * jitter
            phase = streams.stream(seed, "motion", "vibration", name).uniform(0, 2 * np.pi)
            seen = np.sinc(self.vibration_hz * exposure)  # what the exposure does not average out
            turn = 2 * np.pi * self.vibration_hz * (time[:, 0] + exposure / 2) + phase
            moved[:, axis] += self.vibration_nm[axis] * seen * np.sin(turn)
        return moved
