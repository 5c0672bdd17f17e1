"""Linking of repeated localizations, the choice of radius and dark time, and what blinking tells about counts."""

from lucule.process.linking.blinking import Blinking, blinking, dwell_table
from lucule.process.linking.choice import LinkChoice, choose_link
from lucule.process.linking.link import CAML, LinkSettings, join_events, link, mark_events

__all__ = [
    "CAML",
    "Blinking",
    "LinkChoice",
    "LinkSettings",
    "blinking",
    "choose_link",
    "dwell_table",
    "join_events",
    "link",
    "mark_events",
]
