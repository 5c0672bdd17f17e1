"""The convolutional LSTM has CAML's layers and weights, learns order, and treats rows independently."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lucule.nn import ConvLSTM, FitSettings, TensorBatches, count_parameters, fit, torch_threads


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.mark.parametrize(
    ("length", "outputs", "channels", "weights"),
    [
        # conv 3 x 32 + 32, two LSTM 4 x (32 x 32 + 32 x 32 + 32), dense 6 x 32 -> 32 -> 16 -> 1
        (100, 1, 1, 128 + 2 * 8320 + (192 * 32 + 32) + (32 * 16 + 16) + 17),
        (1000, 1, 1, 128 + 2 * 8320 + (62 * 32 * 32 + 32) + (32 * 16 + 16) + 17),
        (100, 3, 2, 224 + 2 * 8320 + (192 * 32 + 32) + (32 * 16 + 16) + 51),
    ],
)
def test_weights_are_those_of_the_paper(length, outputs, channels, weights):
    network = ConvLSTM(length, outputs, channels=channels)
    assert count_parameters(network) == weights
    assert network(torch.rand(7, channels * length)).shape == (7, outputs)


def test_too_short_sequences_are_refused():
    assert ConvLSTM(18, 1)(torch.rand(2, 18)).shape == (2, 1)
    with pytest.raises(ValueError, match="18 are needed"):
        ConvLSTM(17, 1)


def test_channels_are_read_one_after_the_other():
    network = ConvLSTM(20, 1, channels=2).eval()
    with torch.no_grad():
        network.conv.weight[:, 1] = 0
        x = torch.rand(4, 40)
        other = torch.cat([x[:, :20], torch.rand(4, 20)], dim=1)
        assert torch.equal(network(x), network(other))


def test_dropout_acts_in_training_only():
    network, x = ConvLSTM(50, 1), torch.rand(3, 50)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_it_learns_where_in_the_sequence_something_is():
    torch.manual_seed(0)
    place = torch.randint(0, 20, (600,))
    x = torch.zeros(600, 20).scatter_(1, place[:, None], 1.0)
    data = TensorBatches(x, (place < 10).float(), 50, shuffle=True)
    log = fit(
        network := ConvLSTM(20, 1, dropout=0.0, input_dropout=0.0),
        data,
        data,
        loss=lambda given, wanted: nn.functional.binary_cross_entropy_with_logits(given[:, 0], wanted),
        score=lambda given, wanted: ((given[:, 0] > 0) == (wanted > 0.5)).float().mean(),
        settings=FitSettings(epochs=12, learning_rate=0.01, optimizer="adam"),
    )
    assert log[-1].validation_score > 0.95
    assert not network.lstm1.bias_hh_l0.any()
