"""The graph network on the CPU: layer by layer over a whole table, a tile of it at a time.

Tiles are there for the memory only. States and fields are all that is kept of all points, of very many points in half
precision; what points show to others is made anew for each tile and what lies around it. A tile writes its new states
over the old ones; what tiles that come later need of those is put aside before. So tiles have no borders that could
show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucule.classify.graph.inputs import Columns, Graph, point_features, spacing_of
from lucule.classify.graph.kernels import (
    AffinityWeights,
    LayerWeights,
    Points,
    ShownWeights,
    Tile,
    affinities_between,
    layer_between,
    show_between,
)
from lucule.core import Task
from lucule.nn.graph import CONTEXT_BEFORE, GraphLayer, GraphNetwork, chunks
from lucule.space.threads import share

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

TILE: Final = 131_072
HALVED_FROM: Final = 3_000_000
"""Tables of so many points are worked on with states in half precision, which takes a third of the memory away."""
_LEAST, _MOST = 256, 4_096
_FIELDS: Final = 32


@torch.inference_mode()
def start(network: GraphNetwork, columns: Columns, graph: Graph) -> tuple[Tensor, Points]:
    """States `(n, width)` before the first layer, and what pairs are made of; the distances are not needed after."""
    distance = torch.from_numpy(graph.distance)
    kept = torch.bfloat16 if len(distance) >= HALVED_FROM else torch.float32
    states = torch.empty(len(distance), network.together.in_features, dtype=kept)
    for c in chunks(len(distance)):
        states[c] = network.embed(point_features(columns, distance[c], c))
    return states, Points.of(columns, spacing_of(distance).numpy())


@torch.inference_mode()
def run(network: GraphNetwork, states: Tensor, points: Points, index: Indices, task: Task) -> tuple[Floats, Floats]:
    """Probabilities `(n, classes)` and log-odds of pairs `(n, ranks)`, 0 where there is none.

    `states`, which `start` gives, are changed. The task advances by `n` for each layer and once more.
    """
    n, tiles = len(index), _Tiles(index)
    fields = states.new_zeros(n, _FIELDS)
    for place, layer in enumerate(network.layers):
        if place in CONTEXT_BEFORE:
            network.tell_field(states)
        _exchange(layer, tiles, points, states, fields, task)
    del fields
    probability = torch.cat([network.class_logits(states[c].float()).softmax(dim=1) for c in chunks(n)]).numpy()
    log_odds, last = np.zeros(index.shape, np.float32), AffinityWeights.of(network)
    bias = network.pair.bias.numpy() / 2  # added twice, once for each point
    together = ShownWeights.of(network.final, network.together, bias)
    apart = ShownWeights.of(network.final, network.apart)
    for t, tile in tiles:
        seen = tiles.seen(t, states)
        shown = _shown(seen, together), _shown(seen, apart)
        rows = tiles.rows(t)
        _share(partial(affinities_between, points, tile, last, *shown, log_odds), rows.stop - rows.start, task)
    return probability, log_odds


def _exchange(layer: GraphLayer, tiles: _Tiles, points: Points, states: Tensor, fields: Tensor, task: Task) -> None:
    """One layer, which changes states and fields."""
    weights, shows = LayerWeights.of(layer), ShownWeights.of(layer.norm, layer.other)
    old_states, old_fields = tiles.put_aside(states), tiles.put_aside(fields)
    for t, tile in tiles:
        rows = tiles.rows(t)
        own = states[rows].to(torch.float32, copy=True).numpy()
        new = np.empty((len(own), _FIELDS), np.float32)
        shared = _shown(tiles.seen(t, states, old_states[t]), shows)
        near = tiles.seen(t, fields, old_fields[t])
        work = partial(layer_between, points, tile, weights, shared, near, own, new)
        _share(work, len(own), task)
        states[rows], fields[rows] = torch.from_numpy(own), torch.from_numpy(new)
        del work, shared, near, own, new  # before those of the next tile are made


class _Tiles:
    """The tiles of a table, one after the other, and what each sees of points outside of it."""

    def __init__(self, index: Indices) -> None:
        n = len(index)
        self._starts = range(0, n, TILE)
        self._index, self._place = index, np.empty(n, np.int32)
        self._outside = [self._look(start) for start in self._starts]

    def __iter__(self) -> Iterator[tuple[int, Tile]]:
        for t, start in enumerate(self._starts):
            rows, outside = self.rows(t), self._outside[t]
            size = rows.stop - start
            self._place[rows] = np.arange(size)
            self._place[outside] = np.arange(size, size + len(outside))
            yield t, Tile(start, self._index, self._place)

    def rows(self, t: int) -> slice:
        """The points of tile t."""
        return slice(self._starts[t], min(self._starts[t] + TILE, len(self._index)))

    def put_aside(self, values: Tensor) -> list[Tensor]:
        """For each tile, what it sees of points that come before it: these will have been changed by then."""
        return [
            values[torch.from_numpy(rows[rows < start])]
            for start, rows in zip(self._starts, self._outside, strict=True)
        ]

    def seen(self, t: int, values: Tensor, before: Tensor | None = None) -> Floats:
        """What tile t sees: its own points, then others, those before it as they were put aside."""
        outside, own = self._outside[t], values[self.rows(t)]
        if before is None:
            seen = (own, values[torch.from_numpy(outside)])
        else:
            seen = (own, before, values[torch.from_numpy(outside[outside > self._starts[t]])])
        return torch.cat(seen).float().numpy()

    def _look(self, start: int) -> NDArray[np.int64]:
        near = self._index[start : start + TILE]
        seen = np.zeros(len(self._index), bool)
        seen[near[near >= 0]] = True
        seen[start : start + TILE] = False
        return np.flatnonzero(seen)


def _shown(states: Floats, weights: ShownWeights) -> Floats:
    """What points show to others, with zeros up to whole vectors."""
    shown = np.empty((len(states), weights.linear.shape[1]), np.float32)
    share(partial(show_between, states, weights, shown), len(states), least=_LEAST, most=_MOST)
    return shown


def _share(work: Callable[[int, int], object], size: int, task: Task) -> None:
    """Call `work(first, last)` for the points of a tile, on all threads."""
    for c in chunks(size):
        share(lambda a, b, c=c: work(c.start + a, c.start + b), c.stop - c.start, least=_LEAST, most=_MOST)
        task.advance(c.stop - c.start)
