"""The layers of the graph network on the CPU, compiled: pairs of neighbours never leave the cache.

The kernels do what belongs to pairs, and what follows from it for the point, for 32 points at a time. They compute what
`lucule.nn.graph` says, to rounding (tested), many times faster than tensors of all pairs would.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from lucule.classify.graph.inputs import ONE_FRAME, PAIR_FEATURES, RANKS, SMALLEST_NM, UNIT_NM, Columns
from lucule.classify.graph.vectors import (
    LANES,
    add_columns,
    add_lines,
    add_rows,
    add_rows_silu,
    add_transposed,
    attend,
    contract,
    fill_lines,
    padded,
    softmax,
    square_lines,
    take_logs,
)
from lucule.nn.graph import GraphLayer, GraphNetwork

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

BLOCK: Final = 32  # points whose pairs stay in the cache together
_K: Final = len(RANKS)
PAIRS: Final = -(-BLOCK * _K // LANES) * LANES
_ZERO, _HALF, _ONE, _ROOT = np.float32(0), np.float32(0.5), np.float32(1), np.float32(math.sqrt(3))
_SMALLEST_NM, _LOG_UNIT, _ONE_FRAME = np.float32(SMALLEST_NM), np.float32(math.log(UNIT_NM)), np.float32(ONE_FRAME)
_RANK_FEATURE: Final = (np.log(np.asarray(RANKS)) / 3).astype(np.float32)
_EPSILON: Final = np.float32(1e-5)  # of the normalisation

# What is known of the pairs of a block lies in lines of PAIRS numbers one after the other: the nine features, then the
# eight harmonics, then what these are made of. Distances between lines that the compiler knows let it make vector code.
HARMONICS: Final = PAIR_FEATURES * PAIRS
_X, _Y, _Z, _SQUARES, _GAP, _HERE, _THERE, _LENGTH = (HARMONICS + (8 + line) * PAIRS for line in range(8))
_LINES: Final = PAIR_FEATURES + 16


class Points(NamedTuple):
    """What pairs are made of, of all points; see `lucule.classify.graph.inputs.pairs`."""

    xyz: Floats
    frame: Floats
    squared_error: Floats
    log_spacing: Floats
    error_known: bool
    frame_known: bool

    @classmethod
    def of(cls, columns: Columns, spacing: Floats) -> Points:
        """Gather the arrays of one table."""
        return cls(
            columns.points.numpy(), columns.frame.numpy(), columns.error.square().numpy(), np.log(spacing),
            bool(columns.known[0, 0] > 0), bool(columns.known[0, 2] > 0),
        )  # fmt: skip


class Tile(NamedTuple):
    """Points that are worked on together, and what they see of others.

    Attributes
    ----------
    start
        The first of them; they follow each other.
    index
        Neighbours of all points of the table, `(n, ranks)`, -1 where there is none.
    place
        Where that which the tile sees of a point lies, `(n,)`; the points of the tile come first.
    """

    start: int
    index: Indices
    place: Indices


class LayerWeights(NamedTuple):
    """Weights of a layer, inputs by outputs, padded."""

    norm: Floats
    norm_bias: Floats
    own: Floats
    own_bias: Floats
    known: Floats
    turned: Floats
    gate: Floats
    gate_bias: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats

    @classmethod
    def of(cls, layer: GraphLayer) -> LayerWeights:
        """Bring the weights of a layer into the form that the kernels take."""
        pair = layer.pair.weight.numpy().T
        first, second = layer.update[0], layer.update[2]
        return cls(
            layer.norm.weight.numpy(), layer.norm.bias.numpy(), *_linear(layer.own), wide(pair[:PAIR_FEATURES]),
            wide(pair[PAIR_FEATURES:]), *_linear(layer.gate), *_linear(first), *_linear(second),
        )  # fmt: skip


class AffinityWeights(NamedTuple):
    """Weights of the affinities of pairs, inputs by outputs, padded."""

    difference: Floats
    known: Floats
    hidden: Floats
    hidden_bias: Floats
    last: Floats
    last_bias: Floats

    @classmethod
    def of(cls, network: GraphNetwork) -> AffinityWeights:
        """Bring the weights of a network into the form that the kernels take."""
        hidden, last = network.affinity[1], network.affinity[3]
        return cls(
            padded(network.difference.weight.numpy().T),
            wide(network.pair.weight.numpy().T), *_linear(hidden), *_linear(last),
        )  # fmt: skip


class ShownWeights(NamedTuple):
    """Weights of what points show to others: a normalisation, and what follows it, inputs by outputs, padded."""

    norm: Floats
    norm_bias: Floats
    linear: Floats
    linear_bias: Floats

    @classmethod
    def of(cls, norm: Any, linear: Any, bias: Floats | float = 0.0) -> ShownWeights:
        """Bring the weights into the form that the kernels take; `bias` is added to that of `linear`."""
        weights, own_bias = _linear(linear)
        own_bias[: linear.out_features] += bias
        return cls(norm.weight.numpy(), norm.bias.numpy(), weights, own_bias)


def _linear(part: Any) -> tuple[Floats, Floats]:
    return linear(part.weight, part.weight.new_zeros(part.out_features) if part.bias is None else part.bias)


def linear(weight: Tensor, bias: Tensor) -> tuple[Floats, Floats]:
    """Weights, inputs by outputs, and bias of a dense layer, padded."""
    own = bias.detach().numpy()
    return padded(weight.detach().numpy().T), np.pad(own, (0, -len(own) % LANES))


def wide(weights: Floats) -> Floats:
    """Weights padded to whole vectors of outputs; for products that take any number of inputs."""
    return padded(weights)[: len(weights)]


@njit(cache=True, nogil=True)
def show_between(states, weights, shown, first, last):  # type: ignore[no-untyped-def]
    """What the points `first` to before `last` show to others, `(n, columns of the weights)`, from their states."""
    normed = np.zeros((BLOCK, len(weights.linear)), np.float32)
    block = np.zeros((BLOCK, weights.linear.shape[1]), np.float32)
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        for p in range(many):
            _normalise(states[low + p], weights.norm, weights.norm_bias, normed[p])
            block[p] = weights.linear_bias
        add_rows(normed, 0, normed.shape[1], weights.linear, block, many)
        shown[low : low + many] = block[:many]


@njit(cache=True, nogil=True)
def layer_between(points, tile, weights, shared, fields, states, new_fields, first, last):  # type: ignore[no-untyped-def]
    """Exchange messages for the points `first` to before `last` of a tile.

    Parameters
    ----------
    shared, fields
        What the tile sees of points, `(m, width)` with zeros up to whole vectors, and `(m, 32)`, four channels for
        each harmonic.
    states, new_fields
        Of the points of the tile, `(size, width)` and `(size, 32)`; both are written.
    """
    width = states.shape[1]
    joined, inner = len(weights.first), weights.first.shape[1]
    wide = weights.own.shape[1]
    lines, other = np.zeros(_LINES * PAIRS, np.float32), np.empty(PAIRS, np.int32)
    ends = np.empty(BLOCK + 1, np.int32)
    turned = np.zeros((PAIRS, LANES), np.float32)
    message, gates = np.zeros((PAIRS, wide), np.float32), np.zeros((PAIRS, LANES), np.float32)
    seen, own = np.zeros((BLOCK, joined), np.float32), np.zeros((BLOCK, wide), np.float32)
    deep, change = np.zeros((BLOCK, inner), np.float32), np.zeros((BLOCK, wide), np.float32)
    gathered, attended = np.empty((8, LANES), np.float32), np.empty((2, LANES), np.float32)
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        used = _pairs(tile.start + low, many, points, tile.index, lines, other, ends)
        _features(points, lines, used)
        for p in range(many):
            _normalise(states[low + p], weights.norm, weights.norm_bias, seen[p])
            own[p] = weights.own_bias
        add_rows(seen, 0, joined, weights.own, own, many)
        for p in range(many):
            for r in range(ends[p], ends[p + 1]):
                j = tile.place[other[r]]
                contract(lines, HARMONICS + r, PAIRS, fields, low + p, j, turned, r)
                add_lines(own, p, shared, j, message, r)
        add_columns(lines, 0, PAIRS, weights.known, message, used)
        add_rows_silu(turned, 0, LANES, weights.turned, message, used)
        fill_lines(weights.gate_bias, gates, used)
        add_rows(message, 0, wide, weights.gate, gates, used)
        for p in range(many):
            own_sum, most = seen[p, width : 2 * width], seen[p, 2 * width : 3 * width]
            gather(lines, ends[p], ends[p + 1], width, gates, message, gathered, attended, own_sum, most)
            turn_fields(gathered, new_fields[low + p], seen[p, 3 * width :])
            deep[p] = weights.first_bias
            for w in range(width):
                change[p, w] = states[low + p, w] + weights.second_bias[w]
        add_rows_silu(seen, 0, joined, weights.first, deep, many)
        add_rows(deep, 0, inner, weights.second, change, many)
        for p in range(many):
            for w in range(width):
                states[low + p, w] = change[p, w]


@njit(cache=True, nogil=True)
def affinities_between(points, tile, weights, together, apart, log_odds, first, last):  # type: ignore[no-untyped-def]
    """Logits that neighbours are of one cluster, for the points `first` to before `last` of a tile.

    Parameters
    ----------
    together, apart
        What the tile sees of points, `(m, width / 2)` with zeros up to whole vectors: what is added, and that whose
        difference counts.
    log_odds
        Of all points of the table, `(n, ranks)`; those of these points are written where there is a neighbour.
    """
    wide = weights.hidden.shape[1]
    lines, other = np.zeros(_LINES * PAIRS, np.float32), np.empty(PAIRS, np.int32)
    ends = np.empty(BLOCK + 1, np.int32)
    squares, sums = np.zeros((PAIRS, wide), np.float32), np.zeros((PAIRS, wide), np.float32)
    deep = np.zeros((PAIRS, wide), np.float32)
    logits = np.zeros((PAIRS, LANES), np.float32)
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        used = _pairs(tile.start + low, many, points, tile.index, lines, other, ends)
        _features(points, lines, used)
        for p in range(many):
            i = low + p
            for r in range(ends[p], ends[p + 1]):
                j = tile.place[other[r]]
                add_lines(together, i, together, j, sums, r)
                square_lines(apart, i, apart, j, squares, r)
        fill_lines(weights.hidden_bias, deep, used)
        add_columns(lines, 0, PAIRS, weights.known, sums, used)
        add_rows_silu(squares, 0, wide, weights.difference, sums, used)
        add_rows_silu(sums, 0, wide, weights.hidden, deep, used)
        fill_lines(weights.last_bias, logits, used)
        add_rows(deep, 0, wide, weights.last, logits, used)
        r = 0
        for i in range(tile.start + low, tile.start + low + many):
            for slot in range(_K):
                if tile.index[i, slot] >= 0:
                    log_odds[i, slot] = logits[r, 0]
                    r += 1


@njit(cache=True, nogil=True)
def _pairs(row, many, points, index, lines, other, ends):  # type: ignore[no-untyped-def]
    """Collect the pairs of `many` points from `row` on; those of the p-th are `ends[p]` to `ends[p + 1]`."""
    used = 0
    for i in range(row, row + many):
        ends[i - row] = used
        x, y, z = points.xyz[i, 0], points.xyz[i, 1], points.xyz[i, 2]
        frame, square, here = points.frame[i], points.squared_error[i], points.log_spacing[i]
        for slot in range(_K):
            j = index[i, slot]
            if j < 0:
                continue
            other[used] = j
            lines[_X + used] = points.xyz[j, 0] - x
            lines[_Y + used] = points.xyz[j, 1] - y
            lines[_Z + used] = points.xyz[j, 2] - z
            lines[_SQUARES + used] = square + points.squared_error[j]
            lines[_GAP + used] = points.frame[j] - frame
            lines[_HERE + used] = here
            lines[_THERE + used] = points.log_spacing[j]
            lines[8 * PAIRS + used] = _RANK_FEATURE[slot]
            used += 1
    ends[many] = used
    return used


@njit(cache=True, nogil=True, fastmath=True)
def _features(points, lines, used):  # type: ignore[no-untyped-def]
    """The nine features and the eight harmonics of the pairs that `_pairs` has collected."""
    size = -(-used // LANES) * LANES
    if used == 0:
        return
    for r in range(size):
        x, y, z = lines[_X + r], lines[_Y + r], lines[_Z + r]
        distance = np.sqrt(x * x + y * y + z * z)
        lines[_LENGTH + r] = distance + _SMALLEST_NM
        scale = _ONE / max(distance, _SMALLEST_NM)
        x, y, z = x * scale, y * scale, z * scale
        lines[HARMONICS + r] = x
        lines[HARMONICS + PAIRS + r] = y
        lines[HARMONICS + 2 * PAIRS + r] = z
        lines[HARMONICS + 3 * PAIRS + r] = _ROOT * x * y
        lines[HARMONICS + 4 * PAIRS + r] = _ROOT * y * z
        lines[HARMONICS + 5 * PAIRS + r] = z * z - (x * x + y * y) * _HALF
        lines[HARMONICS + 6 * PAIRS + r] = _ROOT * x * z
        lines[HARMONICS + 7 * PAIRS + r] = _ROOT * (x * x - y * y) * _HALF
        gap = abs(lines[_GAP + r])
        lines[3 * PAIRS + r] = _ONE if gap <= _ONE_FRAME else _ZERO
        lines[2 * PAIRS + r] = gap + _ONE
        lines[PAIRS + r] = max(lines[_SQUARES + r], np.float32(1e-30))
    take_logs(lines, _LENGTH, size)
    take_logs(lines, PAIRS, size)
    take_logs(lines, 2 * PAIRS, size)
    error_known = _ONE if points.error_known else _ZERO
    frame_known = _ONE if points.frame_known else _ZERO
    for r in range(size):
        length = lines[_LENGTH + r]
        here, there = length - lines[_HERE + r], length - lines[_THERE + r]
        lines[r] = length - _LOG_UNIT
        lines[PAIRS + r] = (length - _HALF * lines[PAIRS + r]) * error_known
        lines[2 * PAIRS + r] *= np.float32(0.2) * frame_known
        lines[3 * PAIRS + r] *= frame_known
        lines[4 * PAIRS + r], lines[5 * PAIRS + r] = max(here, there), min(here, there)
        lines[6 * PAIRS + r], lines[7 * PAIRS + r] = here, there


@njit(cache=True, nogil=True, fastmath=True)
def _normalise(values, weight, bias, out):  # type: ignore[no-untyped-def]
    width = len(values)
    mean, square = _ZERO, _ZERO
    for w in range(width):
        mean += values[w]
    mean /= np.float32(width)
    for w in range(width):
        square += (values[w] - mean) * (values[w] - mean)
    scale = _ONE / np.sqrt(square / np.float32(width) + _EPSILON)
    for w in range(width):
        out[w] = (values[w] - mean) * scale * weight[w] + bias[w]


@njit(cache=True, nogil=True)
def gather(lines, first, last, width, gates, message, gathered, out, attended, largest):  # type: ignore[no-untyped-def]
    """Weighted sum by heads, and the largest, of the messages `first` to before `last` of a point; 0 without any.

    `gathered` `(8, 16)` gets the harmonics times the gates, and the gates become weights. `out` `(2, 16)` is for what
    comes in between.
    """
    gathered[:] = _ZERO
    if first == last:
        attended[:], largest[:] = _ZERO, _ZERO
        return
    add_transposed(lines, HARMONICS, PAIRS, gates, first, last, gathered)
    softmax(gates, first, last)
    head = width // 4
    for h in range(4):
        begin, end = h * head, (h + 1) * head
        for column in range(begin // LANES * LANES, end, LANES):
            attend(gates, h, message, column, first, last, out)
            for w in range(max(begin, column), min(end, column + LANES)):
                attended[w], largest[w] = out[0, w - column], out[1, w - column]


@njit(cache=True, nogil=True, fastmath=True)
def turn_fields(gathered, fields, strength):  # type: ignore[no-untyped-def]
    """New fields of a point, and their strength by degree and channel."""
    for c in range(8):
        strength[c] = _ZERO
    for m in range(8):
        degree = 0 if m < 3 else 1
        for c in range(4):
            value = gathered[m, 4 + 4 * degree + c] * np.float32(_ONE / _K)
            fields[4 * m + c] = value
            strength[4 * degree + c] += value * value
