"""Models stay loaded: how many there are, who may call them, when they go."""

from __future__ import annotations

import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import dask
import pandas as pd
import pytest
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster

import daskimg as di
from daskimg.batch import models
from daskimg.testing import make_images
from tests.batch.stateful import Counted, Killer, Own, Shared, constructions, most_at_once
from tests.batch.test_results import survive
from tests.patience import until

META = {"n": "int64", "name": "string"}


@pytest.fixture(autouse=True)
def none_loaded():
    models.release()
    yield
    models.release()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of forty pictures."""
    folder = tmp_path_factory.mktemp("many")
    make_images(folder, 40, size=(6, 6), formats=["jpeg"])
    return str(folder)


@pytest.fixture
def frame(many):
    """Twenty partitions."""
    return di.read_images(many, files_per_partition=2)


@pytest.fixture(scope="module")
def cluster():
    """Two processes of four threads."""
    with LocalCluster(
        n_workers=2, threads_per_worker=4, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """A client, the default scheduler while the test runs."""
    with Client(cluster) as client:
        yield client


def run(frame, cls, folder, seconds=0.05, meta=META, together=1, **kwargs):
    """`cls` on every path; the first calls last until so many of them run at once."""
    given = [str(folder), seconds, together]
    return frame.img.map_batches(
        cls, columns="path", fn_constructor_args=given, meta=meta, **kwargs
    )


@pytest.mark.long
def test_two_processes_of_four_threads_make_two_instances(client, frame, tmp_path):
    found = run(frame, Counted, tmp_path, together=2).compute()
    assert found.name.str[-9:].tolist() == [f"{i:05d}.jpg" for i in range(40)]
    # another run finds them, and so did meta
    run(frame, Counted, tmp_path, meta=None, together=2).compute()
    assert len(constructions(tmp_path)) == 2
    assert len(set(constructions(tmp_path))) == 2
    assert most_at_once(tmp_path) == 2


def test_a_shared_instance_is_called_by_all_threads(client, frame, tmp_path):
    run(frame, Shared, tmp_path, together=5).compute()
    assert len(constructions(tmp_path)) == 2
    assert most_at_once(tmp_path) >= 5  # of both processes, then


def test_an_instance_a_thread(client, frame, tmp_path):
    run(frame, Own, tmp_path, together=5).compute()
    made = constructions(tmp_path)
    assert 5 <= len(made) <= 8
    assert len(set(made)) == 2


def test_concurrency_counts_the_cluster(client, frame, tmp_path):
    run(frame, Counted, tmp_path, together=3, concurrency=3).compute()
    assert most_at_once(tmp_path) == 3


def test_a_class_never_runs_in_the_client_of_a_cluster(client, frame, tmp_path):
    run(frame, Counted, tmp_path, meta=None)
    assert len(constructions(tmp_path)) == 1
    assert models.loaded() == {}


@pytest.mark.long
def test_a_killed_worker_changes_nothing(many, tmp_path):
    frame = di.read_images(many, files_per_partition=2)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    wanted = run(frame, Counted, calm, seconds=0).compute(scheduler="threads")
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=4, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        found = run(frame, Killer, killed).compute()
    assert (killed / "killed").exists()
    pd.testing.assert_frame_equal(found, wanted)
    made = constructions(killed)  # by both, and the one that came instead if there was work left
    assert 2 <= len(made) == len(set(made)) <= 3


@pytest.mark.long
def test_a_gpu_stage_runs_where_the_gpus_are(frame, tmp_path):
    here = {"host": "127.0.0.1", "dashboard": False}
    scheduler = {"cls": Scheduler, "options": here}
    workers = {
        "cpu": {"cls": Nanny, "options": {**here, "nthreads": 2}},
        "gpu": {"cls": Nanny, "options": {**here, "nthreads": 4, "resources": {"GPU": 1}}},
    }
    with SpecCluster(workers=workers, scheduler=scheduler) as cluster, Client(cluster) as client:
        pids = client.run(os.getpid)
        infos = client.scheduler_info(n_workers=-1)["workers"]
        gpu = [str(pids[a]) for a, info in infos.items() if info["resources"]]
        run(frame, Counted, tmp_path, meta=None, num_gpus=1).compute()
        assert constructions(tmp_path) == gpu
        assert most_at_once(tmp_path) == 1
        half = tmp_path / "half"
        half.mkdir()
        run(frame, Counted, half, together=2, num_gpus=0.5).persist().compute()
        assert constructions(half) == gpu * 2
        assert most_at_once(half) == 2


@pytest.mark.long
def test_results_survive_p2p(client, folder):
    survive(di.read_images(folder, files_per_partition=3), "p2p")


@pytest.mark.long
def test_local_classes_travel(client, frame):
    class Add:
        def __init__(self, k, *, to):
            self.k, self.to = k, to

        def __call__(self, batch, times, plus=0):
            return {"n": [self.k * times + self.to + plus] * len(batch["path"])}

    found = frame.img.map_batches(
        Add,
        columns="path",
        fn_constructor_args=[2],
        fn_constructor_kwargs={"to": 5},
        fn_args=[10],
        fn_kwargs={"plus": 100},
    )
    assert found.n.compute().tolist() == [125] * 40


# -- threads --------------------------------------------------------------------------------------
def test_one_instance_for_all_threads(frame, tmp_path):
    with dask.config.set(scheduler="threads", num_workers=4):
        run(frame, Counted, tmp_path).compute()
    assert len(constructions(tmp_path)) == 1
    assert most_at_once(tmp_path) == 1


def test_pandas_finds_the_same_instance(frame, tmp_path):
    lazy = run(frame, Counted, tmp_path).compute()
    pd.testing.assert_frame_equal(run(frame.compute(), Counted, tmp_path), lazy)
    assert len(constructions(tmp_path)) == 1


def test_concurrency_on_threads(frame, tmp_path):
    with dask.config.set(scheduler="threads", num_workers=6):
        run(frame, Counted, tmp_path, together=3, concurrency=(1, 3)).compute()
    assert most_at_once(tmp_path) == 3
    assert len(constructions(tmp_path)) == 3


def test_num_cpus_leaves_threads_to_the_batch(frame, tmp_path):
    threads = models._threads()
    with dask.config.set(scheduler="threads", num_workers=6):
        run(frame, Shared, tmp_path, seconds=0.05, num_cpus=max(2, threads)).compute()
    assert most_at_once(tmp_path) == 1


def test_a_fraction_of_a_gpu_is_several_instances():
    from daskimg.batch.maps import _instances

    assert [_instances(None, gpus) for gpus in (0, 0.25, 0.5, 1, 2)] == [1, 4, 2, 1, 1]
    assert _instances(3, 0.25) == 3


def test_an_idle_model_is_freed(frame, tmp_path):
    models.release()  # those of other tests
    with dask.config.set({"daskimg.model-idle": "100ms"}):
        spec = models.spec_of(Counted, (str(tmp_path),), {}, 1)
    with models.borrow(spec) as instance:
        held = weakref.ref(instance)
        time.sleep(0.4)
        assert models.loaded() == {"Counted": 1}  # not while it is at work
    del instance
    until(lambda: models.loaded() == {}, "it is still loaded")
    until(lambda: held() is None, "somebody holds it")
    with models.borrow(spec):
        assert len(constructions(tmp_path)) == 2


def test_other_arguments_are_another_model(tmp_path):
    a, b = (models.spec_of(Counted, (str(tmp_path), s), {}, 1) for s in (0.0, 1.0))
    with models.borrow(a) as one, models.borrow(b) as other:
        assert one is not other


class Picky:
    made = 0

    def __init__(self):
        Picky.made += 1
        if Picky.made == 1:
            raise OSError("weights are gone")

    def __call__(self, batch):
        return {"n": [1] * len(batch["path"])}


@pytest.mark.parametrize("on_error", ["raise", "null"])
def test_a_class_that_fails_to_load_is_named_and_tried_again(frame, on_error):
    Picky.made = 0
    found = frame.img.map_batches(Picky, columns="path", meta={"n": int}, on_error=on_error)
    with pytest.raises(RuntimeError, match="Picky could not be constructed: OSError: weights are"):
        found.compute(scheduler="sync")
    assert found.n.compute().tolist() == [1] * 40


def test_threads_that_wait_for_a_failed_construction_go_on():
    Picky.made = 0
    spec = models.spec_of(Picky, (), {}, 1)
    start = threading.Barrier(4)

    def call():
        start.wait()
        try:
            with models.borrow(spec) as model:
                return type(model).__name__
        except RuntimeError:
            return "failed"

    with ThreadPoolExecutor(4) as pool:
        told = sorted(future.result(30) for future in [pool.submit(call) for _ in range(4)])
    assert told == ["Picky", "Picky", "Picky", "failed"]
    assert Picky.made == 2


def test_a_class_that_does_not_pickle_or_call_is_named(frame):
    with pytest.raises(TypeError, match=r"Counted and its arguments .* do not pickle"):
        frame.img.map_batches(Counted, fn_constructor_args=[threading.Lock()])
    with pytest.raises(TypeError, match="Path has no __call__"):
        frame.img.map_batches(type("Path", (), {}))
