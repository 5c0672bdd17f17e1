"""Simulated fields with their neighbour graphs, made by worker processes while the network trains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lucule.classify.graph.inputs import Columns, neighbour_graph
from lucule.core import Config

_LONGEST_GAP: Final = 10_000  # dark frames


class FieldSettings(Config):
    """On which fields a network is trained.

    Attributes
    ----------
    families
        How often each family of `lucule.simulate.varied_fields` occurs (any positive numbers).
    points
        Localizations in a training step; fields are added until there are as many.
    blinking
        Fraction of the fields that are made to blink, beside those that do so by themselves.
    linked
        Fraction of the blinking fields whose blinks are linked before, over a time that each field draws, as
        `lucule.workflows.clusters` does where frames and errors are known.
    repeats
        Steps that look at the same fields, each time with other columns known.
    frame_known, error_known, photons_known
        Fraction of the fields whose network sees that column.
    error_bias
        Standard deviation of the logarithm of the factor by which all errors of a field are wrong.
    """

    families: dict[str, float]
    points: int = Field(gt=0)
    blinking: float = Field(default=0.0, ge=0, le=1)
    linked: float = Field(default=0.5, ge=0, le=1)
    repeats: int = Field(default=1, gt=0)
    frame_known: float = Field(default=0.6, ge=0, le=1)
    error_known: float = Field(default=0.6, ge=0, le=1)
    photons_known: float = Field(default=0.5, ge=0, le=1)
    error_bias: float = Field(default=0.2, ge=0)

    def sha256(self, seed: int) -> str:
        """Hash of all that decides the fields, families included; they are made on the fly and never stored."""
        from lucule.simulate.varied_fields import FAMILIES

        limits = {name: FAMILIES[name].model_dump(mode="json") for name in sorted(self.families)}
        text = json.dumps([self.model_dump(mode="json"), limits, seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @model_validator(mode="after")
    def _families_exist(self) -> Self:
        from lucule.simulate.varied_fields import FAMILIES

        unknown = self.families.keys() - FAMILIES.keys()
        if unknown or not self.families or min(self.families.values()) <= 0:
            raise ValueError(f"families among {', '.join(FAMILIES)}, each with a positive number")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class FieldBatch:
    """Several fields as one list of points; neighbours are rows of this list.

    Attributes
    ----------
    columns
        What the network may see.
    index, distance
        Neighbours, `(n, ranks)`; -1 where there is none.
    field
        Field of each point, `(n,)`.
    fields
        Number of fields.
    label, cluster
        The truth, `(n,)`; clusters are numbered through all fields, -1 = none.
    """

    columns: Columns
    index: Tensor
    distance: Tensor
    field: Tensor
    fields: int
    label: Tensor
    cluster: Tensor

    def to(self, device: torch.device) -> FieldBatch:
        """Move to a device."""

        def moved(value: Any) -> Any:
            return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

        columns = Columns(**{f.name: moved(getattr(self.columns, f.name)) for f in fields(Columns)})
        rest = {f.name: moved(getattr(self, f.name)) for f in fields(FieldBatch) if f.name != "columns"}
        return FieldBatch(columns, **rest)


def make_batch(settings: FieldSettings, seed: int, step: int) -> FieldBatch:
    """Simulate the fields of a training step, all columns known; the same seed and step give the same bits."""
    from lucule.simulate.varied_fields import FAMILIES, linked, varied_field

    rng = np.random.default_rng((seed, step))
    names = list(settings.families)
    weights = np.asarray([settings.families[name] for name in names])
    parts: list[dict[str, np.ndarray[Any, Any]]] = []
    points = clusters = 0
    while points < settings.points:
        family = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        limits = FAMILIES[family]
        if rng.random() < settings.blinking:
            limits = limits.always_blinking()
        drawn = varied_field(limits, seed=(seed, step, len(parts)))
        if rng.random() < settings.linked:
            drawn = linked(drawn, gap_frames=float(np.exp(rng.uniform(0, np.log(_LONGEST_GAP)))))
        if len(drawn) < 2:
            continue
        n, dims = drawn.points.shape
        graph, _ = neighbour_graph(drawn.points)
        parts.append(
            {
                "points": np.pad(drawn.points, ((0, 0), (0, 3 - dims))),
                "frame": drawn.frame.astype(np.float32),
                "error": drawn.error[:, 0],
                "photons": drawn.photons / np.median(drawn.photons),
                "known": np.broadcast_to(np.array([1, 1, 1, dims == 3], np.float32), (n, 4)),
                "index": np.where(graph.index >= 0, graph.index + points, -1).astype(np.int32),
                "distance": graph.distance,
                "field": np.full(n, len(parts), np.int64),
                "label": drawn.label.astype(np.int64),
                "cluster": np.where(drawn.cluster >= 0, drawn.cluster + clusters, -1).astype(np.int64),
            }
        )
        points += n
        clusters += int(drawn.cluster.max(initial=-1)) + 1
    joined = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    columns = Columns(**{f.name: joined.pop(f.name) for f in fields(Columns)})
    return FieldBatch(columns, fields=len(parts), **joined)


def hide_columns(batch: FieldBatch, settings: FieldSettings, generator: torch.Generator) -> FieldBatch:
    """Let each field of a batch lack some columns, and its errors be wrong by a factor."""
    place = batch.field.device
    shares = torch.tensor([settings.error_known, settings.photons_known, settings.frame_known, 1.0], device=place)
    shown = torch.rand(batch.fields, 4, generator=generator, device=place) < shares
    bias = torch.exp(settings.error_bias * torch.randn(batch.fields, generator=generator, device=place))
    columns = replace(
        batch.columns, known=batch.columns.known * shown[batch.field], error=batch.columns.error * bias[batch.field]
    )
    return replace(batch, columns=columns)


def stream(settings: FieldSettings, *, seed: int, start: int = 0, workers: int = 0) -> Iterator[FieldBatch]:
    """Give the batches of steps `start`, `start + 1`, ... in order, made by `workers` processes ahead of time."""
    if workers:
        make_batch(settings.replace(points=1), seed, 0)  # compiles what the workers then inherit
    loader = DataLoader(
        _Steps(settings, seed, start),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_one_thread,
    )
    yield from loader


class _Steps(Dataset[FieldBatch]):
    """The batches by their number; so many that no training reaches the end."""

    def __init__(self, settings: FieldSettings, seed: int, start: int) -> None:
        self.settings, self.seed, self.start = settings, seed, start

    def __len__(self) -> int:
        return 10_000_000

    def __getitem__(self, place: int) -> FieldBatch:
        return make_batch(self.settings, self.seed, self.start + place)


def _one_thread(worker: int) -> None:
    import numba

    del worker
    numba.set_num_threads(1)
    torch.set_num_threads(1)
