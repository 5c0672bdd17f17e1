"""The layers of the graph network on the CPU, compiled: a pair of neighbours never leaves the cache.

What belongs to single points stays with torch; the kernels do what belongs to pairs, which is nearly all of the work.
They compute what `lucule.nn.graph` says, to rounding (tested), many times faster than tensors of all pairs would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from lucule.classify.graph.inputs import PAIR_FEATURES, RANKS, Columns
from lucule.nn.graph import GraphLayer, GraphNetwork
from lucule.space.threads import share

Floats = NDArray[np.float32]

_LEAST, _MOST = 256, 8_192
_BLOCK: Final = 32  # points whose pairs stay in the cache together
_ZERO, _HALF, _ONE, _ROOT = np.float32(0), np.float32(0.5), np.float32(1), np.float32(math.sqrt(3))
_MINUS_LOG2E: Final = np.float32(-1.4426950408889634)
_SMALLEST_NM, _LOG_UNIT, _ONE_FRAME = np.float32(0.5), np.float32(math.log(100)), np.float32(1.5)
_RANK_FEATURE: Final = (np.log(np.asarray(RANKS)) / 3).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PairInputs:
    """What pairs are made of, as arrays: see `lucule.classify.graph.inputs.pairs`."""

    points: Floats
    frame: Floats
    squared_error: Floats
    log_spacing: Floats
    index: NDArray[np.int32]
    distance: Floats
    error_known: bool
    frame_known: bool

    @classmethod
    def of(cls, columns: Columns, index: NDArray[np.int32], distance: Floats, spacing: Tensor) -> PairInputs:
        """Gather the arrays of one table."""
        return cls(
            columns.points.numpy(), columns.frame.numpy(), columns.error.square().numpy(), spacing.log().numpy(),
            index, distance, bool(columns.known[0, 0] > 0), bool(columns.known[0, 2] > 0),
        )  # fmt: skip

    def arguments(self) -> tuple[Any, ...]:
        """Give the arrays in the order in which the kernels take them."""
        return (self.points, self.frame, self.squared_error, self.log_spacing, self.index, self.distance,
                self.error_known, self.frame_known, _RANK_FEATURE)  # fmt: skip


def messages(
    layer: GraphLayer, own: Tensor, shared: Tensor, fields: Tensor, inputs: PairInputs, first: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Attended messages `(n, width)`, largest messages `(n, width)`, new fields `(n, 4, 8)` of a chunk.

    `own` are the n points from `first` on; `shared` and `fields` are those of all points.
    """
    n, width = own.shape
    attended, largest = np.empty((n, width), np.float32), np.empty((n, width), np.float32)
    new_fields = np.empty((n, 32), np.float32)
    weights = (
        np.ascontiguousarray(layer.pair.weight.numpy().T),
        np.ascontiguousarray(np.pad(layer.gate.weight.numpy().T, ((0, 0), (0, 4)))),
        np.pad(layer.gate.bias.numpy(), (0, 4)),
    )
    arrays = (own.numpy(), shared.numpy(), fields.view(-1, 32).numpy(), *weights, attended, largest, new_fields)
    share(lambda a, b: _messages(a, b, first, *inputs.arguments(), *arrays), n, least=_LEAST, most=_MOST)
    return torch.from_numpy(attended), torch.from_numpy(largest), torch.from_numpy(new_fields).view(n, 4, 8)


def affinities(network: GraphNetwork, shown: tuple[Tensor, Tensor], inputs: PairInputs) -> Floats:
    """Logits `(n, ranks)` of all pairs; 0 where there is none."""
    log_odds = np.zeros(inputs.index.shape, np.float32)
    hidden, last = network.affinity[1], network.affinity[3]
    weights = (
        np.ascontiguousarray(network.difference.weight.numpy().T),
        np.ascontiguousarray(np.pad(network.pair.weight.numpy().T, ((0, PAIR_FEATURES - network.symmetric), (0, 0)))),
        np.ascontiguousarray(hidden.weight.numpy().T),  # type: ignore[operator]
        hidden.bias.numpy(),  # type: ignore[operator]
        last.weight.numpy()[0],  # type: ignore[operator]
        np.float32(last.bias.item()),  # type: ignore[operator]
    )
    together = shown[0] + network.pair.bias / 2  # added twice, once for each point
    arrays = (together.numpy(), shown[1].numpy(), *weights, log_odds)
    share(lambda a, b: _affinities(a, b, *inputs.arguments()[1:], *arrays), len(log_odds), least=_LEAST, most=_MOST)
    return log_odds


@njit(cache=True, nogil=True, fastmath=True)
def _silu(values, part, bits, power):  # type: ignore[no-untyped-def]
    """Apply x / (1 + exp(-x)) in place for a flat array; `power` is `bits` seen as floats.

    Two loops, because the compiler cannot vectorise one that writes whole numbers and reads them as floats.
    """
    for w in range(values.size):
        t = min(max(values[w] * _MINUS_LOG2E, np.float32(-100.0)), np.float32(100.0)) + np.float32(128.0)
        whole = np.int32(t)
        part[w] = t - np.float32(whole)
        bits[w] = (whole - 1) << 23
    for w in range(values.size):
        f = part[w]
        p = np.float32(0.0013333558) * f + np.float32(0.009618129)
        p = p * f + np.float32(0.055504109)
        p = p * f + np.float32(0.24022651)
        p = p * f + np.float32(0.69314718)
        values[w] = values[w] / (np.float32(1.0) + (p * f + np.float32(1.0)) * power[w])


@njit(cache=True, nogil=True, fastmath=True)
def _add_product(rows, weights, out, used):  # type: ignore[no-untyped-def]
    """Add the matrix product of the first `used` rows with the weights; a library would wait for other threads."""
    inputs, outputs = weights.shape
    whole = inputs - inputs % 4
    for r in range(used):
        for f in range(0, whole, 4):  # four at a time, so that `out` is loaded and stored less often
            a, b, c, d = rows[r, f], rows[r, f + 1], rows[r, f + 2], rows[r, f + 3]
            for w in range(outputs):
                out[r, w] += a * weights[f, w] + b * weights[f + 1, w] + c * weights[f + 2, w] + d * weights[f + 3, w]
        for f in range(whole, inputs):
            a = rows[r, f]
            for w in range(outputs):
                out[r, w] += a * weights[f, w]


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _features(
    seen, i, j, slot, frame, squared_error, log_spacing, distance, error_known, frame_known, ranks
):  # type: ignore[no-untyped-def]  # fmt: skip
    """The nine features of a pair."""
    log_length = math.log(distance[i, slot] + _SMALLEST_NM)
    here, there = log_length - log_spacing[i], log_length - log_spacing[j]
    seen[0] = log_length - _LOG_UNIT
    seen[1] = log_length - _HALF * math.log(squared_error[i] + squared_error[j]) if error_known else _ZERO
    seen[2], seen[3] = _ZERO, _ZERO
    if frame_known:
        gap = abs(frame[j] - frame[i])
        seen[2] = math.log(gap + _ONE) * np.float32(0.2)
        seen[3] = _ONE if gap <= _ONE_FRAME else _ZERO
    seen[4], seen[5] = max(here, there), min(here, there)
    seen[6], seen[7] = here, there
    seen[8] = ranks[slot]


@njit(cache=True, nogil=True, fastmath=True)
def _messages(
    first, last, offset, points, frame, squared_error, log_spacing, index, distance, error_known, frame_known, ranks,
    own, shared, fields, pair_weight, gate_weight, gate_bias, attended, largest, new_fields,
):  # type: ignore[no-untyped-def]  # fmt: skip
    k, width = index.shape[1], own.shape[1]
    head = width // 4
    seen, harmonics = np.zeros((_BLOCK * k, 25), np.float32), np.empty((_BLOCK * k, 8), np.float32)
    start = np.empty((_BLOCK * k, width), np.float32)
    gates = np.empty((_BLOCK * k, 16), np.float32)
    part, bits = np.empty(_BLOCK * k * width, np.float32), np.empty(_BLOCK * k * width, np.int32)
    power = bits.view(np.float32)
    ends = np.empty(_BLOCK + 1, np.int64)
    for low in range(first, last, _BLOCK):
        high = min(low + _BLOCK, last)
        used = 0
        for place in range(low, high):
            i = place + offset
            ends[place - low] = used
            for slot in range(k):
                j = index[i, slot]
                if j < 0:
                    continue
                row = seen[used]
                _features(
                    row, i, j, slot, frame, squared_error, log_spacing, distance, error_known, frame_known,
                    ranks,
                )  # fmt: skip
                _turn(row, harmonics[used], i, j, _ONE / max(distance[i, slot], _SMALLEST_NM), points, fields)
                for w in range(width):
                    start[used, w] = own[place, w] + shared[j, w]
                used += 1
        ends[high - low] = used
        message, flat = start, start.ravel()
        _add_product(seen, pair_weight, message, used)
        _silu(flat[: used * width], part, bits, power)
        gates[:used] = gate_bias
        _add_product(message, gate_weight, gates, used)
        for i in range(low, high):
            _gather(
                i, ends[i - low], ends[i - low + 1], np.float32(_ONE / k), head, message, gates, harmonics,
                attended, largest, new_fields,
            )  # fmt: skip


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _turn(seen, turn, i, j, scale, points, fields):  # type: ignore[no-untyped-def]
    """Harmonics of the direction, and their contractions with the fields of both points."""
    x = (points[j, 0] - points[i, 0]) * scale
    y = (points[j, 1] - points[i, 1]) * scale
    z = (points[j, 2] - points[i, 2]) * scale
    turn[0], turn[1], turn[2] = x, y, z
    turn[3], turn[4] = _ROOT * x * y, _ROOT * y * z
    turn[5] = z * z - (x * x + y * y) * _HALF
    turn[6], turn[7] = _ROOT * x * z, _ROOT * (x * x - y * y) * _HALF
    for c in range(4):
        b = 8 * c
        seen[9 + c] = turn[0] * fields[i, b] + turn[1] * fields[i, b + 1] + turn[2] * fields[i, b + 2]
        seen[17 + c] = turn[0] * fields[j, b] + turn[1] * fields[j, b + 1] + turn[2] * fields[j, b + 2]
        mine, others = _ZERO, _ZERO
        for m in range(3, 8):
            mine += turn[m] * fields[i, b + m]
            others += turn[m] * fields[j, b + m]
        seen[13 + c], seen[21 + c] = mine, others


@njit(cache=True, nogil=True, fastmath=True)
def _gather(i, low, high, scale, head, message, gates, harmonics, attended, largest, new_fields):  # type: ignore[no-untyped-def]
    """What a point takes from its messages `low` to `high`."""
    width = message.shape[1]
    for w in range(width):
        attended[i, w], largest[i, w] = _ZERO, _ZERO
    for m in range(32):
        new_fields[i, m] = _ZERO
    if low == high:
        return
    for h in range(4):
        top = gates[low, h]
        for r in range(low + 1, high):
            top = max(top, gates[r, h])
        total = _ZERO
        for r in range(low, high):
            gates[r, h] = math.exp(gates[r, h] - top)
            total += gates[r, h]
        for r in range(low, high):
            weight = gates[r, h] / total
            for w in range(h * head, (h + 1) * head):
                attended[i, w] += weight * message[r, w]
    for w in range(width):
        largest[i, w] = message[low, w]
    for r in range(low + 1, high):
        for w in range(width):
            largest[i, w] = max(largest[i, w], message[r, w])
    for r in range(low, high):
        for c in range(4):
            one, two = gates[r, 4 + c] * scale, gates[r, 8 + c] * scale
            for m in range(3):
                new_fields[i, 8 * c + m] += one * harmonics[r, m]
            for m in range(3, 8):
                new_fields[i, 8 * c + m] += two * harmonics[r, m]


@njit(cache=True, nogil=True, fastmath=True)
def _affinities(
    first, last, frame, squared_error, log_spacing, index, distance, error_known, frame_known, ranks,
    together, apart, difference, pair_weight, hidden_weight, hidden_bias, last_weight, last_bias, log_odds,
):  # type: ignore[no-untyped-def]  # fmt: skip
    k, half = index.shape[1], together.shape[1]
    seen = np.zeros((_BLOCK * k, 9), np.float32)
    squares = np.empty((_BLOCK * k, half), np.float32)
    row, deep = np.empty((_BLOCK * k, half), np.float32), np.empty((_BLOCK * k, half), np.float32)
    part, bits = np.empty(_BLOCK * k * half, np.float32), np.empty(_BLOCK * k * half, np.int32)
    power = bits.view(np.float32)
    flat, deep_flat = row.ravel(), deep.ravel()
    for low in range(first, last, _BLOCK):
        high = min(low + _BLOCK, last)
        used = 0
        for i in range(low, high):
            for slot in range(k):
                j = index[i, slot]
                if j < 0:
                    continue
                _features(
                    seen[used], i, j, slot, frame, squared_error, log_spacing, distance, error_known,
                    frame_known, ranks,
                )  # fmt: skip
                for w in range(half):
                    row[used, w] = together[i, w] + together[j, w]
                    apart_w = apart[i, w] - apart[j, w]
                    squares[used, w] = apart_w * apart_w
                used += 1
        _add_product(squares, difference, row, used)
        _add_product(seen, pair_weight, row, used)
        _silu(flat[: used * half], part, bits, power)
        deep[:used] = hidden_bias
        _add_product(row, hidden_weight, deep, used)
        _silu(deep_flat[: used * half], part, bits, power)
        used = 0
        for i in range(low, high):
            for slot in range(k):
                if index[i, slot] >= 0:
                    total = last_bias
                    for w in range(half):
                        total += deep[used, w] * last_weight[w]
                    log_odds[i, slot] = total
                    used += 1
