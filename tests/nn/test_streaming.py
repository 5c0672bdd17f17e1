"""Training on a stream learns, keeps to its budget, resumes, and refuses what it must refuse."""

from __future__ import annotations

import csv
import time
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lucule.core import InputError, WorkError
from lucule.nn import StreamSettings, torch_threads, train_stream

SETTINGS = StreamSettings(steps=60, learning_rate=0.05, ema_decay=0.9, log_every_steps=10, checkpoint_s=1e-6)


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))


def wide_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 1))


def batch(step, generator):
    x = torch.rand(64, 2, generator=generator)
    return x, x.sum(1, keepdim=True)


def loss(model, pairs):
    x, y = pairs
    error = (model(x).float() - y).square().mean()
    return error, {"rms": error.sqrt()}


def equal(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


class Interrupting:
    """A progress display at which the user presses Ctrl-C after some steps."""

    def __init__(self, after):
        self.left = after

    @contextmanager
    def task(self, label, total=None, unit=""):  # noqa: ARG002
        yield self

    def advance(self, amount=1):
        self.left -= amount
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns(precision):
    stream = train_stream(network(), batch, loss, settings=SETTINGS.replace(precision=precision))
    assert stream.log[-1]["rms"] < 0.3 * stream.log[0]["rms"]
    assert stream.log[-1]["learning_rate"] < 0.01 * SETTINGS.learning_rate


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    first, second, other = network(), network(), network()
    before = torch.random.get_rng_state()
    train_stream(first, batch, loss, settings=SETTINGS)
    assert torch.equal(torch.random.get_rng_state(), before)
    train_stream(second, batch, loss, settings=SETTINGS)
    train_stream(other, batch, loss, settings=SETTINGS, seed=4)
    assert equal(first, second)
    assert not equal(first, other)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("after", [5, 33])
def test_an_interrupted_run_continues_to_the_same_weights(tmp_path, after, optimizer):
    whole, interrupted, continued = wide_network(), wide_network(), wide_network()
    settings = SETTINGS.replace(optimizer=optimizer)
    expected = train_stream(whole, batch, loss, settings=settings)
    with pytest.raises(KeyboardInterrupt):
        train_stream(interrupted, batch, loss, settings=settings, folder=tmp_path, progress=Interrupting(after))
    stream = train_stream(continued, batch, loss, settings=settings, folder=tmp_path)
    assert equal(whole, continued)
    assert [line["loss"] for line in stream.log] == [line["loss"] for line in expected.log]


def test_muon_steps_matrices_along_all_directions_alike_and_leaves_the_rest_to_adamw():
    """One step without decay: singular values of a matrix's change are alike, those of its gradient are not."""
    settings = SETTINGS.replace(steps=1, weight_decay=0, warmup_fraction=0, schedule="constant", ema_decay=0)
    change = {}
    for optimizer in ("adamw", "muon"):
        model, before = wide_network(), wide_network()
        train_stream(model, batch, loss, settings=settings.replace(optimizer=optimizer))
        change[optimizer] = {
            name: new - old for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True)
        }
    sizes = torch.linalg.svdvals(change["muon"].pop("2.weight").detach())
    expected = settings.learning_rate * 0.2 * 16**0.5
    assert sizes[:3].min() > 0.6 * expected
    assert sizes.max() < 1.3 * expected
    plain = torch.linalg.svdvals(change["adamw"].pop("2.weight").detach())
    assert plain[2] < 0.2 * plain[0]
    assert all(torch.equal(change["adamw"][name], change["muon"][name]) for name in change["muon"])


def test_a_budget_of_seconds_ends_annealed_and_saved(tmp_path):
    model = network()
    start = time.perf_counter()
    stream = train_stream(model, batch, loss, settings=SETTINGS.replace(steps=None, seconds=0.5), folder=tmp_path)
    assert 0.5 <= stream.seconds <= time.perf_counter() - start < 5
    assert stream.log[-1]["learning_rate"] < 0.05 * SETTINGS.learning_rate
    saved = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())
    with (tmp_path / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(stream.log)
    steps = stream.step
    assert train_stream(network(), batch, loss, settings=SETTINGS.replace(steps=None, seconds=0.5),
                        folder=tmp_path).step == steps  # fmt: skip


def test_the_weights_are_an_average():
    """With a learning rate that stays, the averaged weights of a noisy problem vary less than the last ones."""

    def noisy(step, generator):
        x, y = batch(step, generator)
        return x, y + torch.randn(y.shape, generator=generator)

    settings = SETTINGS.replace(schedule="constant", warmup_fraction=0, steps=200)
    errors = {}
    for decay in (0.0, 0.98):
        model = nn.Linear(2, 1)
        train_stream(model, noisy, loss, settings=settings.replace(ema_decay=decay))
        with torch.no_grad():
            errors[decay] = float((model.weight - 1).square().sum() + model.bias.square().sum())
    assert errors[0.98] < errors[0.0]


def test_a_single_bad_gradient_does_no_harm_but_a_bad_loss_is_reported():
    def bad_gradient(model, pairs):
        value, details = loss(model, pairs)
        # the derivative of the root is infinite at 0, and 0 times infinity is no number
        return value + (0 * torch.sqrt(0 * model(pairs[0]))).sum(), details

    model = network()
    train_stream(model, batch, bad_gradient, settings=SETTINGS)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    with pytest.raises(WorkError, match="diverged"):
        train_stream(network(), batch, lambda m, b: (loss(m, b)[0] / 0.0, {}), settings=SETTINGS)


@pytest.mark.parametrize("change", [{"seed": 5}, {"identity": "other"}, {"settings": SETTINGS.replace(steps=61)}])
def test_another_training_is_refused(tmp_path, change):
    options = {"settings": SETTINGS, "folder": tmp_path, "identity": "this"}
    train_stream(network(), batch, loss, **options)
    with pytest.raises(InputError, match="another training"):
        train_stream(network(), batch, loss, **(options | change))


@pytest.mark.parametrize("budget", [{}, {"steps": 5, "seconds": 5}])
def test_a_budget_is_either_steps_or_seconds(budget):
    with pytest.raises(InputError, match="either seconds or steps"):
        StreamSettings.parse(budget)
