"""Small symmetric systems, solved where they stand: a call into LAPACK costs more than the sums themselves."""

from __future__ import annotations

from math import sqrt
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@njit(cache=True, nogil=True)
def factor(matrix: Floats, n: int) -> bool:
    """Replace the lower triangle of `matrix[:n, :n]` by its Cholesky factor; False if it is not positive definite."""
    for j in range(n):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k]
        if not pivot > 1e-13 * abs(matrix[j, j]):
            return False
        root = sqrt(pivot)
        matrix[j, j] = root
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = value / root
    return True


@njit(cache=True, nogil=True)
def solve(factored: Floats, n: int, values: Floats) -> None:
    """Solve the factored system for `values[:n]`, in place."""
    for i in range(n):
        for k in range(i):
            values[i] -= factored[i, k] * values[k]
        values[i] /= factored[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            values[i] -= factored[k, i] * values[k]
        values[i] /= factored[i, i]


@njit(cache=True, nogil=True)
def inverse_diagonal(factored: Floats, n: int, out: Floats) -> None:
    """Diagonal of the inverse of the factored matrix into `out[:n]`."""
    column = np.empty(n)
    for j in range(n):
        # the j-th column of the inverse of the triangular factor
        out[j] = 0.0
        for i in range(j, n):
            value = 1.0 if i == j else 0.0
            for k in range(j, i):
                value -= factored[i, k] * column[k]
            column[i] = value / factored[i, i]
            out[j] += column[i] * column[i]
