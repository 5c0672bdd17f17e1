"""The graph network: classes of localizations and affinities of neighbours."""

from lucule.classify.graph.predict import TASK, Affinities, GraphModel, check_range
from lucule.classify.graph.train import Recipe, train

__all__ = ["TASK", "Affinities", "GraphModel", "Recipe", "check_range", "train"]
