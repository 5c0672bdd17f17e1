"""From movies to localizations.

Names are loaded when they are first used, so that calibration and fits do not wait for torch.
"""

from typing import TYPE_CHECKING

from lucule.lazy import at_first_use

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
_HOME = {name: f"lucule.localize.{module}" for module, names in _HOMES.items() for name in names}
_ROOMS = ("calibrate", "calibration", "fitting", "samplers")

__getattr__, __dir__ = at_first_use(__name__, rooms=_ROOMS, homes=_HOME)
