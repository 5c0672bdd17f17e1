"""The benchmark of segmentation: a small run gives a complete table, and what was chosen on is not tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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


def test_a_small_run_is_complete(nuclei: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "_SETTINGS": TINY, "STEPS": 3, "COUNTS": (1, 5), "REPEATS": 2, "SIMULATED": {}, "WITHIN_COUNTS": (5,),
        "SLIDE_PX": 230, "SLIDE_TILE_PX": 115,
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(segment, name, value)
    monkeypatch.setattr(segment, "slide", lambda seed, side_px=230: slide(seed, side_px))
    table = segment.run(seed=3)
    assert [Path(image).stem for image, _ in segment._pictures(3)["fluorescence"]] == [segment.WITHIN[0], "another"]
    measured = table.filter(table["dice"].is_not_null())
    assert len(table) - len(measured) == 1  # the network that is too large for CPUs
    for column in ("dice", "pixel_accuracy", "recall_75", "precision_75", "seen"):
        assert measured[column].is_between(0, 1).all()
    few = table.filter(images="fluorescence", method="lucule").sort("trained_on")
    assert few["trained_on"].to_list() == [1, 5]
    assert few["repeats"].to_list() == [2, 2]
    assert few["dice_sd"].is_not_null().all()
    assert (table["cpu_s"] > 0).all()
    assert table.filter(method="Otsu and watershed")["dice"][0] > 0.8
