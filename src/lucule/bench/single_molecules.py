"""Single molecules that blink, told from clusters: the law in use, the same learned anew, and what both do to scores.

Fields are those of the clusters benchmark with other seeds, two with blinking for one without. The graph network finds
groups; a group is one of several molecules if most of its blinks are of a true cluster. A law learned from the fields
with even numbers and the law in use are applied to those with odd numbers. Scores are means over the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.bench.clusters import Case, draw
from lucule.cluster import scores, single_molecules, without_single_molecules
from lucule.core import Localizations
from lucule.simulate.varied_fields import FAMILIES
from lucule.workflows import clusters as workflow

FIELDS: Final = 12
"""Fields of each family with blinking; half as many without."""
_SERIES: Final = 60_221_407
_KEPT: Final = (0.0, 0.0, 0.0, 100.0)
"""A law that drops nothing."""
_WEIGHTS: Final = ("log spread", "log size", "duration", "constant")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Field:
    """Groups that were found in a field, as blinks; which of them hold several molecules, and what the law sees."""

    case: Case
    found: Localizations
    blink_of: NDArray[np.int32]
    several: NDArray[np.bool_]
    seen: Floats


def run(*, seed: int = 1, fields: int = FIELDS, families: tuple[str, ...] = tuple(FAMILIES)) -> pl.DataFrame:
    """One row for each measurement: what, law, value."""
    all_fields = [
        _found(case)
        for family in families
        for blinking in (True, False)
        for case in draw(family, blinking, fields if blinking else fields // 2, seed, series=_SERIES)
    ]
    learned, share = _learned(all_fields[::2])
    laws = {
        "none": (_KEPT, 0.5),
        "in use": (single_molecules.LAW, single_molecules.SEVERAL),
        "learned here": (learned, share),
    }
    rows: list[dict[str, Any]] = []
    for name, (law, prior) in laws.items():
        values = {f"weight of {what}": weight for what, weight in zip(_WEIGHTS, law, strict=True)}
        values |= {"fraction of groups of several molecules": prior} | _judged(all_fields[1::2], law, prior)
        rows += [{"what": what, "law": name, "value": value} for what, value in values.items()]
    return pl.DataFrame(rows, schema={"what": pl.String, "law": pl.String, "value": pl.Float64})


def _found(case: Case) -> _Field:
    blinks, blink_of = workflow.as_blinks(case.locs)
    found = workflow.find(blinks, workflow.Settings(link_blinks=False, drop_single_molecules=False), device="cpu")
    blink_of = np.arange(len(blinks), dtype=np.int32) if blink_of is None else blink_of
    true = np.empty(len(blinks), bool)
    true[blink_of] = case.field.cluster >= 0
    cluster = found["cluster"]
    groups = int(cluster.max(initial=-1)) + 1
    votes = np.bincount(cluster[cluster >= 0], weights=true[cluster >= 0] - 0.5, minlength=groups)
    seen = np.empty((0, 3))
    if groups:
        _, spread, size, duration = single_molecules.features(found, np.arange(len(found)))
        seen = np.stack([*single_molecules.logarithms(spread, size), duration], axis=1)
    return _Field(case, found, blink_of, votes > 0, seen)


def _learned(fields: list[_Field]) -> tuple[tuple[float, float, float, float], float]:
    from sklearn.linear_model import LogisticRegression

    several = np.concatenate([field.several for field in fields])
    if several.all() or not several.any():  # nothing to tell apart
        return _KEPT, 0.5
    # all but no penalty: there are thousands of groups for four numbers
    model = LogisticRegression(C=1e6, max_iter=1000).fit(np.concatenate([field.seen for field in fields]), several)
    one, two, three = (float(weight) for weight in model.coef_[0])
    return (one, two, three, float(model.intercept_[0])), float(several.mean())


def _judged(fields: list[_Field], law: tuple[float, float, float, float], share: float) -> dict[str, float]:
    """Fractions of groups that are dropped, and mean scores with and without blinking."""
    dropped: dict[bool, list[NDArray[np.bool_]]] = {True: [], False: []}
    judged: dict[str, list[float]] = {}
    for field in fields:
        chance = single_molecules.chance_of_several(field.found, law=law, share=share)
        for several in (True, False):
            dropped[several].append(chance[field.several == several] < single_molecules.LEAST_CHANCE)
        told = without_single_molecules(field.found, chance=chance)
        truth, cluster = field.case.field.cluster, told["cluster"][field.blink_of]
        where = "with blinking" if field.case.blinking else "without blinking"
        judged.setdefault(f"adjusted Rand index, {where}", []).append(scores.rand_index(truth, cluster))
        if (truth >= 0).any():
            judged.setdefault(f"count error, {where}", []).append(abs(scores.count_error(truth, cluster)))
        else:
            judged.setdefault(f"random field put into clusters, {where}", []).append(float((cluster >= 0).mean()))
    return {
        "groups of several molecules dropped": float(np.concatenate(dropped[True]).mean()),
        "other groups dropped": float(np.concatenate(dropped[False]).mean()),
        **{what: float(np.mean(values)) for what, values in judged.items()},
    }
