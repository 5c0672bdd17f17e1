"""Structures: sarcomeres, periodic axons, averages."""

from lucule.structures import sarcomeres

__all__ = [
    "sarcomeres",
]
