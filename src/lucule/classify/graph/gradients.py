"""Training of the graph network on the CPU, compiled: what belongs to pairs, and its gradients, in the cache.

As tensors of all pairs, an exchange of messages writes some thirty numbers of 64 channels for each pair to memory and
reads them again; here 32 points are worked on at a time, forward and once more backward, so that only what belongs to
points is kept. The results are those of `lucule.nn.graph`, to rounding (tested).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from lucule.classify.graph.inputs import PAIR_FEATURES, RANKS
from lucule.classify.graph.kernels import BLOCK, HARMONICS, PAIRS, gather, linear, turn_fields, wide
from lucule.classify.graph.vectors import (
    LANES,
    activate,
    add_columns,
    add_lines,
    add_rows,
    add_rows_silu,
    contract,
    fill_lines,
    padded,
    softmax,
    square_lines,
)
from lucule.nn import as_array
from lucule.nn.graph import GraphLayer, GraphNetwork, Pairs
from lucule.space.threads import share

Floats = NDArray[np.float32]

_K: Final = len(RANKS)
_LINES: Final = (PAIR_FEATURES + 8) * PAIRS
_FIELDS: Final = 32
_ZERO, _TWO, _PART_OF_RANKS = np.float32(0), np.float32(2), np.float32(1 / _K)
_SMALLEST: Final = np.float32(-np.inf)
# sums of gradients that are made apart and then added: fixed, so that they do not depend on the number of threads
_PARTS: Final = 4


class PairKernels:
    """See `lucule.nn.graph.Kernels`."""

    @classmethod
    def for_training(cls, network: GraphNetwork, features: Tensor) -> PairKernels | None:
        """Give the kernels where they can be used: float32 on the CPU, a network whose widths are whole vectors."""
        plain = features.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        return cls() if plain and network.together.out_features % LANES == 0 else None

    def gather(
        self, layer: GraphLayer, own: Tensor, fields: Tensor, shared: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `GraphLayer.gather`, of all points."""
        attended, largest, turned = _Gather.apply(  # type: ignore[no-untyped-call]
            _near(pairs), own, shared, fields.transpose(1, 2).reshape(len(own), _FIELDS),
            layer.pair.weight, layer.gate.weight, layer.gate.bias,
        )  # fmt: skip
        return attended, largest, turned.view(len(own), 8, 4).transpose(1, 2)

    def affinities(self, network: GraphNetwork, shown: tuple[Tensor, Tensor], pairs: Pairs) -> Tensor:
        """As `GraphNetwork.affinity_logits`, of all points; 0 where there is no neighbour."""
        hidden, last = network.affinity[1], network.affinity[3]
        logits: Tensor = _Affinities.apply(  # type: ignore[no-untyped-call]
            _near(pairs), shown[0] + network.pair.bias / 2, shown[1], network.pair.weight, network.difference.weight,
            hidden.weight, hidden.bias, last.weight, last.bias,
        )  # fmt: skip
        return logits


class _Near(NamedTuple):
    """The pairs of all points, as the kernels take them."""

    index: NDArray[np.int64]
    present: NDArray[np.bool_]
    features: Floats
    harmonics: Floats


class _MessageWeights(NamedTuple):
    """Weights of messages, inputs by outputs, padded, and some turned round for what goes back."""

    known: Floats
    turned: Floats
    gate: Floats
    gate_bias: Floats
    turned_back: Floats
    gate_back: Floats


class _AffinityWeights(NamedTuple):
    """Weights of affinities, inputs by outputs, padded, and some turned round for what goes back."""

    known: Floats
    difference: Floats
    hidden: Floats
    hidden_bias: Floats
    last: Floats
    last_bias: Floats
    difference_back: Floats
    hidden_back: Floats


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, near: _Near, own: Tensor, shared: Tensor, fields: Tensor, pair: Tensor, gate: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.near = near
        ctx.save_for_backward(own, shared, fields, pair, gate, bias)
        weights = _message_weights(pair, gate, bias)
        n, width = own.shape
        outputs = torch.empty(n, width), torch.empty(n, width), torch.empty(n, _FIELDS)
        inputs = as_array(own), as_array(shared), as_array(fields)
        _on_parts(partial(_gather, near, weights, *inputs, *(output.numpy() for output in outputs)), n)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        own, shared, fields, pair, gate, bias = ctx.saved_tensors
        weights = _message_weights(pair, gate, bias)
        n, width = own.shape
        by_own = np.empty((n, width), np.float32)
        by_shared, by_fields = np.zeros((_PARTS, n, width), np.float32), np.zeros((_PARTS, n, _FIELDS), np.float32)
        by_known = np.zeros((_PARTS, _up(PAIR_FEATURES), width), np.float32)
        by_turned = np.zeros((_PARTS, LANES, width), np.float32)
        by_gate, by_bias = np.zeros((_PARTS, width, LANES), np.float32), np.zeros((_PARTS, LANES), np.float32)
        inputs = [as_array(value) for value in (own, shared, fields, *gradients)]
        sums = by_shared, by_fields, by_known, by_turned, by_gate, by_bias
        _on_parts(partial(_gather_back, ctx.near, weights, *inputs, by_own, *sums), n)
        shares, turns, known, turned, gates, biases = (_sum(parts) for parts in sums)
        by_pair = torch.cat((known[:PAIR_FEATURES], turned)).T
        outputs = len(bias)
        return None, torch.from_numpy(by_own), shares, turns, by_pair, gates.T[:outputs], biases[:outputs]


class _Affinities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, near: _Near, together: Tensor, apart: Tensor, *weights: Tensor) -> Tensor:
        ctx.near = near
        ctx.save_for_backward(together, apart, *weights)
        logits = torch.zeros(near.index.shape)
        inputs = as_array(together), as_array(apart)
        _on_parts(partial(_affinities, near, _affinity_weights(*weights), *inputs, logits.numpy()), len(together))
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        together, apart, *weights = ctx.saved_tensors
        n, width = together.shape
        symmetric = weights[0].shape[1]
        by_together, by_apart = (np.zeros((_PARTS, n, width), np.float32) for _ in range(2))
        by_known = np.zeros((_PARTS, _up(symmetric), width), np.float32)
        by_difference, by_hidden = (np.zeros((_PARTS, width, width), np.float32) for _ in range(2))
        by_hidden_bias, by_last = (np.zeros((_PARTS, width), np.float32) for _ in range(2))
        by_last_bias = np.zeros((_PARTS, 1), np.float32)
        sums = by_together, by_apart, by_known, by_difference, by_hidden, by_hidden_bias, by_last, by_last_bias
        inputs = as_array(together), as_array(apart), as_array(gradients[0])
        _on_parts(partial(_affinities_back, ctx.near, _affinity_weights(*weights), *inputs, *sums), n)
        first, second, known, difference, hidden, hidden_bias, last, last_bias = (_sum(parts) for parts in sums)
        return (
            None, first, second, known[:symmetric].T, difference.T, hidden.T, hidden_bias, last[None], last_bias,
        )  # fmt: skip


def _near(pairs: Pairs) -> _Near:
    return _Near(pairs.index.numpy(), pairs.present.numpy(), as_array(pairs.features), as_array(pairs.harmonics))


def _message_weights(pair: Tensor, gate: Tensor, bias: Tensor) -> _MessageWeights:
    known, turned = as_array(pair[:, :PAIR_FEATURES].T), as_array(pair[:, PAIR_FEATURES:].T)
    return _MessageWeights(wide(known), wide(turned), *linear(gate, bias), padded(turned.T), padded(as_array(gate)))


def _affinity_weights(
    known: Tensor, difference: Tensor, hidden: Tensor, hidden_bias: Tensor, last: Tensor, last_bias: Tensor
) -> _AffinityWeights:
    return _AffinityWeights(
        wide(as_array(known.T)), padded(as_array(difference.T)), *linear(hidden, hidden_bias), *linear(last, last_bias),
        padded(as_array(difference)), padded(as_array(hidden)),
    )  # fmt: skip


def _up(rows: int) -> int:
    """Rows that a product writes, if it is to give so many."""
    return -(-rows // 8) * 8


def _sum(parts: Floats) -> Tensor:
    return torch.from_numpy(parts.sum(axis=0))


def _on_parts(work: Any, size: int) -> None:
    """Call `work(part, first, last)` for all parts, on all threads."""
    borders = [part * size // _PARTS for part in range(_PARTS + 1)]

    def some(first: int, last: int) -> None:
        # gradients of what is certain are so small that processors would take a path that is ten times slower
        torch.set_flush_denormal(True)
        try:
            for part in range(first, last):
                work(part, borders[part], borders[part + 1])
        finally:
            torch.set_flush_denormal(False)

    share(some, _PARTS, least=1, most=1)


@njit(cache=True, nogil=True)
def _collect(near, low, many, lines, other, slots, ends):  # type: ignore[no-untyped-def]
    """Bring the pairs of `many` points from `low` on into lines; those of the p-th are `ends[p]` to `ends[p + 1]`."""
    used = 0
    for p in range(many):
        ends[p] = used
        for slot in range(near.index.shape[1]):
            if not near.present[low + p, slot]:
                continue
            other[used], slots[used] = near.index[low + p, slot], slot
            for f in range(PAIR_FEATURES):
                lines[f * PAIRS + used] = near.features[low + p, slot, f]
            for m in range(8):
                lines[HARMONICS + m * PAIRS + used] = near.harmonics[low + p, slot, m]
            used += 1
    ends[many] = used
    return used


@njit(cache=True, nogil=True)
def _see(lines, other, ends, many, low, own, shared, fields, weights, turned, message):  # type: ignore[no-untyped-def]
    """What messages are made of, but for what directions add: into `message`; and directions, into `turned`."""
    for p in range(many):
        for r in range(ends[p], ends[p + 1]):
            contract(lines, HARMONICS + r, PAIRS, fields, low + p, other[r], turned, r)
            add_lines(own, low + p, shared, other[r], message, r)
    add_columns(lines, 0, PAIRS, weights.known, message, ends[many])


@njit(cache=True, nogil=True)
def _gather(near, weights, own, shared, fields, attended, largest, new_fields, _part, first, last):  # type: ignore[no-untyped-def]
    """Messages of the points `first` to before `last`, gathered."""
    width = own.shape[1]
    lines, other, slots = np.zeros(_LINES, np.float32), np.empty(PAIRS, np.int64), np.empty(PAIRS, np.int64)
    ends = np.empty(BLOCK + 1, np.int64)
    turned, gates = np.zeros((PAIRS, LANES), np.float32), np.zeros((PAIRS, LANES), np.float32)
    message = np.zeros((PAIRS, width), np.float32)
    gathered, two = np.empty((8, LANES), np.float32), np.empty((2, LANES), np.float32)
    strength = np.empty(8, np.float32)  # the plain operations take it from the fields
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        used = _collect(near, low, many, lines, other, slots, ends)
        _see(lines, other, ends, many, low, own, shared, fields, weights, turned, message)
        add_rows_silu(turned, 0, LANES, weights.turned, message, used)
        fill_lines(weights.gate_bias, gates, used)
        add_rows(message, 0, width, weights.gate, gates, used)
        for p in range(many):
            gather(
                lines, ends[p], ends[p + 1], width, gates, message, gathered, two, attended[low + p], largest[low + p]
            )
            turn_fields(gathered, new_fields[low + p], strength)


@njit(cache=True, nogil=True)
def _gather_back(  # type: ignore[no-untyped-def]
    near, weights, own, shared, fields, to_attended, to_largest, to_fields,
    by_own, by_shared, by_fields, by_known, by_turned, by_gate, by_bias, part, first, last,
):  # fmt: skip
    """Gradients of `_gather`; those of other points and of weights are added up in a part of their own."""
    width = own.shape[1]
    lines, other, slots = np.zeros(_LINES, np.float32), np.empty(PAIRS, np.int64), np.empty(PAIRS, np.int64)
    ends = np.empty(BLOCK + 1, np.int64)
    turned, gates = np.zeros((PAIRS, LANES), np.float32), np.zeros((PAIRS, LANES), np.float32)
    message, slope = np.zeros((PAIRS, width), np.float32), np.zeros((PAIRS, width), np.float32)
    to_message, to_gates = np.zeros((PAIRS, width), np.float32), np.zeros((PAIRS, LANES), np.float32)
    to_turned = np.zeros((PAIRS, LANES), np.float32)
    most, where = np.empty(width, np.float32), np.empty(width, np.int64)
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        used = _collect(near, low, many, lines, other, slots, ends)
        _see(lines, other, ends, many, low, own, shared, fields, weights, turned, message)
        add_rows(turned, 0, LANES, weights.turned, message, used)
        activate(message, slope, used)
        fill_lines(weights.gate_bias, gates, used)
        add_rows(message, 0, width, weights.gate, gates, used)
        for p in range(many):
            if ends[p] < ends[p + 1]:
                softmax(gates, ends[p], ends[p + 1])
                _attend_back(
                    ends[p], ends[p + 1], width, gates, message, to_attended[low + p], to_largest[low + p],
                    to_message, to_gates, most, where,
                )  # fmt: skip
                _turn_back(lines, ends[p], ends[p + 1], to_fields[low + p], to_gates)
        # what lies behind the last pair is a summand below
        to_message[used:], to_gates[used:] = _ZERO, _ZERO
        add_rows(to_gates, 0, LANES, weights.gate_back, to_message, used)
        add_columns(message, 0, width, to_gates, by_gate[part], width)
        _add_up(to_gates, used, by_bias[part])
        _times(to_message, slope, used)
        to_message[used:] = _ZERO
        add_rows(lines, 0, PAIRS, to_message, by_known[part], PAIR_FEATURES)
        add_columns(turned, 0, LANES, to_message, by_turned[part], LANES)
        to_turned[:used] = _ZERO
        add_rows(to_message, 0, width, weights.turned_back, to_turned, used)
        for p in range(many):
            i = low + p
            by_own[i] = _ZERO
            for r in range(ends[p], ends[p + 1]):
                j = other[r]
                _add_twice(to_message[r], by_own[i], by_shared[part, j])
                _add_fields(lines, r, to_turned[r], by_fields[part, i], by_fields[part, j])


@njit(nogil=True, fastmath=True)
def _attend_back(first, last, width, weights, message, to_attended, to_largest, to_message, to_gates, most, where):  # type: ignore[no-untyped-def]
    """What goes back to messages and to the gates of the heads from their weighted sum and from the largest."""
    head = width // 4
    for w in range(width):
        most[w], where[w] = _SMALLEST, first
    for r in range(first, last):
        for w in range(width):
            larger = message[r, w] > most[w]
            most[w] = message[r, w] if larger else most[w]
            where[w] = r if larger else where[w]
    for h in range(4):
        total = _ZERO
        for r in range(first, last):
            product, weight = _ZERO, weights[r, h]
            for w in range(h * head, (h + 1) * head):
                product += to_attended[w] * message[r, w]
                to_message[r, w] = weight * to_attended[w]
            to_gates[r, h] = product
            total += weight * product
        for r in range(first, last):
            to_gates[r, h] = weights[r, h] * (to_gates[r, h] - total)
    for w in range(width):
        to_message[where[w], w] += to_largest[w]


@njit(nogil=True, fastmath=True)
def _turn_back(lines, first, last, to_fields, to_gates):  # type: ignore[no-untyped-def]
    """What goes back to the gates of the fields."""
    for r in range(first, last):
        for c in range(4):
            one, two = _ZERO, _ZERO
            for m in range(3):
                one += to_fields[4 * m + c] * lines[HARMONICS + m * PAIRS + r]
            for m in range(3, 8):
                two += to_fields[4 * m + c] * lines[HARMONICS + m * PAIRS + r]
            to_gates[r, 4 + c], to_gates[r, 8 + c] = one * _PART_OF_RANKS, two * _PART_OF_RANKS


@njit(nogil=True, fastmath=True)
def _add_up(values, used, total):  # type: ignore[no-untyped-def]
    for r in range(used):
        for c in range(len(total)):
            total[c] += values[r, c]


@njit(nogil=True, fastmath=True)
def _times(values, other, used):  # type: ignore[no-untyped-def]
    for r in range(used):
        for c in range(values.shape[1]):
            values[r, c] *= other[r, c]


@njit(nogil=True, fastmath=True)
def _add_twice(values, one, other):  # type: ignore[no-untyped-def]
    for c in range(len(values)):
        one[c] += values[c]
        other[c] += values[c]


@njit(nogil=True, fastmath=True)
def _add_fields(lines, r, to_turned, one, other):  # type: ignore[no-untyped-def]
    for m in range(8):
        turned, degree = lines[HARMONICS + m * PAIRS + r], 0 if m < 3 else 4
        for c in range(4):
            one[4 * m + c] += turned * to_turned[degree + c]
            other[4 * m + c] += turned * to_turned[8 + degree + c]


@njit(cache=True, nogil=True)
def _compare(lines, other, ends, many, low, together, apart, weights, squares, sums):  # type: ignore[no-untyped-def]
    """What affinities are made of, before its first activation, into `sums`."""
    for p in range(many):
        for r in range(ends[p], ends[p + 1]):
            add_lines(together, low + p, together, other[r], sums, r)
            square_lines(apart, low + p, apart, other[r], squares, r)
    add_columns(lines, 0, PAIRS, weights.known, sums, ends[many])


@njit(cache=True, nogil=True)
def _affinities(near, weights, together, apart, logits, _part, first, last):  # type: ignore[no-untyped-def]
    """Logits of the pairs of the points `first` to before `last`."""
    width = together.shape[1]
    lines, other, slots = np.zeros(_LINES, np.float32), np.empty(PAIRS, np.int64), np.empty(PAIRS, np.int64)
    ends = np.empty(BLOCK + 1, np.int64)
    squares, sums = np.zeros((PAIRS, width), np.float32), np.zeros((PAIRS, width), np.float32)
    deep, found = np.zeros((PAIRS, width), np.float32), np.zeros((PAIRS, LANES), np.float32)
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        used = _collect(near, low, many, lines, other, slots, ends)
        _compare(lines, other, ends, many, low, together, apart, weights, squares, sums)
        add_rows_silu(squares, 0, width, weights.difference, sums, used)
        fill_lines(weights.hidden_bias, deep, used)
        add_rows_silu(sums, 0, width, weights.hidden, deep, used)
        fill_lines(weights.last_bias, found, used)
        add_rows(deep, 0, width, weights.last, found, used)
        for p in range(many):
            for r in range(ends[p], ends[p + 1]):
                logits[low + p, slots[r]] = found[r, 0]


@njit(cache=True, nogil=True)
def _affinities_back(  # type: ignore[no-untyped-def]
    near, weights, together, apart, to_logits, by_together, by_apart, by_known, by_difference, by_hidden,
    by_hidden_bias, by_last, by_last_bias, part, first, last,
):  # fmt: skip
    """Gradients of `_affinities`; all are added up in a part of their own."""
    width = together.shape[1]
    lines, other, slots = np.zeros(_LINES, np.float32), np.empty(PAIRS, np.int64), np.empty(PAIRS, np.int64)
    ends = np.empty(BLOCK + 1, np.int64)
    squares, sums, slope, deep, deep_slope, to_sums, to_squares = np.zeros((7, PAIRS, width), np.float32)
    for low in range(first, last, BLOCK):
        many = min(BLOCK, last - low)
        used = _collect(near, low, many, lines, other, slots, ends)
        _compare(lines, other, ends, many, low, together, apart, weights, squares, sums)
        add_rows(squares, 0, width, weights.difference, sums, used)
        activate(sums, slope, used)
        fill_lines(weights.hidden_bias, deep, used)
        add_rows(sums, 0, width, weights.hidden, deep, used)
        activate(deep, deep_slope, used)
        for p in range(many):
            for r in range(ends[p], ends[p + 1]):
                to_logit = to_logits[low + p, slots[r]]
                by_last_bias[part, 0] += to_logit
                _last_back(to_logit, weights.last, deep[r], deep_slope[r], by_last[part])
        # now `deep_slope` is what goes back to before the activation
        deep_slope[used:] = _ZERO
        add_columns(sums, 0, width, deep_slope, by_hidden[part], width)
        _add_up(deep_slope, used, by_hidden_bias[part])
        to_sums[:used] = _ZERO
        add_rows(deep_slope, 0, width, weights.hidden_back, to_sums, used)
        _times(to_sums, slope, used)
        to_sums[used:] = _ZERO
        add_rows(lines, 0, PAIRS, to_sums, by_known[part], by_known.shape[1])
        add_columns(squares, 0, width, to_sums, by_difference[part], width)
        to_squares[:used] = _ZERO
        add_rows(to_sums, 0, width, weights.difference_back, to_squares, used)
        for p in range(many):
            i = low + p
            for r in range(ends[p], ends[p + 1]):
                j = other[r]
                _add_twice(to_sums[r], by_together[part, i], by_together[part, j])
                _difference_back(to_squares[r], apart[i], apart[j], by_apart[part, i], by_apart[part, j])


@njit(nogil=True, fastmath=True)
def _last_back(to_logit, last, deep, slope, by_last):  # type: ignore[no-untyped-def]
    for c in range(len(deep)):
        by_last[c] += to_logit * deep[c]
        slope[c] *= to_logit * last[c, 0]


@njit(nogil=True, fastmath=True)
def _difference_back(to_squares, one, other, by_one, by_other):  # type: ignore[no-untyped-def]
    for c in range(len(one)):
        value = _TWO * (one[c] - other[c]) * to_squares[c]
        by_one[c] += value
        by_other[c] -= value
