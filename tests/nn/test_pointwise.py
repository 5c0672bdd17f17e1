"""The fused layer computes what the plain operations compute, forward and backward."""

from __future__ import annotations

import pytest
import torch

from lucule.nn import PointwiseDense, count_parameters


def plain(network, x):
    hidden = torch.relu(x[:, :, None] * network.hidden_weight + network.hidden_bias)
    return hidden.flatten(1) @ network.weight.flatten(1).T + network.bias


@pytest.fixture
def network():
    torch.manual_seed(1)
    network = PointwiseDense(length=20, hidden=8, outputs=3)
    with torch.no_grad():
        network.hidden_bias.uniform_(-1, 1)
        network.bias.uniform_(-1, 1)
    return network


@pytest.mark.parametrize("n", [1, 63, 64, 65, 3000])
def test_outputs_and_gradients_agree_with_plain_operations(network, n):
    x, wanted = torch.randn(n, 20), torch.randn(n, 3)
    gradients = []
    for function in (network, lambda x: plain(network, x)):
        network.zero_grad()
        outputs = function(x)
        (outputs * wanted).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
        torch.testing.assert_close(outputs, plain(network, x), rtol=1e-5, atol=1e-5)
    for fused, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-3)


def test_rows_do_not_depend_on_each_other(network):
    x = torch.randn(5000, 20)
    with torch.inference_mode():
        assert torch.equal(network(x)[4000:4010], network(x[4000:4010]))


def test_empty_input(network):
    assert network(torch.empty(0, 20)).shape == (0, 3)


def test_the_papers_network_has_3265_weights():
    assert count_parameters(PointwiseDense(length=100, hidden=32, outputs=1)) == 3265
