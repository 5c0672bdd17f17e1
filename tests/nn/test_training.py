"""The training loop learns, stops, resumes and refuses what it must refuse."""

from __future__ import annotations

import csv
import time
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from lucule.core import InputError, WorkError
from lucule.nn import FitSettings, TensorBatches, choose_device, fit, torch_threads, training
from lucule.nn.training import learning_rate

SETTINGS = FitSettings(epochs=6, learning_rate=0.02)


def data(size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(400, 2, generator=generator)
    return TensorBatches(x, (x.sum(1, keepdim=True) > 1).float(), size, shuffle=True)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))


def accuracy(outputs, targets):
    return ((outputs > 0) == (targets > 0.5)).float().mean()


def train(model, settings=SETTINGS, **options):
    return fit(model, data(), data(seed=1), loss=nn.functional.binary_cross_entropy_with_logits, score=accuracy,
               settings=settings, **options)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


class Interrupting:
    """A progress display at which the user presses Ctrl-C after some batches."""

    def __init__(self, after):
        self.left = after
        self.advanced = 0

    @contextmanager
    def task(self, label, total=None, unit=""):  # noqa: ARG002
        self.total = total
        yield self

    def advance(self, amount=1):
        self.advanced += amount
        self.left -= amount
        if self.left <= 0:
            raise KeyboardInterrupt


def equal(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_it_learns(optimizer, schedule):
    log = train(network(), SETTINGS.replace(optimizer=optimizer, schedule=schedule, clip_norm=1.0))
    assert log[-1].validation_loss < log[0].validation_loss
    assert log[-1].validation_score > 0.9


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first, second, other = network(), network(), network()
    torch.random.set_rng_state(before)
    train(first)
    assert torch.equal(torch.random.get_rng_state(), before)
    train(second)
    train(other, seed=4)
    assert equal(first, second)
    assert not equal(first, other)


@pytest.mark.parametrize("after", [5, 20, 50])
def test_an_interrupted_run_continues_to_the_same_weights(tmp_path, after):
    whole, interrupted, continued = network(), network(), network()
    expected = train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, folder=tmp_path, progress=Interrupting(after))
    log = train(continued, folder=tmp_path)
    assert equal(whole, continued)
    assert [epoch.train_loss for epoch in log] == [epoch.train_loss for epoch in expected]


def test_a_finished_run_is_not_repeated(tmp_path):
    first, again = network(), network()
    train(first, folder=tmp_path)
    progress = Interrupting(after=10_000)
    train(again, folder=tmp_path, progress=progress)
    assert equal(first, again)
    assert progress.advanced == progress.total


def test_the_log_is_a_table(tmp_path):
    log = train(network(), folder=tmp_path)
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["validation_loss"]) for row in rows] == [epoch.validation_loss for epoch in log]


def test_the_best_epoch_is_kept():
    """With a learning rate that rises far too high the last epochs are bad; the weights are not those."""
    model = network()
    log = train(model, FitSettings(epochs=8, learning_rate=30, warmup_fraction=0.99, optimizer="adam"))
    best = min(epoch.validation_loss for epoch in log)
    assert log[-1].validation_loss > best
    x, y = data(seed=1).inputs, data(seed=1).targets
    with torch.inference_mode():
        assert nn.functional.binary_cross_entropy_with_logits(model(x), y).item() == pytest.approx(best, rel=1e-4)


def test_patience_stops_early():
    log = train(network(), FitSettings(epochs=50, learning_rate=1e-9, patience_epochs=2, optimizer="adam"))
    assert len(log) < 50


def test_another_networks_checkpoint_is_refused(tmp_path):
    train(network(), folder=tmp_path)
    with pytest.raises(InputError, match="another training"):
        train(network(), SETTINGS.replace(learning_rate=0.5), folder=tmp_path)
    with pytest.raises(InputError, match="another training"):
        train(nn.Linear(2, 1), folder=tmp_path)


def test_divergence_is_reported():
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(WorkError, match="diverged"):
        train(model)


def test_learning_rate_rises_and_falls():
    settings = FitSettings(epochs=1, learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize("values", [{"epochs": 0}, {"learning_rate": 0}, {"optimizer": "sgd"}, {"epoch": 3}])
def test_wrong_settings_are_refused(values):
    with pytest.raises(InputError):
        FitSettings.parse({"epochs": 1} | values)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", "mps"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(InputError, match=r"Unknown device|no such GPU"):
        choose_device(name)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_time_limit_ends_the_training_with_a_low_learning_rate(tmp_path):
    settings = FitSettings(epochs=100_000, seconds=0.8, learning_rate=0.02)
    log = train(network(), settings, folder=tmp_path)
    assert sum(epoch.seconds for epoch in log) < 3
    assert len(log) < 100_000
    assert log[-1].learning_rate < 0.002
    assert log[-1].validation_score > 0.9
    # the time is used up, also for a run that goes on from the checkpoint
    assert len(train(network(), settings, folder=tmp_path)) == len(log)


def test_time_spent_writing_checkpoints_is_used_up_too(tmp_path, monkeypatch):
    write = training._save

    def slow(*arguments):
        time.sleep(0.1)
        write(*arguments)

    monkeypatch.setattr(training, "_save", slow)
    settings = FitSettings(epochs=100_000, seconds=0.5)
    log = train(network(), settings, folder=tmp_path)
    assert sum(epoch.seconds for epoch in log) >= 0.5
    assert train(network(), settings, folder=tmp_path) == log
