"""Decoded partitions do not pile up in front of a stage."""

from __future__ import annotations

import time
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from daskimg.stage import run_stage
from daskimg.stage.feeders import feeders_of
from tests.patience import PATIENCE, crowd, until
from tests.stage import work

MIB = 2**20


class Heavy:
    """Makes a partition of so many bytes, and leaves a file until a stage took it."""

    def __init__(self, folder: Path, nbytes: int) -> None:
        self.folder, self.nbytes = str(folder), nbytes

    def __call__(self, i: int) -> pd.DataFrame:
        Path(self.folder, f"made-{i}").touch()
        values = np.full(self.nbytes // 8, i)
        return pd.DataFrame({"i": values, "by": work.here()})


class Takes:
    """A stage that notes how many partitions are there that it has not taken yet.

    It begins when there were so many once as `together` says.
    """

    def __init__(self, folder: Path, together: int) -> None:
        self.folder, self.together = str(folder), together

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        time.sleep(0.05)
        crowd(Path(self.folder), "made-*", "saw", self.together)
        Path(self.folder, f"made-{part['i'].iloc[0]}").unlink(missing_ok=True)
        return work.model(part.head(1))


def staged(folder, n, nbytes, together=1, **kwargs):
    frame = dd.from_map(Heavy(folder, nbytes), range(n), meta=work.LOADED)
    return run_stage(frame, Takes(folder, together), work.STAGED, label="takes", **kwargs)


@pytest.mark.long
@pytest.mark.parametrize("where", [{"resources": {"GPU": 1}}, {"concurrency": 1}])
def test_bounded_by_bytes(client, tmp_path, where):
    with dask.config.set({"daskimg.in-flight": "16MiB"}):
        frame = staged(tmp_path, 30, 4 * MIB, together=2, **where)
    assert sorted(frame.compute()["i"]) == list(range(30))
    assert 2 <= max(work.crowds(tmp_path)) <= 4  # 4 MiB and an index each


def test_a_partition_too_many_bytes(client, tmp_path):
    """One more than run at once flows, or nothing would."""
    with dask.config.set({"daskimg.in-flight": "1MiB"}):
        frame = staged(tmp_path, 10, 4 * MIB, resources={"GPU": 1})
    assert len(frame.compute()) == 10
    assert max(work.crowds(tmp_path)) <= 2


def test_a_fraction_of_the_memory(client, tmp_path):
    """Of 1 GiB each on one GPU worker and two others: a hundredth is 10.2 MiB."""
    with dask.config.set({"daskimg.in-flight": 0.01}):
        frame = staged(tmp_path, 20, 3 * MIB, resources={"GPU": 1})
    assert len(frame.compute()) == 20
    assert max(work.crowds(tmp_path)) <= 3


@pytest.mark.long
def test_light_partitions_are_not_held(client, tmp_path):
    with dask.config.set({"daskimg.in-flight": "1MiB"}):
        frame = staged(tmp_path, 20, 4 * MIB, together=5, resources={"GPU": 1}, heavy=False)
    assert len(frame.compute()) == 20
    assert max(work.crowds(tmp_path)) > 4


def test_a_stage_that_fails(client, tmp_path):
    def fails(part):
        raise ValueError("no such model")

    with dask.config.set({"daskimg.in-flight": "1MiB"}):
        frame = dd.from_map(Heavy(tmp_path, 2 * MIB), range(20), meta=work.LOADED)
        wrong = run_stage(frame, fails, work.STAGED, resources={"GPU": 1})
    with pytest.raises(ValueError, match="no such model"):
        wrong.compute()
    nothing_held(client)
    assert frame["i"].max().compute() == 19


def test_a_run_that_is_cancelled(client, tmp_path):
    with dask.config.set({"daskimg.in-flight": "8MiB"}):
        frame = staged(tmp_path, 40, 4 * MIB, resources={"GPU": 1})
    future = client.compute(frame)
    until(lambda: work.crowds(tmp_path), "it never began")
    future.cancel()
    del future
    nothing_held(client)
    assert staged(tmp_path, 3, MIB, resources={"GPU": 1}).compute()["i"].tolist() == [0, 1, 2]


def test_another_query_meanwhile(client, tmp_path):
    """It shares the partitions that wait for the stage, and ends all the same."""
    with dask.config.set({"daskimg.in-flight": "8MiB"}):
        source = dd.from_map(Heavy(tmp_path, 4 * MIB), range(12), meta=work.LOADED)
        slow = run_stage(source, Takes(tmp_path, 1), work.STAGED, resources={"GPU": 1})
        first, second = client.compute([slow, source["i"].max()])
    assert second.result(timeout=PATIENCE) == 11
    assert len(first.result(timeout=PATIENCE)) == 12


def nothing_held(client) -> None:
    def held(dask_scheduler):
        plugin = dask_scheduler.plugins["daskimg-stage"]
        return len(plugin._held) + len(plugin._entries)

    until(lambda: not client.run_on_scheduler(held), "tasks are held")


# -- which tasks feed one stage task alone --------------------------------------------------------
class Fake:
    """As much of a scheduler's task as `feeders_of` looks at."""

    def __init__(self, name, *dependencies):
        self.name, self.dependencies, self.priority = name, set(dependencies), name

    def __repr__(self):
        return self.name


def feeders(*tasks, stages):
    found = feeders_of(tasks, set(stages))
    return {str(stage): sorted(map(str, fed)) for stage, fed in found.items()}


def test_feeders_are_the_roots():
    read = Fake("read")
    decode = Fake("decode", read)
    stage = Fake("stage", decode)
    assert feeders(stage, decode, read, stages=[stage]) == {"stage": ["read"]}


def test_what_is_there_already_feeds_nothing():
    there = Fake("there")
    stage = Fake("stage", there)
    assert feeders(stage, stages=[stage]) == {}


def test_shared_inputs_are_let_alone():
    small, read_0, read_1 = Fake("small"), Fake("read_0"), Fake("read_1")
    join_0, join_1 = Fake("join_0", small, read_0), Fake("join_1", small, read_1)
    stages = [Fake("stage_0", join_0), Fake("stage_1", join_1)]
    found = feeders(*stages, join_0, join_1, small, read_0, read_1, stages=stages)
    assert found == {"stage_0": ["read_0"], "stage_1": ["read_1"]}


def test_a_shuffle_feeds_by_its_outputs():
    sources = [Fake("source_0"), Fake("source_1")]
    barrier = Fake("barrier", *sources)
    outputs = [Fake(f"output_{n}", barrier) for n in range(2)]
    stages = [Fake(f"stage_{n}", outputs[n]) for n in range(2)]
    found = feeders(*stages, *outputs, barrier, *sources, stages=stages)
    assert found == {"stage_0": ["output_0"], "stage_1": ["output_1"]}


def test_two_stages_in_a_row_are_one_way():
    read = Fake("read")
    first = Fake("a_first", read)
    then = Fake("b_then", Fake("between", first))
    (between,) = then.dependencies
    assert feeders(then, between, first, read, stages=[first, then]) == {"b_then": ["read"]}


def test_a_stage_on_both_sides_of_a_shuffle():
    reads = [Fake(f"read_{n}") for n in range(2)]
    firsts = [Fake(f"a_{n}", reads[n]) for n in range(2)]
    barrier = Fake("barrier", *firsts)
    outputs = [Fake(f"output_{n}", barrier) for n in range(2)]
    thens = [Fake(f"b_{n}", outputs[n]) for n in range(2)]
    found = feeders(*thens, *outputs, barrier, *firsts, *reads, stages=[*firsts, *thens])
    assert found == {"a_0": ["read_0"], "a_1": ["read_1"], "b_0": ["output_0"], "b_1": ["output_1"]}
