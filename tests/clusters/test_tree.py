import numpy as np
import pytest
from jaxtyping import Float32, Int64

from surgrec.clusters import cluster_tree, gini, purity
from surgrec.clusters._kmeans import Clusters, centroids_of
from surgrec.clusters._tree import nearest_of_each
from surgrec.errors import ConfigError
from surgrec.stream.cluster_policy import ClusterPolicy

SIZES = (3000, 900, 300, 90, 30, 21, 15, 9, 6, 3)
"""Vectors of ten planted clusters, 1,000 to 1."""


def planted(seed: int) -> tuple[Float32[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
    """Return noisy vectors around ten directions, and the direction of each."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    directions = random.normal(size=(len(SIZES), 32))
    vectors = directions[labels] + 0.4 * random.normal(size=(len(labels), 32))
    return vectors.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(3))
def test_balanced_draws_keep_rare_kinds_and_cap_frequent_ones(seed: int) -> None:
    vectors, kinds = planted(seed)
    tree = cluster_tree(vectors, [200, 40, 10], seed=0)
    policy = ClusterPolicy(policy="balance", share=0.1)
    copies = policy.copies(tree.levels, np.zeros_like(kinds), source="planted")

    # A tenth of the vectors: natural draws have a tenth of each kind.
    drawn = np.bincount(kinds, copies) / SIZES
    assert copies.sum() == round(0.1 * len(vectors))
    assert drawn[0] < 0.05
    assert np.bincount(kinds, copies)[5:].sum() > 0.95 * sum(SIZES[5:])


@pytest.mark.parametrize("seed", range(3))
def test_resampling_leaves_fewer_clusters_to_the_most_frequent_kind(seed: int) -> None:
    vectors, kinds = planted(seed)
    clusters = {
        rounds: cluster_tree(vectors, [200, 40, 10], rounds=rounds, seed=0).levels[1]
        for rounds in (0, 10)
    }
    numbers = {rounds: len(set(found[kinds == 0].tolist())) for rounds, found in clusters.items()}
    assert numbers[10] < numbers[0]


def test_the_same_vectors_and_seed_give_the_same_clusters() -> None:
    vectors, _ = planted(seed=2)
    one, other = (cluster_tree(vectors, [40, 8], seed=3) for _ in range(2))
    for left, right in zip(one.levels, other.levels, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.distance, other.distance)


def test_each_fine_cluster_lies_in_one_coarser_cluster() -> None:
    vectors, _ = planted(seed=3)
    tree = cluster_tree(vectors, [60, 12, 4], seed=0)
    for fine, coarse in zip(tree.levels, tree.levels[1:], strict=False):
        pairs = set(zip(fine.tolist(), coarse.tolist(), strict=True))
        assert len(pairs) == len(set(fine.tolist()))


def test_the_length_of_a_vector_does_not_matter() -> None:
    vectors, _ = planted(seed=4)
    lengths = np.random.default_rng(0).uniform(0.1, 9, (len(vectors), 1)).astype(np.float32)
    one, other = cluster_tree(vectors, [20], seed=0), cluster_tree(vectors * lengths, [20], seed=0)
    assert (one.levels[0] == other.levels[0]).mean() > 0.999


def test_clusters_in_place_are_those_of_a_copy() -> None:
    vectors, _ = planted(seed=5)
    whole = np.concatenate([vectors] * 5)  # more than a block
    own, before = whole.copy(), whole.copy()
    copied, in_place = (
        cluster_tree(each, [20, 5], seed=0, in_place=each is own) for each in (whole, own)
    )
    np.testing.assert_array_equal(whole, before)
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1, atol=1e-6)
    for left, right in zip(copied.levels, in_place.levels, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(copied.distance, in_place.distance)


def slow_tree(
    vectors: Float32[np.ndarray, "n d"], sizes: list[int], rounds: int, seed: int
) -> list[list[int]]:
    """Return the cluster of each vector by level, with loops. Only k-means itself is shared."""
    points = [vector / np.sqrt(sum(float(x) ** 2 for x in vector)) for vector in vectors]
    belongs_to, found = list(range(len(points))), []
    for size in sizes:
        per_cluster = max(1, len(points) // (2 * size))
        pool = points
        for number in range(1 + (min(1, rounds) if not found else rounds)):
            if len(pool) < size:
                break
            centroids = centroids_of(np.array(pool, dtype=np.float32), size, seed=seed + number)
            cosines = [[float(point @ centroid) for centroid in centroids] for point in points]
            nearest = [row.index(max(row)) for row in cosines]
            members = [[p for p, own in enumerate(nearest) if own == c] for c in range(size)]
            best = [
                sorted(own, key=lambda p, c=c: -cosines[p][c])[:per_cluster]
                for c, own in enumerate(members)
            ]
            for c, own in enumerate(best):
                others = [cosines[p][c] for p in members[c] if p not in own]
                assert all(cosines[own[-1]][c] - x > 1e-5 for x in others), "a tie; other vectors"
            pool = [points[p] for p in sorted(p for own in best for p in own)]
        belongs_to = [nearest[below] for below in belongs_to]
        found.append(belongs_to)
        points = list(centroids)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_a_tree_equals_that_of_a_slow_program(rounds: int, seed: int) -> None:
    vectors = planted(seed)[0][:48]
    sizes = [12, 3, 1]
    tree = cluster_tree(vectors, sizes, rounds=rounds, seed=seed)
    assert [level.tolist() for level in tree.levels] == slow_tree(vectors, sizes, rounds, seed)


def test_a_pool_has_the_nearest_vectors_of_each_cluster() -> None:
    clusters = Clusters(
        centroids=np.eye(3, dtype=np.float32),
        labels=np.array([0, 0, 0, 1, 0, 2]),
        distance=np.array([0.3, 0.1, 0.2, 0.9, 0.4, 0.5], dtype=np.float32),
    )
    assert nearest_of_each(clusters, 2).tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([10, 10], "the levels have 10, 10 clusters of 4374 clips; give each level fewer"),
        ([5000], "the levels have 5000 clusters of 4374 clips"),
        ([10, 0], "the levels have 10, 0 clusters"),
    ],
)
def test_levels_that_do_not_fall_are_refused(sizes: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_tree(planted(seed=0)[0], sizes)


def test_a_vector_without_direction_is_refused() -> None:
    vectors, _ = planted(seed=0)
    vectors[7] = 0
    with pytest.raises(ConfigError, match="1 clips have a feature of length 0"):
        cluster_tree(vectors, [10])


def test_the_gini_coefficient_equals_values_worked_out_by_hand() -> None:
    assert gini(np.array([5, 5, 5, 5])) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    # Mean absolute difference of 1, 2, 3 is 8/9; divided by twice the mean, 4, it is 2/9.
    assert gini(np.array([1, 2, 3])) == pytest.approx(2 / 9)
    assert gini(np.array([0, 0])) == 0


def test_purity_is_the_share_of_the_most_frequent_value() -> None:
    assert purity(np.array([0, 0, 0, 1, 1]), ["a", "a", "b", "c", "c"]) == pytest.approx(0.8)
