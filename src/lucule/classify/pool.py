"""Training data: localizations drawn evenly from simulated fields, or from annotated tables, with true labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from lucule.classify import annotated
from lucule.classify.features import FeatureSettings
from lucule.classify.parts import PARTS, Part, Pool, joined, seen_by
from lucule.classify.recipe import PoolSettings, Recipe
from lucule.core import SILENT, Progress, WorkError
from lucule.core.executor import Executor, executor

if TYPE_CHECKING:
    from lucule.simulate import Scenario

_MOST_FIELDS: Final = 20
# scenarios in a task: few enough that all workers are busy to the end
_PER_TASK: Final = 8
_WAVE: Final = 32


@dataclass(frozen=True, slots=True)
class _Share:
    """What one scenario gives to one part: `count` localizations of each class."""

    scenario: Scenario
    number: int
    count: int
    classes: int
    seen: FeatureSettings
    entropy: tuple[int, int]


def origins(settings: PoolSettings) -> pl.DataFrame:
    """Give a row for each scenario or annotated table of a pool, with its number in `scenario`."""
    if settings.tables:
        rows = pl.DataFrame({"table": [str(path) for path in annotated.files(settings)]})
    else:
        rows = pl.DataFrame([scenario.model_dump(exclude={"cell_radius_um"}) for scenario in listed(settings)])
    return rows.with_row_index("scenario")


def listed(settings: PoolSettings) -> list[Scenario]:
    """Scenarios from which a pool is drawn."""
    from lucule import simulate

    everything = simulate.listed(settings.scenarios, settings.kind, number=settings.largest_number, **settings.changes)
    return [sized(scenario, settings.largest_field) for scenario in everything]


def draw(
    settings: PoolSettings,
    seen: FeatureSettings,
    *,
    part: Part,
    seed: int,
    classes: int = 2,
    processes: Executor | None = None,
    progress: Progress = SILENT,
) -> Pool:
    """Draw one part of the training data.

    Every scenario gives the same number of localizations of each class (to within one); fields are simulated until
    there are enough. No field serves two parts. The work is done by `processes`, without them in this one; the result
    is the same.

    Raises
    ------
    WorkError
        A scenario has too few localizations of a class.
    """
    return draw_from(
        listed(settings), seen, total=getattr(settings, part), entropy=(seed, PARTS.index(part)), classes=classes,
        label=part, processes=processes, progress=progress,
    )  # fmt: skip


def draw_from(
    scenarios: list[Scenario],
    seen: FeatureSettings,
    *,
    total: int,
    entropy: tuple[int, int],
    classes: int = 2,
    label: str = "",
    processes: Executor | None = None,
    progress: Progress = SILENT,
) -> Pool:
    """Draw `total` localizations from `scenarios`, evenly, as `draw` does; `entropy` is the seed."""
    edges = np.linspace(0, total // classes, len(scenarios) + 1).round().astype(int)
    shares = [
        _Share(scenario, number, int(count), classes, seen, entropy)
        for number, (scenario, count) in enumerate(zip(scenarios, np.diff(edges), strict=True))
    ]
    tasks = [shares[first : first + _PER_TASK] for first in range(0, len(shares), _PER_TASK)]
    rows = int(edges[-1]) * classes
    pool = Pool(
        np.empty((rows, seen.width), np.float32), np.empty(rows, np.uint8), np.empty(rows, np.int32), np.empty(rows)
    )
    by = processes or executor(tasks=1)
    with progress.task(f"Simulate {label} fields", len(scenarios), "scenarios") as task:
        # in waves, so that not all results wait in memory for their place in the pool
        for first in range(0, len(tasks), _WAVE):
            pending = {by.submit(_draw_shares, some): some for some in tasks[first : first + _WAVE]}
            for done in by.as_completed(pending):
                some = pending.pop(done)
                start = int(edges[some[0].number]) * classes
                drawn = done.result()
                stop = start + len(drawn.labels)
                pool.features[start:stop] = drawn.features
                pool.labels[start:stop] = drawn.labels
                pool.scenario[start:stop] = drawn.scenario
                pool.density[start:stop] = drawn.density
                task.advance(len(some))
    return pool


def draw_parts(
    recipe: Recipe, parts: tuple[Part, ...], *, workers: int | None = 1, progress: Progress = SILENT
) -> dict[Part, Pool]:
    """Draw several parts of a recipe's training data with `workers` processes; None: one for each core.

    Annotated tables are read here, without other processes.
    """
    if recipe.pool.tables:
        drawn = annotated.draw_parts(recipe, progress=progress)
        return {part: drawn[part] for part in parts}
    tasks = math.ceil(len(listed(recipe.pool)) / _PER_TASK)
    classes = len(recipe.classes)
    with executor(tasks, workers=workers) as processes:
        return {
            part: draw(
                recipe.pool, recipe.features, part=part, seed=recipe.seed, classes=classes, processes=processes,
                progress=progress,
            )
            for part in parts
        }  # fmt: skip


def _draw_shares(shares: list[_Share]) -> Pool:
    return joined([_draw_share(share) for share in shares])


def _draw_share(share: _Share) -> Pool:
    """Localizations of one scenario, from as many fields as it takes."""
    from lucule.simulate import simulate

    classes, seen = range(share.classes), share.seen
    missing = np.full(share.classes, share.count)
    pieces: list[Pool] = []
    for replicate in range(_MOST_FIELDS):
        if not missing.any():
            break
        entropy = np.random.SeedSequence((*share.entropy, share.number, replicate))
        field_seed, choice_seed = (int(word) for word in entropy.generate_state(2))
        locs = simulate(share.scenario, seed=field_seed)
        truth = locs["true_label"]
        # rows of a simulated table are in random order, yet nothing here relies on it
        order = np.random.default_rng(choice_seed).permutation(len(locs))
        rows = np.concatenate([order[truth[order] == label][: missing[label]] for label in classes])
        points = locs.xy() if seen.dims == 2 else locs.xyz()
        values, density = seen_by(points, rows, seen)
        pieces.append(Pool(values, truth[rows], np.full(len(rows), share.number, np.int32), density))
        missing = missing - np.bincount(truth[rows], minlength=share.classes)
    if missing.any():
        raise WorkError(
            "A scenario has too few localizations of a class",
            received=repr(share.scenario),
            allowed=f"{share.count} of each class in {_MOST_FIELDS} fields",
            next_step="ask for fewer localizations, or for larger fields",
        )
    return joined(pieces)


def sized(scenario: Scenario, largest: int | None) -> Scenario:
    """Give the scenario with a cell so small that it holds about `largest` localizations, if it holds more."""
    if largest is None:
        return scenario
    if scenario.outline == "square":
        held = scenario.density_per_um2 * scenario.field_size_um**2
        factor = min(1.0, math.sqrt(largest / held))
        return scenario.replace(field_size_um=scenario.field_size_um * factor)
    smallest, widest = scenario.cell_radius_um
    held = scenario.density_per_um2 * math.pi * ((smallest + widest) / 2) ** 2
    factor = min(1.0, math.sqrt(largest / held))
    return scenario.replace(cell_radius_um=(smallest * factor, widest * factor))
