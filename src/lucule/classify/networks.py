"""The networks that label a localization, by the name of their architecture.

A network takes `(m, k)` features, k numbers that describe a localization, and gives `(m, outputs)`: one output for two
classes (the logit of class 1), otherwise one logit for each class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lucule.core import InputError
from lucule.nn import ConvLSTM, PointwiseDense


def dense(k: int, outputs: int, *, hidden: int = 32) -> nn.Module:
    """CAML's simple network: a dense layer shared by all neighbours, then one dense layer.

    The paper's `XPILJZ`, `GAXJPR` and `3TXKFS`.
    """
    return PointwiseDense(k, hidden, outputs)


def recurrent(k: int, outputs: int, *, channels: int = 1, **sizes: Any) -> nn.Module:
    """CAML's larger network: convolution, pooling, dropout, two LSTM layers, dense 32 and 16 (`07VEJJ`, `87B144`).

    With `channels` 2 or 3 the features are coordinates of neighbours.
    """
    return ConvLSTM(k // channels, outputs, channels=channels, **sizes)


ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"dense": dense, "recurrent": recurrent}


def build(architecture: str, *, k: int, classes: int, options: dict[str, Any] | None = None) -> nn.Module:
    """Build a network with new weights.

    Raises
    ------
    InputError
        The architecture is unknown.

    Examples
    --------
    >>> from lucule.nn import count_parameters
    >>> count_parameters(build("dense", k=100, classes=2))
    3265
    >>> count_parameters(build("recurrent", k=100, classes=2))
    23489
    """
    if architecture not in ARCHITECTURES:
        raise InputError("Unknown architecture", received=architecture, allowed=", ".join(ARCHITECTURES))
    return ARCHITECTURES[architecture](k, outputs(classes), **(options or {}))


def outputs(classes: int) -> int:
    """Outputs of a network for `classes` classes."""
    return 1 if classes == 2 else classes


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of `(m, outputs)` logits and `(m,)` labels."""
    if logits.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return nn.functional.cross_entropy(logits, labels.long())


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Fraction of `(m,)` labels that the `(m, outputs)` logits give."""
    return (decide(logits)[0] == labels).float().mean()


def decide(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Labels `(m,)` uint8 and the probability of each label `(m,)` float32, from `(m, outputs)` logits.

    Examples
    --------
    >>> decide(torch.tensor([[-1.0], [3.0]]))
    (tensor([0, 1], dtype=torch.uint8), tensor([0.7311, 0.9526]))
    """
    # in float64, because in float32 the last digit depends on the place in a batch
    precise = logits.double()
    if logits.shape[1] == 1:
        return (precise[:, 0] > 0).to(torch.uint8), torch.sigmoid(precise[:, 0].abs()).float()
    probability, label = torch.softmax(precise, dim=1).max(dim=1)
    return label.to(torch.uint8), probability.float()


def decide_by(probability: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels `(m,)` and their probabilities `(m,)` from those of all classes `(m, classes)`.

    A localization is not clustered (0) unless all other classes together are more probable; then it has the most
    probable of them, and the probability is that of being clustered at all.

    Examples
    --------
    >>> decide_by(np.array([[0.7, 0.3, 0.0], [0.4, 0.2, 0.4]], np.float32))
    (array([0, 2], dtype=uint8), array([0.7, 0.6], dtype=float32))
    """
    clustered = 1 - probability[:, 0]
    label = np.where(clustered > 0.5, 1 + probability[:, 1:].argmax(axis=1), 0).astype(np.uint8)
    return label, np.maximum(clustered, probability[:, 0])
