"""One small dense layer for every value of a sequence, then one dense layer over all of them.

As separate torch operations this writes `n * length * hidden` intermediate numbers to memory and reads them again; the
kernels here keep them in registers, which on a CPU is 10 to 100 times faster, forward and backward. On other devices
the plain operations run.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor, nn

from lucule.nn.device import as_array

Array = NDArray[np.float32]

# rows per partial sum of gradients; fixed, so that sums do not depend on the number of threads
_CHUNK: Final = 64
_MANY: Final = 2048


class PointwiseDense(nn.Module):
    """Dense layer with ReLU for each value, shared by all of them, flattened into a dense layer.

    `y[n, o] = bias[o] + sum_jc weight[o, j, c] * relu(hidden_weight[c] * x[n, j] + hidden_bias[c])`

    No gradient flows to the input.

    Parameters
    ----------
    length
        Values in a sequence.
    hidden
        Units of the shared layer.
    outputs
        Units of the last layer.

    Examples
    --------
    >>> network = PointwiseDense(length=100, hidden=32, outputs=1)
    >>> network(torch.rand(5, 100)).shape
    torch.Size([5, 1])
    """

    def __init__(self, length: int, hidden: int, outputs: int) -> None:
        super().__init__()
        # uniform after Glorot & Bengio 2010, biases 0
        shared, last = math.sqrt(6 / (1 + hidden)), math.sqrt(6 / (length * hidden + outputs))
        self.hidden_weight = nn.Parameter(torch.empty(hidden).uniform_(-shared, shared))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.weight = nn.Parameter(torch.empty(outputs, length, hidden).uniform_(-last, last))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, length)` float32 to `(n, outputs)`."""
        if x.device.type == "cpu":
            total: Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
                x, self.hidden_weight, self.hidden_bias, self.weight
            )
        else:
            hidden = torch.relu(x[:, :, None] * self.hidden_weight + self.hidden_bias)
            total = hidden.flatten(1) @ self.weight.flatten(1).T
        return total + self.bias


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden_weight: Tensor, hidden_bias: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, hidden_weight, hidden_bias, weight)
        total = torch.empty(len(x), len(weight))
        forward = _forward_all if len(x) > _MANY else _forward_one
        forward(as_array(x), as_array(hidden_weight), as_array(hidden_bias), as_array(weight), total.numpy())
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, Tensor, Tensor, Tensor]:
        x, hidden_weight, hidden_bias, weight = (as_array(tensor) for tensor in ctx.saved_tensors)
        chunks = (len(x) + _CHUNK - 1) // _CHUNK
        by_hidden = np.zeros((chunks, 2, len(hidden_weight)), np.float32)
        by_weight = np.zeros((chunks, *weight.shape), np.float32)
        backward = _backward_all if len(x) > _MANY else _backward_one
        backward(x, hidden_weight, hidden_bias, weight, as_array(gradients[0]), by_hidden, by_weight)
        to_hidden = torch.from_numpy(by_hidden.sum(axis=0))
        return None, to_hidden[0], to_hidden[1], torch.from_numpy(by_weight.sum(axis=0))


def _forward_rows(x: Array, hidden_weight: Array, hidden_bias: Array, weight: Array, total: Array) -> None:
    hidden = len(hidden_weight)
    for row in prange(len(x)):
        for output in range(len(weight)):
            sums = np.zeros(hidden, np.float32)
            for j in range(x.shape[1]):
                for c in range(hidden):
                    sums[c] += weight[output, j, c] * max(x[row, j] * hidden_weight[c] + hidden_bias[c], np.float32(0))
            total[row, output] = sums.sum()


def _backward_rows(
    x: Array,
    hidden_weight: Array,
    hidden_bias: Array,
    weight: Array,
    gradient: Array,
    by_hidden: Array,
    by_weight: Array,
) -> None:
    hidden = len(hidden_weight)
    for chunk in prange(len(by_hidden)):
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(x))):
            for output in range(len(weight)):
                g = gradient[row, output]
                for j in range(x.shape[1]):
                    value = x[row, j]
                    for c in range(hidden):
                        active = value * hidden_weight[c] + hidden_bias[c]
                        back = g * weight[output, j, c] if active > 0 else np.float32(0)
                        by_weight[chunk, output, j, c] += g * max(active, np.float32(0))
                        by_hidden[chunk, 0, c] += back * value
                        by_hidden[chunk, 1, c] += back


# starting threads costs more than they save on the small batches of training
_forward_one = njit(cache=True, fastmath=True, nogil=True)(_forward_rows)
_forward_all = njit(cache=True, fastmath=True, nogil=True, parallel=True)(_forward_rows)
_backward_one = njit(cache=True, fastmath=True, nogil=True)(_backward_rows)
_backward_all = njit(cache=True, fastmath=True, nogil=True, parallel=True)(_backward_rows)
