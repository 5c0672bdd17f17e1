"""Beads with neighbours in their windows: the light of each is taken off the windows of the others.

The PSF of single beads tells what a neighbour sends. Neighbours are placed from the brightest one down, twice, each
without the light of the others as far as it is known. Two beads whose middles overlap are not told apart like this and
stay out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucule.localize.calibration.alignment import Placed, refine
from lucule.localize.calibration.beads import Bead, light_of
from lucule.localize.calibration.spline import Model

Floats: TypeAlias = NDArray[np.float64]
_Key: TypeAlias = tuple[int, int, int]

_ROUNDS: Final = 2
# neighbours closer than this are one spot where they are out of focus
_APART_NM: Final = 1000.0


def separated(crowded: Sequence[Bead], placed: Sequence[Placed], model: Model) -> list[Placed]:
    """Place beads that stand too close to others, without the light of these.

    Parameters
    ----------
    crowded
        Beads that were refused; those that are no neighbours, or have no whole window, are passed over.
    placed
        Beads that were used, whose light may reach the others.
    model
        The PSF as single beads show it.

    Returns
    -------
    Those that can now be used: all of their neighbours are known, none of them within 1000 nm.
    """
    beads = {_key(bead): bead for bead in crowded if bead.near and bead.planes.size and not bead.clipped}
    known = {_key(p.bead): p for p in placed}
    usable = [
        key
        for key, bead in beads.items()
        if bead.crowded
        and bead.gap_px * model.grid.pixel_nm >= _APART_NM
        and all(place in beads or place in known for place in _neighbours(bead))
    ]
    if not usable:
        return []
    disturbing = {place for bead in beads.values() for place in _neighbours(bead)}
    images = {key: _image(p, model) for key, p in known.items() if key in disturbing}
    focus = float(np.median([p.focus_nm for p in placed]))
    order = sorted(beads, key=lambda key: -beads[key].photons)
    for _ in range(_ROUNDS):
        for key in order:
            bead = beads[key]
            others = {place: images[place] for place in _neighbours(bead) if place in images}
            alone = _without(bead, others)
            start = known.get(key) or Placed(alone, (0.0, 0.0), focus, np.empty(0), np.empty(0))
            known[key] = refine(replace(start, bead=alone), model)
            images[key] = _image(known[key], model)
    return [replace(known[key], bead=replace(known[key].bead, reason="")) for key in usable]


def _key(bead: Bead) -> _Key:
    return bead.movie, bead.row, bead.column


def _neighbours(bead: Bead) -> list[_Key]:
    return [(bead.movie, row, column) for row, column in bead.near]


def _image(placed: Placed, model: Model) -> Floats:
    """Light of a bead in its own window, `(planes, side, side)`."""
    image: Floats = placed.light[:, None, None] * model.on(placed.z_nm, placed.offset_px)[0]
    return image


def _without(bead: Bead, others: dict[_Key, Floats]) -> Bead:
    """Take the light of others off a bead; beyond its own window a bead is taken to be dark."""
    planes = bead.planes.copy()
    side = planes.shape[1]
    for (_, row, column), image in others.items():
        down, right = row - bead.row, column - bead.column
        if max(abs(down), abs(right)) >= side:
            continue
        here = (slice(max(down, 0), side + min(down, 0)), slice(max(right, 0), side + min(right, 0)))
        there = (slice(max(-down, 0), side + min(-down, 0)), slice(max(-right, 0), side + min(-right, 0)))
        planes[(slice(None), *here)] -= image[(slice(None), *there)]
    photons, bleached = light_of(planes)
    return replace(bead, planes=planes, photons=photons, bleached=bleached)
