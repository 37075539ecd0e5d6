"""Writes of many partitions, which no scheduler has to hold in one graph."""

from __future__ import annotations

import dask
import pandas as pd
import pyarrow.parquet as pq
import pytest

import daskimg as di
from daskimg.io.commit import write
from daskimg.io.commit.target import Target
from daskimg.testing import make_images

ROWS, WINDOW = 23, 5


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(write, "WINDOW", WINDOW)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    make_images(folder, ROWS, size=(6, 8), formats=["png"])
    return str(folder)


@pytest.fixture
def frame(pictures):
    return di.read_images(pictures, files_per_partition=1)


@pytest.fixture
def graphs():
    """How many partitions each graph writes that a scheduler is given."""
    sizes: list[int] = []

    def get(query, keys, **options):
        graph = dict(query.__dask_graph__())
        last = [task for key, task in graph.items() if str(key[0]).startswith("gather-")]
        sizes.extend(len(task.dependencies) for task in last)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=get):
        yield sizes


def same_files(one: str, two: str) -> bool:
    names = Target(one).files()
    return names == Target(two).files() and all(
        Target(one).read(name) == Target(two).read(name) for name in names
    )


@pytest.mark.parametrize("writer", ["write_parquet", "write_images", "write_tfrecords"])
def test_no_graph_has_more_than_a_window(frame, graphs, monkeypatch, tmp_path, writer):
    result = getattr(frame.img, writer)(tmp_path / "out", errors=tmp_path / "errors")
    assert graphs == [5, 5, 5, 5, 3]
    assert (result.rows, result.written) == (ROWS, ROWS)
    monkeypatch.setattr(write, "WINDOW", 1000)
    graphs.clear()
    getattr(frame.img, writer)(tmp_path / "whole", errors=tmp_path / "others")
    assert graphs == [ROWS]
    assert same_files(str(tmp_path / "out"), str(tmp_path / "whole"))
    assert same_files(str(tmp_path / "errors"), str(tmp_path / "others"))


def test_resume_in_windows(frame, graphs, tmp_path):
    def stop(pixels):
        seen.append(1)
        if len(seen) > 12 and not going_on:
            raise RuntimeError("stop")
        return pixels

    seen, going_on = [], []
    changed = frame.assign(image=frame.image.img.apply(Counted(stop)))
    with pytest.raises(di.ImageError, match="stop"):
        changed.img.write_parquet(tmp_path / "out")
    assert graphs == [5, 5, 5]
    going_on.append(1)
    graphs.clear()
    seen.clear()
    assert changed.img.write_parquet(tmp_path / "out", mode="resume").rows == ROWS
    assert len(seen) == ROWS - 12
    assert graphs == [5, 5, 1]
    changed.img.write_parquet(tmp_path / "whole")
    assert same_files(str(tmp_path / "out"), str(tmp_path / "whole"))


class Counted:
    """A function with the same token always, whatever it has counted."""

    def __init__(self, function):
        self.function = function

    def __call__(self, pixels):
        return self.function(pixels)

    def __dask_tokenize__(self):
        return "counted"


def test_what_all_partitions_share_is_computed_once(frame, graphs, tmp_path):
    table = pd.DataFrame({"path": frame.path.compute(), "number": range(ROWS)})
    shuffled = frame.shuffle("path")
    graphs.clear()
    shuffled.img.write_parquet(tmp_path / "out")
    assert graphs == [ROWS]
    assert sorted(pq.read_table(tmp_path / "out")["path"].to_pylist()) == sorted(table.path)


def test_max_errors_counts_over_all_windows(pictures, tmp_path):
    def refuse(pixels):
        raise ValueError("no")

    with dask.config.set({"daskimg.max-errors": WINDOW + 2, "scheduler": "sync"}):
        frame = di.read_images(pictures, files_per_partition=1, on_error="null")
        frame = frame.assign(image=frame.image.img.apply(refuse))
        with pytest.raises(ValueError, match="max-errors"):
            frame.img.write_parquet(tmp_path / "out")
