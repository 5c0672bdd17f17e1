"""Training data: localizations drawn evenly from simulated fields, as features and true labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lucule.classify.features import FeatureSettings, features
from lucule.classify.predict import local_density
from lucule.classify.recipe import PoolSettings
from lucule.core import SILENT, Progress, WorkError
from lucule.simulate import Scenario, scenarios, simulate
from lucule.space import NeighbourGrid

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
_MOST_FIELDS: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Features `(n, k)`, true labels `(n,)`, row of the scenario list `(n,)`, local density `(n,)` per um2 or um3."""

    features: NDArray[np.float32]
    labels: NDArray[np.uint8]
    scenario: NDArray[np.int32]
    density: NDArray[np.float64]

    @property
    def sha256(self) -> str:
        """Hash of features and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.features).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def listed(settings: PoolSettings) -> list[Scenario]:
    """Scenarios from which a pool is drawn."""
    table, number = scenarios(settings.scenarios), settings.largest_number
    if number is not None and number < len(table):
        # evenly over the density ratio, which decides most about how difficult a scenario is
        table = table.sort("density_ratio")[np.linspace(0, len(table) - 1, number).round().astype(int)]
    rows = table.select("density_per_um2", "points_per_cluster", "fraction_clustered", "radius_nm").to_dicts()
    return [Scenario.parse(row | settings.changes, source="scenarios of the recipe") for row in rows]


def draw(settings: PoolSettings, seen: FeatureSettings, *, part: Part, seed: int, progress: Progress = SILENT) -> Pool:
    """Draw one part of the training data.

    Every scenario gives the same number of localizations (to within one), half of them clustered; fields are simulated
    until there are enough. No field serves two parts.

    Raises
    ------
    WorkError
        A scenario has too few localizations of a class.
    """
    everything = listed(settings)
    total = getattr(settings, part)
    shares = np.diff(np.linspace(0, total // 2, len(everything) + 1).round().astype(int))
    pieces: list[tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int32]]] = []
    with progress.task(f"simulate {part} fields", len(everything), "scenarios") as task:
        for number, (scenario, share) in enumerate(zip(everything, shares, strict=True)):
            missing = np.array([share, share])
            for replicate in range(_MOST_FIELDS):
                if not missing.any():
                    break
                entropy = np.random.SeedSequence((seed, PARTS.index(part), number, replicate))
                field_seed, choice_seed = (int(word) for word in entropy.generate_state(2))
                locs = simulate(scenario, seed=field_seed)
                truth = locs["true_label"]
                # rows of a simulated table are in random order, yet nothing here relies on it
                order = np.random.default_rng(choice_seed).permutation(len(locs))
                rows = np.concatenate([order[truth[order] == label][: missing[label]] for label in (0, 1)])
                points = locs.xy() if seen.dims == 2 else locs.xyz()
                pieces.append(
                    (NeighbourGrid(points).distances(seen.k, rows), truth[rows], np.full(len(rows), number, np.int32))
                )
                missing = missing - np.bincount(truth[rows], minlength=2)
            if missing.any():
                raise WorkError(
                    "A scenario has too few localizations of a class",
                    received=repr(scenario),
                    allowed=f"{share} of each class in {_MOST_FIELDS} fields",
                    next_step="ask for fewer localizations, or for larger fields",
                )
            task.advance()
    distances, labels, origin = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    density = local_density(distances, seen.dims)
    return Pool(features(distances, seen.normalisation, dims=seen.dims), labels, origin, density)
