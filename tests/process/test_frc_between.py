"""Correlation of independent point sets: finer where they are sharper, none where they have nothing in common."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.process.frc import between


def sets(sigma_nm: float, dims: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    sites = rng.uniform(0, 120, (15, dims))
    return [sites.repeat(60, axis=0) + rng.normal(0, sigma_nm, (900, dims)) for _ in range(2)]


@pytest.mark.parametrize("dims", [2, 3])
def test_sharper_sets_agree_to_finer_detail(dims) -> None:
    fine, coarse = (between(*sets(sigma, dims)).resolution_nm for sigma in (4.0, 8.0))
    assert fine < 0.75 * coarse
    # the power of a Gaussian of this width falls by a factor 7 and more between these
    assert 2 * 8 < coarse < 6 * 8


def test_sets_without_anything_in_common_do_not_agree() -> None:
    rng = np.random.default_rng(2)
    found = between(rng.uniform(0, 100, (800, 2)), rng.uniform(1000, 1100, (800, 2)))
    assert found.resolution_nm is None or found.resolution_nm > 50


@pytest.mark.parametrize(("a", "b"), [((60, 2), (60, 3)), ((10, 2), (90, 2))])
def test_unusable_sets(a, b) -> None:
    with pytest.raises(InputError):
        between(np.zeros(a), np.zeros(b))
