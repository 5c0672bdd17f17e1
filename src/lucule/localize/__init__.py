"""From movies to localizations."""

from lucule.localize.recipe import Recipe
from lucule.localize.train import train

__all__ = ["Recipe", "train"]
