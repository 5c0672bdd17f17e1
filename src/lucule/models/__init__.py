"""Packaged weights, each with a card that says what they are, how they were made and how good they are."""

from lucule.models.card import Card
from lucule.models.store import Packaged, available, find, save

__all__ = ["Card", "Packaged", "available", "find", "save"]
