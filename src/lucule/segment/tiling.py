"""Two passes over an image: tiles as a microscope takes them, then the borders between them.

As in the paper (Linke et al. 2025, Methods): neighbouring tiles are combined and cropped around their common border,
so that what the border cut is seen as a whole in the second pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

GUARD_PX: Final = 16
"""What comes so close to the border of a tile, in pixels of the network, is left to the second pass."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of an image: rows `top` to `bottom`, columns `left` to `right`, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def rows_px(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def columns_px(self) -> int:
        """Number of columns."""
        return self.right - self.left

    def inside(self, bounds: tuple[float, float, float, float], shape: tuple[int, int], guard: float) -> bool:
        """Whether bounds (x_min, y_min, x_max, y_max) keep `guard` from all sides but the edge of the image."""
        left, top, right, bottom = bounds
        rows, columns = shape
        return (
            (self.left == 0 or left >= self.left + guard)
            and (self.top == 0 or top >= self.top + guard)
            and (self.right == columns or right <= self.right - guard)
            and (self.bottom == rows or bottom <= self.bottom - guard)
        )


def first_pass(shape: tuple[int, int], side: int) -> list[Window]:
    """Tiles of about `side` pixels that cover an image without overlap.

    Examples
    --------
    >>> [(window.top, window.bottom, window.left, window.right) for window in first_pass((100, 250), 100)]
    [(0, 100, 0, 125), (0, 100, 125, 250)]
    """
    rows, columns = (_edges(size, side) for size in shape)
    return [Window(top, bottom, left, right) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def second_pass(shape: tuple[int, int], side: int, reach: int) -> list[Window]:
    """Windows of `reach` pixels on both sides of the borders between tiles, overlapping where borders meet.

    Examples
    --------
    >>> [(window.top, window.bottom, window.left, window.right) for window in second_pass((100, 250), 100, 20)]
    [(0, 100, 105, 145)]
    """
    rows, columns = (_edges(size, side) for size in shape)
    windows = []
    for border in columns[1:-1]:
        for top, bottom in pairwise(rows):
            windows.append(_clipped(top - reach, bottom + reach, border - reach, border + reach, shape))
    for border in rows[1:-1]:
        for left, right in pairwise(columns):
            windows.append(_clipped(border - reach, border + reach, left - reach, right + reach, shape))
    return windows


def _edges(size: int, side: int) -> list[int]:
    # a last tile of a few pixels would see nothing, so that all are equal
    number = max(1, round(size / side))
    return [round(size * i / number) for i in range(number + 1)]


def _clipped(top: int, bottom: int, left: int, right: int, shape: tuple[int, int]) -> Window:
    return Window(max(top, 0), min(bottom, shape[0]), max(left, 0), min(right, shape[1]))
