"""Networks: names and shapes of torchvision, sizes, and how far a pixel reaches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lucule.core import InputError
from lucule.nn import count_parameters
from lucule.segment.networks import build


def test_deeplab_has_the_names_and_shapes_of_torchvision() -> None:
    lines = Path(__file__).with_name("torchvision_deeplabv3_resnet101.txt").read_text().splitlines()
    listed = dict(line.split() for line in lines)
    with torch.device("meta"):
        state = build("deeplabv3_resnet101", 21, {"aux": True}).state_dict()
    assert {name: "x".join(map(str, tensor.shape)) or "-" for name, tensor in state.items()} == listed


def test_deeplab_keeps_an_eighth_of_the_resolution_and_dilates_as_torchvision_does() -> None:
    with torch.device("meta"):
        network = build("deeplabv3_resnet101", 2).eval()
        assert network.backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 2048, 8, 8)
        assert network(torch.zeros(1, 3, 48, 80)).shape == (1, 2, 48, 80)
    rates = [[block.conv2.dilation[0] for block in network.backbone[number]] for number in (6, 7)]
    assert rates == [[1, *[2] * 22], [2, 4, 4]]


def test_the_default_is_small() -> None:
    assert 1e6 < count_parameters(build("compact", 3)) < 3e6


def test_the_default_does_not_look_farther_than_96_pixels() -> None:
    torch.manual_seed(0)
    network = build("compact", 1, {"widths": [4, 4, 4, 4], "head": 4}).eval()
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    network(image)[0, 0, 128, 128].backward()
    rows, columns = image.grad[0].abs().sum(dim=0).nonzero().T
    assert max(128 - int(rows.min()), int(columns.max()) - 128) <= 96


@pytest.mark.parametrize(("name", "options"), [("resnet", {}), ("compact", {"depth": 3})])
def test_unknown_networks_and_options(name: str, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="network"):
        build(name, 2, options)
