"""From movies to localizations."""

from lucule.localize.fitting import FitSettings, fit
from lucule.localize.matching import Matches, MatchSettings, match
from lucule.localize.predict import Predictor, load, localize
from lucule.localize.recipe import Recipe
from lucule.localize.scores import LocalizationScore, Scores, checkerboard, efficiency, jaccard, score, score_matches
from lucule.localize.train import train

__all__ = [
    "FitSettings",
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
    "load",
    "localize",
    "match",
    "score",
    "score_matches",
    "train",
]
