"""Training data from tables in which somebody, or another program, has labelled localizations."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.classify.features import FeatureSettings
from lucule.classify.parts import PARTS, Part, Pool, joined, seen_by
from lucule.classify.recipe import PoolSettings, Recipe
from lucule.core import SILENT, ColumnError, InputError, Localizations, Progress
from lucule.io import read

UNKNOWN: Final = -1
# with fewer tables than that, every table is cut into squares, some of which serve each part
_WHOLE_TABLES: Final = 10
_SQUARES: Final = 6  # along the longer side

logger = logging.getLogger(__name__)


class _Table(NamedTuple):
    path: Path
    points: NDArray[np.float32]
    labels: NDArray[np.int16]
    part: NDArray[np.int8]


def files(settings: PoolSettings) -> list[Path]:
    """Tables of a recipe: paths and patterns, in alphabetical order.

    Raises
    ------
    InputError
        A pattern matches nothing.
    """
    found: set[Path] = set()
    for pattern in settings.tables:
        at = Path(pattern)
        matched = list(Path(at.anchor).glob(str(at.relative_to(at.anchor))))
        if not matched:
            raise InputError("There is no annotated table of this name", received=pattern)
        found.update(matched)
    return sorted(found)


def draw_parts(recipe: Recipe, *, progress: Progress = SILENT) -> dict[Part, Pool]:
    """Localizations of annotated tables for training, validation and test.

    Each part has tables of its own, or squares of its own where there are fewer than ten tables. Classes are equally
    frequent as far as there are enough of each; what has no label is a neighbour of others, nothing more.

    Raises
    ------
    ColumnError
        A table lacks the column of labels.
    InputError
        A label is none of the recipe's classes, or a part lacks a class.
    """
    seen, settings, names = recipe.features, recipe.pool, recipe.classes
    rng = np.random.default_rng(recipe.seed)
    shares = np.array([settings.train, settings.validation, settings.test], dtype=float)
    with progress.task("Read annotated tables", unit="tables") as task:
        tables = []
        for table in _tables(recipe, shares / shares.sum(), rng):
            tables.append(table)
            task.advance(1)
    return {part: _drawn(tables, part, getattr(settings, part), names, seen, rng) for part in PARTS}


def _tables(recipe: Recipe, shares: NDArray[np.float64], rng: np.random.Generator) -> Iterator[_Table]:
    paths = files(recipe.pool)
    whole = len(paths) >= _WHOLE_TABLES
    part_of_table = _dealt(len(paths), shares, rng) if whole else None
    for number, path in enumerate(paths):
        locs = read(path)
        if recipe.features.dims == 3 and not locs.is_3d:
            raise ColumnError("The recipe looks at three dimensions", received=f"{path} without z", allowed="x, y, z")
        points = locs.xy() if recipe.features.dims == 2 else locs.xyz()
        if len(points) <= recipe.features.k:
            raise InputError("The annotated table is too small", received=f"{path} with {len(points)} localizations",
                             allowed=f"more than the {recipe.features.k} neighbours of the recipe")  # fmt: skip
        if part_of_table is not None:
            part = np.full(len(points), part_of_table[number], np.int8)
        else:
            part = _part_of_squares(points[:, :2], shares, rng)
        yield _Table(path, points, _labels(locs, path, recipe), part)


def _labels(locs: Localizations, path: Path, recipe: Recipe) -> NDArray[np.int16]:
    """Class of each row; -1 where there is none."""
    column, names = recipe.pool.label_column, recipe.classes
    if column not in locs.columns:
        raise ColumnError(
            f"{path} has no column of labels",
            received=", ".join(locs.columns),
            allowed=column,
            next_step="name it in the recipe: pool: {label_column: ...}",
        )
    values = locs.data[column]
    if values.dtype == pl.String:
        number = {name: i for i, name in enumerate(names)} | {"": UNKNOWN}
        unknown = set(values.drop_nulls().unique()) - set(number)
        labels = values.replace_strict(number, default=UNKNOWN, return_dtype=pl.Int64).fill_null(UNKNOWN)
    else:
        labels = values.cast(pl.Int64, strict=False).fill_null(UNKNOWN)
        unknown = set(labels.unique()) - {UNKNOWN, *range(len(names))}
    if unknown:
        raise InputError(
            f"{path} holds labels that the recipe does not know",
            received=", ".join(map(str, sorted(unknown)[:5])),
            allowed=", ".join(f"{i} = {name}" for i, name in enumerate(names)) + ", -1 or nothing = not annotated",
        )
    return labels.to_numpy().astype(np.int16)


def _dealt(n: int, shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int8]:
    """Deal `n` tables or squares to the three parts by their shares, at least one to each."""
    given = np.maximum(np.round(shares * n), 1).astype(int)
    given[0] = n - given[1:].sum()
    return rng.permutation(np.repeat(np.arange(3, dtype=np.int8), given))


def _part_of_squares(
    xy: NDArray[np.float32], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int8]:
    low = xy.min(axis=0)
    side = max(float((xy.max(axis=0) - low).max()) / _SQUARES, 1e-3)
    column, row = np.minimum((xy - low) // side, _SQUARES - 1).astype(np.int64).T
    squares, of = np.unique(row * _SQUARES + column, return_inverse=True)
    if len(squares) < len(PARTS):
        raise InputError("The annotated table is too narrow to be cut into parts", received=f"{len(squares)} squares")
    return _dealt(len(squares), shares, rng)[of]


def _drawn(
    tables: list[_Table],
    part: Part,
    total: int,
    classes: tuple[str, ...],
    seen: FeatureSettings,
    rng: np.random.Generator,
) -> Pool:
    mine = [np.flatnonzero((table.part == PARTS.index(part)) & (table.labels != UNKNOWN)) for table in tables]
    owner = np.repeat(np.arange(len(tables)), [len(rows) for rows in mine])
    rows = np.concatenate(mine)
    labels = np.concatenate([table.labels[own] for table, own in zip(tables, mine, strict=True)])
    chosen = []
    for number, name in enumerate(classes):
        of_class = rng.permutation(np.flatnonzero(labels == number))
        if not len(of_class):
            raise InputError(
                f"The annotated tables lack a class in their part for {part}",
                received=f"no localization labelled {number} ({name})",
                next_step="annotate more, in several places or tables",
            )
        wanted = total // len(classes)
        if len(of_class) < wanted:
            logger.warning("%s: %d localizations of class %s instead of %d", part, len(of_class), name, wanted)
        chosen.append(of_class[:wanted])
    picked = rng.permutation(np.concatenate(chosen))
    pieces = []
    for number, table in enumerate(tables):
        own = picked[owner[picked] == number]
        if len(own):
            values, density = seen_by(table.points, rows[own], seen)
            of = table.labels[rows[own]].astype(np.uint8)
            pieces.append(Pool(values, of, np.full(len(own), number, np.int32), density))
    return joined(pieces)
