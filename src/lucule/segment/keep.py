"""How much of a training is kept: as much as annotated objects that it has not seen speak for.

A network that learns from few objects forgets other kinds of images. Between the weights that it began with and those
that it ended with lies a straight line, on which networks are often better than at either end (Wortsman et al. 2022,
arXiv:2109.01903). How far to go is measured on annotated objects that were left out of trainings of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lucule.segment.annotations import IGNORE, Annotation
from lucule.segment.instances import THRESHOLD
from lucule.segment.samples import Sample

Floats: TypeAlias = NDArray[np.float64]
State: TypeAlias = dict[str, Tensor]

PARTS: Final = (0.25, 0.5, 0.75, 1.0)
THRESHOLDS: Final = (0.15, 0.25, 0.35, THRESHOLD)
_FOLDS: Final = 3
_MOST: Final = 45
# a view of an object shows so much of its surroundings, of which the inner part counts; pixels of the network
_AROUND_PX, _COUNTED_PX = 60, 28
_BLOCK_PX: Final = 96
_STRIDE: Final = 16
# larger images are not looked at as a whole
_LARGEST_PX: Final = 2**22
# a network that sees this part of the annotated objects is asked for others
_TRUSTED: Final = 0.7
# what counts as better: this much more Dice for most objects and in the mean, there also more than its standard error
_GAIN: Final = 0.05
# one or two objects say little of others: they speak for training if they are hardly found without
_FEW, _GAIN_OF_FEW = 3, 0.5
# what is this little worse than the best, and nearer to the beginning, is taken
_NEARLY: Final = 0.01


@dataclass(frozen=True, slots=True)
class Kept:
    """What was decided.

    Attributes
    ----------
    part
        0: the weights that the training began with, 1: those that it ended with.
    threshold
        Smallest probability of a pixel of an object.
    before, after
        Mean Dice score of the annotated objects and their surroundings with the first weights, and with those kept.
    trained
        The same with the best that the training gave.
    objects
        Number of objects that this was measured on.
    unseen
        Whether they were left out of the trainings on which it was measured.
    """

    part: float
    threshold: float
    before: float
    after: float
    trained: float
    objects: int
    unseen: bool

    def scores(self) -> dict[str, float]:
        """For a model card."""
        name = "unseen" if self.unseen else "train"
        return {
            "kept_part": self.part,
            f"{name}_dice_before": round(self.before, 4),
            f"{name}_dice_after": round(self.after, 4),
        }

    def sentence(self, start: str) -> str:
        """What was decided, in words."""
        of = "left out of training" if self.unseen else "trained on"
        many = f"{self.objects} object{'s' * (self.objects != 1)} {of}"
        after = self.after if self.part else self.trained
        found = f"Dice {self.before:.2f} without training, {after:.2f} after it, {many}"
        if self.part == 0:
            return f"Training does not help enough ({found}): the weights of {start} are kept"
        return f"Training helps ({found}): {100 * self.part:.0f} % of the change of the weights is kept"


@dataclass(frozen=True, eq=False)
class View:
    """An annotated object and its surroundings: image `(3, rows, columns)` and classes, `IGNORE` where none counts."""

    image: Tensor
    classes: NDArray[np.int64]


def folds(known: Sequence[Annotation]) -> list[dict[int, list[int]]]:
    """Split objects into parts, each to be left out of a training: numbers of objects by the number of their image.

    Objects of one image stay together where there are several images. Nothing is left out where there is one object.

    Examples
    --------
    >>> row = np.array([[1, 0, 2, 0, 3]])
    >>> folds([Annotation(row > 0, row)])
    [{0: [1]}, {0: [2]}, {0: [3]}]
    """
    each = [(image, int(number)) for image, item in enumerate(known) for number in np.unique(item.objects) if number]
    if len(each) < 2:
        return []
    each = each[:: ceil(len(each) / _MOST)]
    parts = np.array_split(np.arange(len(each)), min(_FOLDS, len(each)))
    return [
        {image: [each[i][1] for i in part if each[i][0] == image] for image in sorted({each[i][0] for i in part})}
        for part in parts
    ]


def without(known: Sequence[Annotation], left_out: dict[int, list[int]]) -> list[Annotation | None]:
    """Annotations that say nothing of the objects left out; None for images in which no object remains."""
    remaining: list[Annotation | None] = []
    for number, item in enumerate(known):
        gone = left_out.get(number, [])
        kept = np.setdiff1d(np.unique(item.objects[item.objects > 0]), gone)
        remaining.append(item if not gone else item.only(kept.tolist()) if len(kept) else None)
    return remaining


def views(item: Sample, numbers: Sequence[int] | None = None) -> list[View]:
    """Views of some objects of an image, by default of all; of what strokes cover where objects are not told apart."""
    classes, objects = (plane.cpu().numpy().round().astype(np.int64) for plane in item.planes[:2])
    if numbers is None:
        inside = objects if objects.any() else _blocks(classes)
        numbers = np.unique(inside[inside > 0]).tolist()
    else:
        inside = objects
    found = []
    for number in numbers[:_MOST]:
        rows, columns = np.nonzero(inside == number)
        if len(rows):
            seen, counted = (
                tuple(slice(max(int(at.min()) - margin, 0), int(at.max()) + 1 + margin) for at in (rows, columns))
                for margin in (_AROUND_PX, _COUNTED_PX)
            )
            known = np.full(classes.shape, IGNORE, np.int64)
            known[counted] = classes[counted]
            found.append(View(item.image[:, *seen], known[seen]))
    return found


def blend(first: State, last: State, part: float) -> State:
    """Weights on the way from the first to the last; integers, such as counters, are those of the last.

    Examples
    --------
    >>> blend({"a": torch.zeros(1)}, {"a": torch.ones(1)}, 0.25)["a"].item()
    0.25
    """
    return {name: torch.lerp(first[name].to(tensor), tensor, part) if tensor.is_floating_point() else tensor
            for name, tensor in last.items()}  # fmt: skip


def dice(network: nn.Module, shown: Sequence[View], thresholds: Sequence[float], confidence: float = 0.0) -> Floats:
    """Dice score of each view at each threshold, `(thresholds, views)`; a pixel counts when its class is right, too.

    What hangs together counts as nothing where its mean probability is below `confidence`.
    """
    from scipy.ndimage import label, mean

    network.eval()
    scores = np.ones((len(thresholds), len(shown)))
    for column, view in enumerate(shown):
        probabilities = _probabilities(network, view.image)
        known, true = view.classes != IGNORE, view.classes
        foreground, best = 1 - probabilities[0], 1 + probabilities[1:].argmax(axis=0)
        for row, threshold in enumerate(thresholds):
            parts, number = label(foreground > threshold)
            sure = mean(foreground, parts, np.arange(1, number + 1)) >= confidence if number else []
            found = np.where(np.append(False, sure)[parts], best, 0)
            right = (found == true) & (true > 0) & known
            scores[row, column] = (2 * right.sum() + 1) / (((found > 0) & known).sum() + ((true > 0) & known).sum() + 1)
    return scores


def measured(
    network: nn.Module,
    first: State,
    trials: Sequence[tuple[State, dict[int, list[int]] | None]],
    samples: Sequence[Sample],
    threshold: float,
    confidences: tuple[float, float],
) -> Kept:
    """Measure trained weights, and those on the way to them, and decide.

    Parameters
    ----------
    network
        Its weights change.
    first
        The weights that training begins with.
    trials
        Trained weights with the objects that were left out of their training; None: nothing was.
    samples
        All annotated images.
    threshold
        With which the first weights are used.
    confidences
        Smallest one of an object with the first weights and those on the way, and with those of a whole training.
    """
    before, after = [], []
    for last, left_out in trials:
        shown = [
            view
            for number, item in enumerate(samples)
            if left_out is None or number in left_out
            for view in views(item, None if left_out is None else left_out[number])
        ]
        network.load_state_dict(first)
        before.append(dice(network, shown, [threshold], confidences[0])[0])
        on_the_way = []
        for part in PARTS:
            network.load_state_dict(blend(first, last, part))
            on_the_way.append(dice(network, shown, THRESHOLDS, confidences[part == 1]))
        after.append(np.stack(on_the_way))
    unseen = all(left_out is not None for _, left_out in trials)
    return decide(np.concatenate(before), np.concatenate(after, axis=2), threshold, unseen=unseen)


def unmarked(network: nn.Module, samples: Sequence[Sample], threshold: float, confidence: float,
             object_px: float) -> int:  # fmt: skip
    """Number of objects that a network sees where background is annotated.

    Parameters
    ----------
    threshold, confidence
        Smallest probability of a pixel of an object, and smallest mean of the deeper ones.
    object_px
        Typical extent of an object, at the magnification of the network; what is thinner than a third of it is a rim,
        what is thicker than two of it the ground.

    Returns
    -------
    int
        0 where the network does not see the annotated objects either.
    """
    from scipy.ndimage import distance_transform_edt, label, maximum, mean

    network.eval()
    found, hit, annotated = 0, 0, 0
    for item in samples:
        if item.image[0].numel() > _LARGEST_PX:
            continue
        probability = 1 - _probabilities(network, item.image)[0]
        seen = probability > threshold
        classes = item.planes[0].cpu().numpy()
        inside = (classes > 0) & (classes != IGNORE)
        hit, annotated = hit + int((seen & inside).sum()), annotated + int(inside.sum())
        depth = distance_transform_edt(seen & (classes == 0))
        deep, number = label(depth > object_px / 6)
        if number:
            each = np.arange(1, number + 1)
            sure = mean(probability, deep, each) >= confidence
            found += int((sure & (maximum(depth, deep, each) < object_px)).sum())
    return found if hit >= _TRUSTED * annotated else 0


def decide(before: Floats, after: Floats, threshold: float, *, unseen: bool) -> Kept:
    """Choose part and threshold.

    Parameters
    ----------
    before
        `(objects,)`, Dice score of each with the weights that training began with.
    after
        `(parts, thresholds, objects)`, the same on the way to the trained ones.
    threshold
        With which `before` was measured.
    unseen
        Whether the objects were left out of training.
    """
    n = len(before)
    if n == 0:  # objects so small that none is left at the magnification of the network
        return Kept(0.0, threshold, 0.0, 0.0, 0.0, 0, unseen)
    means = after.mean(axis=2)
    best = float(means.max())
    gains = after - before
    if not _better(gains.reshape(-1, n)[means.argmax()]):
        return Kept(0.0, threshold, float(before.mean()), float(before.mean()), best, n, unseen)
    nearly = means >= best - _NEARLY
    part = int(np.argmax(nearly.any(axis=1)))
    # views say little of what is far from objects, where low thresholds let in what is none: the highest of those that
    # do, and of a whole training that for which it was made, unless it helps with lower ones alone
    at = int(np.flatnonzero(nearly[part])[-1])
    if PARTS[part] == 1 and _better(gains[part, -1]):
        at = len(THRESHOLDS) - 1
    return Kept(PARTS[part], THRESHOLDS[at], float(before.mean()), float(means[part, at]), best, n, unseen)


def _better(gains: Floats) -> bool:
    """Whether what each object gains speaks for training."""
    if len(gains) < _FEW:
        return bool(gains.mean() > _GAIN_OF_FEW)
    noise = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > max(_GAIN, noise) and np.median(gains) > _GAIN)


def _blocks(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of square parts of an image, where strokes lie on objects."""
    rows, columns = (np.arange(size) // _BLOCK_PX for size in classes.shape)
    numbers = 1 + rows[:, None] * (columns[-1] + 1) + columns[None]
    return np.where((classes > 0) & (classes != IGNORE), numbers, 0)


def _probabilities(network: nn.Module, image: Tensor) -> NDArray[np.float32]:
    """Probabilities of the classes, `(classes + 1, rows, columns)`."""
    rows, columns = image.shape[1:]
    padded = np.pad(image.cpu().numpy(), ((0, 0), (0, -rows % _STRIDE), (0, -columns % _STRIDE)), mode="symmetric")
    with torch.inference_mode():
        logits = network(torch.from_numpy(padded)[None].to(image.device)).float()
    return np.asarray(logits[0, :-1].softmax(dim=0)[:, :rows, :columns].cpu().numpy())
