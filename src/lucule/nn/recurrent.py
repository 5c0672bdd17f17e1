"""A convolution, then two stacked LSTM layers over a sequence, then dense layers: CAML's larger network.

The order of the layers is that of Williamson et al. 2020 (Fig. 1g, Results): convolution, max pooling, dropout, two
LSTM, dropout, max pooling, dense 32, dense 16, output.

On a CPU, where nothing is to be learnt, the convolution and its pooling are one kernel that never writes the unpooled
maps, and the LSTM layers run on chunks of fixed size, one on each core, in bfloat16 where the processor computes with
it. Results then depend neither on batches nor on threads.
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

KERNEL: Final = 3
POOL: Final = 4
CHUNK: Final = 1024


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
        After the pooling and after the second LSTM, and at the input of the second LSTM.
    input_dropout
        At the input of the first LSTM. Dropout on the recurrent connections, which Keras knows, is left out: the fast
        kernels of GPUs have none.

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
        self.drop, self.drop_input = nn.Dropout(dropout), nn.Dropout(input_dropout)
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
        maps = torch.relu(self.conv(x.view(len(x), self.channels, self.length)))
        sequence = self.drop(nn.functional.max_pool1d(maps, POOL)).permute(2, 0, 1)
        sequence, _ = self.lstm1(self.drop_input(sequence))
        sequence, _ = self.lstm2(self.drop(sequence))
        return self._head(self.drop(sequence))

    def _head(self, sequence: Tensor) -> Tensor:
        """`(steps, n, hidden)` of the second LSTM to `(n, outputs)`."""
        steps = len(sequence) // POOL
        pooled = sequence[: steps * POOL].unflatten(0, (steps, POOL)).amax(dim=1)
        flat = torch.relu(self.dense1(pooled.transpose(0, 1).flatten(1)))
        result: Tensor = self.out(torch.relu(self.dense2(flat)))
        return result

    def _on_all_cores(self, x: Tensor) -> Tensor:
        reduced = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        layers = [
            copy.deepcopy(lstm).to(torch.bfloat16 if reduced else torch.float32) for lstm in (self.lstm1, self.lstm2)
        ]
        weight, bias = _numpy(self.conv.weight), _numpy(self.conv.bias)
        result = torch.empty(len(x), self.out.out_features)

        def answer(first: int) -> None:
            rows = x[first : first + CHUNK]
            # always the same shape, because kernels may sum in another order for another one
            sequence = torch.zeros((self.length - KERNEL + 1) // POOL, CHUNK, len(weight))
            _pooled_maps(_numpy(rows), weight, bias, sequence.numpy())
            with torch.inference_mode():
                sequence = sequence.to(torch.bfloat16 if reduced else torch.float32)
                for lstm in layers:
                    sequence, _ = lstm(sequence)
                result[first : first + len(rows)] = self._head(sequence.float())[: len(rows)]

        starts = range(0, len(x), CHUNK)
        with ThreadPoolExecutor(max(1, min(get_num_threads(), len(starts)))) as threads:
            list(threads.map(answer, starts))
        return result


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    array: Any = tensor.detach().contiguous().numpy()
    return array


@njit(cache=True, nogil=True, fastmath=True)
def _pooled_maps(
    x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], maps: NDArray[np.float32]
) -> None:
    """Convolution, ReLU and maximum of each POOL places: `(n, channels * length)` to `(steps, n, filters)`."""
    filters, channels, kernel = weight.shape
    length = x.shape[1] // channels
    taps = np.empty((channels, kernel, filters), np.float32)
    for f in range(filters):
        for c in range(channels):
            for j in range(kernel):
                taps[c, j, f] = weight[f, c, j]
    sums, best = np.empty(filters, np.float32), np.empty(filters, np.float32)
    for row in range(len(x)):
        for step in range(len(maps)):
            for f in range(filters):
                best[f] = np.float32(0)
            for place in range(step * POOL, (step + 1) * POOL):
                for f in range(filters):
                    sums[f] = bias[f]
                for c in range(channels):
                    for j in range(kernel):
                        value = x[row, c * length + place + j]
                        for f in range(filters):
                            sums[f] += value * taps[c, j, f]
                for f in range(filters):
                    best[f] = max(best[f], sums[f])
            for f in range(filters):
                maps[step, row, f] = best[f]
