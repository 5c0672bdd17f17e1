"""Label every localization with a network that looks at its neighbours."""

from lucule.classify.features import NORMALISATIONS, FeatureSettings, features
from lucule.classify.folds import Folds, cross_validate
from lucule.classify.metrics import Scores, score
from lucule.classify.predict import check_range, classify
from lucule.classify.recipe import Recipe
from lucule.classify.train import train
from lucule.lazy import at_first_use

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

__getattr__, __dir__ = at_first_use(__name__, rooms=_ROOMS, loaded=__all__)
