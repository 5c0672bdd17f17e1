"""Where networks run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from lucule.core import InputError


def choose_device(name: str = "auto") -> torch.device:
    """Give the device named `auto` (a GPU when there is one), `cpu`, `cuda` or `cuda:1`.

    Raises
    ------
    InputError
        The name is unknown, or there is no such GPU.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise InputError("Unknown device", received=name, allowed="auto, cpu, cuda, cuda:0, cuda:1, ...")
    if kind == "cuda" and int(number or 0) >= gpus:
        raise InputError(
            "There is no such GPU", received=name, allowed=f"{gpus} GPUs here", next_step="use --device cpu"
        )
    return torch.device(name)


def count_parameters(model: torch.nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def as_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Give what compiled kernels take: the contiguous array of a float32 tensor on the CPU, without its gradient."""
    array: NDArray[np.float32] = tensor.detach().contiguous().numpy()
    return array


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Limit torch to `number` threads inside the block.

    One is best for tiny networks and beside kernels with threads of their own: idle threads of torch spin and take the
    cores from them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
