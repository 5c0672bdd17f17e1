"""Optimizers of a training, by name."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor, nn

Name = Literal["adamw", "muon"]

_SMALLEST: Final = 9
"""Rows and columns from which on it pays to orthogonalize the step of a matrix."""


class Optimizers:
    """One or two optimizers that step as one; every parameter belongs to one of them.

    Parameters
    ----------
    model
        The network.
    name
        `adamw`, or `muon`: the steps of matrices are made orthogonal (Jordan 2024, https://kellerjordan.github.io/posts/muon),
        scaled so that learning rates of AdamW keep their meaning (Liu 2025, arXiv:2502.16982); vectors, small matrices
        and kernels of convolutions are left to AdamW.
    learning_rate, weight_decay
        Of both.
    fused
        Whether AdamW uses its fused kernel.
    """

    def __init__(self, model: nn.Module, name: Name, *, learning_rate: float, weight_decay: float, fused: bool) -> None:
        parameters = dict(model.named_parameters())
        matrices = {key for key, tensor in parameters.items() if name == "muon" and _is_matrix(tensor)}
        rest = [tensor for key, tensor in parameters.items() if key not in matrices]
        self._all: list[torch.optim.Optimizer] = []
        if rest:
            self._all.append(torch.optim.AdamW(rest, lr=learning_rate, weight_decay=weight_decay, fused=fused))
        if matrices:
            self._all.append(
                torch.optim.Muon(
                    [parameters[key] for key in parameters if key in matrices],
                    lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw",
                )
            )  # fmt: skip

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Change the parameters."""
        for optimizer in self._all:
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Give what `load` takes, by name."""
        return {
            f"{place}/{number}/{name}": tensor
            for place, optimizer in enumerate(self._all)
            for number, state in optimizer.state_dict()["state"].items()
            for name, tensor in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from the state of an earlier training of the same network."""
        for place, optimizer in enumerate(self._all):
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                whose, number, name = key.split("/")
                if int(whose) == place:
                    state.setdefault(int(number), {})[name] = tensor
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and min(tensor.shape) >= _SMALLEST
