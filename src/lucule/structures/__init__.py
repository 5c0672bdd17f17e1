"""From localizations to structures: what biologists publish of them."""

from lucule.structures import averaging, axons

__all__ = [
    "averaging",
    "axons",
]
