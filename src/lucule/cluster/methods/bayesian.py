"""Bayesian cluster analysis: many proposals, each scored by how well a model of clusters explains it.

A proposal is made from every pair of a radius R and a threshold T: localizations with Ripley's L(R) of at least T that
lie within 2R of each other are a cluster, all others background. Its score is the logarithm of its probability, up to
a constant: clusters are Gaussian with a centre anywhere in the region and a standard deviation from a prior, widened by
each localization's own precision; background is uniform; sizes of clusters follow a Dirichlet process, and every
localization is background with a known probability. The proposal with the highest score wins.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned, renumbered
from lucule.core import Config, Localizations, Region, step
from lucule.space import NeighbourGrid, components

Floats = NDArray[np.float64]
Grid = tuple[float, float, float]

_FEWEST: Final = 2
_MOST_STEPS: Final = 10_000


class Bayesian(Config):
    """Settings of `bayesian`.

    Attributes
    ----------
    radii_nm, thresholds_nm
        Smallest, largest and step of R and of T, nm. The paper's are 5 to 200 in steps of 5, and 5 to 500 in steps of
        5; cost grows with the number of pairs.
    cluster_sd_nm
        Standard deviations that clusters may have, nm.
    cluster_sd_weights
        Prior weight of each; None: equal.
    background
        Prior probability that a localization is background.
    concentration
        Of the Dirichlet process (alpha): the larger, the more clusters are expected.
    """

    radii_nm: Grid = (10.0, 200.0, 10.0)
    thresholds_nm: Grid = (10.0, 500.0, 10.0)
    cluster_sd_nm: tuple[float, ...] = tuple(float(sd) for sd in range(5, 105, 5))
    cluster_sd_weights: tuple[float, ...] | None = None
    background: float = Field(default=0.5, gt=0, lt=1)
    concentration: float = Field(default=20.0, gt=0, allow_inf_nan=False)

    @field_validator("radii_nm", "thresholds_nm")
    @classmethod
    def _a_grid(cls, grid: Grid) -> Grid:
        low, high, by = grid
        if not (0 < low <= high and by > 0 and np.isfinite(grid).all()):
            raise ValueError("smallest (above 0), largest and step, nm")
        if (high - low) / by >= _MOST_STEPS:
            raise ValueError(f"fewer than {_MOST_STEPS:,} steps")
        return grid

    @model_validator(mode="after")
    def _a_prior(self) -> Self:
        weights = self.cluster_sd_weights
        if not self.cluster_sd_nm or min(self.cluster_sd_nm) <= 0:
            raise ValueError("cluster_sd_nm: standard deviations above 0 nm")
        if weights is not None and (len(weights) != len(self.cluster_sd_nm) or min(weights) < 0 or not sum(weights)):
            raise ValueError("cluster_sd_weights: one weight, 0 or more, for each of cluster_sd_nm")
        return self


class Proposals(NamedTuple):
    """Proposals with their scores.

    Attributes
    ----------
    table
        One row for each: `radius_nm`, `threshold_nm`, `score`, `clusters`, `clustered` (localizations). Thresholds that
        give the same clusters as the one before are left out.
    best
        `(n,)` cluster of each localization in the proposal with the highest score, -1 = none.
    """

    table: pl.DataFrame
    best: NDArray[np.int32]


@step
def bayesian(locs: Localizations, settings: Bayesian | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by the proposal that a Bayesian model of clusters scores highest.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D; precisions (`x_err`, ...) enter where the table has them.
    region
        Only localizations inside are looked at; its area enters L and the scores. By default the box around all.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none).

    Notes
    -----
    Rubin-Delanchy et al., Nat Methods 12:1072 (2015); 3D: Griffie et al., Sci Rep 7:4077 (2017). Counts of neighbours
    are continued across opposite sides of the box, as theirs are. The published program gives the background the prior
    p^B (1-p)^(1-B) for B localizations; here it is p^B (1-p)^(N-B), as its paper says. Work grows with the number of
    localizations times that of proposals (minutes for 10^5); the paper cuts fields into regions of 3 um.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> points = np.concatenate([rng.normal(500, 10, (30, 2)), rng.uniform(0, 1000, (30, 2))])
    >>> settings = Bayesian(radii_nm=(10, 50, 10), thresholds_nm=(20, 200, 20))
    >>> found = bayesian(Localizations({"x": points[:, 0], "y": points[:, 1]}), settings)
    >>> bool(found["label"][:30].mean() > 0.9), bool(found["label"][30:].mean() < 0.2)
    (True, True)
    """
    return assigned(locs, assign, settings or Bayesian(), region)


def assign(sample: Sample, settings: Bayesian) -> NDArray[np.int32]:
    """Cluster of each localization; see `Assign`."""
    return proposals(sample, settings).best


def proposals(sample: Sample, settings: Bayesian) -> Proposals:
    """All proposals for a sample, and the best of them."""
    n = len(sample.points)
    best = np.full(n, NO_CLUSTER, np.int32)
    rows: list[tuple[float, float, float, int, int]] = []
    if n < _FEWEST or not sample.size:
        return Proposals(_table(rows), best)
    score = Scores(sample, settings)
    unit = np.pi if sample.dims == 2 else 4 / 3 * np.pi
    highest = -np.inf
    for radius in _values(settings.radii_nm):
        counts = toroidal_counts(sample, radius)
        # L >= T means as many neighbours as this, at least
        limits = unit * _values(settings.thresholds_nm) ** sample.dims * (n - 1) / sample.size
        before = None
        for threshold, limit in zip(_values(settings.thresholds_nm), limits, strict=True):
            dense = counts >= limit
            clustered = int(dense.sum())
            # fewer localizations pass a higher threshold, so as many are the same ones
            if clustered == before:
                continue
            before = clustered
            own = renumbered(components(sample.points, np.where(dense, np.float32(2 * radius), np.float32(0))), _FEWEST)
            value = score.of(own)
            rows.append((radius, threshold, value, int(own.max()) + 1, int((own >= 0).sum())))
            if value > highest:
                highest, best = value, own
            if not clustered:
                break
    return Proposals(_table(rows), best)


def toroidal_counts(sample: Sample, radius_nm: float) -> NDArray[np.int32]:
    """Further localizations within a radius of each, the box being continued across opposite sides, `(n,)`."""
    low, high = sample.box
    points = sample.points.astype(np.float64)
    everything = [points]
    for axis in range(sample.dims):
        around = np.concatenate(everything)
        near_low, near_high = around[:, axis] < low[axis] + radius_nm, around[:, axis] > high[axis] - radius_nm
        for side, shift in ((near_low, 1), (near_high, -1)):
            moved = around[side].copy()
            moved[:, axis] += shift * (high[axis] - low[axis])
            everything.append(moved)
    return NeighbourGrid(np.concatenate(everything).astype(np.float32)).count_within(radius_nm)[: len(points)]


class Scores:
    """Scores of proposals for one sample: what depends on the sample alone is computed once."""

    def __init__(self, sample: Sample, settings: Bayesian) -> None:
        low, high = sample.box
        middle = (low + high) / 2
        self._n = len(sample.points)
        self._log_size = np.log(sample.size)
        self._half_sides = (high - low) / 2
        self._points = sample.points.astype(np.float64) - middle
        sd = np.array(settings.cluster_sd_nm)
        # (n, d, k): inverse variance of each coordinate around a centre, for each standard deviation of the cluster
        self._weights = 1 / (sd**2 + sample.errors_nm.astype(np.float64)[:, :, None] ** 2)
        self._log_weights = np.log(self._weights).sum(axis=1)
        prior = np.array(settings.cluster_sd_weights or np.ones(len(sd)))
        with np.errstate(divide="ignore"):
            self._log_prior = np.log(prior / prior.sum())
        self._background = settings.background
        self._concentration = settings.concentration

    def of(self, own: NDArray[np.int32]) -> float:
        """Score of a proposal `(n,)`, -1 = background; clusters are numbered from 0 without a gap."""
        sizes = np.bincount(own[own >= 0])
        free = self._n - int(sizes.sum())
        likelihood = -free * self._log_size
        if len(sizes):
            likelihood += self.clusters(own).sum()
        return float(likelihood + self.prior(sizes, free))

    def clusters(self, own: NDArray[np.int32]) -> Floats:
        """Log likelihood of the localizations of each cluster, its centre and standard deviation integrated out."""
        from scipy.special import log_ndtr, logsumexp

        sizes = np.bincount(own[own >= 0])
        sums = _sums(own, self._points, self._weights, self._log_weights, len(sizes))
        weight, first, second, logs = sums
        centre = first / weight
        spread = (second - first * centre).sum(axis=1)
        # the centre lies in the region: what a normal distribution around it has within the box
        root = np.sqrt(weight)
        half = self._half_sides[None, :, None]
        upper, lower = log_ndtr(root * (half - centre)), log_ndtr(root * (-half - centre))
        inside = (upper + np.log1p(-np.exp(np.minimum(lower - upper, -1e-12)))).sum(axis=1)
        dims = self._points.shape[1]
        by_sd = (
            -dims * (sizes[:, None] - 1) / 2 * np.log(2 * np.pi)
            + logs / 2 - np.log(weight).sum(axis=1) / 2 - spread / 2 + inside - self._log_size
        )  # fmt: skip
        return np.asarray(logsumexp(by_sd + self._log_prior, axis=1))

    def prior(self, sizes: NDArray[np.int64], free: int) -> float:
        """Log probability of a partition into clusters of these sizes and `free` localizations of background."""
        from scipy.special import gammaln

        alpha, clustered = self._concentration, int(sizes.sum())
        return float(
            free * np.log(self._background)
            + clustered * np.log1p(-self._background)
            + len(sizes) * np.log(alpha)
            + gammaln(alpha)
            - gammaln(alpha + clustered)
            + gammaln(sizes).sum()
        )


@njit(cache=True, nogil=True)
def _sums(
    own: NDArray[np.int32], points: Floats, weights: Floats, log_weights: Floats, clusters: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """For each cluster, axis and sd: sum of w, w x and w x^2; for each cluster and sd: sum of log w over all axes."""
    n, dims, k = weights.shape
    weight, first = np.zeros((clusters, dims, k)), np.zeros((clusters, dims, k))
    second, logs = np.zeros((clusters, dims, k)), np.zeros((clusters, k))
    for i in range(n):
        c = own[i]
        if c < 0:
            continue
        for axis in range(dims):
            x = points[i, axis]
            for s in range(k):
                w = weights[i, axis, s]
                weight[c, axis, s] += w
                first[c, axis, s] += w * x
                second[c, axis, s] += w * x * x
        for s in range(k):
            logs[c, s] += log_weights[i, s]
    return weight, first, second, logs


def _values(grid: Grid) -> Floats:
    low, high, by = grid
    return np.asarray(low + by * np.arange(int((high - low) / by + 1e-9) + 1), np.float64)


def _table(rows: list[tuple[float, float, float, int, int]]) -> pl.DataFrame:
    schema = {"radius_nm": pl.Float64, "threshold_nm": pl.Float64, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"clusters": pl.Int64, "clustered": pl.Int64}, orient="row")


METHOD = Method(
    "bayesian",
    Bayesian,
    bayesian,
    "the best of many proposals, scored by a model of Gaussian clusters in uniform background",
    "Rubin-Delanchy et al., Nat Methods 12:1072 (2015)",
)
