"""Partitions that a filter on a folder's name empties are left out before anything runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.lazy.prune import pruned
from daskimg.testing import make_images
from tests.amount import amount


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Six folders of four pictures, two partitions each."""
    root = tmp_path_factory.mktemp("shop")
    for label in range(6):
        make_images(root / f"label={label}" / f"kind={'ab'[label % 2]}", 4, size=(4, 5))
    return root


@pytest.fixture
def df(shop):
    return di.read_images(shop, partitioning="hive", files_per_partition=2)


def then(*steps):
    """Filters one after the other."""

    def query(df):
        for step in steps:
            df = df[step(df)]
        return df

    return query


def of_label(df):
    return df.label == 3


def bright(df):
    return df.image.img.mean() > 0


def resized(df):
    df = df[of_label(df)]
    return df.assign(image=df.image.img.resize(2, 2))


QUERIES = {
    "equal": (then(of_label), 2),
    "both": (then(lambda d: (d.label > 1) & (d.kind == "a")), 4),
    "one after the other": (then(lambda d: d.label > 1, lambda d: d.kind == "a"), 4),
    "either": (then(lambda d: (d.label == 0) | d.kind.isin(["b"])), 8),
    "of text": (then(lambda d: d.path.str.contains("label=5")), 2),
    "between": (then(lambda d: d.label.between(1, 2)), 4),
    "nothing": (then(lambda d: d.label == 77), 1),
    "arithmetic": (then(lambda d: (d.label * 2 + 1) == 7), 2),
    "with pixels": (then(lambda d: of_label(d) & bright(d)), 2),
    "or pixels": (then(lambda d: of_label(d) | bright(d)), 12),
    "pixels after": (then(of_label, bright), 2),
    "before the pixels": (then(bright, of_label), 2),
    "pixels of the rest": (resized, 2),
    "not row by row": (lambda d: then(of_label)(d.partitions[1:]), 11),
    "all": (lambda d: d.assign(big=d.label > 3), 12),
    "another function": (then(lambda d: d.label.map(lambda n: n == 3, meta=("n", bool))), 12),
    "of two": (lambda d: then(of_label)(d).assign(other=then(of_label)(d).kind), 2),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", QUERIES)
def test_the_same_rows_of_fewer_partitions(df, name):
    query, partitions = QUERIES[name]
    wanted = query(df)
    fewer = pruned(wanted)
    assert fewer.npartitions == partitions
    assert fewer.divisions[0] is None or list(fewer.divisions) == sorted(fewer.divisions)
    expected, got = wanted.compute(), fewer.compute()
    pd.testing.assert_frame_equal(
        got.drop(columns="image"), expected.drop(columns="image"), check_index_type=False
    )
    assert got.image.img.path.tolist() == expected.image.img.path.tolist()


def test_iterating_and_writing_run_only_those(df, tmp_path):
    metrics.reset()
    df = df.assign(image=df.image.img.decode("RGB").img.resize(3, 3))
    chosen = df[df.label == 4]
    assert [len(batch["label"]) for batch in chosen.img.iter_batches(batch_size=3)] == [3, 1]
    result = chosen.img.write_numpy(tmp_path / "out")
    assert (result.rows, metrics.snapshot()["decode"]) == (4, 8)
    assert [file.rpartition("/")[2] for file in result.files if file.endswith(".npy")] == [
        "part-00000.npy",
        "part-00001.npy",
    ]


def test_missing_folder_values(tmp_path):
    for name in ("n=1", "n=2", "n=__HIVE_DEFAULT_PARTITION__"):
        make_images(tmp_path / name, 2, size=(4, 5))
    df = di.read_images(tmp_path, partitioning="hive", files_per_partition=2)
    assert pruned(df[df.n > 1]).npartitions == 1
    assert pruned(df[df.n.isna()]).compute().n.isna().all()
    assert pruned(df[df.n.isna()]).npartitions == 1
    assert pruned(df[df.n.fillna(7) > 1]).npartitions == 2


def test_folders_of_parquet(df, tmp_path):
    df.img.write_parquet(tmp_path / "out", partition_cols=["kind", "label"])
    back = di.read_parquet(tmp_path / "out")
    chosen = back[back.label == 2]
    assert (back.npartitions, pruned(chosen).npartitions) == (12, 2)
    assert pruned(chosen).label.compute().tolist() == [2] * 4
    assert pruned(back[back.path == "no such"]).npartitions == 12  # a column of the files


@pytest.mark.sampled
def test_against_pandas_at_random(df):
    rng = np.random.default_rng(0)
    whole = df.compute()
    terms = [
        lambda d, n: d.label == n,
        lambda d, n: d.label < n,
        lambda d, n: d.kind == "ab"[n % 2],
        lambda d, n: d.path.str.endswith(f"{n % 4}.png"),
        lambda d, n: ~(d.label == n),
    ]
    for _ in range(amount("DASKIMG_FUZZ_PRUNE", 12, 40)):
        picks = [(terms[rng.integers(5)], int(rng.integers(6))) for _ in range(3)]

        def mask(d, picks=picks):
            a, b, c = (term(d, n) for term, n in picks)
            return (a & b) | c

        fewer = pruned(df[mask(df)])
        rows = whole[mask(whole)]
        assert fewer.path.compute().tolist() == rows.path.tolist()
        assert fewer.npartitions == max(1, len({row // 2 for row in rows.index}))
