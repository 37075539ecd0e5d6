"""Partitions that a reader cuts larger, before a pass for which theirs are too small."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import daskimg as di
from daskimg.lazy.coarser import coarser

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    for n in range(43):
        Image.fromarray(np.full((4, 5), n, np.uint8)).save(root / f"{n:02d}.png")
    return root


def test_the_same_rows_in_fewer_partitions(folder):
    df = di.read_images(folder, files_per_partition=2)
    df = df.assign(mean=df.image.img.mean(), twice=df.image.img.width * 2)
    wide, several = coarser(df, 1, 16)
    assert (df.npartitions, several, wide.npartitions) == (22, 4, 6)
    assert wide.divisions == (0, 8, 16, 24, 32, 40, 42)
    assert [len(wide.partitions[n]) for n in range(6)] == [8, 8, 8, 8, 8, 3]
    assert len(wide) == 43
    pd.testing.assert_frame_equal(wide.compute(), df.compute())
    pd.testing.assert_frame_equal(wide.partitions[5].compute(), df.compute().iloc[40:])


@pytest.mark.parametrize("threads, most, several", [(1, 2, 2), (1, 3, 2), (2, 16, 4), (6, 16, 1)])
def test_how_many_are_one(folder, threads, most, several):
    df = di.read_images(folder, files_per_partition=1)
    assert coarser(df, threads, most)[1] == several


def test_what_is_large_enough_stays(folder):
    df = di.read_images(folder, files_per_partition=10)
    assert coarser(df, 1, 16) == (df, 1)


def test_large_files_stay_few(folder, monkeypatch):
    size = (folder / "00.png").stat().st_size
    monkeypatch.setattr("daskimg.lazy.coarser.HEAVIEST", size * 5 // 2)
    assert coarser(di.read_images(folder, files_per_partition=1), 1, 16)[1] == 2
    assert coarser(di.read_images(folder, files_per_partition=2), 1, 16)[1] == 1


def calls(part):
    return part


@pytest.mark.parametrize(
    "change",
    [
        lambda df: df[df.image.img.mean() > 3],
        lambda df: df.map_partitions(calls, meta=df._meta),
        lambda df: df.img.map_batches(calls, meta=df._meta),
        lambda df: df.clear_divisions(),
        lambda df: df.partitions[1:],
        lambda df: dd.concat([df, df]),
        lambda df: df.repartition(npartitions=11),
        lambda df: df.merge(pd.DataFrame({"path": ["a"]}), how="left"),
        lambda df: df.persist(),
    ],
)
def test_what_depends_on_its_partitions_keeps_them(folder, change):
    df = change(di.read_images(folder, files_per_partition=1))
    assert coarser(df, 1, 16)[1] == 1
