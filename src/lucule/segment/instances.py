"""From what the network says of pixels to objects: cores are seeds, which grow to the border of the foreground."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int32]

CORE_DEPTH: Final = 0.5
"""The core of an object is what lies deeper than this part of its largest depth, as long as it hangs together."""
THRESHOLD: Final = 0.5
"""Probability from which a pixel belongs to an object, where nothing else is known."""
_SHALLOWER: Final = (CORE_DEPTH, 0.35, 0.2)
# two tops are two objects where the height between them falls by this much below the lower one: by the logit of the
# core (0.9 against 0.75), or by the depth (a neck of 0.72 of the narrower bulge), or by some of both
_DIP: Final = 1.0
_NECKS: Final = 3.0
# what is surer than this is core in any case: the networks say little by it
_SURE: Final = 0.9


def cores(objects: Labels) -> NDArray[np.bool_]:
    """Core of every object: what a network learns to find as one piece where objects touch.

    Parameters
    ----------
    objects
        `(rows, columns)`, number of the object of each pixel, 0 none.

    Examples
    --------
    >>> row = np.zeros((5, 12), np.int32)
    >>> row[:, :6], row[:, 6:] = 1, 2
    >>> cores(row)[2].astype(int).tolist()
    [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    from scipy.ndimage import distance_transform_edt, find_objects, label

    # what is cut by the edge of the image goes on beyond it
    padded = np.pad(objects, 1, mode="edge")
    inside = np.zeros(padded.shape, np.bool_)
    for number, box in enumerate(find_objects(padded), start=1):
        if box is None:
            continue
        around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
        own = padded[around] == number
        # the padded row is part of the object, not its border
        depth = distance_transform_edt(np.pad(own, 1, mode="edge"))[1:-1, 1:-1] * own
        core = own
        for fraction in _SHALLOWER:
            core = depth > fraction * depth.max()
            if label(core)[1] == 1:
                break
        inside[around] |= core
    return inside[1:-1, 1:-1]


def separate(foreground: Floats, core: Floats, *, threshold: float = THRESHOLD, least_px: float = 9.0) -> Labels:
    """Split the foreground into objects.

    Parameters
    ----------
    foreground, core
        `(rows, columns)`, probability that a pixel belongs to an object, and to the core of one.
    threshold
        Smallest probability of the foreground.
    least_px
        Smallest area, in pixels.

    Returns
    -------
    numpy.ndarray
        `(rows, columns)` int32, number of the object, 0 none.
    """
    from scipy.ndimage import label
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    inside = foreground > threshold
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    height = _height(inside, core)
    # every part of the foreground has a top, however low: what is no part of it lies deeper than any dip
    height = np.where(inside, height, height[inside].min() - 2 * _DIP).astype(np.float32)
    tops, _ = label(inside & local_maxima(reconstruction(height - _DIP, height)), np.ones((3, 3)))
    # pixels hang together by their corners, as for the tops
    grown = watershed(-height, tops, connectivity=2, mask=inside)
    small = np.bincount(grown.ravel()) < least_px
    if small.any():
        # what is too small for an object belongs to the one that it touches, if any
        grown = watershed(-height, np.where(small[tops], 0, tops), connectivity=2, mask=inside)
    kept = np.bincount(grown.ravel()) > 0
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0)
    labels: Labels = numbers[grown].astype(np.int32)
    return labels


def _height(inside: NDArray[np.bool_], core: Floats) -> Floats:
    """How deep in an object each pixel lies: what the network says of the core, and the depth in the foreground.

    Objects that touch have a dip between them. The logit of the core tells how sure the network is of it; the
    logarithm of the depth tells necks from ripples by their relative width, whatever the size of the objects.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    sure = np.clip(core, 1 - _SURE, _SURE)
    depth = distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
    necks = np.log(np.maximum(gaussian_filter(depth, 1.0), 0.1))
    height: Floats = gaussian_filter(np.log(sure / (1 - sure)), 0.7) + _NECKS * necks
    return height
