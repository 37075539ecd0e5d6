"""The search in memory: every near pair, once; links that connect what pairs connect."""

from __future__ import annotations

import numpy as np
import pytest

from daskimg.curate.bands import TURNED, Hashes, bands_of, linked, near, pieces, ranges
from daskimg.curate.forest import components, forest
from tests.amount import amount
from tests.curate.hashes import all_pairs, clustered, groups_of, random

N = amount("DASKIMG_HASHES", 1500, 20_000)
SETS = {
    "random": random,
    "clustered": clustered,
    "few bits": lambda n: np.random.default_rng(0).integers(0, 2**14, n, dtype=np.uint64),
    "equal": lambda n: np.zeros(n // 4, np.uint64),
    "low and high": lambda n: random(n) & np.uint64(0xFF000000000000FF),
}


def found(items, **options):
    pairs = [np.column_stack(pair) for pair in near(items, **options)]
    pairs = np.concatenate(pairs) if pairs else np.empty((0, 2), int)
    return pairs[np.lexsort([pairs[:, 1], pairs[:, 0]])]


@pytest.mark.sampled(one_in=12)
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("bits", range(13))
def test_pairs_are_those_of_comparing_each_with_each(name, bits):
    hashes = SETS[name](N if name in ("random", "clustered") else 1500)
    items = Hashes(hashes, None, None, bits, 0)
    want = all_pairs(hashes, bits)
    np.testing.assert_array_equal(found(items), want)
    told, root = forest(linked(items))
    again, roots = forest([(want[:, 0], want[:, 1])])
    np.testing.assert_array_equal(told, again)
    np.testing.assert_array_equal(root, roots)


@pytest.mark.parametrize("bits", [0, 3, 6])
def test_a_second_hash_has_to_be_near_too(bits):
    hashes, confirm = clustered(1200), clustered(1200, 3, flips=14)
    confirm[::3] = confirm[0]
    items = Hashes(hashes, confirm, None, bits, 2 * bits)
    want = all_pairs(hashes, bits, confirm)
    np.testing.assert_array_equal(found(items), want)
    assert len(want) < len(all_pairs(hashes, bits)) or not bits


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows(n):
    items = Hashes(np.zeros(n, np.uint64), None, None, 0, 0)
    assert len(found(items)) == (n == 2)
    assert len(forest(linked(items))[0]) == (n == 2)


def test_what_agrees_in_an_earlier_band_is_left_to_it():
    hashes = clustered(1000)
    bands = bands_of(2**64 - 1, 5)
    items = Hashes(hashes, None, None, 4, 0)
    parts = [found(items, agreed=band, before=bands[:n]) for n, band in enumerate(bands)]
    parts = np.concatenate(parts)
    parts = parts[np.lexsort([parts[:, 1], parts[:, 0]])]
    np.testing.assert_array_equal(parts, all_pairs(hashes, 4))


def test_two_that_are_turned_are_no_pair():
    kind = np.array([0, TURNED, TURNED], np.uint8)
    items = Hashes(np.zeros(3, np.uint64), None, kind, 0, 0)
    assert found(items).tolist() == [[0, 1], [0, 2]]


def test_a_cube_of_neighbours_is_one_group_without_all_its_pairs():
    """A hundred thousand hashes, each a bit away from others: 160 million pairs within 4 bits."""
    hashes = np.arange(100_000, dtype=np.uint64)
    hashes ^= hashes >> np.uint64(1)
    alone = np.full(50, 2**63, np.uint64) ^ (np.arange(50, dtype=np.uint64) << np.uint64(40)) * 8191
    links = [*linked(Hashes(np.concatenate([hashes, alone]), None, None, 4, 0))]
    assert sum(len(left) for left, _ in links) < 3_000_000
    ids, roots = forest(links)
    assert (ids[ids < 100_000] == np.arange(1, 100_000)).all()
    assert (roots[ids < 100_000] == 0).all()


@pytest.mark.long
def test_clumps_between_hashes_that_are_alone():
    hashes = np.concatenate(
        [
            random(6000),
            np.arange(6000, dtype=np.uint64),
            np.arange(5000, dtype=np.uint64) << np.uint64(40),
        ]
    )
    items = Hashes(hashes, None, None, 2, 0)
    want = all_pairs(hashes, 2)
    ids, roots = forest(linked(items))
    again, others = forest([(want[:, 0], want[:, 1])])
    assert (ids == again).all()
    assert (roots == others).all()


def test_components_are_those_of_walking():
    rng = np.random.default_rng(0)
    for n in (1, 5, 300):
        pairs = rng.integers(0, n, (n, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        root = components(pairs[:, 0], pairs[:, 1], n)
        want = groups_of(n, pairs)
        same = {}
        for mine, theirs in zip(root.tolist(), want, strict=True):
            if theirs >= 0:
                assert same.setdefault(theirs, mine) == mine
        assert len(set(same.values())) == len(same)
    chain = np.arange(5000)
    assert (components(chain[:-1], chain[1:], 5000) == 0).all()
    assert (components(chain[1:][::-1], chain[:-1][::-1], 5000) == 0).all()


def test_ranges_and_pieces(monkeypatch):
    assert [x.tolist() for x in ranges(np.array([5, 9]), np.array([2, 3]))] == [
        [5, 6, 9, 10, 11],
        [0, 1, 0, 1, 2],
    ]
    monkeypatch.setattr("daskimg.curate.bands.CHUNK", 4)
    counts = np.array([0, 3, 0, 6, 1])
    parts = [np.column_stack(part) for part in pieces(counts)]
    assert max(map(len, parts)) <= 4
    want = [[n, k] for n, count in enumerate(counts.tolist()) for k in range(count)]
    assert np.concatenate(parts).tolist() == want
