"""From movies to localizations.

Names are loaded when they are first used, so that calibration and fits do not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucule.localize.export import to_onnx
    from lucule.localize.fitting import FitSettings, fit
    from lucule.localize.likeness import Likeness, like
    from lucule.localize.matching import Matches, MatchSettings, match
    from lucule.localize.predict import Predictor, load, localize
    from lucule.localize.recipe import Recipe
    from lucule.localize.scores import (
        LocalizationScore,
        Scores,
        checkerboard,
        efficiency,
        jaccard,
        score,
        score_matches,
    )
    from lucule.localize.training import train

__all__ = [
    "FitSettings",
    "Likeness",
    "LocalizationScore",
    "MatchSettings",
    "Matches",
    "Predictor",
    "Recipe",
    "Scores",
    "checkerboard",
    "efficiency",
    "fit",
    "jaccard",
    "like",
    "load",
    "localize",
    "match",
    "score",
    "score_matches",
    "to_onnx",
    "train",
]

# no module may have the name of what it holds: its import would hide the function
_HOMES = {
    "export": ("to_onnx",),
    "fitting": ("FitSettings", "fit"),
    "likeness": ("Likeness", "like"),
    "matching": ("MatchSettings", "Matches", "match"),
    "predict": ("Predictor", "load", "localize"),
    "recipe": ("Recipe",),
    "scores": ("LocalizationScore", "Scores", "checkerboard", "efficiency", "jaccard", "score", "score_matches"),
    "training": ("train",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_ROOMS = ("calibrate", "calibration", "fitting", "samplers")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lucule.localize.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'lucule.localize' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lucule.localize.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
