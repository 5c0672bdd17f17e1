"""Few-shot segmentation of nuclei and of simulated scenes, and borders between tiles; Otsu and watershed beside.

Training is short (`STEPS` steps of 8 crops, `MORE_STEPS` of stained tissue) and repeated `REPEATS` times with other
objects and another seed, so that the whole runs on two cores. Each image tells its typical object diameter, as a user
would. CPU seconds are of one thread. The repeats come one after the other, each for all images, so that an interrupted
run has measured all with fewer repeats.

The objects of an image that are not annotated, with a rim, are unknown to the training; all else is background. Real
nuclei are trained on and tested in images of several microscopes (the objects of few images, all other images),
and, as in the paper, within one image (a few of its objects, all others in it). `CHOSEN_ON` are images on which
settings were chosen; they are in neither. Simulated scenes come from the generator of the images that the packaged
network was trained on, with other seeds, so that they are no new kind of image to it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.bench.parts import Rows, in_parts
from lucule.core import SILENT, InputError, Progress
from lucule.nn import torch_threads
from lucule.segment import Annotation, PredictSettings, Segmenter, TrainSettings, load, open_image, train
from lucule.segment.annotations import read as read_annotation
from lucule.segment.samples import size_px
from lucule.segment.scenes import Shapes
from lucule.segment.scores import Scores, scores

COUNTS: Final = (1, 5, 25)
REPEATS: Final = 5
CHOSEN_ON: Final = ("0114f484", "0e132f71", "1747f621", "43a71aeb", "7f4cbe0b", "a4816cc1", "ade080c6")
WITHIN: Final = ("52b267e2", "d6eb7ce7", "eea70a79")
WITHIN_COUNTS: Final = (1, 25)
STEPS: Final = 40
# stained tissue is far from the bright shapes that training starts from
MORE_STEPS: Final = {"histology": 120}
DEEPLAB_STEPS: Final = 100
AIMS: Final = {"fluorescence": 0.96, "histology": 0.78}
PAPER: Final = {"fluorescence": 0.9594, "histology": 0.7583, "nodes": 0.8779, "cells": 0.9558}
# the kinds of simulated scenes: what is drawn, how large
SIMULATED: Final[dict[str, dict[str, Any]]] = {
    "cells": {"kinds": ("cells",), "diameter_px": (40, 50), "textures": ("filaments",)},
    "nodes": {"kinds": ("rods",), "diameter_px": (14, 18)},
    "axons": {"kinds": ("fibres",), "diameter_px": (28, 36)},
}
SLIDE_PX: Final = 1100
SLIDE_TILE_PX: Final = 160
_SETTINGS: Final = TrainSettings(crop_px=96)
_DEEPLAB: Final = TrainSettings(architecture="deeplabv3_resnet101", start=None, crop_px=96, crops=4)

SCHEMA: Final = {
    "images": pl.String, "method": pl.String, "trained_on": pl.Int64, "repeat": pl.Int64, "image": pl.String,
    "objects": pl.Int64, "dice": pl.Float64, "pixel_accuracy": pl.Float64, "recall_75": pl.Float64,
    "precision_75": pl.Float64, "seen": pl.Float64, "duplicates": pl.Float64, "train_cpu_s": pl.Float64,
    "test_cpu_s": pl.Float64, "kept_part": pl.Float64,
}  # fmt: skip
"""What is measured: one row for each image that was tested."""

Picture = tuple[Any, Annotation]


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each kind of image, number of objects and method: means over images and repeats."""
    with torch_threads(1):
        return summary(in_parts(_parts(seed), schema=SCHEMA, folder=folder, progress=progress))


def summary(measured: pl.DataFrame) -> pl.DataFrame:
    """Means over images and repeats: of pixels each image counts the same, of objects each object.

    `dice_sd` is the standard deviation over repeats of the mean over images, `dice_sd_images` that over images.
    `kept_part` is how much of the training was kept, 0 none.
    """
    keys = ["images", "method", "trained_on"]
    by_object = [(pl.col(name) * pl.col("objects")).sum() / pl.col("objects").sum()
                 for name in ("recall_75", "seen", "duplicates")]  # fmt: skip
    repeats = measured.group_by(*keys, "repeat", maintain_order=True).agg(
        pl.col("dice", "train_cpu_s", "kept_part").mean()
    )
    spread = repeats.group_by(keys).agg(
        pl.col("train_cpu_s", "kept_part").mean(), repeats=pl.len(), dice_sd=pl.col("dice").std()
    )
    means = measured.group_by(keys, maintain_order=True).agg(
        pl.col("dice", "pixel_accuracy").mean(), *by_object, pl.col("precision_75").mean(),
        dice_sd_images=pl.col("dice").std(), test_cpu_s=pl.col("test_cpu_s").mean(),
        objects=pl.col("objects").sum() / pl.col("repeat").n_unique(),
    )  # fmt: skip
    kind = pl.col("images").str.split(",").list.first()
    columns = [*keys, "repeats", "objects", "dice", "dice_sd", "dice_sd_images", "pixel_accuracy", "recall_75",
               "precision_75", "seen", "duplicates", "kept_part", "train_cpu_s", "test_cpu_s", "aim_dice",
               "paper_dice"]  # fmt: skip
    return (
        means.join(spread, on=keys, maintain_order="left")
        .with_columns(
            aim_dice=kind.replace_strict(AIMS, default=None, return_dtype=pl.Float64),
            paper_dice=kind.replace_strict(PAPER, default=None, return_dtype=pl.Float64),
        )
        .select(columns)
        .sort(["images", "trained_on"], maintain_order=True)
    )


def _parts(seed: int) -> Mapping[str, Callable[[], Rows]]:
    parts: dict[str, Callable[[], Rows]] = {
        "borders_first": partial(_borders, seed, second=False),
        "borders_both": partial(_borders, seed, second=True),
    }
    kinds = _kinds()
    for kind in kinds:
        parts[f"{kind}_otsu"] = partial(_otsu, kind, seed)
        parts[f"{kind}_untrained"] = partial(_untrained, kind, seed)
    for repeat in range(REPEATS):
        for kind in kinds:
            for count in COUNTS:
                parts[f"{kind}_{count}_{repeat}"] = partial(_few, kind, count, repeat, seed)
        for count in WITHIN_COUNTS if "fluorescence" in kinds else ():
            parts[f"fluorescence_within_{count}_{repeat}"] = partial(_within, "fluorescence", count, repeat, seed)
        if repeat == 0:
            parts["deeplab"] = partial(_deeplab, kinds[0], seed)
    return parts


def otsu(image: Any, diameter_px: float) -> NDArray[np.int32]:
    """Segment without learning: Otsu's threshold, then watershed of the distance to the background.

    Parameters
    ----------
    image
        Path or array; objects are bright, or dark in colour images.
    diameter_px
        Typical extent of an object; seeds are at least a third of it apart.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.measure import label
    from skimage.morphology import remove_small_objects
    from skimage.segmentation import watershed

    with open_image(image) as opened:
        grey = opened.whole().mean(axis=0) * (-1 if opened.colour else 1)
    smooth = gaussian_filter(grey, 1)
    inside = remove_small_objects(smooth > threshold_otsu(smooth), max_size=int(0.05 * diameter_px**2))
    distance = gaussian_filter(distance_transform_edt(inside), 1)
    peaks = peak_local_max(distance, min_distance=max(2, round(diameter_px / 3)), labels=label(inside))
    seeds = np.zeros(inside.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-distance, seeds, mask=inside), np.int32)


def _folder(kind: str) -> Path:
    return Path(os.environ.get("LUCULE_DATA", "../shared/data")) / "nuclei" / kind


def _kinds() -> list[str]:
    return [*(kind for kind in AIMS if any(_folder(kind).glob("*.png"))), *SIMULATED]


@lru_cache(maxsize=8)
def _pictures(kind: str, seed: int) -> list[Picture]:
    if kind in AIMS:
        images = [image for image in sorted(_folder(kind).glob("*.png")) if image.stem not in CHOSEN_ON]
        return [(image, _truth(image)) for image in images]
    scene = Shapes(kind="shapes", images=6, side_px=256, **SIMULATED[kind])
    return list(scene.draw(1000 * seed + list(SIMULATED).index(kind)))


def _truth(image: Path) -> Annotation:
    with open_image(image) as opened:
        return read_annotation(image.with_name(f"{image.stem}_labels.tif"), opened.shape)


def _diameter(truth: Annotation) -> float:
    return float(np.median(size_px(truth)))


def _otsu(kind: str, seed: int) -> Rows:
    def find(picture: Picture) -> NDArray[np.int32]:
        return otsu(picture[0], _diameter(picture[1]))

    return [_tested(kind, "Otsu and watershed", 0, 0, item, find) for item in enumerate(_pictures(kind, seed))]


def _untrained(kind: str, seed: int) -> Rows:
    find = partial(_found, load("objects", device="cpu"))
    return [_tested(kind, "lucule, not trained on them", 0, 0, item, find)
            for item in enumerate(_pictures(kind, seed))]  # fmt: skip


def _few(kind: str, count: int, repeat: int, seed: int, method: str = "lucule") -> Rows:
    pictures = _pictures(kind, seed)
    chosen, known = _some(pictures, count, np.random.default_rng([seed, repeat, count]))
    settings = _settings(MORE_STEPS.get(kind, STEPS)) if method == "lucule" else _deeplab_settings()
    model, used = _trained([pictures[i][0] for i in chosen], known, seed + repeat, settings)
    rest = [(i, picture) for i, picture in enumerate(pictures) if i not in chosen]
    kept = model.card.scores.get("kept_part")
    return [_tested(kind, method, count, repeat, item, partial(_found, model), used, kept) for item in rest]


def _within(kind: str, count: int, repeat: int, seed: int) -> Rows:
    """As in the paper: a few objects of an image, and all others in it."""
    rows = []
    name = f"{kind}, within an image"
    for number, (image, truth) in enumerate(_pictures(kind, seed)):
        if image.stem not in WITHIN:
            continue
        _, (known,) = _some([(image, truth)], count, np.random.default_rng([seed, number, count, repeat]))
        model, used = _trained([image], [known], seed + repeat, _settings(STEPS))
        # what is annotated was told, not found
        told = known.objects > 0
        rest = Annotation(truth.classes, np.where(told, 0, truth.objects), truth.names, truth.apart)
        item, first = (number, (image, rest)), load("objects", device="cpu")
        kept = model.card.scores.get("kept_part")
        rows += [
            _tested(name, "lucule", count, repeat, item, partial(_found, model, told=told), used, kept),
            _tested(name, "lucule, not trained on them", count, repeat, item, partial(_found, first, told=told)),
        ]
    return rows


def _deeplab(kind: str, seed: int) -> Rows:
    """The network of the paper from random weights, for as many steps as take CPUs a few minutes."""
    name = f"DeepLabV3-ResNet101, {DEEPLAB_STEPS} steps of {_DEEPLAB.crops} crops"
    return _few(kind, max(COUNTS), 0, seed, name)


def _trained(images: list[Any], known: list[Annotation], seed: int, settings: TrainSettings) -> tuple[Segmenter, float]:
    """A network trained on some objects, and the CPU seconds that it took."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train(images, known, out=folder, settings=settings, seed=seed, device="cpu")
        return load(folder, device="cpu"), time.process_time() - start


def _settings(steps: int) -> TrainSettings:
    fit = _SETTINGS.fit.model_dump() | {"seconds": None, "steps": steps, "precision": "bfloat16"}
    return _SETTINGS.replace(fit=fit, stop_early=False)


def _deeplab_settings() -> TrainSettings:
    """The optimizer of the paper: Adam at a constant rate."""
    fit = _DEEPLAB.fit.model_dump() | {
        "seconds": None, "steps": DEEPLAB_STEPS, "learning_rate": 1e-4, "schedule": "constant",
        "precision": "bfloat16",
    }  # fmt: skip
    return _DEEPLAB.replace(fit=fit, stop_early=False)


def _some(pictures: Sequence[Picture], count: int, rng: np.random.Generator) -> tuple[list[int], list[Annotation]]:
    """Annotate `count` objects in as few images as possible; all others in these images become unknown."""
    chosen: list[int] = []
    known: list[Annotation] = []
    for number in rng.permutation(len(pictures)).tolist():
        truth = pictures[number][1]
        numbers = np.unique(truth.objects[truth.objects > 0])
        take = rng.permutation(numbers)[: count - sum(item.count for item in known)]
        chosen.append(number)
        known.append(truth.only(take.tolist()))
        if sum(item.count for item in known) >= count:
            return chosen, known
    raise InputError("There are too few objects", received=count)


def _found(model: Segmenter, picture: Picture, *, told: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    image, truth = picture
    labels = model.predict(image, diameter_px=_diameter(truth)).labels()
    return labels if told is None else np.where(told, 0, labels)


def _tested(
    kind: str,
    method: str,
    count: int,
    repeat: int,
    item: tuple[int, Picture],
    find: Callable[[Picture], NDArray[np.int32]],
    train_cpu_s: float = 0.0,
    kept_part: float | None = None,
) -> dict[str, Any]:
    number, picture = item
    start = time.process_time()
    found = find(picture)
    seconds = time.process_time() - start
    name = picture[0].stem if isinstance(picture[0], Path) else str(number)
    score = scores(picture[1].objects, found)
    return _row(kind, method, count, repeat, name, score, train_cpu_s, seconds) | {"kept_part": kept_part}


def _row(
    kind: str, method: str, count: int, repeat: int, image: str, score: Scores, train_cpu_s: float, test_cpu_s: float
) -> dict[str, Any]:
    return {
        "images": kind, "method": method, "trained_on": count, "repeat": repeat, "image": image,
        "objects": score.objects, "dice": score.dice, "pixel_accuracy": score.pixel_accuracy,
        "recall_75": score.recall, "precision_75": score.precision, "seen": score.seen,
        "duplicates": score.duplicates, "train_cpu_s": train_cpu_s, "test_cpu_s": test_cpu_s, "kept_part": None,
    }  # fmt: skip


def slide(seed: int, side_px: int = SLIDE_PX) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw a slide of ellipses about 28 pixels wide, apart by a few pixels, and their labels."""
    rng = np.random.default_rng(seed)
    pitch = 46
    labels = np.zeros((side_px, side_px), np.int32)
    light = np.full(labels.shape, 20.0)
    y, x = np.mgrid[-22:23, -22:23]
    for number, (row, column) in enumerate(np.ndindex(side_px // pitch, side_px // pitch), start=1):
        cy, cx = (
            (np.array([row, column]) * pitch + pitch / 2 + rng.uniform(-3, 3, 2)).astype(int).clip(22, side_px - 23)
        )
        angle, radius, stretch = rng.uniform(0, np.pi), rng.uniform(11, 14), rng.uniform(1, 1.2)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        inside = np.hypot(u / stretch, v * stretch) < radius
        labels[cy - 22 : cy + 23, cx - 22 : cx + 23][inside] = number
        light[cy - 22 : cy + 23, cx - 22 : cx + 23][inside] += rng.uniform(80, 200)
    return rng.poisson(light).astype(np.float32), labels


def _borders(seed: int, *, second: bool) -> Rows:
    """Objects on the borders of tiles, with and without the second pass."""
    from scipy.ndimage import find_objects

    image, truth = slide(seed, SLIDE_PX)
    tiles = round(SLIDE_PX / SLIDE_TILE_PX)
    edges = np.round(np.arange(1, tiles) * SLIDE_PX / tiles)
    on_border = np.mean(
        [any(part.start < edge < part.stop for part in box for edge in edges) for box in find_objects(truth)]
    )
    start = time.process_time()
    settings = PredictSettings(tile_px=SLIDE_TILE_PX, second_pass=second)
    score = scores(truth, load("objects", device="cpu").predict(image, settings=settings).labels())
    name = f"slide, {score.objects} objects, {100 * on_border:.0f} % on borders"
    method = "two passes" if second else "first pass alone"
    return [_row(name, method, 0, 0, "slide", score, 0.0, time.process_time() - start)]
