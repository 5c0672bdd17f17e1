"""The line network: double lines at any density, with the centre that each localization belongs to."""

from lucule.classify.lines.predict import TASK, LineModel, Lines, check_range
from lucule.classify.lines.train import Recipe, train

__all__ = ["TASK", "LineModel", "Lines", "Recipe", "check_range", "train"]
