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
# what is narrower than this part of the narrower of the bulges on its sides is a neck
_NECK: Final = 0.8


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
    from scipy.ndimage import distance_transform_edt, label
    from skimage.measure import label as same_parts
    from skimage.segmentation import watershed

    inside = foreground > threshold
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    seeds, number = label(inside & (core > threshold))
    sizes = np.bincount(seeds.ravel(), minlength=number + 1)
    seeds[(sizes < max(least_px / 9, 2))[seeds]] = 0
    # parts of the foreground without a core are objects of their own
    parts = same_parts(inside, connectivity=1)
    seeded = np.zeros(parts.max() + 1, np.bool_)
    seeded[parts[seeds > 0]] = True
    lonely = inside & ~seeded[parts]
    seeds[lonely] = parts[lonely] + seeds.max()
    depth = distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
    seeds = _split_at_necks(seeds, depth)
    grown = watershed(-core * depth, seeds, mask=inside)
    sizes = np.bincount(grown.ravel())
    kept = sizes >= least_px
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0)
    labels: Labels = numbers[grown].astype(np.int32)
    return labels


def _split_at_necks(seeds: Labels, depth: Floats) -> Labels:
    """Split seeds that reach through the neck between two bulges of the foreground: cores that flowed together.

    The logarithm of the depth tells necks from ripples by their relative width, whatever the size of the objects.
    """
    from scipy.ndimage import gaussian_filter, label
    from skimage.morphology import local_maxima, reconstruction

    least = -np.log(_NECK)
    height = np.log(np.maximum(gaussian_filter(depth, 1.0), 0.1))
    tops, number = label((depth > 0) & local_maxima(reconstruction(height - least, height)), np.ones((3, 3)))
    # the seed that each bulge lies in most
    pairs, counts = np.unique(np.stack([tops, seeds])[:, (tops > 0) & (seeds > 0)], axis=1, return_counts=True)
    owner = np.zeros(number + 1, np.int64)
    for place in np.argsort(counts):
        owner[pairs[0, place]] = pairs[1, place]
    several = np.bincount(owner[1:], minlength=int(seeds.max()) + 1) > 1
    several[0] = False
    kept = np.where(several[seeds], 0, seeds)
    bulges = several[owner][tops]
    kept[bulges] = tops[bulges] + int(seeds.max())
    return kept
