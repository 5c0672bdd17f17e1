"""Label every localization with a network that looks at its neighbours."""

import importlib
from typing import Any

from lucule.classify.features import NORMALISATIONS, FeatureSettings, features
from lucule.classify.folds import Folds, cross_validate
from lucule.classify.metrics import Scores, score
from lucule.classify.predict import check_range, classify
from lucule.classify.recipe import Recipe
from lucule.classify.train import train

__all__ = [
    "NORMALISATIONS",
    "FeatureSettings",
    "Folds",
    "Recipe",
    "Scores",
    "check_range",
    "classify",
    "cross_validate",
    "features",
    "score",
    "train",
]

_ROOMS = ("graph", "lines", "subsets")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lucule.classify.{name}")
    raise AttributeError(f"module 'lucule.classify' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
