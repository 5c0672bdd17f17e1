"""Averaging of particles: register all of them, then each half on its own, and see to what detail the halves agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import structures
from lucule.core import SILENT, InputError, Localizations, Progress
from lucule.process.frc import BetweenSets, between
from lucule.structures.averaging import FEWEST_PARTICLES, Average, AverageSettings, predicted, sites, superposed
from lucule.workflows.reading import ReadSettings

# in standard errors: how much better halves must describe each other than a round blur does
_CLEAR: Final = 2.0


class Settings(ReadSettings, AverageSettings):
    """How a table is read and its particles are averaged.

    Attributes
    ----------
    half_sets
        Whether both halves of the particles are averaged on their own, which tells the resolution and takes as long
        again.
    """

    half_sets: bool = True

    @property
    def averaging(self) -> AverageSettings:
        """What concerns the averaging alone."""
        return AverageSettings(**self.model_dump(include=set(AverageSettings.model_fields)))


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """An average with its resolution.

    Attributes
    ----------
    average, aligned
        Registration, and the localizations in the coordinates of the average.
    sites
        Where the localizations of the average gather.
    resolution, resolution_reason
        Fourier correlation of averages of half of the particles each, or why there is none.
    gain
        How much better each half of the particles is described by the average of the other than by that made round: log
        likelihood for each particle and its standard error; None where there are no halves.
    warnings
        What the reader should know.
    """

    average: Average
    aligned: Localizations
    sites: pl.DataFrame
    resolution: BetweenSets | None
    resolution_reason: str | None
    gain: tuple[float, float] | None
    warnings: tuple[str, ...]

    @property
    def doubtful(self) -> bool:
        """Whether halves do not describe each other better than a round blur does."""
        return self.gain is not None and self.gain[0] < _CLEAR * self.gain[1]

    def summary(self) -> dict[str, Any]:
        """The main numbers by name."""
        nearest = self.sites["nearest_nm"].median()
        found = self.average.summary() | {"sites": len(self.sites), "nearest_site_nm": nearest}
        found |= {"half_set_gain": self.gain and self.gain[0], "half_set_gain_error": self.gain and self.gain[1]}
        if self.resolution is None:
            return found | {"half_set_frc_nm": None, "half_set_frc_nm_reason": self.resolution_reason}
        return found | self.resolution.summary()


def run(
    locs: Localizations,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    *,
    seed: int = 1,
    progress: Progress = SILENT,
) -> Result:
    """Average the particles of a table.

    Raises
    ------
    InputError
        There is no column that tells particles apart, or there are too few particles.
    """
    found = structures.average(locs, settings=settings.averaging, seed=seed, progress=progress)
    aligned = structures.aligned(locs, found)
    resolution, reason, gain, warnings = None, "it was not asked for", None, found.warnings
    if settings.half_sets:
        with progress.task("Half sets"):
            try:
                halves = half_sets(locs, found, settings.averaging, seed=seed)
                gain = _gain(*halves)
                resolution = correlated(*halves)
            except InputError as error:
                reason = error.problem
        if gain is None:
            warnings = (*warnings, f"Whether the particles have a structure in common was not checked: {reason}.")
    result = Result(
        found, aligned, sites(found), resolution, None if resolution is not None else reason, gain, warnings
    )
    if not result.doubtful:
        return result
    said = (
        "Halves of the particles are described no better by each other's average than by that made round: whether "
        "they have more in common than the outline is not sure; the rest of the picture may be chance."
    )
    return replace(result, warnings=(*warnings, said))


def half_sets(locs: Localizations, found: Average, settings: AverageSettings, *, seed: int) -> tuple[Average, Average]:
    """Average two halves of the particles, drawn by lot, without knowledge of each other.

    Only the symmetry found with all particles is shared.

    Raises
    ------
    InputError
        There are too few particles for two averages.
    """
    used = np.flatnonzero(found.main)
    if len(used) < 2 * FEWEST_PARTICLES:
        raise InputError("There are too few particles for two averages", received=len(used),
                         allowed=f"{2 * FEWEST_PARTICLES} or more")  # fmt: skip
    drawn = np.random.default_rng(seed).permutation(used)
    plain = settings.replace(
        classes=1, starts=1, symmetry=found.symmetry.order if found.symmetry.order > 1 else "none", group="particle",
        dimensions=2 if found.particles.flat else 3,
    )  # fmt: skip

    def half(which: NDArray[np.int64]) -> Average:
        chosen = np.isin(found.particles.owner, which)
        table = Localizations(locs.data[found.particles.rows[chosen]], locs.meta).with_columns(
            particle=found.particles.ids[found.particles.owner[chosen]]
        )
        return structures.average(table, settings=plain, seed=seed)

    return half(drawn[: len(drawn) // 2]), half(drawn[len(drawn) // 2 :])


def correlated(first: Average, second: Average) -> BetweenSets:
    """Fourier correlation of two averages, laid on each other.

    Raises
    ------
    InputError
        There are too few points.
    """
    moved = superposed(second, first)
    axes = 2 if first.particles.flat else 3
    return between(first.points()[:, :axes], moved.points()[:, :axes])


def _gain(first: Average, second: Average) -> tuple[float, float]:
    gains = np.concatenate([predicted(first, second.particles), predicted(second, first.particles)])
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def write(result: Result, folder: Path, *, settings: Settings, seed: int, source: str) -> dict[str, str]:
    """Write `average.parquet`, tables (`particles`, `sites`, `frc`), `average.png` and `run.json`; give the paths."""
    import json

    from lucule.core import package_version
    from lucule.core.files import atomic_path, write_text
    from lucule.view import averaging as pictures
    from lucule.view.curves import save_figure

    written = {"aligned": str(result.aligned.save(folder / "average.parquet"))}
    tables = {"particles": result.average.table(), "sites": result.sites}
    if result.resolution is not None:
        tables["frc"] = result.resolution.table()
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as temporary:
            table.write_csv(temporary)
        written[name] = str(folder / f"{name}.csv")
    doubt = "not sure to be more than chance" if result.doubtful else None
    written["picture"] = str(
        save_figure(pictures.average_plot(result.average, result.resolution, doubt=doubt), folder / "average.png")
    )
    content = {
        "source": source, "version": package_version(), "seed": seed, "settings": settings.model_dump(mode="json"),
        "results": result.summary(), "losses_by_order": {str(k): v for k, v in result.average.losses.items()},
        "warnings": list(result.warnings),
    }  # fmt: skip
    written["run"] = str(write_text(folder / "run.json", json.dumps(content, indent=1, default=str)))
    return written
