"""The graph network on a table: layer by layer and chunk by chunk, so that no tiles are needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucule.classify.graph import compiled
from lucule.classify.graph.inputs import RANKS, Columns, Graph, neighbour_graph, pairs, point_features, spacing_of
from lucule.classify.graph.train import build
from lucule.core import SILENT, InputError, Localizations, Progress, Task
from lucule.core.patterns import patterns
from lucule.models import Card, find
from lucule.nn import choose_device
from lucule.nn.graph import CONTEXT_BEFORE, GraphNetwork, Pairs, chunks
from lucule.space import NeighbourGrid

TASK: Final = "graph"
_SAMPLE: Final = 2_000
_TOLERATED: Final = 0.05
_DENSITY_NEIGHBOURS: Final = 20
_FEWEST: Final = 50
_UNIT: Final = "localizations"


@dataclass(frozen=True, slots=True, eq=False)
class Affinities:
    """What the graph network says of a table, rows in input order.

    Attributes
    ----------
    probability
        Of each class, `(n, classes)`; class 0 = not clustered.
    neighbours
        Rows of the neighbours looked at, `(n, ranks)`; -1 where there is none.
    log_odds
        That a localization and its neighbour are of one cluster, `(n, ranks)`.
    """

    probability: NDArray[np.float32]
    neighbours: NDArray[np.int32]
    log_odds: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class GraphModel:
    """A trained graph network with its card, ready to run."""

    card: Card
    network: GraphNetwork
    device: torch.device

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "graph", device: str = "auto") -> GraphModel:
        """Load a packaged model by name or a trained one by its folder.

        Raises
        ------
        InputError
            There is no such model, it does something else, or there is no such device.
        """
        packaged = find(model)
        card = packaged.card
        if card.task != TASK:
            raise InputError(f"Model {card.name} gives no affinities", received=f"task {card.task}")
        network = build(classes=len(card.classes), **card.options)
        network.load_state_dict(packaged.state())
        place = choose_device(device)
        return cls(card, network.to(place).eval(), place)

    def predict(self, locs: Localizations, *, progress: Progress = SILENT) -> Affinities:
        """Classes of all localizations and affinities of their neighbours, field by field and channel by channel."""
        n, ranks = len(locs), len(RANKS)
        probability = np.empty((n, len(self.card.classes)), np.float32)
        neighbours, log_odds = np.empty((n, ranks), np.int32), np.empty((n, ranks), np.float32)
        for rows in patterns(locs, np.arange(n)):
            if len(rows) < 2:  # without any neighbour nothing is clustered
                probability[rows], neighbours[rows], log_odds[rows] = np.arange(probability.shape[1]) == 0, -1, 0
                continue
            ordered, index, *said = self._look(locs, rows, progress)
            probability[ordered], log_odds[ordered] = said
            _rename(index, ordered, neighbours)
        return Affinities(probability, neighbours, log_odds)

    def _look(
        self, locs: Localizations, rows: NDArray[np.int64], progress: Progress
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """The rows of a pattern in the order of space, and neighbours (by place therein), classes, log-odds of each.

        Large tables leave no room for what is not needed any more: this gives it back on the way.
        """
        graph, order = neighbour_graph(_points(locs, rows))
        rows = rows[order].astype(np.int32)
        graph = graph.ordered(order)  # near ones together: most of the work is in the cache
        columns, index = columns_of(locs, rows), graph.index
        with progress.task("Look at neighbours", len(rows) * (len(self.network.layers) + 1), _UNIT) as task:
            if self.device.type == "cpu":
                states, seen = compiled.start(self.network, columns, graph)
                del columns, graph, order
                return rows, index, *compiled.run(self.network, states, seen, index, task)
            return rows, index, *run(self.network, columns, graph, self.device, task)


def _rename(index: NDArray[np.int32], rows: NDArray[np.int32], neighbours: NDArray[np.int32]) -> None:
    """Put the neighbours `index` of the points that are the `rows` of a table into these rows, named by row."""
    for c in chunks(len(rows)):
        neighbours[rows[c]] = np.where(index[c] >= 0, rows[index[c]], -1)


def _points(locs: Localizations, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Positions of some rows, `(n, 2)` or `(n, 3)`."""
    return np.column_stack([locs[axis][rows] for axis in ("xyz" if locs.is_3d else "xy")])


def columns_of(locs: Localizations, rows: NDArray[np.int32]) -> Columns:
    """The columns that the network uses, of some rows; what a table lacks is marked as unknown."""
    one = torch.ones(len(rows))

    def column(name: str) -> Tensor | None:
        return torch.from_numpy(locs[name][rows].astype(np.float32)) if name in locs else None

    frame, x_err, y_err, photons = (column(name) for name in ("frame", "x_err", "y_err", "photons"))
    error = x_err if y_err is None or x_err is None else (x_err + y_err) / 2
    error = None if error is None or not _usable(error) else error
    photons = None if photons is None or not _usable(photons) else photons / photons.median()
    if frame is not None and bool((frame == frame[0]).all()):
        frame = None  # a table without time often has frames that are all 0
    known = [float(value is not None) for value in (error, photons, frame)]
    points = _points(locs, rows)
    return Columns(
        points=torch.from_numpy(np.pad(points, ((0, 0), (0, 3 - points.shape[1])))),
        frame=one if frame is None else frame,
        error=one if error is None else error,
        photons=one if photons is None else photons,
        known=torch.tensor([[*known, float(points.shape[1] == 3)]]),
    )


def _usable(values: Tensor) -> bool:
    return bool((torch.isfinite(values) & (values > 0)).all())


@torch.inference_mode()
def run(
    network: GraphNetwork, columns: Columns, graph: Graph, device: torch.device, task: Task
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Do what `compiled.run` does, with tensors of all pairs of a chunk on a device."""
    columns = Columns(columns.points.to(device), columns.frame.to(device), columns.error.to(device),
                      columns.photons.to(device), columns.known.to(device))  # fmt: skip
    index, distance = torch.from_numpy(graph.index), torch.from_numpy(graph.distance)
    parts = chunks(len(graph.index))
    spacing = spacing_of(distance).to(device)

    def near(rows: slice) -> Pairs:
        return pairs(columns, index[rows].to(device), distance[rows].to(device), spacing, rows)

    states = torch.cat([network.embed(point_features(columns, distance[c].to(device), c)) for c in parts])
    directed = network.start_fields(states)
    for place, layer in enumerate(network.layers):
        if place in CONTEXT_BEFORE:
            network.tell_field(states)
        shared = torch.cat([layer.shared(states[c]) for c in parts])
        new_directed = torch.empty_like(directed)
        for c in parts:  # others see `shared` and `directed` alone, so that states may change in place
            states[c], new_directed[c] = layer(states[c], directed[c], shared, directed, near(c))
            task.advance(c.stop - c.start)
        directed = new_directed
    probability = torch.cat([network.class_logits(states[c]).softmax(dim=1) for c in parts])
    shown = tuple(torch.cat(both) for both in zip(*(network.shown(states[c]) for c in parts), strict=True))
    log_odds = torch.empty(index.shape)
    for c in parts:
        own = (shown[0][c], shown[1][c])
        log_odds[c] = network.affinity_logits(own, (shown[0], shown[1]), near(c)).cpu()
        task.advance(c.stop - c.start)
    return probability.cpu().numpy(), log_odds.numpy()


def check_range(locs: Localizations, card: Card) -> list[str]:
    """Say where a table lies outside of what a graph network was trained on; an empty list means that it does not."""
    if len(locs) < _FEWEST:
        return [f"{len(locs)} localizations are fewer than {_FEWEST}; what {card.name} says of them is unreliable."]
    warnings = []
    rows = np.unique(np.linspace(0, len(locs) - 1, _SAMPLE).astype(np.int64))
    distances = NeighbourGrid(locs.xy()).distances(_DENSITY_NEIGHBOURS, rows)
    nearest = NeighbourGrid(locs.xyz()).distances(1, rows) if locs.is_3d else distances
    duplicated = float((nearest[:, 0] == 0).mean())
    if duplicated > _TOLERATED:
        warnings.append(f"{duplicated:.0%} of the localizations have a duplicate at the same position.")
    farthest = distances[:, -1].astype(np.float64)
    with np.errstate(divide="ignore"):
        density = _DENSITY_NEIGHBOURS / (np.pi * (farthest / 1000) ** 2)
    low, high = card.training_range["density_per_um2"]
    # within clusters it is higher than in the field as a whole, by up to the largest contrast
    for share, side, limit in (
        ((density < low / 5).mean(), "below", low),
        ((density > 100 * high).mean(), "above", high),
    ):
        if share > _TOLERATED:
            warnings.append(
                f"{share:.0%} of the localizations have a local density far {side} the training range of {card.name} "
                f"(median {np.median(density):.3g}, limit {limit:.3g} per µm²); the result is less certain there."
            )
    if "x_err" in locs:
        median, (low, high) = float(np.median(locs["x_err"])), card.training_range["error_nm"]
        if not low / 2 <= median <= 2 * high:
            warnings.append(
                f"The median localization error of {median:.3g} nm lies outside the training range of {card.name} "
                f"({low:.3g} to {high:.3g} nm)."
            )
    return warnings
