"""Networks for images: each maps `(n, 3, rows, columns)` to one map per output, at the same size."""

from __future__ import annotations

from typing import Any, Final

from torch import nn

from lucule.core import InputError
from lucule.segment.networks.compact import CompactNet
from lucule.segment.networks.deeplab import DeepLabV3

NETWORKS: Final[dict[str, type[nn.Module]]] = {"compact": CompactNet, "deeplabv3_resnet101": DeepLabV3}


def build(architecture: str, outputs: int, options: dict[str, Any] | None = None) -> nn.Module:
    """Build a network by name.

    Raises
    ------
    InputError
        There is no such network, or it has no such option.

    Examples
    --------
    >>> build("compact", outputs=3).outputs
    3
    """
    if architecture not in NETWORKS:
        raise InputError("There is no such network", received=architecture, allowed=", ".join(NETWORKS))
    try:
        return NETWORKS[architecture](outputs, **(options or {}))
    except TypeError as error:
        raise InputError(f"The network {architecture} cannot be built: {error}", received=options) from None
