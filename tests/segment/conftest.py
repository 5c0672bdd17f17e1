"""A network that was trained in seconds, and what it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lucule import segment
from lucule.bench.segment import slide
from lucule.segment import TrainSettings
from lucule.segment.annotations import from_array

TINY = TrainSettings(
    start=None,
    options={"widths": [8, 16, 16, 16], "head": 8},
    crop_px=64,
    crops=4,
    stop_early=False,
    fit={"steps": 80, "learning_rate": 5e-3, "log_every_steps": 20, "ema_decay": 0.9},
)


@pytest.fixture(scope="session")
def tiny_settings() -> TrainSettings:
    """A network of some thousand weights, trained in 80 steps."""
    return TINY


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on nine ellipses."""
    image, labels = slide(5, 138)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return segment.train(
        [image], [from_array(labels)], out=folder, settings=TINY, pixel_size_nm=200, device="cpu", seed=3
    )


@pytest.fixture(scope="session")
def picture() -> tuple[np.ndarray, np.ndarray]:
    """Another slide with 25 ellipses: image and labels."""
    return slide(6, 230)
