"""A convolution, then two stacked LSTM layers over a sequence, then dense layers: CAML's larger network.

The order of the layers is that of Williamson et al. 2020 (Fig. 1g, Results): convolution, max pooling, dropout, two
LSTM, dropout, max pooling, dense 32, dense 16, output.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

KERNEL: Final = 3
POOL: Final = 4


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
        self.lstm1 = nn.LSTM(hidden, hidden, batch_first=True)
        self.lstm2 = nn.LSTM(hidden, hidden, batch_first=True)
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
        maps = torch.relu(self.conv(x.view(len(x), self.channels, self.length)))
        sequence = self.drop(nn.functional.max_pool1d(maps, POOL)).transpose(1, 2)
        sequence, _ = self.lstm1(self.drop_input(sequence))
        sequence, _ = self.lstm2(self.drop(sequence))
        pooled = nn.functional.max_pool1d(self.drop(sequence).transpose(1, 2), POOL)
        flat = torch.relu(self.dense1(pooled.transpose(1, 2).flatten(1)))
        result: Tensor = self.out(torch.relu(self.dense2(flat)))
        return result
