"""Training data of the line network: windows of simulated fields, turned, thinned and blurred at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field as Setting
from scipy.spatial import cKDTree
from torch import Tensor

from lucule.classify.lines.network import count_map
from lucule.core import SILENT, Config, Progress

FEWEST_EPITOPES: Final = 6
"""A double line of which fewer epitopes are left does not count: nobody could tell it from chance."""


class SceneSettings(Config):
    """One kind of simulated field.

    Attributes
    ----------
    scene, changes
        Packaged scene or YAML file, and what is different.
    fields
        How many of them.
    lines
        Whether its structures are double lines; those of other scenes are what must not be taken for one.
    """

    scene: str
    changes: dict[str, Any] = {}
    fields: int = Setting(gt=0)
    lines: bool = True


class WindowSettings(Config):
    """How windows are cut from the fields.

    Attributes
    ----------
    pixel_nm, side_px
        Pixel and side of the density map.
    labelling, events
        Smallest fraction of epitopes and of blinks that is kept; each window draws its own, logarithmically uniform.
    background_per_um2
        Density of additional background, in half of the windows; each draws its own, logarithmically uniform.
    contrast
        Lines stay at least so many times as dense as the additional background.
    blur_nm
        Largest additional error.
    clearance_nm
        Additional background nearer to the lines than this is there, but it does not count.
    """

    pixel_nm: float = Setting(default=16.0, gt=0)
    side_px: int = Setting(default=208, gt=0)
    labelling: float = Setting(default=0.1, gt=0, le=1)
    events: float = Setting(default=0.05, gt=0, le=1)
    background_per_um2: tuple[float, float] = (1.0, 1000.0)
    contrast: float = Setting(default=6.0, gt=1)
    blur_nm: float = Setting(default=15.0, ge=0)
    clearance_nm: float = Setting(default=50.0, ge=0)


_NEIGHBOURS: Final = 10
"""Localizations of the lines among which their density is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field: positions `(n, 2)` nm; structure, epitope and event `(n,)`; centres `(s, 2)` of the structures, nm."""

    xy: NDArray[np.float32]
    structure: NDArray[np.int32]
    epitope: NDArray[np.int32]
    event: NDArray[np.int64]
    centres: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A batch: maps `(b, h, w)`; for each localization its map, position (px), truth, vector to the centre, weight."""

    counts: Tensor
    batch: Tensor
    xy_px: Tensor
    label: Tensor
    offset_um: Tensor
    weight: Tensor


def simulate_fields(scenes: tuple[SceneSettings, ...], *, seed: int, progress: Progress = SILENT) -> list[Field]:
    """Simulate all fields of a training."""
    from lucule.simulate import load_scene, localizations

    fields = []
    with progress.task("Simulate", sum(one.fields for one in scenes), "fields") as task:
        for number, one in enumerate(scenes):
            scene = load_scene(one.scene, **one.changes)
            for replicate in range(one.fields):
                own = int(np.random.SeedSequence((seed, number, replicate)).generate_state(1)[0])
                fields.append(field_of(localizations(scene, seed=own, outside="drop"), lines=one.lines))
                task.advance()
    return fields


def field_of(locs: Any, *, lines: bool = True) -> Field:
    """Keep of a simulated table what windows need."""
    on_line = (locs["true_label"] > 0) & (locs["structure"] >= 0) & lines
    structure = np.where(on_line, locs["structure"], -1).astype(np.int32)
    true = np.column_stack([locs["true_x"], locs["true_y"]]).astype(np.float64)
    # numbered anew, without gaps, so that a number is a row of the centres
    there, number = np.unique(structure[structure >= 0], return_inverse=True)
    structure[structure >= 0] = number
    total = np.bincount(number, minlength=len(there))
    sums = [np.bincount(number, true[on_line, axis], minlength=len(there)) for axis in (0, 1)]
    centres = np.column_stack(sums) / np.maximum(total, 1)[:, None]
    return Field(locs.xy(), structure, locs["epitope"].astype(np.int32), locs["event"].astype(np.int64), centres)


def window(field: Field, settings: WindowSettings, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Positions (px), label, vector to the centre (um) and weight of the localizations of one window."""
    half = settings.side_px * settings.pixel_nm / 2
    low, high = field.xy.min(axis=0), field.xy.max(axis=0)
    if len(field.centres) and rng.random() < 0.8:
        middle = field.centres[rng.integers(len(field.centres))] + rng.uniform(-0.9, 0.9, 2) * half
    else:
        middle = rng.uniform(low + half / 2, high - half / 2)
    rows = np.flatnonzero((np.abs(field.xy - middle) < 1.5 * half).all(axis=1))
    rows = rows[_kept(field, rows, settings, rng)]
    structure = field.structure[rows]
    xy = field.xy[rows].astype(np.float64)
    label = structure >= 0
    centre = np.full((len(rows), 2), np.nan)
    centre[label] = field.centres[structure[label]]
    weight = _weights(field, rows)
    if rng.random() < 0.5:
        extra, apart = _background(xy[label], middle, half, settings, rng)
        xy, centre = np.concatenate([xy, extra]), np.concatenate([centre, np.full_like(extra, np.nan)])
        label = np.concatenate([label, np.zeros(len(extra), np.bool_)])
        weight = np.concatenate([weight, apart.astype(np.float64)])
    if rng.random() < 0.4:
        xy = xy + rng.normal(0, rng.uniform(0, settings.blur_nm), xy.shape)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.5:
        turn = turn @ np.diag([1.0, -1.0])
    seen = (xy - middle) @ turn.T
    offset = ((centre - xy) @ turn.T) / 1000
    inside = (np.abs(seen) < half).all(axis=1)
    px = (seen[inside] + half) / settings.pixel_nm - 0.5
    return px.astype(np.float32), label[inside], np.nan_to_num(offset[inside]).astype(np.float32), weight[inside]


def _kept(
    field: Field, rows: NDArray[np.int64], settings: WindowSettings, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which localizations are left of fewer labels, a shorter movie and less background."""
    keep = np.ones(len(rows), np.bool_)
    label = field.structure[rows] >= 0
    if rng.random() < 0.7:
        fraction = np.exp(rng.uniform(np.log(settings.labelling), 0))
        keep &= ~label | (rng.random(field.epitope.max(initial=0) + 2) < fraction)[field.epitope[rows]]
    if rng.random() < 0.6:
        fraction = np.exp(rng.uniform(np.log(settings.events), 0))
        keep &= (rng.random(field.event.max(initial=0) + 1) < fraction)[field.event[rows]]
    if rng.random() < 0.7:
        keep &= label | (rng.random(field.epitope.max(initial=0) + 2) < rng.uniform(0, 1))[field.epitope[rows]]
    return keep


def _weights(field: Field, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    structure = field.structure[rows]
    weight = np.ones(len(rows))
    for s in np.unique(structure[structure >= 0]):
        mine = structure == s
        if len(np.unique(field.epitope[rows[mine]])) < FEWEST_EPITOPES:
            weight[mine] = 0
    return weight


def _background(
    lines: NDArray[np.float64],
    middle: NDArray[np.float64],
    half: float,
    settings: WindowSettings,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Molecules some of which blink, everywhere or on one side of an edge, and which of them are clear of the lines."""
    low, high = settings.background_per_um2
    tree = cKDTree(lines)
    if len(lines) > _NEIGHBOURS:
        reach = np.median(tree.query(lines, [_NEIGHBOURS + 1])[0])
        on_lines = _NEIGHBOURS / (np.pi * max(reach, 1.0) ** 2) * 1e6
        high = max(min(high, on_lines / settings.contrast), low)
    blinks = 1.0 + rng.exponential(1.0) * (rng.random() < 0.5)
    molecules = rng.poisson(np.exp(rng.uniform(np.log(low), np.log(high))) * (3e-3 * half) ** 2 / blinks)
    xy = middle + rng.uniform(-1.5 * half, 1.5 * half, (molecules, 2))
    if rng.random() < 0.3:  # the edge of a cell
        angle, place, width = rng.uniform(0, 2 * np.pi), rng.uniform(-half, half), rng.uniform(0.02, 1) * half
        across = (xy - middle) @ [np.cos(angle), np.sin(angle)]
        xy = xy[rng.random(molecules) < 1 / (1 + np.exp(-(across - place) / width))]
    xy = np.repeat(xy, rng.poisson(blinks - 1, len(xy)) + 1, axis=0)
    xy = xy + rng.normal(0, rng.uniform(5, 25), xy.shape)
    return xy, tree.query(xy, distance_upper_bound=settings.clearance_nm)[0] == np.inf


def batch_of(fields: list[Field], settings: WindowSettings, size: int, rng: np.random.Generator) -> Windows:
    """Draw a batch of windows."""
    counts: list[Tensor] = []
    number, xy, label, offset, weight = [], [], [], [], []
    while len(counts) < size:
        px, on_line, towards, counted = window(fields[int(rng.integers(len(fields)))], settings, rng)
        if len(px) < 10:
            continue
        number.append(torch.full((len(px),), len(counts)))
        xy.append(torch.from_numpy(px))
        counts.append(count_map(xy[-1], settings.side_px, settings.side_px))
        label.append(torch.from_numpy(on_line))
        offset.append(torch.from_numpy(towards))
        # windows count alike, whatever their number of localizations
        weight.append(torch.from_numpy(counted).float() / len(px))
    return Windows(torch.stack(counts), *(torch.cat(one) for one in (number, xy, label, offset, weight)))
