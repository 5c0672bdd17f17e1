"""One name space for everything that can be simulated: scenes, and the scenarios of clusters after CAML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lucule.core import InputError
from lucule.core.config import read_yaml
from lucule.simulate import scenario as scenario_presets
from lucule.simulate.scenario import Scenario
from lucule.simulate.scene import Scene, load_scene, packaged_name, scenes


def available() -> list[str]:
    """Names of the packaged scenes and scenarios.

    Examples
    --------
    >>> {"sarcomere", "caml_demo"} <= set(available())
    True
    """
    return sorted([*scenes(), *scenario_presets.available()])


def load(name: str | os.PathLike[str], **changes: Any) -> Scene | Scenario:
    """Give a packaged scene or scenario, or one from a YAML file, with some of its values changed.

    A packaged one may also be named `specimens/NAME.yaml`. A scene has the whole chain from specimen to camera; a
    scenario is a field of clusters, positions only. A YAML file with `layers` is a scene.

    Raises
    ------
    InputError
        There is nothing of this name, or a value is not allowed.

    Examples
    --------
    >>> load("sarcomere", line_distance_nm=136, labelling=0.5).field.size_um
    (40.96, 40.96)
    >>> load("csr", density_per_um2=50).fraction_clustered
    0.0
    """
    text = packaged_name(str(name))
    if text.endswith((".yaml", ".yml")):
        if not Path(text).exists() and Path(text).stem in available():
            known = Path(text).stem
            raise InputError(f"There is no file {text}", next_step=f"{known} is packaged: give its name, {known}")
        values = read_yaml(text)
        return load_scene(text, **changes) if "layers" in values else Scenario.parse(values | changes, source=text)
    if text in scenario_presets.available():
        return scenario_presets.load(text, **changes)
    if text in scenes():
        return load_scene(text, **changes)
    raise InputError(
        "There is no such scene or scenario",
        received=text,
        allowed=f"{', '.join(available())}, or the path of a YAML file",
        next_step="list them with: lucule simulate list",
    )
