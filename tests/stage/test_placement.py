"""A stage runs where its resource is, its neighbours elsewhere, however it is computed."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import daskimg as di
from daskimg.errors import PlacementError
from daskimg.stage import client as stage_client
from daskimg.stage import register, resources_of, run_stage
from daskimg.testing import make_images
from tests.patience import PATIENCE
from tests.stage import work


def on_gpu(frame, **kwargs):
    return run_stage(
        frame, work.model, work.STAGED, resources={"GPU": 1}, label="map_batches(model)", **kwargs
    )


def to_parquet(frame, client, tmp_path):
    frame.to_parquet(tmp_path / "out")
    return pd.read_parquet(tmp_path / "out")


def write_parquet(frame, client, tmp_path):
    frame.img.write_parquet(str(tmp_path / "ours"))
    return pd.read_parquet(tmp_path / "ours")


WAYS = {
    "compute": lambda f, c, t: f.compute(),
    "dask.compute": lambda f, c, t: dask.compute(f, f.i.sum())[0],
    "optimize": lambda f, c, t: f.optimize().compute(),
    "persist": lambda f, c, t: f.persist().compute(),
    "client.compute": lambda f, c, t: c.compute(f).result(),
    "client.persist": lambda f, c, t: c.persist(f).compute(),
    "to_delayed": lambda f, c, t: pd.concat(dask.compute(*f.to_delayed())),
    "partitions": lambda f, c, t: pd.concat([p.compute() for p in f.partitions]),
    "repartition": lambda f, c, t: f.repartition(npartitions=2).compute(),
    "to_parquet": to_parquet,
    "write_parquet": write_parquet,
}


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_computing(client, tmp_path, way):
    staged = on_gpu(work.frame(6)).assign(double=lambda f: f.i * 2)
    result = WAYS[way](staged, client, tmp_path)
    assert set(result["on"]) == {"gpu0"}
    assert set(result["by"]) <= {"cpu0", "cpu1"}
    assert sorted(result["double"]) == list(range(0, 24, 2))


@pytest.mark.long
def test_pictures_are_decoded_elsewhere(client, tmp_path):
    make_images(tmp_path, 24)
    frame = di.read_images(str(tmp_path), files_per_partition=3, size=(8, 8))
    frame = frame.assign(by=frame.image.img.apply(lambda pixels: work.here(), dtype="string"))
    meta = frame._meta.assign(on=pd.Series([], dtype="str"))
    result = run_stage(frame, work.model, meta, resources={"GPU": 1}).compute()
    assert set(result["on"]) == {"gpu0"}
    assert set(result["by"]) <= {"cpu0", "cpu1"}
    assert result["image"].img.to_numpy().shape == (24, 8, 8, 3)


def test_on_reductions(client):
    staged = on_gpu(work.frame(6))
    assert staged.groupby("on").i.sum().compute().to_dict() == {"gpu0": 66}
    assert staged.i.max().compute() == 11
    merged = staged.merge(staged[["i"]].rename(columns={"i": "j"}), left_on="i", right_on="j")
    assert set(merged.compute()["on"]) == {"gpu0"}


def test_below_and_above_a_shuffle(client):
    shuffled = work.frame(6).shuffle("i", npartitions=3)
    result = on_gpu(shuffled).shuffle("i").compute()
    assert set(result["on"]) == {"gpu0"}
    assert sorted(result["i"]) == list(range(12))


def test_one_after_the_other(client):
    def again(part):
        return part.assign(on=part["on"] + work.here())

    twice = run_stage(on_gpu(work.frame(6)), again, work.STAGED, resources={"GPU": 1})
    assert set(twice.compute()["on"]) == {"gpu0gpu0"}


def test_as_dask_array(client):
    assert on_gpu(work.frame(4))[["i"]].to_dask_array().compute().ravel().tolist() == list(range(8))


def test_fraction(client):
    half = run_stage(work.frame(4), work.model, work.STAGED, resources=resources_of(0.5))
    assert set(half.compute()["on"]) == {"gpu0"}


def test_its_column_joins_the_frame_it_came_from(client):
    frame = work.frame(4).clear_divisions()
    result = frame.assign(on=on_gpu(frame)["on"]).compute()
    assert set(result["on"]) == {"gpu0"}
    assert result["i"].tolist() == list(range(8))


def test_keys_tell_the_stage():
    with dask.config.set(scheduler="sync"):
        placed = run_stage(work.frame(2), work.model, work.STAGED, concurrency=1, label="map(f)")
        names = {key[0] for key in placed.optimize().__dask_graph__()}
    assert any(name.startswith("map-f-") for name in names)


def test_len_does_not_run_it():
    def never(part):
        raise AssertionError("ran")

    with dask.config.set(scheduler="sync"):
        assert len(run_stage(work.frame(3), never, work.STAGED, concurrency=1)) == 6


def test_partitions_run_no_others(client):
    part = on_gpu(work.frame(50)).partitions[7]
    assert len(part.optimize().__dask_graph__()) <= 4
    assert part.compute()["i"].tolist() == [14, 15]
    assert on_gpu(work.frame(50)).head(1)["i"].tolist() == [0]


def test_plain_stage_is_fused():
    plain = run_stage(work.frame(3), work.model, work.STAGED)
    assert len(plain.optimize().__dask_graph__()) == 3


def test_no_worker_offers_it(client):
    with dask.config.set({"daskimg.worker-timeout": "0.3s"}):
        staged = run_stage(work.frame(2), work.model, work.STAGED, resources={"GPU": 2}, label="m")
        with pytest.raises(PlacementError) as raised:
            staged.compute()
    text = str(raised.value)
    assert "m asks for GPU=2 on one worker" in text
    assert "after 0.3 s" in text
    assert "(cpu0): 1 threads, resources none" in text
    assert "(gpu0): 1 threads, resources GPU=1" in text
    assert "dask worker tcp://127.0.0.1" in text
    assert "num_gpus=0" in text


def test_no_worker_through_a_client_that_is_not_the_default(client):
    address = client.scheduler.address
    with dask.config.set({"daskimg.worker-timeout": "0.3s"}):
        staged = run_stage(work.frame(2), work.model, work.STAGED, resources={"TPU": 1}, label="m")
    with dask.config.set(scheduler="sync"), Client(address, set_as_default=False) as other:
        future = other.compute(staged)
        with pytest.raises(PlacementError, match="m asks for TPU=1 on one worker"):
            future.result(timeout=PATIENCE)


def test_without_a_client(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(stage_client, "other_clients", lambda active: [])
    # (nobody is waited for, or the test would never end)
    with dask.config.set({"scheduler": "threads", "daskimg.worker-timeout": "1d"}):
        with pytest.raises(PlacementError, match=r"asks for GPU=1, and there is no cluster: 0 GPU"):
            on_gpu(work.frame(2)).compute()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        assert set(on_gpu(work.frame(2)).compute()["on"]) == {"client"}


def test_unplaced_task_refuses(client):
    staged = on_gpu(work.frame(1))
    optimized = staged.optimize()
    graph, keys = dict(optimized.__dask_graph__()), optimized.__dask_keys__()

    def packed():
        return dask.get(graph, keys)

    with pytest.raises(PlacementError, match=r"register\(client\)"):
        client.submit(packed, pure=False).result()


def test_plugin_by_hand(client):
    client.unregister_scheduler_plugin("daskimg-stage")
    register(client)
    assert set(on_gpu(work.frame(2)).compute()["on"]) == {"gpu0"}


@pytest.mark.long
def test_frame_built_before_the_client():
    with dask.config.set(scheduler="sync"):
        staged = on_gpu(work.frame(4))
    with work.spec(cpus=1) as cluster, Client(cluster):
        result = staged.compute()
    assert set(result["on"]) == {"gpu0"}
    assert set(result["by"]) == {"cpu0"}


@pytest.mark.long
def test_worker_that_comes_late():
    with work.spec(cpus=1, gpus=0) as cluster, Client(cluster) as client:
        staged = on_gpu(work.frame(4))
        spare = {**cluster.worker_spec["cpu0"]["options"], "name": "late", "resources": {"GPU": 1}}
        with dask.config.set(scheduler="sync"), Client(cluster, set_as_default=False) as other:
            future = other.compute(staged)
            cluster.worker_spec["late"] = {**cluster.worker_spec["cpu0"], "options": spare}
            cluster._i += 1
            client.sync(cluster._correct_state)
            assert set(future.result(timeout=PATIENCE)["on"]) == {"late"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"resources": {"GPU": 0}}, "above 0; got 0"),
        ({"resources": {"GPU": "one"}}, "above 0; got 'one'"),
        ({"concurrency": 0}, "m: concurrency is a whole number, 1 or more.*got 0"),
        ({"concurrency": (3, 2)}, "or .min, max.; got .3, 2."),
    ],
)
def test_wrong_numbers(wrong, says):
    with pytest.raises(ValueError, match=says):
        run_stage(work.frame(1), work.model, work.STAGED, label="m", **wrong)


def test_unknown_modules_stay_closed(client, tmp_path):
    """The scheduler unpickles the graph, but not the user's code."""
    opened = tmp_path / "opened"

    class Opener:
        def __init__(self):
            self.path = str(opened)

        def __setstate__(self, state):
            self.__dict__ = state
            with open(self.path, "a") as file:
                file.write(f"{work.here()}\n")

        def __call__(self, part):
            return work.model(part)

        def __dask_tokenize__(self):
            return "opener"

    staged = run_stage(work.frame(3), Opener(), work.STAGED, resources={"GPU": 1})
    assert len(staged.compute()) == 6
    assert set(opened.read_text().split()) == {"gpu0"}


def test_other_queries_are_left_alone(client):
    """Tasks that a stage held back run as soon as another query wants them."""
    frame = work.frame(12)
    assert len(on_gpu(frame).compute()) == 24
    held = client.run_on_scheduler(
        lambda dask_scheduler: len(dask_scheduler.plugins["daskimg-stage"]._held)
    )
    assert held == 0
    assert isinstance(frame.compute(), pd.DataFrame)
    assert isinstance(frame, dd.DataFrame)


def test_a_cluster_that_adapts_starts_a_worker(tmp_path):
    """With no worker at all the tasks are handed in, or nobody would know of them."""
    options = {"processes": False, "dashboard_address": None, "resources": {"GPU": 1}}
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, **options) as cluster,
        Client(cluster) as client,
        dask.config.set({"daskimg.worker-timeout": "1h"}),
    ):
        cluster.adapt(minimum=0, maximum=1, interval="50ms")
        assert on_gpu(work.frame(3)).compute()["i"].tolist() == list(range(6))
        assert len(client.scheduler_info()["workers"]) <= 1


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ({"resources": {"GPU": 1}}, r"asks for GPU=1 on one worker, [^@]*num_gpus=0"),
        ({"resources": {"TPU": 2}}, r"asks for TPU=2 on one worker, [^@]*--resources TPU=2"),
        ({"concurrency": 1}, r"m waits for a worker, "),
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 5])
def test_no_worker_at_all(no_workers, partitions, asks, told):
    """Also where nothing is held back: what a stage waits for is queued then."""
    with dask.config.set({"daskimg.worker-timeout": "0.2s"}):
        staged = run_stage(work.frame(partitions), work.model, work.STAGED, label="m", **asks)
        with pytest.raises(PlacementError, match=told) as raised:
            no_workers.compute(staged).result(timeout=PATIENCE)
    text = str(raised.value)
    assert "after 0.2 s the cluster has no worker at all. Workers:\n  none\n" in text
    assert "dask worker inproc://" in text
    assert "daskimg.worker-timeout" in text


@pytest.fixture(scope="module")
def no_workers():
    options = {"processes": False, "dashboard_address": None}
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client
