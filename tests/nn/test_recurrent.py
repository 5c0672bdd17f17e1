"""The convolutional LSTM has CAML's layers and weights, learns order, and treats rows independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lucule.nn import ConvLSTM, FitSettings, TensorBatches, count_parameters, fit, recurrent, torch_threads


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


@pytest.mark.parametrize(("length", "channels"), [(100, 1), (37, 2)])
def test_answers_on_the_cpu_are_those_of_the_plain_layers(length, channels):
    """The fused kernels give what the layers give, but for the rounding of bfloat16."""
    torch.manual_seed(1)
    network = ConvLSTM(length, 3, channels=channels).eval()
    with torch.no_grad():
        network.out.weight *= 10  # so that the answers differ by much more than the rounding
        x = torch.rand(600, channels * length)
        given = network(x)
    plain = network(x).detach()
    assert given.shape == plain.shape == (600, 3)
    assert (given - plain).abs().max() < 0.1 * plain.std()
    assert (given - plain).abs().mean() < 0.02 * plain.std()


def test_convolution_and_pooling_are_exact():
    x, weight, bias = torch.rand(5, 2 * 40), torch.randn(32, 2, 3), torch.randn(32)
    wanted = nn.functional.max_pool1d(torch.relu(nn.functional.conv1d(x.view(5, 2, 40), weight, bias)), 4)
    wanted = wanted.permute(2, 0, 1)
    maps = torch.empty(9, 5, 32)
    recurrent._pooled_maps(x.numpy(), weight.numpy(), bias.numpy(), maps.numpy())
    torch.testing.assert_close(maps, wanted)
    rounded = torch.empty(9, 5, 32, dtype=torch.bfloat16)
    bits = rounded.view(torch.int16).numpy().view(np.uint16)
    recurrent._pooled_maps(x.numpy(), weight.numpy(), bias.numpy(), bits)
    assert torch.equal(rounded, maps.bfloat16())


def test_answers_depend_neither_on_batches_nor_on_order():
    network, x = ConvLSTM(50, 1).eval(), torch.rand(700, 50)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network(x)
        assert torch.equal(torch.cat([network(part) for part in torch.split(x, 123)]), whole)
        assert torch.equal(network(x[order]), whole[order])
        assert network(x[:0]).shape == (0, 1)


@pytest.mark.parametrize("channels", [1, 2])
def test_gradients_of_convolution_and_pooling(channels):
    x = torch.rand(70, channels * 40)
    weight, bias = torch.randn(8, channels, 3, requires_grad=True), torch.randn(8, requires_grad=True)
    toward = torch.randn(9, 70, 8)
    (recurrent._PooledConvolution.apply(x, weight, bias) * toward).sum().backward()
    given = weight.grad.clone(), bias.grad.clone()
    weight.grad = bias.grad = None
    maps = torch.relu(nn.functional.conv1d(x.view(70, channels, 40), weight, bias))
    (nn.functional.max_pool1d(maps, 4).permute(2, 0, 1) * toward).sum().backward()
    torch.testing.assert_close(given, (weight.grad, bias.grad), rtol=1e-4, atol=1e-3)


def test_dropout_at_the_input_of_an_lstm_takes_whole_features():
    network = ConvLSTM(40, 1, input_dropout=0.4)
    dropped = network._drop_features(torch.ones(9, 300, 32), 0.4)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert (dropped == dropped[:1]).all()
    assert (dropped == 0).float().mean() == pytest.approx(0.4, abs=0.02)
    assert torch.equal(network.eval()._drop_features(torch.ones(9, 3, 32), 0.4), torch.ones(9, 3, 32))
