import numpy as np

from lucule.classify.graph.vectors import add_rows_silu, padded, softmax, take_logs


def test_logarithms():
    x = np.exp(np.random.default_rng(0).uniform(-60, 60, 64)).astype(np.float32)
    logs = x.copy()
    take_logs(logs, 0, 64)
    assert np.allclose(logs, np.log(x.astype(np.float64)), rtol=2e-7)


def test_softmax_of_columns():
    values = (5 * np.random.default_rng(1).normal(size=(30, 16))).astype(np.float32)
    found = values.copy()
    softmax(found, 3, 20)
    weights = np.exp(values[3:20].astype(np.float64))
    assert np.allclose(found[3:20], weights / weights.sum(axis=0), atol=1e-6)
    assert (found[:3] == values[:3]).all()
    assert (found[20:] == values[20:]).all()


def test_product_and_silu():
    rng = np.random.default_rng(2)
    # 112 columns are taken in stretches of all widths
    rows, weights = rng.normal(size=(24, 20)).astype(np.float32), padded(rng.normal(size=(19, 110)).astype(np.float32))
    assert weights.shape == (20, 112)
    out = np.ones((24, 112), np.float32)
    add_rows_silu(rows, 0, 20, weights, out, 24)
    sums = 1 + rows.astype(np.float64) @ weights
    assert np.allclose(out, sums / (1 + np.exp(-sums)), atol=1e-5)
