"""A convolution, then two stacked LSTM layers over a sequence, then dense layers: CAML's larger network.

The order of the layers is that of Williamson et al. 2020 (Fig. 1g, Results): convolution, max pooling, dropout, two
LSTM, dropout, max pooling, dense 32, dense 16, output.

On a CPU the convolution and its pooling are one kernel, forward and backward, that never writes the unpooled maps, and
the LSTM layers compute in bfloat16 where the processor does. Where nothing is to be learnt they run on chunks of fixed
size, one on each core, so that answers depend neither on batches nor on threads.
"""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import torch
from numba import get_num_threads, njit
from numpy.typing import NDArray
from torch import Tensor, nn

from lucule.nn.device import as_array

KERNEL: Final = 3
POOL: Final = 4
CHUNK: Final = 256
# rows per partial sum of gradients; fixed, so that sums do not depend on the number of threads
_ROWS: Final = 32


class ConvLSTM(nn.Module):
    """Convolution, pooling and two LSTM layers over sequences of `channels` values.

    Parameters
    ----------
    length
        Values in a sequence.
    outputs
        Units of the last layer.
    channels
        Values at each place of the sequence.
    hidden
        Filters of the convolution and units of each LSTM.
    dense
        Units of the dense layers.
    dropout
        After the pooling and after the second LSTM for each number, and at the input of the second LSTM for each
        feature, see `input_dropout`.
    input_dropout
        At the input of the first LSTM, for each feature at all places of a sequence together. Dropout on the recurrent
        connections, which Keras knows, is left out: the fast kernels of GPUs have none.

    Raises
    ------
    ValueError
        The sequence is too short for two poolings.

    Examples
    --------
    >>> network = ConvLSTM(length=100, outputs=1)
    >>> network(torch.rand(5, 100)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        length: int,
        outputs: int,
        *,
        channels: int = 1,
        hidden: int = 32,
        dense: tuple[int, int] = (32, 16),
        dropout: float = 0.2,
        input_dropout: float = 0.4,
    ) -> None:
        super().__init__()
        steps = (length - KERNEL + 1) // POOL // POOL
        if steps < 1:
            raise ValueError(f"a sequence of {length} is too short; {POOL * POOL + KERNEL - 1} are needed")
        self.length, self.channels = length, channels
        self.conv = nn.Conv1d(channels, hidden, KERNEL)
        self.lstm1 = nn.LSTM(hidden, hidden)
        self.lstm2 = nn.LSTM(hidden, hidden)
        self.dense1 = nn.Linear(steps * hidden, dense[0])
        self.dense2 = nn.Linear(dense[0], dense[1])
        self.out = nn.Linear(dense[1], outputs)
        self.dropout, self.input_dropout = dropout, input_dropout
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        """Weights as Keras draws them: Glorot uniform, orthogonal recurrence, a forget gate that begins open."""
        for layer in (self.conv, self.dense1, self.dense2, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for lstm in (self.lstm1, self.lstm2):
            hidden = lstm.hidden_size
            nn.init.uniform_(lstm.weight_ih_l0, -(bound := math.sqrt(6 / (5 * hidden))), bound)
            nn.init.orthogonal_(lstm.weight_hh_l0)
            nn.init.zeros_(lstm.bias_ih_l0)
            with torch.no_grad():
                lstm.bias_ih_l0[hidden : 2 * hidden] = 1.0
            # torch adds two biases, of which one is enough
            nn.init.zeros_(lstm.bias_hh_l0)
            lstm.bias_hh_l0.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, length)`, or `(n, channels * length)` with one channel after the other, to `(n, outputs)`."""
        if x.device.type == "cpu" and not self.training and not torch.is_grad_enabled():
            return self._on_all_cores(x)
        if x.device.type == "cpu":
            sequence = _PooledConvolution.apply(x, self.conv.weight, self.conv.bias)  # type: ignore[no-untyped-call]
        else:
            maps = torch.relu(self.conv(x.view(len(x), self.channels, self.length)))
            sequence = nn.functional.max_pool1d(maps, POOL).permute(2, 0, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=x.device.type == "cpu" and _computes_with_bfloat16()):
            sequence, _ = self.lstm1(self._drop_features(self.drop(sequence), self.input_dropout))
            sequence, _ = self.lstm2(self._drop_features(sequence, self.dropout))
        return self._head(self.drop(sequence.float()))

    def _drop_features(self, sequence: Tensor, rate: float) -> Tensor:
        """Dropout at the input of an LSTM: the same features at all places of a sequence, as in Keras.

        A mask of its own for every place is averaged away by the LSTM, which then meets inputs without it as something
        it has never seen.
        """
        if rate == 0 or not self.training:
            return sequence
        kept = torch.rand(sequence.shape[1:], device=sequence.device) >= rate
        return sequence * (kept / (1 - rate))

    def _head(self, sequence: Tensor) -> Tensor:
        """`(steps, n, hidden)` of the second LSTM to `(n, outputs)`."""
        steps = len(sequence) // POOL
        pooled = sequence[: steps * POOL].unflatten(0, (steps, POOL)).amax(dim=1)
        flat = torch.relu(self.dense1(pooled.transpose(0, 1).flatten(1).to(self.out.weight.dtype)))
        result: Tensor = self.out(torch.relu(self.dense2(flat)))
        return result

    def _on_all_cores(self, x: Tensor) -> Tensor:
        kind = torch.bfloat16 if _computes_with_bfloat16() else torch.float32
        layers = [copy.deepcopy(lstm).to(kind) for lstm in (self.lstm1, self.lstm2)]
        values, weight, bias = (as_array(tensor) for tensor in (x, self.conv.weight, self.conv.bias))
        steps = (self.length - KERNEL + 1) // POOL
        result = torch.empty(len(x), self.out.out_features)

        def answer(first: int) -> None:
            # always the same shape, because kernels may sum in another order for another one
            sequence = torch.zeros(steps, CHUNK, len(weight), dtype=kind)
            maps = sequence.view(torch.int16).numpy().view(np.uint16) if kind == torch.bfloat16 else sequence.numpy()
            _pooled_maps(values[first : first + CHUNK], weight, bias, maps)
            with torch.inference_mode():
                for lstm in layers:
                    sequence, _ = lstm(sequence)
                rows = min(CHUNK, len(x) - first)
                result[first : first + rows] = self._head(sequence)[:rows]

        starts = range(0, len(x), CHUNK)
        if len(starts) == 1:
            answer(0)
        elif starts:
            with ThreadPoolExecutor(min(get_num_threads(), len(starts))) as threads:
                list(threads.map(answer, starts))
        return result


class _PooledConvolution(torch.autograd.Function):
    """The kernels below as one operation of torch; no gradient flows to the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        steps = (x.shape[1] // weight.shape[1] - KERNEL + 1) // POOL
        maps = torch.empty(steps, len(x), len(weight))
        _pooled_maps(as_array(x), as_array(weight), as_array(bias), maps.numpy())
        ctx.save_for_backward(x, weight, bias, maps)
        return maps

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, Tensor, Tensor]:
        x, weight, bias, maps = (as_array(tensor) for tensor in ctx.saved_tensors)
        chunks = (len(x) + _ROWS - 1) // _ROWS
        by_weight, by_bias = np.zeros((chunks, *weight.shape), np.float32), np.zeros((chunks, len(bias)), np.float32)
        _pooled_maps_backward(x, weight, bias, maps, as_array(gradients[0]), by_weight, by_bias)
        return None, torch.from_numpy(by_weight.sum(axis=0)), torch.from_numpy(by_bias.sum(axis=0))


def _computes_with_bfloat16() -> bool:
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


@njit(cache=True, nogil=True, fastmath=True)
def _pooled_maps(
    x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], maps: NDArray[Any]
) -> None:
    """Convolution, ReLU and maximum of each POOL places: `(n, channels * length)` to `(steps, n, filters)`.

    `maps` is float32, or uint16 for the bits of bfloat16.
    """
    filters, channels, kernel = weight.shape
    length, steps = x.shape[1] // channels, len(maps)
    # phases[c, p] holds every POOL-th value from p on: all loops over steps are then over adjacent numbers
    phases = np.empty((channels, POOL + kernel - 1, steps), np.float32)
    best, sums = np.empty((filters, steps), np.float32), np.empty((POOL, steps), np.float32)
    bits = best.view(np.uint32)
    for row in range(len(x)):
        for c in range(channels):
            for p in range(POOL + kernel - 1):
                for step in range(steps):
                    phases[c, p, step] = x[row, c * length + POOL * step + p]
        for f in range(filters):
            sums[:] = bias[f]
            for c in range(channels):
                for j in range(kernel):
                    tap = weight[f, c, j]
                    for p in range(POOL):
                        for step in range(steps):
                            sums[p, step] += tap * phases[c, p + j, step]
            for step in range(steps):
                largest = max(max(sums[0, step], sums[1, step]), max(sums[2, step], sums[3, step]))
                best[f, step] = max(largest, np.float32(0))
        if maps.itemsize == 2:
            for step in range(steps):
                for f in range(filters):
                    # to the nearest number, ties to even
                    maps[step, row, f] = (bits[f, step] + np.uint32(0x7FFF) + (bits[f, step] >> 16 & 1)) >> 16
        else:
            for step in range(steps):
                for f in range(filters):
                    maps[step, row, f] = best[f, step]


@njit(cache=True, nogil=True, fastmath=True)
def _pooled_maps_backward(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    maps: NDArray[np.float32],
    gradient: NDArray[np.float32],
    by_weight: NDArray[np.float32],
    by_bias: NDArray[np.float32],
) -> None:
    """Gradients for the weights from those for the maps `(steps, n, filters)`: of POOL places the largest learns."""
    filters, channels, kernel = weight.shape
    length = x.shape[1] // channels
    for row in range(len(x)):
        chunk = row // _ROWS
        for step in range(len(maps)):
            for f in range(filters):
                if maps[step, row, f] <= 0:
                    continue
                largest, place = np.float32(-np.inf), 0
                for p in range(POOL):
                    value = bias[f]
                    for c in range(channels):
                        for j in range(kernel):
                            value += weight[f, c, j] * x[row, c * length + POOL * step + p + j]
                    if value > largest:
                        largest, place = value, p
                g = gradient[step, row, f]
                by_bias[chunk, f] += g
                for c in range(channels):
                    for j in range(kernel):
                        by_weight[chunk, f, c, j] += g * x[row, c * length + POOL * step + place + j]
