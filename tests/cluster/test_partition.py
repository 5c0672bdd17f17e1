import numpy as np
import pytest

from lucule.cluster.affinities import from_affinities
from lucule.cluster.partition import partition
from lucule.core import InputError, Localizations


def blobs(n_blobs=5, points=40, noise=0.0, seed=1, k=12):
    """Neighbours within and between blobs, and log-odds that are right except for noise."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_blobs), points)
    n = len(truth)
    neighbours = rng.integers(0, n, (n, k)).astype(np.int32)
    own = rng.integers(0, points, (n, k)) + truth[:, None] * points
    neighbours[:, ::2] = own[:, ::2]
    same = truth[neighbours] == truth[:, None]
    log_odds = np.where(same, 2.0, -2.0) + noise * rng.normal(size=same.shape)
    return truth, neighbours, log_odds.astype(np.float32)


def same_partition(a, b):
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_wrong_pairs_are_outvoted(noise):
    truth, neighbours, log_odds = blobs(noise=noise)
    assert same_partition(truth, partition(neighbours, log_odds, np.ones(len(truth), bool)))


def test_components_alone_would_fail_there():
    """With noise, single wrong pairs tie all blobs together; so the test above tests something."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    truth, neighbours, log_odds = blobs(noise=1.0)
    i, slot = np.nonzero(log_odds > 0)
    graph = coo_matrix((np.ones(len(i)), (i, neighbours[i, slot])), shape=(len(truth),) * 2)
    assert connected_components(graph, directed=False)[0] == 1


def test_the_order_of_the_rows_does_not_matter():
    truth, neighbours, log_odds = blobs(noise=0.7, seed=3)
    order = np.random.default_rng(2).permutation(len(truth))
    place = np.argsort(order)
    shuffled = partition(place[neighbours[order]].astype(np.int32), log_odds[order], np.ones(len(truth), bool))
    assert same_partition(partition(neighbours, log_odds, np.ones(len(truth), bool)), shuffled[place])


def test_others_and_small_groups_are_in_no_cluster():
    truth, neighbours, log_odds = blobs()
    members = truth != 2
    found = partition(neighbours, log_odds, members)
    assert (found[truth == 2] == -1).all()
    assert set(found[members]) == {0, 1, 2, 3}
    assert (partition(neighbours, log_odds, members, min_points=41) == -1).all()


def test_nothing_and_missing_neighbours():
    assert len(partition(np.empty((0, 3), np.int32), np.empty((0, 3), np.float32), np.empty(0, bool))) == 0
    lonely = np.full((4, 3), -1, np.int32)
    assert (partition(lonely, np.ones((4, 3), np.float32), np.ones(4, bool)) == -1).all()
    with pytest.raises(InputError, match="fit together"):
        partition(lonely, np.ones((4, 2), np.float32), np.ones(4, bool))


# in the second, unions have so many new neighbours that the table of pairs must grow
@pytest.mark.parametrize(("n", "fraction", "mean"), [(24, 0.4, 0.0), (40, 0.12, 1.0)])
def test_average_linkage_equals_the_plain_algorithm(n, fraction, mean):
    rng = np.random.default_rng(9)
    i, j = np.triu_indices(n, 1)
    chosen = rng.random(len(i)) < fraction
    i, j = i[chosen], j[chosen]
    weight = rng.normal(size=len(i)).round(6) + mean
    neighbours, log_odds = np.full((n, n), -1, np.int32), np.zeros((n, n), np.float32)
    neighbours[i, j], log_odds[i, j] = j, weight
    found = partition(neighbours, log_odds, np.ones(n, bool), min_points=1)

    groups = {v: {v} for v in range(n)}
    while True:
        scored = []
        for a in groups:
            for b in groups:
                if a < b:
                    between = [
                        np.float64(np.float32(w))
                        for x, y, w in zip(i, j, weight, strict=True)
                        if (x in groups[a] and y in groups[b]) or (x in groups[b] and y in groups[a])
                    ]
                    if between and np.mean(between) > 0:
                        scored.append((np.mean(between), a, b))
        if not scored:
            break
        _, a, b = max(scored)
        groups[a] |= groups.pop(b)
    plain = np.empty(n, int)
    for name, group in groups.items():
        plain[list(group)] = name
    assert same_partition(plain, found)


def line(n=30):
    rng = np.random.default_rng(4)
    xy = np.concatenate([rng.normal(0, 5, (n, 2)), rng.uniform(-2000, 2000, (200, 2))])
    locs = Localizations({"x": xy[:, 0], "y": xy[:, 1]})
    clustered = np.arange(len(xy)) < n
    probability = np.zeros((len(xy), 3), np.float32)
    probability[:, 0] = np.where(clustered, 0.1, 0.9)
    probability[:, 2] = np.where(clustered, 0.9, 0.1)
    neighbours = rng.integers(0, n, (len(xy), 6)).astype(np.int32)
    log_odds = np.where(clustered[:, None], 3.0, -3.0) * np.ones((1, 6))
    return locs, probability, neighbours, log_odds.astype(np.float32), clustered


def test_labels_follow_from_clusters():
    locs, probability, neighbours, log_odds, clustered = line()
    found = from_affinities(locs, probability, neighbours, log_odds)
    assert (found["label"] == np.where(clustered, 2, 0)).all()
    assert (found["cluster"] == np.where(clustered, 0, -1)).all()
    assert np.allclose(found["p_label"], 0.9)
    assert len(found.meta.history) == 1


def test_clumps_that_chance_explains_are_no_clusters():
    rng = np.random.default_rng(5)
    xy = rng.uniform(0, 3000, (3000, 2))
    locs = Localizations({"x": xy[:, 0], "y": xy[:, 1]})
    from lucule.space import NeighbourGrid

    _, neighbours = NeighbourGrid(xy).neighbours(6)
    members = rng.random(3000) < 0.2
    probability = np.column_stack([np.where(members, 0.3, 0.7), np.where(members, 0.7, 0.3)]).astype(np.float32)
    log_odds = np.full((3000, 6), 1, np.float32)
    everything = from_affinities(locs, probability, neighbours, log_odds, false_discovery_rate=1)
    tested = from_affinities(locs, probability, neighbours, log_odds)
    assert everything["cluster"].max() > 20
    assert tested["cluster"].max() < 5


def test_bad_input():
    locs, probability, neighbours, log_odds, _ = line()
    with pytest.raises(InputError, match="do not fit"):
        from_affinities(locs, probability[:5], neighbours, log_odds)
    with pytest.raises(InputError, match="1 or more"):
        from_affinities(locs, probability, neighbours, log_odds, min_points=0)
