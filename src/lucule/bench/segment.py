"""Few-shot segmentation of nuclei and of simulated scenes, and borders between tiles; Otsu and watershed beside.

Training is short (`STEPS` steps of 8 crops) and repeated `REPEATS` times with other objects, so that the whole runs on
two cores. Each image tells its typical object diameter, as a user would. CPU seconds are of one thread.

Real nuclei are trained on and tested in images of several microscopes (the objects of few images, all other images),
and, as in the paper, within one image (a few of its objects, all others in it). `CHOSEN_ON` are images on which
settings were chosen; they are in neither.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.nn import torch_threads
from lucule.segment import Annotation, PredictSettings, Segmenter, TrainSettings, load, open_image, train
from lucule.segment.annotations import from_array
from lucule.segment.annotations import read as read_annotation
from lucule.segment.samples import size_px
from lucule.segment.scenes import Shapes
from lucule.segment.scores import Scores, scores

COUNTS: Final = (1, 5, 25)
FEWER_COUNTS: Final[dict[str, tuple[int, ...]]] = {"nodes": (5,), "axons": (5,)}
REPEATS: Final = 3
CHOSEN_ON: Final = ("0114f484", "0e132f71", "1747f621", "43a71aeb", "7f4cbe0b", "a4816cc1", "ade080c6")
WITHIN: Final = ("52b267e2", "d6eb7ce7", "eea70a79")
WITHIN_COUNTS: Final = (1, 25)
STEPS: Final = 40
AIMS: Final = {"fluorescence": 0.96, "histology": 0.78}
PAPER: Final = {"fluorescence": 0.9594, "histology": 0.7583, "nodes": 0.8779, "cells": 0.9558}
# the kinds of simulated scenes: what is drawn, how large
SIMULATED: Final[dict[str, dict[str, Any]]] = {
    "cells": {"kinds": ("cells",), "diameter_px": (40, 50)},
    "nodes": {"kinds": ("rods",), "diameter_px": (14, 18)},
    "axons": {"kinds": ("fibres",), "diameter_px": (28, 36)},
}
SLIDE_PX: Final = 1100
SLIDE_TILE_PX: Final = 160
_SETTINGS: Final = TrainSettings(crop_px=96)

Picture = tuple[Any, Annotation]
Row = dict[str, Any]


def run(*, seed: int) -> pl.DataFrame:
    """One row for each kind of image, number of objects and method: means over images and repeats."""
    with torch_threads(1):
        rows = _borders(seed)
        for name, pictures in _pictures(seed).items():
            rows += _study(name, pictures, seed)
            rows += _within(name, pictures, seed)
        rows.append(_deeplab(seed))
    schema = {
        "images": pl.String, "method": pl.String, "trained_on": pl.Int64, "repeats": pl.Int64, "dice": pl.Float64,
        "dice_sd": pl.Float64, "pixel_accuracy": pl.Float64, "recall_75": pl.Float64, "precision_75": pl.Float64,
        "seen": pl.Float64, "duplicates": pl.Float64, "cpu_s": pl.Float64, "aim_dice": pl.Float64,
        "paper_dice": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


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


def _pictures(seed: int) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {}
    folder = Path(os.environ.get("LUCULE_DATA", "../shared/data")) / "nuclei"
    for kind in AIMS:
        images = [image for image in sorted((folder / kind).glob("*.png")) if image.stem not in CHOSEN_ON]
        if images:
            found[kind] = [(image, _truth(image)) for image in images]
    for number, (name, options) in enumerate(SIMULATED.items()):
        found[name] = list(Shapes(kind="shapes", images=5, side_px=256, **options).draw(1000 * seed + number))
    return found


def _truth(image: Path) -> Annotation:
    with open_image(image) as opened:
        return read_annotation(image.with_name(f"{image.stem}_labels.tif"), opened.shape)


def _study(name: str, pictures: Sequence[Picture], seed: int) -> list[Row]:
    diameters = [float(np.median(size_px(truth))) for _, truth in pictures]
    rows = []
    start = time.process_time()
    plain = [scores(truth.objects, otsu(image, d)) for (image, truth), d in zip(pictures, diameters, strict=True)]
    rows.append(_row(name, "Otsu and watershed", 0, [plain], time.process_time() - start))
    start = time.process_time()
    base = [_test(load("objects", device="cpu"), *item) for item in zip(pictures, diameters, strict=True)]
    rows.append(_row(name, "lucule, not trained on them", 0, [base], time.process_time() - start))
    for count in FEWER_COUNTS.get(name, COUNTS):
        repeats, seconds = [], 0.0
        for repeat in range(REPEATS):
            chosen, known = _some(pictures, count, np.random.default_rng([seed, repeat, count]))
            model, used = _trained([pictures[i][0] for i in chosen], known, seed + repeat)
            seconds += used
            rest = [i for i in range(len(pictures)) if i not in chosen]
            repeats.append([_test(model, pictures[i], diameters[i]) for i in rest])
        rows.append(_row(name, "lucule", count, repeats, seconds / REPEATS))
    return rows


def _within(name: str, pictures: Sequence[Picture], seed: int) -> list[Row]:
    """As in the paper: a few objects of an image, and all others in it."""
    rows = []
    inside = [item for item in pictures if isinstance(item[0], Path) and item[0].stem in WITHIN]
    for count in WITHIN_COUNTS if inside else ():
        results, seconds = [], 0.0
        for number, (image, truth) in enumerate(inside):
            _, (known,) = _some([(image, truth)], count, np.random.default_rng([seed, number, count]))
            model, used = _trained([image], [known], seed)
            seconds += used
            found = model.predict(image).labels()
            # what is annotated was told, not found
            told = known.objects > 0
            results.append(scores(np.where(told, 0, truth.objects), np.where(told, 0, found)))
        rows.append(_row(f"{name}, within an image", "lucule", count, [results], seconds / len(inside)))
    return rows


def _trained(images: list[Any], known: list[Annotation], seed: int) -> tuple[Segmenter, float]:
    """A network trained on some objects, and the CPU seconds that it took."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train(images, known, out=folder, settings=_settings(), seed=seed, device="cpu")
        return load(folder, device="cpu"), time.process_time() - start


def _deeplab(seed: int) -> Row:
    """One step of the network of the paper: that it trains. Its accuracy takes a GPU to measure."""
    image, labels = slide(seed, 138)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit = {"steps": 1, "learning_rate": 1e-4, "schedule": "constant", "log_every_steps": 1}
        settings = TrainSettings(architecture="deeplabv3_resnet101", start=None, crop_px=64, crops=2, fit=fit)
        train([image], [from_array(labels)], out=folder, settings=settings, seed=seed, device="cpu")
    empty = dict.fromkeys(("dice", "dice_sd", "pixel_accuracy", "recall_75", "precision_75", "seen", "duplicates"))
    return {
        "images": "slide", "method": "DeepLabV3-ResNet101, one step; accuracy not measured on CPUs", "trained_on": 9,
        "repeats": 1, **empty, "cpu_s": time.process_time() - start, "aim_dice": None, "paper_dice": None,
    }  # fmt: skip


def _settings() -> TrainSettings:
    fit = _SETTINGS.fit.model_dump() | {"seconds": None, "steps": STEPS}
    return _SETTINGS.replace(fit=fit, stop_early=False)


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


def _test(model: Segmenter, picture: Picture, diameter_px: float) -> Scores:
    image, truth = picture
    return scores(truth.objects, model.predict(image, diameter_px=diameter_px).labels())


def _row(name: str, method: str, count: int, repeats: Sequence[Sequence[Scores]], seconds: float) -> Row:
    results = [result for repeat in repeats for result in repeat]
    weights = [result.objects for result in results]

    def mean(what: str) -> float:
        values = [getattr(result, what) for result in results]
        return float(np.average(values, weights=weights if what in ("recall", "seen", "duplicates") else None))

    dices = [float(np.mean([result.dice for result in repeat])) for repeat in repeats]
    spread = dices if len(repeats) > 1 else [result.dice for result in results]
    return {
        "images": name, "method": method, "trained_on": count, "repeats": len(repeats), "dice": mean("dice"),
        "dice_sd": float(np.std(spread, ddof=1)) if len(spread) > 1 else None,
        "pixel_accuracy": mean("pixel_accuracy"), "recall_75": mean("recall"), "precision_75": mean("precision"),
        "seen": mean("seen"), "duplicates": mean("duplicates"), "cpu_s": seconds, "aim_dice": AIMS.get(name),
        "paper_dice": PAPER.get(name),
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


def _borders(seed: int) -> list[Row]:
    """Objects on the borders of tiles, with and without the second pass."""
    from scipy.ndimage import find_objects

    image, truth = slide(seed)
    model = load("objects", device="cpu")
    edges = np.round(np.arange(1, round(SLIDE_PX / SLIDE_TILE_PX)) * SLIDE_PX / round(SLIDE_PX / SLIDE_TILE_PX))
    on_border = np.mean(
        [any(part.start < edge < part.stop for part in box for edge in edges) for box in find_objects(truth)]
    )
    rows = []
    for second in (False, True):
        start = time.process_time()
        settings = PredictSettings(tile_px=SLIDE_TILE_PX, second_pass=second)
        found = scores(truth, model.predict(image, settings=settings).labels())
        name = f"slide, {found.objects} objects, {100 * on_border:.0f} % on borders"
        row = _row(name, "two passes" if second else "first pass alone", 0, [[found]], time.process_time() - start)
        rows.append(row)
    return rows
