"""Dyes as continuous-time Markov chains.

A dye is described by what one measures (`Switching`: ON and OFF times; `Paint`: binding; `Activated`: PALM) or state by
state (`Markov`); every description becomes one chain.
"""

from __future__ import annotations

import itertools
import os
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from lucule.core import ColumnError, Config, InputError
from lucule.core.config import read_yaml
from lucule.simulate import kinetics
from lucule.simulate.kinetics import Chain

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]

_PRESETS: Final = resources.files("lucule.simulate") / "dyes"


class Steady(Config):
    """Photons at a constant rate while ON: exponential ON times give exponential photon numbers.

    Attributes
    ----------
    photons_per_s
        Detected photons per s at reference illumination.
    event_cv, molecule_cv
        Coefficient of variation of a lognormal factor (mean 1), new for each event and for each molecule.
    """

    kind: Literal["rate"] = "rate"
    photons_per_s: Positive
    event_cv: NotNegative = 0.0
    molecule_cv: NotNegative = 0.0


class Lognormal(Config):
    """Photons per ON period are lognormal, whatever its duration.

    Attributes
    ----------
    mean_photons
        Mean number of detected photons per ON period.
    event_cv
        Standard deviation over mean.
    molecule_cv
        The same between molecules.
    """

    kind: Literal["lognormal"]
    mean_photons: Positive
    event_cv: NotNegative
    molecule_cv: NotNegative = 0.0


class Measured(Config):
    """Photons per ON period are drawn from measured values.

    Attributes
    ----------
    values
        Measured numbers of detected photons; between sorted neighbours any value is possible.
    file
        A CSV file with a column `photons`, instead of `values`.
    """

    kind: Literal["measured"]
    values: tuple[NotNegative, ...] = ()
    file: Path | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.values) == (self.file is not None):
            raise ValueError("either values or file")
        return self

    def sorted(self) -> NDArray[np.float64]:
        """The measured numbers in ascending order.

        Raises
        ------
        InputError
            The file cannot be read or holds no usable photon numbers.
        """
        if self.file is None:
            return np.sort(np.asarray(self.values, dtype=np.float64))
        values = _csv(self.file, "photons")
        if not len(values) or not np.isfinite(values).all() or (values < 0).any():
            raise ColumnError(f"Column photons of {self.file} must hold finite numbers from 0 in at least one row")
        return np.sort(values)


Brightness = Annotated[Steady | Lognormal | Measured, Field(discriminator="kind")]


def _csv(path: Path, column: str) -> NDArray[np.float64]:
    try:
        table = pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"Cannot read {path}: {error}") from None
    if column not in table.columns:
        raise ColumnError(f"{path} has no column {column}", received=f"columns {', '.join(table.columns)}")
    if not table[column].dtype.is_numeric():
        raise ColumnError(f"Column {column} of {path} must hold numbers", received=str(table[column].dtype))
    return table[column].cast(pl.Float64).to_numpy()


def _ascending(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    times = [t for t, _ in points]
    if not points or times != sorted(times):
        raise ValueError("at least one (time in s, factor), times in ascending order")
    return points


Schedule = Annotated[tuple[tuple[NotNegative, NotNegative], ...], AfterValidator(_ascending)]
"""(time in s, factor) pairs: linear in between, constant outside; two factors at the same time are a jump."""


class Rate(Config):
    """One transition of a Markov chain.

    Attributes
    ----------
    start, end
        States.
    per_s
        Rate, 1/s, while the schedule is at 1.
    schedule
        Name of the schedule (a laser, say) that the rate is proportional to; None for a constant rate.
    """

    start: str
    end: str
    per_s: NotNegative
    schedule: str | None = None


class DyeBase(Config):
    """What all dyes have in common.

    Attributes
    ----------
    name, source
        The dye, and where its numbers come from.
    emission_nm
        Wavelength of the emission maximum, nm.
    photons
        Photons per ON period.
    schedules
        Time courses of lasers by name, relative to the power at which the rates hold; see `Schedule`. They scale rates
        only: photons stay those at reference illumination, and the optics scale them.
    """

    name: str = ""
    source: str = ""
    emission_nm: Positive | None = None
    photons: Brightness
    schedules: dict[str, Schedule] = {}

    def _markov(self, brightness: dict[str, float], initial: dict[str, float], rates: list[Rate]) -> Markov:
        known = self.model_dump(include={"name", "source", "emission_nm", "photons", "schedules"})
        kept = [rate for rate in rates if rate.per_s > 0]
        return Markov.parse(
            known | {"kind": "markov", "brightness": brightness, "initial": initial, "rates": kept}, source=self.name
        )


class Markov(DyeBase):
    """A dye state by state.

    Attributes
    ----------
    brightness
        Every state with its relative emission; 0 is dark. Each stay in a bright state is one event.
    initial
        Probability of each state at the start, or `equilibrium`: the long-run distribution over the states that can be
        left and reached again (bleaching left out).
    rates
        Transitions.
    """

    kind: Literal["markov"]
    brightness: dict[str, NotNegative]
    initial: dict[str, Fraction] | Literal["equilibrium"]
    rates: tuple[Rate, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        states = set(self.brightness)
        for rate in self.rates:
            if unknown := {rate.start, rate.end} - states:
                raise ValueError(f"unknown state {', '.join(sorted(unknown))}; states are {', '.join(self.brightness)}")
            if rate.start == rate.end:
                raise ValueError(f"a transition from {rate.start} to itself")
            if rate.schedule is not None and rate.schedule not in self.schedules and rate.schedule not in LASERS:
                raise ValueError(f"unknown schedule {rate.schedule}; known are {', '.join((*LASERS, *self.schedules))}")
        pairs = [(rate.start, rate.end) for rate in self.rates]
        if len(set(pairs)) < len(pairs):
            raise ValueError("two rates for the same transition")
        if isinstance(self.initial, dict):
            if unknown := set(self.initial) - states:
                raise ValueError(f"unknown state {', '.join(sorted(unknown))}; states are {', '.join(self.brightness)}")
            if abs(sum(self.initial.values()) - 1) > 1e-9:
                raise ValueError(f"initial probabilities sum to {sum(self.initial.values()):g}, not to 1")
        return self

    def markov(self) -> Markov:
        """Give the chain, which this already is."""
        return self

    def compiled(self) -> Chain:
        """The chain as arrays for the kernels."""
        names = list(self.brightness)
        lasers = sorted({rate.schedule for rate in self.rates if rate.schedule is not None})
        times = {t for laser in lasers for t, _ in self.schedules.get(laser, ())}
        # a jump needs its time twice, as left and right limit
        doubled = {t for laser in lasers for t in _jumps(self.schedules.get(laser, ()))}
        knots = np.sort(np.array([0.0, *(times - {0.0}), *doubled]))
        factors = np.ones((len(lasers) + 1, len(knots)))
        for row, laser in enumerate(lasers, start=1):
            if laser in self.schedules:
                factors[row] = _at_knots(self.schedules[laser], knots)
        rates, schedule = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)), np.int64)
        for rate in self.rates:
            place = names.index(rate.start), names.index(rate.end)
            rates[place] = rate.per_s
            schedule[place] = 0 if rate.schedule is None else lasers.index(rate.schedule) + 1
        hazard = np.einsum("ij,ijk->ik", rates, factors[schedule])
        steps = np.diff(knots) * (hazard[:, 1:] + hazard[:, :-1]) / 2
        cumulative = np.concatenate([np.zeros((len(names), 1)), steps.cumsum(axis=1)], axis=1)
        if isinstance(self.initial, dict):
            first = np.array([self.initial.get(name, 0.0) for name in names])
        else:
            first = _equilibrium(rates * factors[schedule][:, :, 0])
        model = {"rate": kinetics.RATE, "lognormal": kinetics.LOGNORMAL, "measured": kinetics.MEASURED}
        emission = self.photons
        return Chain(
            np.array(list(self.brightness.values()), dtype=np.float64),
            np.minimum(first.cumsum() / first.sum(), 1.0),
            rates,
            schedule,
            knots,
            factors,
            hazard,
            cumulative,
            model[emission.kind],
            emission.photons_per_s if isinstance(emission, Steady) else getattr(emission, "mean_photons", 0.0),
            _sigma(getattr(emission, "event_cv", 0.0)),
            _sigma(getattr(emission, "molecule_cv", 0.0)),
            emission.sorted() if isinstance(emission, Measured) else np.empty(0),
        )


LASERS: Final = ("activation", "readout")
"""Schedules that every dye knows; 1 throughout where the dye does not say otherwise."""


class Switching(DyeBase):
    """A dye that switches on and off many times (dSTORM).

    Attributes
    ----------
    on_time_s, off_time_s
        Mean duration of an ON period and of an OFF period, s.
    bleach_time_s
        Mean time until bleaching, the same in every state, s (the bleaching constant of TestSTORM); None for no
        bleaching in time.
    cycles
        Mean number of ON periods before bleaching; None for no bleaching by switching.
    dark_fraction, dark_time_s
        Fraction of the ends of ON periods that lead to a short-lived dark state, and its mean duration, s.
    initial
        State at the start.
    """

    kind: Literal["switching"]
    on_time_s: Positive
    off_time_s: Positive
    bleach_time_s: Positive | None = None
    cycles: Annotated[float, Field(ge=1)] | None = None
    dark_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dark_time_s: Positive = 0.1
    initial: Literal["off", "on", "equilibrium"] = "off"

    def markov(self) -> Markov:
        """The dye state by state; activation light scales OFF -> ON, readout light all ways out of ON."""
        by_switching = 0.0 if self.cycles is None else 1 / self.cycles
        by_time = 0.0 if self.bleach_time_s is None else 1 / self.bleach_time_s
        leave = 1 / self.on_time_s
        rates = [
            Rate(start="off", end="on", per_s=1 / self.off_time_s, schedule="activation"),
            Rate(
                start="on", end="off", per_s=leave * (1 - by_switching) * (1 - self.dark_fraction), schedule="readout"
            ),
            Rate(start="on", end="dark", per_s=leave * (1 - by_switching) * self.dark_fraction, schedule="readout"),
            Rate(start="on", end="bleached", per_s=leave * by_switching + by_time, schedule="readout"),
            Rate(start="dark", end="on", per_s=1 / self.dark_time_s),
            Rate(start="dark", end="bleached", per_s=by_time),
            Rate(start="off", end="bleached", per_s=by_time),
        ]
        states = {"off": 0.0, "on": 1.0, "dark": 0.0, "bleached": 0.0}
        if self.dark_fraction == 0:
            rates = [rate for rate in rates if "dark" not in (rate.start, rate.end)]
            del states["dark"]
        chain = self._markov(states, {self.initial: 1.0} if self.initial != "equilibrium" else {"off": 1.0}, rates)
        return chain if self.initial != "equilibrium" else chain.replace(initial="equilibrium")


class Paint(DyeBase):
    """A docking site that imagers bind and leave (DNA-PAINT).

    Attributes
    ----------
    on_rate_per_M_s
        Association rate constant, 1/(M s).
    concentration_nM
        Imager concentration, nM.
    bright_time_s
        Mean binding time, s.
    bleach_time_s
        Mean time until a bound imager bleaches, s; the site is free again when it leaves.
    site_loss
        Probability that the site is destroyed by one binding.
    """

    kind: Literal["paint"]
    on_rate_per_M_s: Positive
    concentration_nM: Positive
    bright_time_s: Positive
    bleach_time_s: Positive | None = None
    site_loss: Fraction = 0.0

    @property
    def dark_time_s(self) -> float:
        """Mean time between bindings, s."""
        return 1e9 / (self.on_rate_per_M_s * self.concentration_nM)

    def markov(self) -> Markov:
        """The site state by state, from equilibrium."""
        leave, bleach = 1 / self.bright_time_s, 0.0 if self.bleach_time_s is None else 1 / self.bleach_time_s
        rates = [
            Rate(start="free", end="bound", per_s=1 / self.dark_time_s),
            Rate(start="bound", end="free", per_s=leave * (1 - self.site_loss)),
            Rate(start="bound", end="lost", per_s=leave * self.site_loss),
            Rate(start="bound", end="bound_bleached", per_s=bleach, schedule="readout"),
            Rate(start="bound_bleached", end="free", per_s=leave),
        ]
        states = {"free": 0.0, "bound": 1.0, "bound_bleached": 0.0, "lost": 0.0}
        return self._markov(states, {"free": 1.0}, rates).replace(initial="equilibrium")


class Activated(DyeBase):
    """A photoactivatable protein: activated once, blinks a few times, bleaches (PALM).

    Attributes
    ----------
    activation_per_s
        Activation rate of a molecule at schedule factor 1, 1/s; scaled by the schedule `activation`.
    efficiency
        Fraction of the molecules that can be activated at all.
    on_time_s
        Mean duration of an ON period, s.
    blinks
        Mean number of times that an activated molecule goes dark and comes back before it bleaches; 0 for one shot.
    dark_time_s
        Mean duration of a dark period between two blinks, s.
    """

    kind: Literal["activated"]
    activation_per_s: Positive
    efficiency: Fraction = 1.0
    on_time_s: Positive
    blinks: NotNegative = 0.0
    dark_time_s: Positive = 0.1

    def markov(self) -> Markov:
        """The protein state by state."""
        leave, back = 1 / self.on_time_s, self.blinks / (1 + self.blinks)
        rates = [
            Rate(start="inactive", end="on", per_s=self.activation_per_s, schedule="activation"),
            Rate(start="on", end="dark", per_s=leave * back, schedule="readout"),
            Rate(start="on", end="bleached", per_s=leave * (1 - back), schedule="readout"),
            Rate(start="dark", end="on", per_s=1 / self.dark_time_s),
        ]
        states = {"inactive": 0.0, "on": 1.0, "dark": 0.0, "bleached": 0.0}
        return self._markov(states, {"inactive": self.efficiency, "bleached": 1 - self.efficiency}, rates)


class AlwaysOn(DyeBase):
    """A dye that neither blinks nor bleaches (beads, and tests of optics)."""

    kind: Literal["always_on"]

    def markov(self) -> Markov:
        """One bright state."""
        return self._markov({"on": 1.0}, {"on": 1.0}, [])


def _preset(value: Any) -> Any:
    return _read_preset(value) if isinstance(value, str) else value


def _read_preset(name: str) -> dict[str, Any]:
    if name not in dyes():
        raise ValueError(f"there is no dye {name}; packaged are {', '.join(dyes())}")
    with resources.as_file(_PRESETS / f"{name}.yaml") as path:
        return read_yaml(path)


Dye = Annotated[
    Annotated[Markov | Switching | Paint | Activated | AlwaysOn, Field(discriminator="kind")], BeforeValidator(_preset)
]
"""Any dye: its settings, or the name of a packaged one."""


def dyes() -> list[str]:
    """Names of the packaged dyes.

    Examples
    --------
    >>> "af647" in dyes()
    True
    """
    return sorted(file.name.removesuffix(".yaml") for file in _PRESETS.iterdir() if file.name.endswith(".yaml"))


def load_dye(dye: str | os.PathLike[str] | dict[str, Any], **changes: Any) -> Any:
    """Give a dye by the name of a packaged one, from a YAML file or from settings, with some values changed.

    Raises
    ------
    InputError
        There is no such dye, or a value is not allowed.

    Examples
    --------
    >>> load_dye("af647", off_time_s=20).off_time_s
    20.0
    """
    if isinstance(dye, dict):
        values = dye
    elif str(dye) in dyes():
        values = _read_preset(str(dye))
    elif str(dye).endswith((".yaml", ".yml")):
        values = read_yaml(dye)
    else:
        raise InputError("There is no such dye", received=str(dye), allowed=", ".join(dyes()))
    try:
        return TypeAdapter(Dye).validate_python(values | changes)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'][1:])) or 'dye'}: {e['msg']}" for e in error.errors())
        raise InputError("The dye cannot be used", received=wrong) from None


def _sigma(cv: float) -> float:
    """Width of the logarithm of a lognormal number with this coefficient of variation."""
    return float(np.sqrt(np.log1p(cv * cv)))


def _jumps(points: tuple[tuple[float, float], ...]) -> list[float]:
    return [b[0] for a, b in itertools.pairwise(points) if a[0] == b[0]]


def _at_knots(points: tuple[tuple[float, float], ...], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """A schedule at the knots; where a knot stands twice, first its left limit, then its right one."""
    times, values = np.array(points).T
    # np.interp gives the last of several values at one time, hence the left limit comes from the mirrored schedule
    right = np.interp(knots, times, values)
    left = np.interp(-knots, -times[::-1], values[::-1])
    first_of_two = np.append(knots[1:] == knots[:-1], False)
    at_knots: NDArray[np.float64] = np.where(first_of_two, left, right)
    return at_knots


def _equilibrium(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Long-run distribution of a chain over its states that are left and reached again."""
    closed = rates.copy()
    absorbing = rates.sum(axis=1) == 0
    closed[:, absorbing] = 0.0
    generator = closed - np.diag(closed.sum(axis=1))
    n = len(rates)
    if absorbing.all():
        raise InputError("The dye has no equilibrium", received="no state that is ever left")
    system = np.vstack([generator.T, np.ones(n), np.eye(n)[absorbing]])
    goal = np.concatenate([np.zeros(n), [1.0], np.zeros(int(absorbing.sum()))])
    solution = np.linalg.lstsq(system, goal, rcond=None)[0].clip(0.0)
    shares: NDArray[np.float64] = solution / solution.sum()
    return shares
