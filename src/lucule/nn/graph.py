"""A network on the graph of neighbours: the class of each point, and whether neighbours belong together.

Every point looks at the same few neighbour ranks, near ones densely and far ones sparsely, so that one layer spans
hundreds of neighbours. Directions enter through spherical harmonics of degree 1 and 2 whose contractions do not change
when everything is turned; the order of the points does not matter. A layer needs nothing but the states of all points
before it, so that a table of any size can be worked through chunk by chunk without tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

_HARMONICS: Final = 8  # 3 of degree 1 and 5 of degree 2
_HEADS: Final = 4
_FIELDS: Final = 4  # equivariant channels
_CHUNK: Final = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Neighbours of a chunk of points.

    Attributes
    ----------
    index
        Rows of the neighbours among all points, `(n, ranks)`, int64; missing ones name any row.
    present
        Whether there is such a neighbour, `(n, ranks)`.
    features
        What is known of each pair, `(n, ranks, features)`; 0 where missing.
    harmonics
        Spherical harmonics of the direction to the neighbour, `(n, ranks, 8)`; 0 where missing.
    """

    index: Tensor
    present: Tensor
    features: Tensor
    harmonics: Tensor


def harmonics(direction: Tensor) -> Tensor:
    """Real spherical harmonics of degrees 1 and 2, `(..., 8)`, of unit vectors `(..., 3)`; each degree has norm 1.

    Examples
    --------
    >>> harmonics(torch.tensor([0.0, 0.0, 1.0])).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """
    x, y, z = direction.unbind(-1)
    root = math.sqrt(3.0)
    second = (root * x * y, root * y * z, (2 * z * z - x * x - y * y) / 2, root * x * z, root * (x * x - y * y) / 2)
    return torch.stack((x, y, z, *second), dim=-1)


class Kernels(Protocol):
    """What can work on the pairs of all points in place of the plain operations, forward and backward."""

    def gather(
        self, layer: GraphLayer, own: Tensor, fields: Tensor, shared: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `GraphLayer.gather`, of all points."""

    def affinities(self, network: GraphNetwork, shown: tuple[Tensor, Tensor], pairs: Pairs) -> Tensor:
        """As `GraphNetwork.affinity_logits`, of all points; any value where there is no neighbour."""


class GraphLayer(nn.Module):
    """One exchange of messages; see the module.

    Parameters
    ----------
    width
        Channels of a point.
    features
        Features of a pair.
    """

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(features + 4 * _FIELDS, width, bias=False)
        self.gate = nn.Linear(width, _HEADS + 2 * _FIELDS)
        self.update = nn.Sequential(
            nn.Linear(3 * width + 2 * _FIELDS, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def shared(self, states: Tensor) -> Tensor:
        """What points show to others, `(points, width)`; made once for all chunks of a layer."""
        return self.other(self.norm(states))

    def forward(
        self, states: Tensor, fields: Tensor, shared: Tensor, all_fields: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor]:
        """Give the new states `(n, width)` and equivariant fields `(n, 4, 8)` of a chunk.

        Parameters
        ----------
        states, fields
            Of the chunk.
        shared, all_fields
            Of all points.
        pairs
            The neighbours of the chunk.
        """
        normed = self.norm(states)
        return self.finish(states, normed, *self.gather(self.own(normed), fields, shared, all_fields, pairs))

    def gather(
        self, own: Tensor, fields: Tensor, shared: Tensor, all_fields: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Messages of the neighbours of a chunk: their weighted sum, the largest `(n, width)`, and the new fields.

        Parameters
        ----------
        own
            What points of the chunk add to the messages that they get, `(n, width)`.
        fields, shared, all_fields, pairs
            As in `forward`.
        """
        own_turned = _contract(pairs.harmonics, fields[:, None])
        other_turned = _contract(pairs.harmonics, all_fields[pairs.index])
        seen = torch.cat((pairs.features, own_turned, other_turned), dim=-1)
        message = nn.functional.silu(own[:, None] + shared[pairs.index] + self.pair(seen))
        gates = self.gate(message)
        weight = gates[..., :_HEADS].masked_fill(~pairs.present[..., None], -1e4).softmax(dim=1)
        weight = (weight * pairs.present[..., None]).to(message.dtype)
        n, ranks, width = message.shape
        heads = message.view(n, ranks, _HEADS, width // _HEADS)
        attended = (heads * weight[..., None]).sum(dim=1).reshape(n, width)
        largest = message.masked_fill(~pairs.present[..., None], -1e4).amax(dim=1)
        largest = largest * pairs.present.any(dim=1, keepdim=True)
        first, second = gates[..., _HEADS:].chunk(2, dim=-1)
        new_fields = (
            torch.cat(
                (
                    torch.einsum("nrc,nrm->ncm", first, pairs.harmonics[..., :3].to(first.dtype)),
                    torch.einsum("nrc,nrm->ncm", second, pairs.harmonics[..., 3:].to(first.dtype)),
                ),
                dim=-1,
            )
            / ranks
        )
        return attended, largest, new_fields

    def finish(
        self, states: Tensor, normed: Tensor, attended: Tensor, largest: Tensor, new_fields: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update states with what has been gathered from the neighbours."""
        strength = torch.cat((new_fields[..., :3].square().sum(-1), new_fields[..., 3:].square().sum(-1)), dim=-1)
        return states + self.update(torch.cat((normed, attended, largest, strength), dim=-1)), new_fields


class GraphNetwork(nn.Module):
    """Classes of points and affinities of neighbour pairs.

    Parameters
    ----------
    point_features, pair_features
        Number of input features.
    symmetric_features
        How many of the pair features, counted from the first, are the same from both sides.
    classes
        Number of classes, 0 = background.
    width, layers
        Size of the network.
    """

    def __init__(
        self,
        *,
        point_features: int,
        pair_features: int,
        symmetric_features: int,
        classes: int,
        width: int = 64,
        layers: int = 5,
    ) -> None:
        super().__init__()
        self.symmetric = symmetric_features
        self.encoder = nn.Sequential(nn.Linear(point_features, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.summary = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.context = nn.Linear(2 * width, width)
        self.layers = nn.ModuleList(GraphLayer(width, pair_features) for _ in range(layers))
        self.final = nn.LayerNorm(width)
        self.classes = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, classes))
        half = width // 2
        self.together = nn.Linear(width, half)
        self.apart = nn.Linear(width, half, bias=False)
        self.difference = nn.Linear(half, half, bias=False)
        self.pair = nn.Linear(symmetric_features, half)
        self.affinity = nn.Sequential(nn.SiLU(), nn.Linear(half, half), nn.SiLU(), nn.Linear(half, 1))

    def embed(self, features: Tensor) -> Tensor:
        """States `(n, width)` before the first layer, from point features `(n, point_features)`."""
        return self.encoder(features)

    def start_fields(self, states: Tensor) -> Tensor:
        """Equivariant fields `(n, 4, 8)` before the first layer."""
        return states.new_zeros(len(states), _FIELDS, _HARMONICS)

    def add_context(self, states: Tensor, mean: Tensor) -> Tensor:
        """Tell points what the whole field looks like: `mean` is the mean of `summary(states)`, `(n or 1, width)`."""
        return states + self.context(torch.cat((states, mean.expand(len(states), -1)), dim=-1))

    def tell_field(self, states: Tensor) -> None:
        """Add the context of one whole field to the states `(n, width)` of its points, in place."""
        parts = chunks(len(states))
        mean = torch.stack([self.summary(states[c].float()).sum(dim=0, dtype=torch.float64) for c in parts]).sum(dim=0)
        mean = (mean / len(states)).float()[None]
        for c in parts:
            states[c] = self.add_context(states[c].float(), mean)

    def class_logits(self, states: Tensor) -> Tensor:
        """Logits `(n, classes)` from the last states."""
        return self.classes(self.final(states))

    def shown(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """What affinities need of each point, `(n, width / 2)` twice."""
        normed = self.final(states)
        return self.together(normed), self.apart(normed)

    def affinity_logits(self, shown: tuple[Tensor, Tensor], all_shown: tuple[Tensor, Tensor], pairs: Pairs) -> Tensor:
        """Logits `(n, ranks)` that neighbours are of one cluster; symmetric up to the exchange of the two points."""
        together = shown[0][:, None] + all_shown[0][pairs.index]
        apart = (shown[1][:, None] - all_shown[1][pairs.index]).square()
        known = self.pair(pairs.features[..., : self.symmetric])
        return self.affinity(together + self.difference(apart) + known)[..., 0]

    def forward(
        self, features: Tensor, pairs: Pairs, field: Tensor, fields: int, kernels: Kernels | None = None
    ) -> tuple[Tensor, Tensor]:
        """Class logits `(n, classes)` and affinity logits `(n, ranks)` of points of several fields at once.

        Parameters
        ----------
        features
            Of points, `(n, point_features)`.
        pairs
            Neighbours of all points.
        field, fields
            Field of each point `(n,)`, and how many fields there are.
        kernels
            What works on the pairs in place of the plain operations.
        """
        states = self.embed(features)
        directed = self.start_fields(states)
        for place, layer in enumerate(self.layers):
            if place in CONTEXT_BEFORE:
                states = self.add_context(states, _field_means(self.summary(states), field, fields)[field])
            normed = layer.norm(states)
            own, shared = layer.own(normed), layer.other(normed)
            if kernels is None:
                gathered = layer.gather(own, directed, shared, directed, pairs)
            else:
                gathered = kernels.gather(layer, own, directed, shared, pairs)
            states, directed = layer.finish(states, normed, *gathered)
        shown = self.shown(states)
        affinities = (
            self.affinity_logits(shown, shown, pairs) if kernels is None else kernels.affinities(self, shown, pairs)
        )
        return self.class_logits(states), affinities


CONTEXT_BEFORE: Final = (1, 3)
"""Layers before which points are told of the whole field."""


def chunks(size: int) -> list[slice]:
    """Parts of so many points that are worked on one after the other, for the memory."""
    return [slice(first, min(first + _CHUNK, size)) for first in range(0, size, _CHUNK)]


def _field_means(values: Tensor, field: Tensor, fields: int) -> Tensor:
    total = values.new_zeros(fields, values.shape[1], dtype=torch.float32).index_add(0, field, values.float())
    count = torch.bincount(field, minlength=fields).clamp(min=1)
    return (total / count[:, None]).to(values.dtype)


def _contract(directions: Tensor, fields: Tensor) -> Tensor:
    """Scalar products by degree, `(n, ranks, 8)`, of harmonics `(n, ranks, 8)` and fields `(n, ranks or 1, 4, 8)`."""
    product = directions.to(fields.dtype)[:, :, None] * fields
    return torch.cat((product[..., :3].sum(-1), product[..., 3:].sum(-1)), dim=-1)
