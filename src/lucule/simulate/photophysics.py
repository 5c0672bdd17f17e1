"""Photophysics: when molecules are ON, and what camera frames collect of it. Times are exact, in no steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.simulate import kinetics
from lucule.simulate.chain import Dyes, Emitters, Events
from lucule.simulate.dye import load_dye
from lucule.simulate.kinetics import Chain
from lucule.simulate.streams import key


def blink(
    dyes: Dyes | int, dye: Any, *, duration_s: float, seed: int, first_molecule: int = 0, start_s: float = 0.0
) -> Events:
    """Draw the ON periods of molecules.

    Parameters
    ----------
    dyes
        Molecules, or just their number.
    dye
        Photophysics (`Switching`, `Paint`, `Activated`, `Markov`, `AlwaysOn`) or the name of a packaged dye.
    duration_s
        Length of the acquisition, s; events that last longer are cut off at its end.
    seed
        Any whole number from 0. What a molecule does depends on the seed and its id only.
    first_molecule
        Id of the first molecule: pieces of a sample can be drawn one by one and put together.
    start_s
        Time at which the initial state holds, s.

    Raises
    ------
    InputError
        The duration is not positive, or a bright state is never left although photons are given per ON period.

    Examples
    --------
    >>> events = blink(1000, "af647", duration_s=100.0, seed=1)
    >>> bool((events["end_s"] > events["start_s"]).all())
    True
    """
    if not (np.isfinite(duration_s) and duration_s > 0):
        raise InputError("The duration must be positive", received=duration_s, allowed="more than 0 s")
    description = load_dye(dye) if isinstance(dye, str | dict) else dye
    chain = description.markov().compiled()
    _check_photons(chain)
    n = dyes if isinstance(dyes, int) else len(dyes)
    if n + first_molecule >= 2**31:
        raise InputError("Too many molecules", received=n, allowed=f"up to {2**31 - 1}")
    stream = key(seed, "photophysics")
    stop = start_s + duration_s
    counts = kinetics.count_events(stream, first_molecule, n, chain, float(start_s), float(stop))
    offsets = np.concatenate([[0], counts.cumsum()])
    columns = kinetics.fill_events(stream, first_molecule, offsets, chain, float(start_s), float(stop))
    return Events(pl.DataFrame(dict(zip(Events.required, columns, strict=True))))


def collect(
    events: Events,
    dyes: Dyes,
    *,
    frames: int,
    interval_s: float,
    exposure_s: float | None = None,
    first_frame: int = 0,
) -> Emitters:
    """Integrate events over the exposures of camera frames: each frame gets exactly its share of an ON period.

    Parameters
    ----------
    events, dyes
        As from `blink` and `label`; `molecule` refers to the rows of `dyes`.
    frames
        Number of frames.
    interval_s
        Time from the start of one exposure to the start of the next, s.
    exposure_s
        Exposure, s; by default the whole interval, so that no photon is lost.
    first_frame
        Number of the first frame; an acquisition can be cut into blocks of frames.

    Raises
    ------
    InputError
        Frames, interval or exposure are not positive, or the exposure is longer than the interval.

    Examples
    --------
    >>> dye = Dyes(pl.DataFrame({"x": [0.0], "y": [0.0], "z": [0.0], "epitope": [0], "structure": [0], "label": [1]}))
    >>> events = Events(pl.DataFrame({"molecule": [0], "start_s": [0.05], "end_s": [0.25], "photons": [200.0]}))
    >>> collect(events, dye, frames=3, interval_s=0.1)["photons"].round(6).tolist()
    [50.0, 100.0, 50.0]
    """
    exposure = interval_s if exposure_s is None else exposure_s
    if frames < 1 or first_frame < 0 or not (0 < exposure <= interval_s and np.isfinite(interval_s)):
        raise InputError(
            "Frames cannot be exposed like this",
            received=f"{frames} frames every {interval_s:g} s, exposed for {exposure:g} s",
            allowed="at least 1 frame; 0 < exposure <= interval, s",
        )
    starts, ends, photons = (np.ascontiguousarray(events[name]) for name in ("start_s", "end_s", "photons"))
    window = float(interval_s), float(exposure), int(first_frame), int(first_frame + frames)
    counts = kinetics.count_frames(starts, ends, *window)
    offsets = np.concatenate([[0], counts.cumsum()])
    frame, event, amount = kinetics.expose_events(offsets, starts, ends, photons, *window)
    order = kinetics.order_by_frame(frame, window[2], window[3])
    event = event[order]
    molecule = events["molecule"][event]
    columns = {"frame": frame[order]} | {axis: dyes[axis][molecule] for axis in "xyz"}
    return Emitters(pl.DataFrame(columns | {"photons": amount[order], "event": event, "molecule": molecule}))


class Blinking:
    """Molecules that remember their state between calls, for a microscope whose lasers change as it goes.

    Examples
    --------
    >>> molecules = Blinking(1000, "af647", seed=1)
    >>> photons = molecules.advance(0.05, readout=1.0, activation=0.0)
    >>> photons.shape
    (1000,)
    """

    def __init__(self, molecules: int, dye: Any, *, seed: int, first_molecule: int = 0) -> None:
        description = load_dye(dye) if isinstance(dye, str | dict) else dye
        markov = description.markov()
        self._chain = markov.compiled()
        if self._chain.photon_model != kinetics.RATE:
            raise InputError(
                "On-demand blinking needs photons at a rate",
                received=f"photons of kind {markov.photons.kind}",
                allowed="photons: {kind: rate, photons_per_s: ...}",
            )
        self._lasers = sorted({rate.schedule for rate in markov.rates if rate.schedule is not None})
        self._states = list(markov.brightness)
        self._state, self._random, self._own, self._remaining = kinetics.begin(
            key(seed, "photophysics"), first_molecule, molecules, self._chain
        )

    def advance(self, duration_s: float, *, readout: float = 1.0, **powers: float) -> NDArray[np.float64]:
        """Let time pass with lasers at these powers (1 = reference); detected photons of each molecule, `(n,)`."""
        if not duration_s >= 0 or readout < 0 or any(power < 0 for power in powers.values()):
            raise InputError("Time and laser powers must not be negative", received=(duration_s, readout, powers))
        known = {"readout": readout, **powers}
        factors = np.array([1.0, *(known.get(laser, 1.0) for laser in self._lasers)])
        chain = self._chain
        rates = chain.rates * factors[chain.schedule]
        on_s = kinetics.advance(self._state, self._random, self._remaining, chain.brightness, rates, float(duration_s))
        photons: NDArray[np.float64] = on_s * self._own * (self._chain.photons * readout)
        return photons

    def fractions(self) -> dict[str, float]:
        """Fraction of the molecules that are in each state now."""
        counts = np.bincount(self._state, minlength=len(self._states))
        return {name: float(count) / max(len(self._state), 1) for name, count in zip(self._states, counts, strict=True)}


def _check_photons(chain: Chain) -> None:
    endless = (chain.brightness > 0) & (chain.hazard[:, -1] == 0)
    if chain.photon_model != kinetics.RATE and endless.any():
        raise InputError(
            "Photons per ON period need ON periods that end",
            received="a bright state that is never left",
            allowed="photons: {kind: rate, photons_per_s: ...}",
        )
