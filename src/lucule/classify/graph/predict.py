"""The graph network on a table: layer by layer and chunk by chunk, so that no tiles are needed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucule.classify.graph.inputs import Columns, Graph, neighbour_graph, pairs, point_features, spacing_of
from lucule.classify.graph.train import build
from lucule.core import SILENT, InputError, Localizations, Progress
from lucule.models import Card, find
from lucule.nn import choose_device
from lucule.nn.graph import CONTEXT_BEFORE, GraphNetwork, Pairs

CHUNK = 4_096


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
        if card.task != "graph":
            raise InputError(f"Model {card.name} gives no affinities", received=f"task {card.task}")
        network = build(classes=len(card.classes), **card.options)
        network.load_state_dict(packaged.state())
        place = choose_device(device)
        return cls(card, network.to(place).eval(), place)

    def predict(self, locs: Localizations, *, progress: Progress = SILENT) -> Affinities:
        """Classes and affinities of all localizations of one pattern (one field and channel)."""
        points = locs.xyz() if locs.is_3d else locs.xy()
        if len(points) < 2:
            classes = len(self.card.classes)
            sure = np.zeros((len(points), classes), np.float32)
            sure[:, 0] = 1
            nothing = np.empty((len(points), 0))
            return Affinities(sure, nothing.astype(np.int32), nothing.astype(np.float32))
        graph = neighbour_graph(points)
        columns = columns_of(locs, points)
        return run(self.network, columns, graph, self.device, progress=progress)


def columns_of(locs: Localizations, points: NDArray[np.float32]) -> Columns:
    """The columns that the network uses; what a table lacks is marked as unknown."""
    n = len(points)
    one = torch.ones(n)

    def column(name: str) -> Tensor | None:
        return torch.from_numpy(np.array(locs[name], np.float32)) if name in locs else None

    frame, x_err, y_err, photons = (column(name) for name in ("frame", "x_err", "y_err", "photons"))
    error = x_err if y_err is None or x_err is None else (x_err + y_err) / 2
    error = None if error is None or not _usable(error) else error
    photons = None if photons is None or not _usable(photons) else photons / photons.median()
    if frame is not None and bool((frame == frame[0]).all()):
        frame = None  # a table without time often has frames that are all 0
    known = [float(value is not None) for value in (error, photons, frame)]
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
    network: GraphNetwork, columns: Columns, graph: Graph, device: torch.device, *, progress: Progress = SILENT
) -> Affinities:
    """Run the network on all points of a table; see `GraphNetwork.forward` for what it does."""
    columns = Columns(columns.points.to(device), columns.frame.to(device), columns.error.to(device),
                      columns.photons.to(device), columns.known.to(device))  # fmt: skip
    n = len(graph.index)
    index, distance = torch.from_numpy(graph.index), torch.from_numpy(graph.distance)
    chunks = [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    spacing = spacing_of(distance).to(device)

    def near(rows: slice) -> Pairs:
        return pairs(columns, index[rows].to(device), distance[rows].to(device), spacing, rows)

    with progress.task("Look at neighbours", n * (len(network.layers) + 1), "localizations") as task:
        states = torch.cat([network.embed(point_features(columns, distance[c].to(device), c)) for c in chunks])
        directed = network.start_fields(states)
        for place, layer in enumerate(network.layers):
            if place in CONTEXT_BEFORE:
                mean = sum(network.summary(states[c]).sum(dim=0, dtype=torch.float64) for c in chunks) / n
                states = torch.cat([network.add_context(states[c], mean.float()[None]) for c in chunks])
            shared = torch.cat([layer.shared(states[c]) for c in chunks])
            new_states, new_directed = torch.empty_like(states), torch.empty_like(directed)
            for c in chunks:
                new_states[c], new_directed[c] = layer(states[c], directed[c], shared, directed, near(c))
                task.advance(c.stop - c.start)
            states, directed = new_states, new_directed
        probability = torch.cat([network.class_logits(states[c]).softmax(dim=1) for c in chunks])
        shown = tuple(torch.cat(parts) for parts in zip(*(network.shown(states[c]) for c in chunks), strict=True))
        log_odds = torch.empty(index.shape)
        for c in chunks:
            own = (shown[0][c], shown[1][c])
            log_odds[c] = network.affinity_logits(own, (shown[0], shown[1]), near(c)).cpu()
            task.advance(c.stop - c.start)
    return Affinities(probability.cpu().numpy(), graph.index, log_odds.numpy())
