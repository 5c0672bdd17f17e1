"""The training loop.

Epoch `e` of seed `s` draws its batches and its dropout from the generator seeded with `(s, e)`. Nothing else is random,
so that a run continued from its last checkpoint gives what the uninterrupted run would have given.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lucule.core import SILENT, Config, InputError, Progress, WorkError
from lucule.core.files import atomic_path

Loss = Callable[[Tensor, Tensor], Tensor]


class FitSettings(Config):
    """How a network is trained.

    Attributes
    ----------
    epochs
        Passes over the training data.
    seconds
        Longest training time; None: as long as it takes. The schedule runs over the part of `epochs` or of `seconds`
        that is used up, whichever is larger, so that the learning rate has fallen when the time ends. A result then
        depends on the speed of the machine.
    optimizer
        `adam` or `adamw`.
    learning_rate
        Largest learning rate.
    schedule
        After the warm-up the learning rate stays `constant`, or falls along a `cosine` or a `linear` ramp to 0.
    warmup_fraction
        Fraction of all steps over which the learning rate rises from 0.
    weight_decay
        Weight decay (decoupled with `adamw`).
    clip_norm
        Largest norm of the gradient; None: as it comes.
    patience_epochs
        Stop when the validation loss has not improved for that many epochs; None: never.
    """

    epochs: int = Field(gt=0)
    seconds: float | None = Field(default=None, gt=0)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    patience_epochs: int | None = Field(default=None, gt=0)


class Batches(Protocol):
    """What a network is trained on."""

    def __len__(self) -> int:
        """Count the batches of an epoch."""

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Give (inputs, targets); all that is random about them comes from `generator`."""


@dataclass(frozen=True, slots=True)
class TensorBatches:
    """Batches of data that fit in memory.

    Attributes
    ----------
    inputs, targets
        Tensors whose first axis runs over the samples.
    size
        Samples in a batch; the last one may be smaller.
    shuffle
        Whether every epoch has its own order.
    """

    inputs: Tensor
    targets: Tensor
    size: int
    shuffle: bool = False

    def __len__(self) -> int:
        return math.ceil(len(self.inputs) / self.size)

    def to(self, device: torch.device | str) -> TensorBatches:
        """Give the same batches with all data on `device`."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Give all samples, in new order if `shuffle`."""
        if not self.shuffle:
            yield from zip(torch.split(self.inputs, self.size), torch.split(self.targets, self.size), strict=True)
            return
        order = torch.randperm(len(self.inputs), generator=generator).to(self.inputs.device)
        for rows in torch.split(order, self.size):
            yield self.inputs[rows], self.targets[rows]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the training log; losses are means over samples."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_score: float
    learning_rate: float
    seconds: float


def fit(
    model: nn.Module,
    train: Batches,
    validation: Batches,
    *,
    loss: Loss,
    score: Loss | None = None,
    settings: FitSettings,
    seed: int = 0,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> list[Epoch]:
    """Train `model` in place; it ends with the weights of the epoch that had the lowest validation loss.

    Parameters
    ----------
    model
        The network, on `device` afterwards.
    train, validation
        Batches of (inputs, targets).
    loss, score
        Functions of (outputs, targets) that give a mean over the samples; `score` is logged only.
    settings
        Optimizer, schedule, epochs.
    seed
        Seed of batches and dropout.
    folder
        Where `checkpoint.npz` and `log.csv` are kept. A run that was interrupted continues from its last epoch.

    Returns
    -------
    list of Epoch
        The log, all epochs.

    Raises
    ------
    InputError
        `folder` holds the checkpoint of another network or of other settings.
    WorkError
        The loss is not finite.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> x = torch.rand(256, 1)
    >>> data = TensorBatches(x, 3 * x, size=32, shuffle=True)
    >>> settings = FitSettings(epochs=40, learning_rate=0.3)
    >>> log = fit(nn.Linear(1, 1), data, data, loss=nn.functional.mse_loss, settings=settings)
    >>> log[-1].validation_loss < 0.01
    True
    """
    device = torch.device(device)
    model.to(device)
    optimizer = _optimizer(model, settings)
    checkpoint = None if folder is None else Path(folder) / "checkpoint.npz"
    identity = _identity(model, settings, seed)
    log, best = _resume(checkpoint, model, optimizer, identity)
    total = settings.epochs * len(train)
    with progress.task("Train", total, "batches") as task, torch.random.fork_rng(_indices(device)):
        task.advance(len(log) * len(train))
        clock = _Clock(settings.seconds, sum(done.seconds for done in log))
        for epoch in range(len(log), settings.epochs):
            if clock.fraction() >= 1 or _stale(log, settings.patience_epochs):
                break
            generator = torch.Generator().manual_seed(_mix(seed, epoch))
            torch.manual_seed(_mix(seed, epoch))
            model.train()
            # summed where the losses are: asking for each would make a GPU wait
            train_loss, samples = torch.zeros((), dtype=torch.float64, device=device), 0
            for number, (inputs, targets) in enumerate(train.epoch(generator)):
                step = max(epoch * len(train) + number, clock.fraction() * total)
                if step >= total:
                    break
                rate = learning_rate(step, total, settings)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                outputs = model(inputs.to(device, non_blocking=True))
                value = loss(outputs, targets.to(device, non_blocking=True))
                optimizer.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]
                if settings.clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
                optimizer.step()
                train_loss += value.detach() * len(targets)
                samples += len(targets)
                task.advance()
            validation_loss, validation_score = evaluate(model, validation, (loss, score or loss), device)
            if not math.isfinite(train_loss.item()) or not math.isfinite(validation_loss):
                raise WorkError(
                    "Training diverged: the loss is not finite",
                    received=f"epoch {epoch}, learning rate {rate:.2g}",
                    next_step="lower learning_rate or set clip_norm",
                )
            if validation_loss < min((done.validation_loss for done in log), default=math.inf):
                best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            # all that passed since the epoch before, so that the epochs of a time limit add up to it
            seconds = clock.used() - sum(done.seconds for done in log)
            log.append(
                Epoch(epoch, train_loss.item() / max(samples, 1), validation_loss, validation_score, rate, seconds)
            )
            if checkpoint is not None:
                _save(checkpoint, model, optimizer, best, log, identity)
        known = sum(done.seconds for done in log)
        if log and settings.seconds is not None and known < settings.seconds <= clock.used():
            # writing took the rest of the time: whoever goes on from here must know, or trains one more epoch
            log[-1] = replace(log[-1], seconds=log[-1].seconds + clock.used() - known)
            if checkpoint is not None:
                _save(checkpoint, model, optimizer, best, log, identity)
    model.load_state_dict(best)
    model.eval()
    return log


def evaluate(
    model: nn.Module, batches: Batches, functions: tuple[Loss, ...], device: torch.device | str = "cpu"
) -> tuple[float, ...]:
    """Means of `functions(outputs, targets)` over the samples of `batches`."""
    model.eval()
    sums, samples = torch.zeros(len(functions), dtype=torch.float64, device=device), 0
    with torch.inference_mode():
        for inputs, targets in batches.epoch(torch.Generator().manual_seed(0)):
            outputs, wanted = model(inputs.to(device)), targets.to(device)
            sums += torch.stack([function(outputs, wanted).double() for function in functions]) * len(targets)
            samples += len(targets)
    return tuple(float(value) for value in sums / samples)


def learning_rate(step: float, total: int, settings: FitSettings) -> float:
    """Learning rate of step number `step` of `total`.

    Examples
    --------
    >>> settings = FitSettings(epochs=1, learning_rate=0.1, schedule="linear", warmup_fraction=0.5)
    >>> [learning_rate(step, 4, settings) for step in range(4)]
    [0.05, 0.1, 0.1, 0.05]
    """
    warmup = round(settings.warmup_fraction * total)
    if step < warmup:
        return settings.learning_rate * min(1.0, (step + 1) / warmup)
    return settings.learning_rate * learning_rate_fraction((step - warmup) / (total - warmup), settings.schedule)


def learning_rate_fraction(done: float, schedule: str, warmup: float = 0.0) -> float:
    """Learning rate as a fraction of the largest one, when the fraction `done` of the training is over.

    Examples
    --------
    >>> [learning_rate_fraction(done, "linear", warmup=0.5) for done in (0.25, 0.5, 0.75, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        return done / warmup
    rest = (done - warmup) / (1 - warmup)
    return {"constant": 1.0, "linear": 1 - rest, "cosine": 0.5 + 0.5 * math.cos(math.pi * rest)}[schedule]


@dataclass(frozen=True, slots=True)
class _Clock:
    """How much of a time limit is used up."""

    limit: float | None
    used_before: float
    started: float = field(default_factory=time.perf_counter)

    def used(self) -> float:
        """Seconds, those of an interrupted run included."""
        return self.used_before + time.perf_counter() - self.started

    def fraction(self) -> float:
        """0 at the beginning, 1 or more when the time is over; 0 without a limit."""
        return 0.0 if self.limit is None else self.used() / self.limit


def _optimizer(model: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = parameters[0].device.type == "cuda" or None  # one kernel for all weights
    return kind(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused)


def _stale(log: list[Epoch], patience: int | None) -> bool:
    losses = [epoch.validation_loss for epoch in log]
    return patience is not None and len(losses) > 0 and len(losses) - 1 - losses.index(min(losses)) >= patience


def _mix(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def _indices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []


def _identity(model: nn.Module, settings: FitSettings, seed: int) -> str:
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    return json.dumps([shapes, settings.model_dump(mode="json"), seed], sort_keys=True)


def _save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    log: list[Epoch],
    identity: str,
) -> None:
    arrays: dict[str, Any] = {"identity": identity, "log": json.dumps([asdict(e) for e in log])}
    arrays |= {f"model/{name}": tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    arrays |= {f"best/{name}": tensor.numpy() for name, tensor in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{number}/{name}": tensor.cpu().numpy() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    with atomic_path(path.with_name("log.csv")) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(log[0])))
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in log)


def _resume(
    path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[list[Epoch], dict[str, Tensor]]:
    """Load the last checkpoint, if there is one, into model and optimizer; give the log and the best weights so far."""
    if path is None or not path.exists():
        return [], {}
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if arrays["identity"].item() != identity:
        raise InputError(
            "The folder holds the checkpoint of another training", received=path.parent, next_step="use an empty folder"
        )
    state: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
    for key, array in arrays.items():
        kind, _, name = key.partition("/")
        if kind in weights:
            weights[kind][name] = torch.from_numpy(array)
        elif kind == "optimizer":
            number, _, name = name.partition("/")
            state.setdefault(int(number), {})[name] = torch.from_numpy(array)
    model.load_state_dict(weights["model"])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return [Epoch(**values) for values in json.loads(arrays["log"].item())], weights["best"]
