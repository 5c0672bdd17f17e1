"""How much of a training is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lucule import models, segment
from lucule.bench.segment import slide
from lucule.segment.annotations import Annotation, from_array
from lucule.segment.keep import PARTS, THRESHOLDS, View, blend, decide, dice, folds, unmarked, views, without
from lucule.segment.samples import sample
from lucule.segment.tuning import TrainSettings


def _squares(count: int, start: int = 1) -> Annotation:
    labels = np.zeros((12, 12 * count), np.int32)
    for number in range(count):
        labels[3:9, 12 * number + 3 : 12 * number + 9] = start + number
    return from_array(labels, kind="labels")


def _after(n: int, means: dict[float, float]) -> np.ndarray:
    """Scores of `n` objects that depend on the part alone."""
    return np.array([[[means[part]] * n] * len(THRESHOLDS) for part in PARTS])


def test_each_object_is_left_out_once() -> None:
    parts = folds([_squares(4), _squares(3)])
    assert len(parts) == 3
    left_out = sorted((image, number) for part in parts for image, numbers in part.items() for number in numbers)
    assert left_out == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (1, 3)]
    assert folds([_squares(1)]) == []


def test_of_hundreds_of_objects_some_are_left_out() -> None:
    parts = folds([_squares(120)])
    assert sum(len(numbers) for part in parts for numbers in part.values()) == 40


def test_what_is_left_out_is_unknown_not_background() -> None:
    first, second = without([_squares(3), _squares(2)], {0: [2], 1: [1, 2]})
    assert second is None  # nothing would be left but background
    assert first is not None
    assert first.count == 2
    assert (first.classes[3:9, 15:21] == 255).all()
    assert (first.classes[3:9, 3:9] == 1).all()


def test_a_view_counts_an_object_and_its_surroundings_but_shows_more() -> None:
    image, labels = slide(2, 230)
    one = sample(image, from_array(labels), 1.0)
    (view,) = views(one, [13])
    counted = view.classes != 255
    assert view.image.shape[1:] == view.classes.shape
    assert counted.sum() < 0.6 * counted.size
    assert (view.classes[counted] == 1).sum() >= (labels == 13).sum()
    assert len(views(one)) == 25


def test_strokes_are_seen_in_blocks() -> None:
    strokes = np.zeros((200, 200), int)
    strokes[10:12, 10:150] = 2
    strokes[100, 100] = 1
    one = sample(np.random.default_rng(1).random((200, 200)), from_array(strokes, kind="strokes"), 1.0)
    assert len(views(one)) == 2


class _Bright(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        grey = image.mean(dim=1)
        return torch.stack([torch.zeros_like(grey), 20 * (grey - 0.5), grey], dim=1)


def test_dice_of_known_pixels_alone() -> None:
    image = torch.zeros(3, 20, 20)
    image[:, :, 10:] = 1.0
    true = np.zeros((20, 20), np.int64)
    true[:, 12:] = 1
    assert dice(_Bright(), [View(image, true)], [0.5])[0, 0] == pytest.approx(321 / 361)
    # what is nowhere as sure as an object must be is none
    assert dice(_Bright(), [View(image, true)], [0.5], 1.0)[0, 0] == pytest.approx(1 / 161)
    true[:, 10:12] = 255
    assert dice(_Bright(), [View(image, true)], [0.5])[0, 0] == 1.0


def test_objects_without_annotation_are_counted() -> None:
    labels = np.zeros((120, 120), np.int32)
    y, x = np.mgrid[:120, :120]
    for number, (row, column) in enumerate(((30, 30), (30, 90), (90, 30), (90, 90)), start=1):
        labels[np.hypot(y - row, x - column) < 14] = number
    known = Annotation((labels == 1).astype(np.uint8), np.where(labels == 1, 1, 0).astype(np.int32))
    image = 100.0 * (labels > 0) + np.random.default_rng(1).normal(0, 3, labels.shape)
    assert unmarked(_Bright(), [sample(image, known, 1.0)], 0.5, 0.5, 28) == 3
    assert unmarked(_Bright(), [sample(image, from_array(labels).only([1]), 1.0)], 0.5, 0.5, 28) == 0
    assert unmarked(_Bright(), [sample(image, known, 1.0)], 0.5, 1.0, 28) == 0  # it is nowhere as sure
    # a rim around what is annotated is no object
    inner = np.where(np.hypot(y - 30, x - 30) < 11, labels, 0) + np.where(labels > 1, labels, 0)
    assert unmarked(_Bright(), [sample(image, from_array(inner), 1.0)], 0.5, 0.5, 28) == 0


def test_half_way_between_weights() -> None:
    first, last = {"a": torch.zeros(3), "n": torch.tensor(1)}, {"a": torch.ones(3), "n": torch.tensor(5)}
    assert blend(first, last, 0.5)["a"].tolist() == [0.5] * 3
    assert blend(first, last, 0.0)["n"] == 5
    assert torch.equal(blend(first, last, 0.0)["a"], first["a"])


def test_a_small_gain_keeps_the_first_weights_and_their_threshold() -> None:
    before = np.full(9, 0.9)
    kept = decide(before, _after(9, dict(zip(PARTS, (0.91, 0.92, 0.93, 0.94), strict=True))), 0.3, unseen=True)
    assert (kept.part, kept.threshold, kept.after) == (0.0, 0.3, pytest.approx(0.9))
    assert "the weights of objects are kept" in kept.sentence("objects")


def test_the_smallest_part_that_does_is_kept() -> None:
    before = np.full(9, 0.5)
    kept = decide(before, _after(9, dict(zip(PARTS, (0.7, 0.895, 0.9, 0.85), strict=True))), 0.3, unseen=True)
    assert kept.part == 0.5
    assert "50 %" in kept.sentence("objects")


def test_a_whole_training_that_helps_with_low_thresholds_alone_gets_one_of_these() -> None:
    after = _after(9, dict(zip(PARTS, (0.2, 0.3, 0.4, 0.7), strict=True)))
    after[-1] = np.array([0.69, 0.7, 0.5, 0.4])[:, None]
    kept = decide(np.full(9, 0.1), after, 0.3, unseen=True)
    assert (kept.part, kept.threshold) == (1.0, 0.5)  # helps with its own threshold, too
    assert "0.40 after it" in kept.sentence("objects")
    after[-1, -1] = 0.04
    kept = decide(np.full(9, 0.1), after, 0.3, unseen=True)
    assert (kept.part, kept.threshold, kept.after) == (1.0, 0.25, pytest.approx(0.7))


def test_most_objects_have_to_gain() -> None:
    better = _after(5, dict.fromkeys(PARTS, 0.9))
    assert decide(np.array([0.9, 0.1, 0.9, 0.9, 0.9]), better, 0.3, unseen=True).part == 0
    assert decide(np.array([0.9, 0.1, 0.8, 0.3, 0.2]), better, 0.3, unseen=True).part == 0.25


@pytest.mark.parametrize(("before", "part"), [(0.5, 0.0), (0.2, 0.25)])
def test_a_single_object_speaks_for_training_where_it_is_missed_without(before: float, part: float) -> None:
    assert decide(np.array([before]), _after(1, dict.fromkeys(PARTS, 0.92)), 0.3, unseen=False).part == part


def test_a_training_that_does_not_help_changes_nothing(tiny_model: Path, tiny_settings, tmp_path: Path) -> None:
    image, labels = slide(5, 138)
    old = models.find(tiny_model)
    start = tmp_path / "start"
    models.save(start, old.card.replace(features=old.card.features | {"confidence": 0.6}), old.state())
    settings = tiny_settings.replace(start=str(start))
    out = segment.train([image], [labels], out=tmp_path / "same", settings=settings, device="cpu")
    new = models.find(out)
    assert new.card.scores["kept_part"] == 0
    assert new.card.features["confidence"] == 0.6
    assert "are kept" in new.card.notes
    assert all(torch.equal(tensor, old.state()[name]) for name, tensor in new.state().items())


@pytest.mark.parametrize("count", [1, 9])
def test_a_training_that_helps_is_kept(
    count: int, tiny_model: Path, tiny_settings, picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the negative, seen as it is, is what the first network does not know
    monkeypatch.setattr(sys.modules[segment.train.__module__], "objects_are_dark", lambda *_: False)
    image, labels = slide(5, 138)
    settings = tiny_settings.replace(start=str(tiny_model))
    known = from_array(labels, kind="labels").only(range(1, count + 1))
    out = segment.train([400 - image], [known], out=tmp_path / "dark", settings=settings, device="cpu")
    card = models.find(out).card
    assert card.scores["kept_part"] > 0
    name = "unseen" if count > 1 else "train"
    assert card.scores[f"{name}_dice_after"] > card.scores[f"{name}_dice_before"] + 0.05
    # a single object may help with lower thresholds alone
    assert count == 1 or card.features["threshold"] == 0.5 or card.scores["kept_part"] < 1
    seen, truth = picture
    found = segment.load(out, device="cpu").predict(400 - seen)
    assert np.mean((found.labels() > 0) == (truth > 0)) > 0.9


def test_how_much_is_kept_can_be_given(tiny_model: Path, tiny_settings: TrainSettings, tmp_path: Path) -> None:
    image, labels = slide(5, 138)
    short = tiny_settings.replace(start=str(tiny_model), keep=0.0, fit=tiny_settings.fit.replace(steps=2).model_dump())
    new = models.find(segment.train([image], [labels], out=tmp_path / "kept", settings=short, device="cpu"))
    assert "kept_part" not in new.card.scores
    assert all(torch.equal(tensor, models.find(tiny_model).state()[name]) for name, tensor in new.state().items())
