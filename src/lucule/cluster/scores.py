"""How well clusters agree with the truth.

Every score takes two arrays `(n,)` of cluster numbers, -1 = in no cluster. What becomes of the -1 is said at each
score: for `rand_index` all of them together are one more group, as in the papers that compare methods for localization
microscopy. Numbers mean nothing but which localizations belong together. All scores work on the table that counts how
many localizations each pair of clusters shares, which is sparse: they take linear memory and about a second for 10^6
localizations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_MATCH: Final = 0.5

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """How many localizations each cluster of the truth shares with each cluster found.

    Attributes
    ----------
    truth, found
        `(p,)` true cluster and found cluster of each pair that shares any, counted from 0.
    shared
        `(p,)` localizations that it shares.
    truth_sizes, found_sizes
        Localizations of each cluster.
    """

    truth: Counts
    found: Counts
    shared: Counts
    truth_sizes: Counts
    found_sizes: Counts

    @classmethod
    def of(cls, truth: NDArray[Any], found: NDArray[Any]) -> Overlap:
        """Count the pairs of two groupings `(n,)`; every number is a group, -1 too."""
        _, first, truth_sizes = np.unique(truth, return_inverse=True, return_counts=True)
        _, second, found_sizes = np.unique(found, return_inverse=True, return_counts=True)
        pairs, shared = np.unique(first.astype(np.int64) * len(found_sizes) + second, return_counts=True)
        return cls(
            pairs // max(len(found_sizes), 1), pairs % max(len(found_sizes), 1), shared, truth_sizes, found_sizes
        )


def rand_index(truth: ArrayLike, found: ArrayLike, *, clustered_only: bool = False) -> float:
    """Adjusted Rand index: agreement on which pairs of localizations belong together, 0 by chance, 1 at best.

    Parameters
    ----------
    truth, found
        Cluster of each localization, `(n,)`, -1 = none. All that are in no cluster are together one group.
    clustered_only
        Look only at the localizations that truly are in a cluster (ARI_c); then those that were found in none are each
        a group of its own, for nobody claimed that they belong together.

    Returns
    -------
    index
        1 where both are one same group; NaN without localizations.

    Notes
    -----
    Hubert and Arabie, J Classif 2:193 (1985).

    Examples
    --------
    >>> rand_index([0, 0, 1, 1, -1, -1], [5, 5, 3, 3, -1, -1])
    1.0
    >>> round(rand_index([0, 0, 1, 1, -1, -1], [5, 5, 5, 5, -1, -1]), 3)
    0.444
    """
    wanted, given = _checked(truth, found)
    if clustered_only:
        inside = wanted >= 0
        wanted, given = wanted[inside], _noise_apart(given[inside])
    if not len(wanted):
        return float("nan")
    overlap = Overlap.of(wanted, given)
    together, first, second = (_pairs(n) for n in (overlap.shared, overlap.truth_sizes, overlap.found_sizes))
    expected = first * second / max(_pairs(np.array([len(wanted)])), 1.0)
    best = (first + second) / 2
    return 1.0 if best == expected else float((together - expected) / (best - expected))


def mutual_information(truth: ArrayLike, found: ArrayLike) -> float:
    """Adjusted mutual information, 0 by chance, 1 at best; -1 is one group, as in `rand_index`.

    Normalised by the mean of both entropies, as scikit-learn's. The expectation by chance is summed once for each pair
    of sizes that occurs, not once for each pair of clusters, so that thousands of clusters take a second.

    Notes
    -----
    Vinh, Epps and Bailey, J Mach Learn Res 11:2837 (2010).

    Examples
    --------
    >>> mutual_information([0, 0, 1, 1, -1, -1], [5, 5, 3, 3, -1, -1])
    1.0
    """
    wanted, given = _checked(truth, found)
    n = len(wanted)
    if not n:
        return float("nan")
    overlap = Overlap.of(wanted, given)
    if len(overlap.truth_sizes) == len(overlap.found_sizes) and len(overlap.truth_sizes) in (1, n):
        return 1.0
    a, b = overlap.truth_sizes[overlap.truth], overlap.found_sizes[overlap.found]
    shared = overlap.shared.astype(np.float64)
    information = float((shared / n * (np.log(n * shared) - np.log(a.astype(float) * b))).sum())
    expected = _expected_information(overlap.truth_sizes, overlap.found_sizes, n)
    mean_entropy = (_entropy(overlap.truth_sizes, n) + _entropy(overlap.found_sizes, n)) / 2
    best = mean_entropy - expected
    # the difference is a rounding error where both say nothing
    best = min(best, -np.finfo(float).eps) if best < 0 else max(best, np.finfo(float).eps)
    return float(min((information - expected) / best, 1.0))


def clustered_accuracy(truth: ArrayLike, found: ArrayLike) -> float:
    """Fraction of localizations that are rightly in some cluster, or rightly in none.

    Examples
    --------
    >>> clustered_accuracy([0, 0, -1, -1], [3, -1, -1, -1])
    0.75
    """
    wanted, given = _checked(truth, found)
    return float(((wanted >= 0) == (given >= 0)).mean()) if len(wanted) else float("nan")


def clustered_f1(truth: ArrayLike, found: ArrayLike) -> float:
    """Harmonic mean of precision and recall of being in some cluster; NaN where nothing is, or was found, clustered.

    Examples
    --------
    >>> round(clustered_f1([0, 0, -1, -1], [3, -1, -1, -1]), 3)
    0.667
    """
    wanted, given = (values >= 0 for values in _checked(truth, found))
    both = int(wanted.sum() + given.sum())
    return float(2 * (wanted & given).sum() / both) if both else float("nan")


def matches(truth: ArrayLike, found: ArrayLike) -> tuple[Counts, Counts]:
    """Clusters that are the same: more than half of the localizations in either of them are in both.

    No cluster can be matched twice at that limit.

    Returns
    -------
    truth, found
        `(m,)` each: the numbers of the clusters matched, by ascending number of the true one.

    Examples
    --------
    >>> matches([0, 0, 0, 1, 1, -1], [4, 4, 4, 4, 7, 7])
    (array([0]), array([4]))
    """
    wanted, given = _checked(truth, found)
    true_numbers, found_numbers = np.unique(wanted), np.unique(given)
    overlap = Overlap.of(wanted, given)
    union = overlap.truth_sizes[overlap.truth] + overlap.found_sizes[overlap.found] - overlap.shared
    pair = np.column_stack([true_numbers[overlap.truth], found_numbers[overlap.found]])
    same = (overlap.shared > _MATCH * union) & (pair >= 0).all(axis=1)
    return pair[same, 0], pair[same, 1]


def cluster_jaccard(truth: ArrayLike, found: ArrayLike) -> float:
    """Clusters found over all that exist or were found: matches / (true + found - matches); see `matches`.

    Returns
    -------
    index
        0 to 1; 1 where there are none and none were found.

    Examples
    --------
    >>> cluster_jaccard([0, 0, 0, 1, 1, -1], [4, 4, 4, -1, -1, -1])
    0.5
    """
    n_true, n_found, n_same = _n_clusters(truth), _n_clusters(found), len(matches(truth, found)[0])
    return n_same / (n_true + n_found - n_same) if n_true + n_found else 1.0


def count_error(truth: ArrayLike, found: ArrayLike) -> float:
    """Relative error of the number of clusters, (found - true) / true; NaN where there are none to find.

    Examples
    --------
    >>> count_error([0, 0, 1, 1], [0, 0, 0, 0])
    -0.5
    """
    n_true, n_found = _n_clusters(truth), _n_clusters(found)
    return (n_found - n_true) / n_true if n_true else float("nan")


def centroid_errors(truth: ArrayLike, found: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Distance between the centres of each pair of matched clusters, nm, in the order of `matches`.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm; a centre is their mean.

    Examples
    --------
    >>> centroid_errors([0, 0, 0], [1, 1, -1], [[0.0, 0.0], [4.0, 0.0], [8.0, 0.0]])
    array([2.])
    """
    wanted, given = _checked(truth, found)
    places = np.asarray(points, np.float64)
    true_ones, found_ones = matches(wanted, given)
    centres = []
    for numbers, chosen in ((wanted, true_ones), (given, found_ones)):
        known, which, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
        means = np.column_stack([np.bincount(which, axis, minlength=len(known)) for axis in places.T]) / sizes[:, None]
        centres.append(means[np.searchsorted(known, chosen)])
    return np.asarray(np.linalg.norm(centres[0] - centres[1], axis=1))


def area_iou(truth: Sequence[BaseGeometry], found: Sequence[BaseGeometry]) -> float:
    """Intersection over union of the areas that all clusters together cover.

    Parameters
    ----------
    truth, found
        Outlines, such as `lucule.cluster.measure(...).outlines()` gives; those that are None are left out.

    Returns
    -------
    iou
        0 to 1; 1 where neither covers anything.

    Examples
    --------
    >>> import shapely
    >>> area_iou([shapely.box(0, 0, 2, 1)], [shapely.box(1, 0, 2, 1)])
    0.5
    """
    import shapely

    # shapes that meet no others, which are most, need not be merged
    merge = getattr(shapely, "disjoint_subset_union_all", shapely.union_all)
    sides = ([shape for shape in shapes if shape is not None] for shapes in (truth, found))
    first, second = (shapes[0] if len(shapes) == 1 else merge(shapes) for shapes in sides)
    together = first.area + second.area
    if not together:
        return 1.0
    common = float(first.intersection(second).area)
    return float(common / (together - common))


def matched_area_ious(truth: Sequence[BaseGeometry], found: Sequence[BaseGeometry]) -> NDArray[np.float64]:
    """Intersection over union of the outlines of each true cluster and the cluster found that covers most of it.

    Returns
    -------
    iou
        One for each outline of the truth, 0 where nothing was found.

    Examples
    --------
    >>> import shapely
    >>> matched_area_ious([shapely.box(0, 0, 2, 1), shapely.box(9, 9, 10, 10)], [shapely.box(1, 0, 2, 1)])
    array([0.5, 0. ])
    """
    import shapely

    wanted = np.array([shape for shape in truth if shape is not None], dtype=object)
    given = np.array([shape for shape in found if shape is not None], dtype=object)
    best = np.zeros(len(wanted))
    if not len(wanted) or not len(given):
        return best
    i, j = shapely.STRtree(given).query(wanted, predicate="intersects")
    common = shapely.area(shapely.intersection(wanted[i], given[j]))
    iou = common / (shapely.area(wanted[i]) + shapely.area(given[j]) - common)
    largest = np.zeros(len(wanted))
    np.maximum.at(largest, i, common)
    chosen = common == largest[i]
    np.maximum.at(best, i[chosen], iou[chosen])
    return best


def calibration_error(clustered: ArrayLike, probability: ArrayLike, *, bins: int = 15) -> float:
    """Expected calibration error of the probability of being clustered.

    Parameters
    ----------
    clustered
        `(n,)` bool, the truth.
    probability
        `(n,)`, 0 to 1, of being clustered (not of the label given).
    bins
        Number of equally wide bins; in each the mean probability is compared with the fraction that is clustered.

    Notes
    -----
    Guo et al., Proc ICML 70:1321 (2017).

    Examples
    --------
    >>> round(calibration_error([True, False, False, False], [0.25, 0.25, 0.25, 0.25]), 3)
    0.0
    """
    truth, p = np.asarray(clustered, bool), np.asarray(probability, np.float64)
    if truth.shape != p.shape or truth.ndim != 1:
        raise InputError("Truth and probabilities differ in length", received=f"{truth.shape} and {p.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("A probability is out of range", received=f"{p.min()} to {p.max()}", allowed="0 to 1")
    if not len(p):
        return float("nan")
    which = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(which, p - truth, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def _checked(truth: ArrayLike, found: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    wanted, given = np.asarray(truth), np.asarray(found)
    if wanted.shape != given.shape or wanted.ndim != 1:
        raise InputError("Clusters and truth differ in length", received=f"{given.shape} and {wanted.shape}")
    for values in (wanted, given):
        if values.size and values.dtype.kind not in "iu":
            raise InputError("Clusters are whole numbers", received=values.dtype, allowed="0, 1, ...; -1 = none")
    return np.maximum(wanted.astype(np.int64), -1), np.maximum(given.astype(np.int64), -1)


def _noise_apart(numbers: Counts) -> Counts:
    """Each localization of -1 as a group of its own."""
    free = np.flatnonzero(numbers < 0)
    apart = numbers.copy()
    apart[free] = numbers.max(initial=-1) + 1 + np.arange(len(free))
    return apart


def _n_clusters(numbers: ArrayLike) -> int:
    values = np.asarray(numbers)
    return len(np.unique(values[values >= 0]))


def _pairs(sizes: Counts) -> float:
    values = sizes.astype(np.float64)
    return float((values * (values - 1) / 2).sum())


def _entropy(sizes: Counts, n: int) -> float:
    share = sizes / n
    return float(-(share * np.log(share)).sum())


def _expected_information(first: Counts, second: Counts, n: int) -> float:
    """Mutual information expected of random groupings with these sizes (hypergeometric)."""
    from scipy.special import gammaln

    numbers = np.arange(n + 1, dtype=np.float64)
    log = np.log(np.maximum(numbers, 1))
    return float(
        _expectation(
            *np.unique(first, return_counts=True), *np.unique(second, return_counts=True), gammaln(numbers + 1), log
        )
    )


@njit(cache=True, nogil=True)
def _expectation(
    sizes_a: Counts,
    times_a: Counts,
    sizes_b: Counts,
    times_b: Counts,
    factorial: NDArray[np.float64],
    log: NDArray[np.float64],
) -> float:
    """Sum over all pairs of sizes and all they may share; `factorial` and `log` are logarithms up to n."""
    n = factorial.size - 1
    total = 0.0
    for i in range(sizes_a.size):
        a = sizes_a[i]
        for j in range(sizes_b.size):
            b = sizes_b[j]
            fixed = factorial[a] + factorial[b] + factorial[n - a] + factorial[n - b] - factorial[n]
            part = 0.0
            for shared in range(max(1, a + b - n), min(a, b) + 1):
                others = (
                    factorial[shared] + factorial[a - shared] + factorial[b - shared] + factorial[n - a - b + shared]
                )
                part += shared / n * (log[n] + log[shared] - log[a] - log[b]) * np.exp(fixed - others)
            total += times_a[i] * times_b[j] * part
    return total
