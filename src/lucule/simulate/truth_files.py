"""The truth of a simulation as files: one Parquet file for each level, and the scene."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from lucule.core.config import dump_yaml
from lucule.core.files import atomic_path, write_text
from lucule.simulate.chain import Truth
from lucule.simulate.imaging import Imaging
from lucule.simulate.sample import draw_sample, label_sample
from lucule.simulate.scene import Scene


def save_truth(truth: Truth, folder: str | os.PathLike[str], *, imaging: Imaging) -> Path:
    """Write structures, epitopes, dyes, events, emitters, the drift of each frame, and `scene.yaml`."""
    frames = np.arange(len(imaging.drift_nm), dtype=np.uint32)
    drift = {f"{axis}_nm": imaging.drift_nm[:, i] for i, axis in enumerate("xyz")}
    tables = {
        "structures": truth.structures,
        "epitopes": truth.epitopes.data,
        "dyes": truth.dyes.data,
        "events": truth.events.data,
        "emitters": truth.emitters.data,
        "drift": pl.DataFrame({"frame": frames} | drift),
    }
    return _save(tables, imaging.scene, Path(folder))


def save_sample(scene: Scene, folder: str | os.PathLike[str], *, seed: int) -> Path:
    """Write structures, epitopes, dyes and `scene.yaml`: what the ids in a table of this scene and seed point to."""
    sample = draw_sample(scene, seed=seed)
    tables = {
        "structures": sample.structures,
        "epitopes": sample.epitopes.data,
        "dyes": label_sample(sample).data,
    }
    return _save(tables, scene, Path(folder))


def _save(tables: dict[str, pl.DataFrame], scene: Scene, folder: Path) -> Path:
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)
    write_text(folder / "scene.yaml", dump_yaml(scene.model_dump(mode="json", exclude_none=True)))
    return folder
