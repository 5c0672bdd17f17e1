"""Parameters that may differ from one structure to the next."""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_serializer, model_validator

from lucule.core import Config

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Varied(Config):
    """A number, a range or a list of values from which every structure draws its own.

    In YAML: `120` (always this), `[120, 128]` (uniform between), `{choices: [5, 6]}` (one of these, equally likely) or
    `{mean: 190, sd: 5}` (normal, never beyond 4 standard deviations).

    Examples
    --------
    >>> Varied.model_validate([120, 128]).draw(np.random.default_rng(1), 3).round(1).tolist()
    [124.1, 127.6, 121.2]
    """

    low: Finite | None = None
    high: Finite | None = None
    choices: tuple[Finite, ...] = ()
    mean: Finite | None = None
    sd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"low": value, "high": value}
        if isinstance(value, list | tuple) and len(value) == 2:
            return {"low": value[0], "high": value[1]}
        if isinstance(value, dict | Varied):
            return value
        raise ValueError("a number, [low, high], {choices: [...]} or {mean: ..., sd: ...}")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        bounded = self.low is not None and self.high is not None
        if bounded + bool(self.choices) + (self.mean is not None) != 1:
            raise ValueError("a number, [low, high], {choices: [...]} or {mean: ..., sd: ...}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("the lower value first, then the higher one")
        return self

    @model_serializer
    def _written(self) -> Any:
        if self.choices:
            return {"choices": list(self.choices)}
        if self.mean is not None:
            return {"mean": self.mean, "sd": self.sd}
        return self.low if self.low == self.high else [self.low, self.high]

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest value that can be drawn."""
        if self.choices:
            return min(self.choices), max(self.choices)
        if self.mean is not None:
            return self.mean - 4 * self.sd, self.mean + 4 * self.sd
        return self.low or 0.0, self.high or 0.0

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw `n` values."""
        if self.choices:
            return rng.choice(np.asarray(self.choices), n)
        if self.mean is not None:
            return self.mean + self.sd * rng.normal(size=n).clip(-4.0, 4.0)
        low, high = self.limits
        return rng.uniform(low, high, n)

    def one(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return float(self.draw(rng, 1)[0])

    def counts(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Draw `n` whole numbers; fractions are rounded up or down at random so that the mean is kept."""
        values = self.draw(rng, n)
        whole = np.floor(values)
        return (whole + (rng.random(n) < values - whole)).astype(np.int64)

    def __str__(self) -> str:
        return str(self._written())


def constant(value: float) -> Varied:
    """A parameter that does not vary."""
    return Varied(low=value, high=value)


def _positive(value: Varied) -> Varied:
    if value.limits[0] <= 0:
        raise ValueError("must be greater than 0 (normal values: mean - 4 sd)")
    return value


def _not_negative(value: Varied) -> Varied:
    if value.limits[0] < 0:
        raise ValueError("must not be negative (normal values: mean - 4 sd)")
    return value


PositiveVaried = Annotated[Varied, AfterValidator(_positive)]
NotNegativeVaried = Annotated[Varied, AfterValidator(_not_negative)]
