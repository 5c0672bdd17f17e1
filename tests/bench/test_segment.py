"""The benchmark of segmentation: a small run gives a complete table, and what was chosen on is not tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tifffile import imwrite

from lucule.bench import segment
from lucule.bench.segment import slide
from lucule.segment import TrainSettings

TINY = TrainSettings(start=None, options={"widths": [8, 8, 16, 16], "head": 8}, crop_px=64, crops=2,
                     fit={"steps": 1, "learning_rate": 5e-3, "ema_decay": 0.5, "log_every_steps": 1})  # fmt: skip


@pytest.fixture
def nuclei(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures where the real ones are looked for; one of them was chosen on."""
    folder = tmp_path / "nuclei" / "fluorescence"
    folder.mkdir(parents=True)
    for seed, name in enumerate((segment.CHOSEN_ON[0], segment.WITHIN[0], "another")):
        image, labels = slide(seed, 138)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{name}.png")
        imwrite(folder / f"{name}_labels.tif", labels.astype(np.uint16))
    monkeypatch.setenv("LUCULE_DATA", str(tmp_path))
    return folder


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "_SETTINGS": TINY, "STEPS": 3, "COUNTS": (1, 5), "REPEATS": 2, "SIMULATED": {}, "SLIDE_PX": 230,
        "SLIDE_TILE_PX": 115, "_DEEPLAB": TINY, "DEEPLAB_STEPS": 1, "WITHIN_COUNTS": (1, 5),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setattr(segment, name, value)
    segment._pictures.cache_clear()


def test_a_small_run_is_complete(nuclei: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    table = segment.run(seed=3)
    assert [image.stem for image, _ in segment._pictures("fluorescence", 3)] == [segment.WITHIN[0], "another"]
    for column in ("dice", "pixel_accuracy", "recall_75", "precision_75", "seen"):
        assert table[column].is_between(0, 1).all()
    few = table.filter(images="fluorescence", method="lucule")
    assert few["trained_on"].to_list() == [1, 5]
    assert few["repeats"].to_list() == [2, 2]
    assert few["dice_sd"].is_not_null().all()
    assert (few["train_cpu_s"] > 0).all()
    assert table.filter(pl.col("method").str.starts_with("DeepLab"))["trained_on"].to_list() == [5]
    assert table.filter(images="fluorescence, within an image")["aim_dice"].to_list() == [0.96] * 4
    assert table.filter(method="Otsu and watershed")["dice"][0] > 0.8


def test_an_interrupted_run_goes_on(nuclei: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(monkeypatch)
    monkeypatch.setattr(segment, "REPEATS", 1)
    first = segment.run(seed=3, folder=tmp_path / "parts")
    monkeypatch.setattr(segment, "_trained", lambda *_: pytest.fail("trained again"))
    assert segment.run(seed=3, folder=tmp_path / "parts").equals(first)


def test_means_over_images_and_objects() -> None:
    rows = [
        {"images": "a", "method": "m", "trained_on": 1, "repeat": repeat, "image": image, "objects": objects,
         "dice": dice, "pixel_accuracy": 0.9, "recall_75": recall, "precision_75": 1.0, "seen": 1.0,
         "duplicates": 0.0, "train_cpu_s": 2.0, "test_cpu_s": 1.0, "kept_part": 0.5}
        for repeat, image, objects, dice, recall in
        [(0, "x", 1, 0.8, 1.0), (0, "y", 3, 0.6, 0.0), (1, "x", 1, 0.9, 1.0), (1, "y", 3, 0.9, 0.0)]
    ]  # fmt: skip
    (row,) = segment.summary(pl.DataFrame(rows, schema=segment.SCHEMA)).to_dicts()
    assert row["dice"] == pytest.approx(0.8)
    assert row["dice_sd"] == pytest.approx(0.2 / 2**0.5)  # 0.7 and 0.9
    assert row["recall_75"] == pytest.approx(0.25)
    assert (row["repeats"], row["objects"]) == (2, 4)
