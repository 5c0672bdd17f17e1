"""Training on data that are made on the fly, until a number of steps or of seconds is used up.

Step `n` of seed `s` draws its batch and its dropout from generators seeded with `(s, n)`; nothing else is random. With
a budget of steps a run is therefore repeatable, also when it was interrupted. With a budget of seconds the learning
rate follows the time that has passed, so that a run ends annealed on any machine.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lucule.core import SILENT, Config, InputError, Progress, WorkError
from lucule.core.files import atomic_path
from lucule.nn import optimizers
from lucule.nn.training import learning_rate_fraction

Batch = TypeVar("Batch")

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
LOG = "log.csv"


class StreamSettings(Config):
    """How a network is trained on a stream of batches.

    Attributes
    ----------
    seconds, steps
        The budget: exactly one of them. Seconds count training time, over all runs of an interrupted training.
    optimizer
        `adamw`, or `muon`, which orthogonalizes the steps of matrices (`lucule.nn.optimizers`).
    learning_rate
        Largest learning rate.
    schedule
        After the warm-up the learning rate stays `constant`, or falls along a `cosine` or a `linear` ramp to 0.
    warmup_fraction
        Fraction of the budget over which the learning rate rises from 0.
    weight_decay
        Decoupled weight decay.
    clip_norm
        Largest norm of the gradient; None: as it comes.
    ema_decay
        The weights that are kept are a moving average over about 1 / (1 - ema_decay) steps, fewer at the beginning.
    precision
        `bfloat16` runs the network under autocast. The loss should bring its inputs to float32.
    compile
        Compile the network with `torch.compile`; pays off in long trainings on a GPU.
    log_every_steps
        Steps that are averaged into one line of the log.
    checkpoint_s
        Seconds between two checkpoints.
    """

    seconds: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    optimizer: optimizers.Name = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_fraction: float = Field(default=0.02, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float | None = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    log_every_steps: int = Field(default=50, gt=0)
    checkpoint_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.seconds is None) == (self.steps is None):
            raise ValueError("give either seconds or steps")
        return self


@dataclass(slots=True)
class Stream:
    """What a training has used and reported so far; `log` has one mapping for each line."""

    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)

    def done(self, settings: StreamSettings) -> float:
        """Fraction of the budget that is used up."""
        if settings.steps is not None:
            return self.step / settings.steps
        return self.seconds / (settings.seconds or 1.0)


def train_stream(
    model: nn.Module,
    make_batch: Callable[[int, torch.Generator], Batch],
    loss: Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]],
    *,
    settings: StreamSettings,
    seed: int = 0,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    identity: Any = None,
    enough: Callable[[Stream], bool] | None = None,
    progress: Progress = SILENT,
) -> Stream:
    """Train `model` in place; it ends with the moving average of its weights.

    Parameters
    ----------
    model
        The network, on `device` afterwards.
    make_batch
        Gives the batch of a step, on `device`; all that is random about it comes from the generator, which is on
        `device` as well.
    loss
        Gives the loss of the network on a batch, and named numbers for the log (tensors, which are not waited for).
    settings
        Budget, optimizer, schedule.
    seed
        Seed of batches and dropout.
    folder
        Where `checkpoint.safetensors`, `weights.safetensors` (the moving average) and `log.csv` are kept, written at
        once and every `checkpoint_s` seconds. An interrupted training continues from its last checkpoint.
    identity
        What else identifies the training, as JSON can hold it; a checkpoint with another one is refused.
    enough
        Asked after each line of the log whether the training may end before its budget is used up.

    Returns
    -------
    Stream
        Steps, seconds and log.

    Raises
    ------
    InputError
        `folder` holds the checkpoint of another training.
    WorkError
        The loss is not finite.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> settings = StreamSettings(steps=200, learning_rate=0.1, weight_decay=0, ema_decay=0.9)
    >>> model = nn.Linear(1, 1)
    >>> def batch(step, generator):
    ...     return torch.rand(32, 1, generator=generator)
    >>> def loss(model, x):
    ...     return nn.functional.mse_loss(model(x), 3 * x), {}
    >>> round(train_stream(model, batch, loss, settings=settings).log[-1]["loss"], 2)
    0.0
    """
    device = torch.device(device)
    model.to(device).train()
    optimizer = optimizers.Optimizers(
        model, settings.optimizer,
        learning_rate=settings.learning_rate, weight_decay=settings.weight_decay, fused=device.type == "cuda",
    )  # fmt: skip
    average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    signature = _signature(model, settings, seed, identity)
    stream = _resume(folder, model, optimizer, average, signature)
    network: Any = torch.compile(model) if settings.compile else model
    generator = torch.Generator(device)
    sums: dict[str, Tensor] = {}
    start, saved = time.perf_counter() - stream.seconds, time.perf_counter()
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    with (
        progress.task("Train", settings.steps, "steps") as task,
        torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []),
    ):
        task.advance(stream.step)
        while stream.done(settings) < 1:
            number = _mix(seed, stream.step)
            generator.manual_seed(number)
            torch.manual_seed(number)
            rate = settings.learning_rate * learning_rate_fraction(
                stream.done(settings), settings.schedule, settings.warmup_fraction
            )
            optimizer.set_rate(rate)
            batch = make_batch(stream.step, generator)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                value, details = loss(network, batch)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            _clip(model, settings.clip_norm)
            optimizer.step()
            stream.step += 1
            _follow(average, model, min(settings.ema_decay, stream.step / (stream.step + 10)))
            for name, number_ in {"loss": value, **details}.items():
                sums[name] = sums.get(name, 0.0) + number_.detach()
            stream.seconds = time.perf_counter() - start
            task.advance()
            last = stream.done(settings) >= 1
            if stream.step % settings.log_every_steps == 0 or last:
                steps = stream.step - int(stream.log[-1]["step"] if stream.log else 0)
                means = {name: float(total) / steps for name, total in sums.items()}
                if not math.isfinite(means["loss"]):
                    raise WorkError(
                        "Training diverged: the loss is not finite",
                        received=f"steps up to {stream.step}, learning rate {rate:.2g}",
                        next_step="lower learning_rate or clip_norm; the last checkpoint is kept",
                    )
                # only now has the device finished these steps
                stream.seconds = time.perf_counter() - start
                stream.log.append(
                    {"step": stream.step, "seconds": round(stream.seconds, 2), "learning_rate": rate, **means}
                )
                sums = {}
                last = last or (enough is not None and enough(stream))
                if folder is not None and (last or time.perf_counter() - saved > settings.checkpoint_s):
                    _save(Path(folder), model, optimizer, average, stream, signature)
                    saved = time.perf_counter()
                if last:
                    break
    model.load_state_dict(average)
    model.eval()
    return stream


def _clip(model: nn.Module, largest: float | None) -> None:
    """Limit the norm of the gradient; a gradient that is not finite becomes zero, without waiting for the device."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    scale = torch.ones_like(norm) if largest is None else (largest / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale)
    for gradient in gradients:
        gradient.nan_to_num_(0.0, 0.0, 0.0)


def _follow(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move the average towards the weights; integers, such as counters, are copied."""
    with torch.no_grad():
        state = model.state_dict()
        floats = [name for name, tensor in state.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([average[name] for name in floats], [state[name] for name in floats], 1 - decay)
        for name in state.keys() - set(floats):
            average[name].copy_(state[name])


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


def _signature(model: nn.Module, settings: StreamSettings, seed: int, identity: Any) -> str:
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    return json.dumps([shapes, settings.model_dump(mode="json"), seed, identity], sort_keys=True)


def _save(
    folder: Path,
    model: nn.Module,
    optimizer: optimizers.Optimizers,
    average: dict[str, Tensor],
    stream: Stream,
    signature: str,
) -> None:
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer.state().items()}
    text = json.dumps([stream.step, stream.seconds, stream.log])
    _write(folder / CHECKPOINT, tensors, {"signature": signature, "stream": text})
    _write(folder / WEIGHTS, average, None)
    columns = list(dict.fromkeys(name for line in stream.log for name in line))
    with atomic_path(folder / LOG) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(stream.log)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    # cloned, because the format refuses tensors that share memory
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(copies, temporary, metadata)


def _resume(
    folder: Path | None,
    model: nn.Module,
    optimizer: optimizers.Optimizers,
    average: dict[str, Tensor],
    signature: str,
) -> Stream:
    """Load the last checkpoint, if there is one, into model, optimizer and average."""
    path = None if folder is None else Path(folder) / CHECKPOINT
    if path is None or not path.exists():
        return Stream()
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["signature"] != signature:
        raise InputError(
            "The folder holds the checkpoint of another training", received=path.parent, next_step="use an empty folder"
        )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        parts[kind][name] = tensor
    model.load_state_dict(parts["model"])
    for name, tensor in parts["average"].items():
        average[name].copy_(tensor)
    optimizer.load(parts["optimizer"])
    step, seconds, log = json.loads(metadata["stream"])
    return Stream(step, seconds, log)
