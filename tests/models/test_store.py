"""Models are found by name or folder, and never loaded when they are not what their card says."""

from __future__ import annotations

import pytest
import torch

from lucule.core import FormatError, InputError
from lucule.models import Card, available, find, save

CARD = Card(
    name="tiny", title="for this test", task="classify", architecture="dense", parameters=3, features={"k": 1},
    classes=("a", "b"), recipe={"epochs": 1}, command="lucule train tiny.yaml", seed=1, data_sha256="0" * 64,
    scores={"test_accuracy": 0.5}, training_range={"density_per_um2": (1.0, 2.0)}, version="0",
)  # fmt: skip
STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([0.5])}


def test_round_trip(tmp_path):
    written = save(tmp_path / "model", CARD, STATE)
    packaged = find(tmp_path / "model")
    assert packaged.card == written.card == CARD.replace(weights_sha256=packaged.card.weights_sha256)
    assert len(packaged.card.weights_sha256) == 64
    state = packaged.state()
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_weights_that_are_no_contiguous_leaf_are_saved(tmp_path):
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)).T
    assert torch.equal(save(tmp_path, CARD, {"weight": weight}).state()["weight"], weight)


@pytest.mark.parametrize("name", ["XPILJX", "", "/nowhere", "../models", "xpiljz"])
def test_unknown_models_list_the_known_ones(name):
    with pytest.raises(InputError, match="XPILJZ"):
        find(name)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + b"\x01", lambda _: b""])
def test_damaged_weights_are_refused(tmp_path, damage):
    path = save(tmp_path, CARD, STATE).weights_path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match="damaged"):
        find(tmp_path).state()


def test_missing_weights_are_refused(tmp_path):
    save(tmp_path, CARD, STATE).weights_path.unlink()
    with pytest.raises(FormatError, match="cannot be read"):
        find(tmp_path).state()


def test_another_kind_of_file_is_refused(tmp_path):
    packaged = save(tmp_path, CARD, STATE)
    packaged.weights_path.write_bytes(b"not weights")
    import hashlib

    packaged.card.replace(weights_sha256=hashlib.sha256(b"not weights").hexdigest()).to_yaml(tmp_path / "card.yaml")
    with pytest.raises(FormatError, match="safetensors"):
        find(tmp_path).state()


def test_a_card_with_unknown_keys_is_refused(tmp_path):
    save(tmp_path, CARD, STATE)
    with (tmp_path / "card.yaml").open("a") as stream:
        stream.write("colour: red\n")
    with pytest.raises(InputError, match="colour is not a known key"):
        find(tmp_path)


@pytest.mark.parametrize("card", available(), ids=lambda card: card.name)
def test_packaged_models_are_complete(card):
    packaged = find(card.name)
    assert sum(tensor.numel() for tensor in packaged.state().values()) >= card.parameters
    assert card.recipe["seed"] == card.seed
    assert all(low <= high for low, high in card.training_range.values())


@pytest.mark.parametrize("card", [card for card in available() if card.task == "classify"], ids=lambda card: card.name)
def test_packaged_classifiers_are_complete(card):
    # the second bias of each LSTM is 0 and not trained
    trained = {name: tensor for name, tensor in find(card.name).state().items() if "bias_hh" not in name}
    assert sum(tensor.numel() for tensor in trained.values()) == card.parameters
    assert 0 < card.scores["test_accuracy"] <= 1
    assert len(card.data_sha256) == 64


def test_xpiljz_has_the_papers_size():
    assert find("XPILJZ").card.parameters == 3265
