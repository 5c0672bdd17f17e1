"""The last step of the graph network's training: what a whole field says of each of its points.

A step of the training on the graph sees two or three fields, too few to learn what fields have in common. The readout
needs the last states alone, so that thousands of fields are at hand and a step sees many of them, each with the same
weight however many points it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from lucule.core import SILENT, Config, Progress
from lucule.nn.graph import GraphNetwork


class ReadoutSettings(Config):
    """How a readout is fitted.

    Attributes
    ----------
    steps, fields
        Number of steps, and fields that each looks at.
    learning_rate, weight_decay
        Of AdamW; the rate rises over the first tenth and falls to 0.
    """

    steps: int = Field(gt=0)
    fields: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)


@dataclass(frozen=True, slots=True, eq=False)
class FieldStates:
    """Points of one field, as the network sees them after its last layer.

    Attributes
    ----------
    states
        `(m, width)`, as `GraphModel.last_states` gives them.
    label
        The true classes, `(m,)`.
    """

    states: NDArray[np.float16]
    label: NDArray[np.uint8]


def fit_readout(
    network: GraphNetwork,
    seen: Sequence[FieldStates],
    settings: ReadoutSettings,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> None:
    """Fit the readout of a network, and with it its classes; all else stays as it is.

    Raises
    ------
    ValueError
        The network has no readout.
    """
    if network.readout is None:
        raise ValueError("the network has no readout")
    rng, per_step = np.random.default_rng(seed), min(settings.fields, len(seen))
    trained = [*network.readout.parameters(), *network.classes.parameters()]
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizer = torch.optim.AdamW(trained, rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=settings.steps, pct_start=0.1)
    network.train()
    with torch.random.fork_rng([]), progress.task("Fit the readout", settings.steps, "steps") as task:
        torch.manual_seed(seed)
        for _ in range(settings.steps):
            drawn = [seen[i] for i in rng.choice(len(seen), per_step, replace=False)]
            value = torch.stack([field_loss for field_loss, _ in _judged(network, drawn)]).mean()
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            task.advance(1)
    network.eval()


@torch.inference_mode()
def score(network: GraphNetwork, seen: Sequence[FieldStates]) -> dict[str, float]:
    """Cross-entropy of the classes, and fraction of points rightly called clustered or not, as means over fields."""
    values, right = zip(*_judged(network.eval(), seen), strict=True)
    return {
        "validation_classes": round(float(torch.stack(values).mean()), 5),
        "validation_point_accuracy": round(float(torch.stack(right).mean()), 5),
    }


def _judged(network: GraphNetwork, seen: Sequence[FieldStates]) -> list[tuple[Tensor, Tensor]]:
    """Cross-entropy and accuracy of each field."""
    sizes = [len(field.label) for field in seen]
    normed = torch.from_numpy(np.concatenate([field.states for field in seen])).float()
    labels = torch.from_numpy(np.concatenate([field.label for field in seen])).long()
    of_field = torch.repeat_interleave(torch.arange(len(seen)), torch.tensor(sizes))
    logits = network.read(normed, of_field, len(seen))
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    right = ((logits.argmax(dim=1) > 0) == (labels > 0)).float()
    return [(a.mean(), b.mean()) for a, b in zip(each.split(sizes), right.split(sizes), strict=True)]
