"""The pixel size of a file that gives the same positions in nm and in pixels."""

from __future__ import annotations

from lucule.io._text import Layout


def from_two_columns(shape: Layout, x: tuple[str, str], y: tuple[str, str]) -> tuple[float, float] | None:
    """Size of a pixel along (x, y) in nm, from the first rows; None when they do not tell.

    `x` and `y` name the column in nm and the one in pixels. Differences are used, so that a shift between the two
    origins does not matter; with a single row there is none, and the ratio is taken.
    """
    sizes = [_scale(shape, *x), _scale(shape, *y)]
    known = [size for size in sizes if size is not None]
    if not known:
        return None
    return sizes[0] or known[0], sizes[1] or known[0]


def _scale(shape: Layout, nm: str, px: str) -> float | None:
    if nm not in shape.names or px not in shape.names:
        return None
    i, j = shape.names.index(nm), shape.names.index(px)
    pairs = []
    for fields in shape.sample:
        try:
            pairs.append((float(fields[j]), float(fields[i])))
        except (ValueError, IndexError):
            continue
    if not pairs:
        return None
    (low_px, low_nm), (high_px, high_nm) = min(pairs), max(pairs)
    if high_px - low_px > 1.0:
        size = (high_nm - low_nm) / (high_px - low_px)
    elif high_px:
        size = high_nm / high_px
    else:
        return None
    size = float(f"{size:.5g}")  # the digits beyond are those of the rounding in the file
    return size if size > 0 else None
