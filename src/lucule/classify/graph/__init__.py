"""The graph network: classes of localizations and affinities of neighbours."""

from lucule.classify.graph.predict import Affinities, GraphModel
from lucule.classify.graph.train import Recipe, train

__all__ = ["Affinities", "GraphModel", "Recipe", "train"]
