"""Sharing work among threads.

The kernels release the interpreter's lock, so plain threads use all cores. Unlike numba's own parallel loops they
survive a fork, may be started from several threads at once, stop at Ctrl-C, and take no time to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from numba import get_num_threads

R = TypeVar("R")


def share(work: Callable[[int, int], object], size: int, *, least: int, most: int) -> None:
    """Call `work(first, last)` for stretches that together cover 0 to `size`, on as many threads as numba may use.

    A stretch is `least` to `most` long, so that all threads are busy to the end and few calls are made.
    """
    threads = get_num_threads()
    length = min(max(size // (4 * threads), least), most)
    if size <= length or threads == 1:
        work(0, size)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        parts = [pool.submit(work, first, min(first + length, size)) for first in range(0, size, length)]
        for part in parts:
            part.result()
    finally:
        pool.shutdown(cancel_futures=True)


def each(work: Callable[[int], R], size: int) -> list[R]:
    """Results of `work(i)` for every `i` below `size`, in order, on as many threads as numba may use.

    Examples
    --------
    >>> each(lambda i: i * i, 4)
    [0, 1, 4, 9]
    """
    results: dict[int, R] = {}

    def some(first: int, last: int) -> None:
        for i in range(first, last):
            results[i] = work(i)

    share(some, size, least=1, most=1)
    return [results[i] for i in range(size)]
