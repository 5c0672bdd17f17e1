"""From localizations to structures: what biologists publish of them."""

from lucule.structures import axons

__all__ = [
    "axons",
]
