"""Work shared among threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import get_num_threads, set_num_threads

from lucule.space import NeighbourGrid
from lucule.space.threads import each, share


@pytest.mark.parametrize("size", [0, 1, 9, 10, 1000, 1003])
def test_the_stretches_cover_everything_once(size):
    seen = np.zeros(size, int)
    lengths = []

    def work(first, last):
        seen[first:last] += 1
        lengths.append(last - first)

    share(work, size, least=10, most=50)
    assert (seen == 1).all()
    if get_num_threads() > 1:
        assert max(lengths) <= 50


@pytest.mark.skipif(get_num_threads() < 2, reason="one thread does everything in one stretch")
def test_an_error_in_one_stretch_comes_out():
    def work(first, last):
        if first <= 500 < last:
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        share(work, 1000, least=1, most=10)


def test_one_thread_if_numba_may_use_but_one():
    stretches = []
    threads = get_num_threads()
    set_num_threads(1)
    try:
        share(lambda first, last: stretches.append((first, last)), 1000, least=1, most=10)
    finally:
        set_num_threads(threads)
    assert stretches == [(0, 1000)]


def test_searches_from_several_threads_at_once():
    points = np.random.default_rng(1).uniform(0, 1000, (20_000, 2)).astype(np.float32)
    expected = NeighbourGrid(points).distances(10)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: NeighbourGrid(points).distances(10), range(4)):
            np.testing.assert_array_equal(found, expected)


def test_results_of_pieces_come_in_order():
    assert each(lambda i: i * i, 50) == [i * i for i in range(50)]
    assert each(lambda i: i, 0) == []
