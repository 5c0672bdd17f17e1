"""The climb in torch ends where the compiled one does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucule.localize.fitting.batched import climb_batch
from lucule.localize.fitting.emitters import climb
from lucule.nn import torch_threads
from lucule.simulate.optics import compile_psf
from lucule.simulate.torch_render import to_torch

SIDE, N = 17, 24


@pytest.mark.parametrize("name", ["astigmatic", "vectorial_astigmatic"])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_values_and_errors_are_those_of_the_compiled_fit(name, scale):
    kernel, rng = compile_psf(name, 100), np.random.default_rng(3)
    true = np.column_stack([rng.uniform(800, 900, (N, 2)), rng.uniform(-400, 400, N), rng.uniform(2000, 9000, N)])
    light = np.stack([kernel.image(*row, (SIDE, SIDE)) for row in true]) + 25
    floor = rng.uniform(0, 3, light.shape)
    seen = rng.poisson(light) + floor
    starts = np.column_stack([true + np.array([30, -30, 60, 500]), np.full(N, 20.0)])
    with torch_threads(1):
        psf = to_torch(kernel, dtype=torch.float64)
        batch = climb_batch(torch.from_numpy(seen), torch.from_numpy(floor), torch.from_numpy(starts), psf, scale)
    assert batch.reached.all()
    for i in range(N):
        values, errors, model = np.array([starts[i, 4], *starts[i, :4]]), np.empty(5), np.empty(SIDE**2)
        climb(
            seen[i].ravel(), floor[i].ravel(), np.zeros(SIDE**2), 0, 0, (SIDE, SIDE), kernel.model, 1,
            np.array(kernel.z_range_nm), scale, 1, values, errors, model,
        )  # fmt: skip
        own, bound = values[[1, 2, 3, 4, 0]], errors[[1, 2, 3, 4, 0]]
        assert np.abs((batch.values[i].numpy() - own) / bound).max() < 0.05
        assert batch.errors[i].numpy() == pytest.approx(bound, rel=0.02)
