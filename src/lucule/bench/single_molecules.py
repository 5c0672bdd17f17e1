"""Single molecules that blink, told from clusters: the law in use, the same learned anew, and what both do to scores.

Fields are those of the clusters benchmark with other seeds, two with blinking for one without. The graph network finds
groups; a group is part of a structure if most of its blinks are of a true cluster. A law learned from the fields
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
from lucule.cluster.single_molecules import FEATURES, Law
from lucule.core import Localizations
from lucule.simulate.varied_fields import FAMILIES
from lucule.workflows import clusters as workflow

FIELDS: Final = 12
"""Fields of each family with blinking; half as many without."""
_SERIES: Final = 60_221_407
_KEPT: Final = Law(weights=(0.0,) * len(FEATURES), constant=0.0, company=(100.0, 0.0, 0.0))
"""A law that drops nothing."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Field:
    """Groups that were found in a field, as blinks; which of them are part of a structure, and what the law sees."""

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
    laws = {"none": _KEPT, "in use": single_molecules.LAW, "learned here": learned(all_fields[::2])}
    rows: list[dict[str, Any]] = []
    for name, law in laws.items():
        values = {f"weight of {what}": weight for what, weight in zip(FEATURES, law.weights, strict=True)}
        values |= {"constant": law.constant}
        values |= {
            f"company, {what}": weight for what, weight in zip(("constant", "own", "other"), law.company, strict=True)
        }
        values |= _judged(all_fields[1::2], law)
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
    seen = single_molecules.features(found, np.arange(len(found)))[1] if groups else np.empty((0, len(FEATURES)))
    return _Field(case, found, blink_of, votes > 0, seen)


def learned(fields: list[_Field]) -> Law:
    """The law that tells the groups of these fields apart best.

    Half of the weight is spread over fields and groups alike, half over localizations, by which scores go.
    """
    several = np.concatenate([field.several for field in fields])
    if several.all() or not several.any():  # nothing to tell apart
        return _KEPT
    shares = []
    for field in fields:
        if len(field.several):
            cluster = field.found["cluster"][field.blink_of]
            size = np.bincount(cluster[cluster >= 0])
            shares.append(0.5 / len(size) + 0.5 * size / size.sum())
    share = np.concatenate(shares)
    weights, constant = _fit(np.concatenate([field.seen for field in fields]), several, share)
    alone = [field.seen @ weights + constant for field in fields]
    together = np.concatenate([np.stack([own, single_molecules.company(own)], axis=1) for own in alone])
    (own, other), shift = _fit(together, several, share)
    return Law(tuple(map(float, weights)), constant, (shift, float(own), float(other)))


def _fit(seen: Floats, several: NDArray[np.bool_], share: Floats) -> tuple[Floats, float]:
    """Weights and constant of a logistic law."""
    from sklearn.linear_model import LogisticRegression

    middle, width = seen.mean(axis=0), seen.std(axis=0) + 1e-9
    # a penalty that only keeps the weights finite where the groups can be told apart without a fault
    model = LogisticRegression(C=1000.0, max_iter=1000).fit((seen - middle) / width, several, share)
    weights = model.coef_[0] / width
    return weights, float(model.intercept_[0] - weights @ middle)


def _judged(fields: list[_Field], law: Law) -> dict[str, float]:
    """Fractions of groups that are dropped, and mean scores with and without blinking."""
    dropped: dict[bool, list[NDArray[np.bool_]]] = {True: [], False: []}
    judged: dict[str, list[float]] = {}
    for field in fields:
        chance = single_molecules.chance_of_several(field.found, law=law)
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
        "groups of structures dropped": _part(dropped[True]),
        "other groups dropped": _part(dropped[False]),
        **{what: float(np.mean(values)) for what, values in judged.items()},
    }


def _part(dropped: list[NDArray[np.bool_]]) -> float:
    """Which part of the groups is dropped; not a number where there are none."""
    every = np.concatenate(dropped)
    return float(every.mean()) if len(every) else float("nan")
