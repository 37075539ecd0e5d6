"""Stages on a real GPU: what they get, where it lies, and what happens when its memory is full.

Run where there is one with `pytest -m gpu`; elsewhere `test_placement` has workers that only say
they have one.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

import daskimg as di
from daskimg.testing import make_images

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ROWS = 24


@pytest.fixture(scope="module")
def cluster():
    """Two CPU workers, and one for each GPU."""
    with di.start_cluster(2, 1, memory_limit="32GiB") as client:
        yield client


@pytest.fixture(scope="module")
def df(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    make_images(folder, ROWS, size=(16, 16))
    df = di.read_images(folder, files_per_partition=8)
    return df.assign(image=df.image.img.decode("RGB"))


@pytest.fixture(scope="module")
def pixels(df):
    return df.image.compute(scheduler="sync").img.to_numpy()


class Mean:
    """A model: it lives on the device where it is made."""

    def __init__(self) -> None:
        assert torch.cuda.is_available()
        self.scale = torch.ones(3, device="cuda")

    def __call__(self, batch):
        from distributed import get_worker

        image = batch["image"]
        assert image.is_cuda
        assert image.dtype == torch.uint8
        moved = image.flip(2)
        mean = (image.float() * self.scale).mean((1, 2, 3))
        n = len(image)
        return {"mean": mean, "moved": moved, "on": [get_worker().name] * n}


META = {"mean": "float32", "moved": di.ImageDtype("uint8", (16, 16, 3)), "on": "str"}


def test_a_model_on_the_gpu(cluster, df, pixels):
    options = {"columns": "image", "batch_size": 3, "batch_format": "torch", "num_gpus": 1}
    found = df.img.map_batches(Mean, meta=META, **options).compute()
    np.testing.assert_allclose(found["mean"], pixels.mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(found.moved.img.to_numpy(), pixels[:, :, ::-1])
    assert set(found.on) == {"gpu-0"}
    streamed = list(df.img.map_batches(Mean, meta=META, **options).img.iter_batches(10))
    assert sum(len(batch["mean"]) for batch in streamed) == ROWS
    together = np.concatenate([batch["mean"] for batch in streamed])
    np.testing.assert_allclose(together, pixels.mean((1, 2, 3)), rtol=1e-5)


def test_cupy_on_the_gpu(cluster, df, pixels):
    pytest.importorskip("cupy")

    def invert(batch):
        assert hasattr(batch["image"], "__cuda_array_interface__")
        return {"image": 255 - batch["image"], "mean": batch["image"].mean((1, 2, 3))}

    meta = {"image": di.ImageDtype("uint8", (16, 16, 3)), "mean": "float64"}
    found = df.img.map_batches(invert, meta=meta, batch_format="cupy", num_gpus=1).compute()
    np.testing.assert_array_equal(found.image.img.to_numpy(), 255 - pixels)
    np.testing.assert_allclose(found["mean"], pixels.mean((1, 2, 3)))


def test_a_full_gpu_halves_the_batch(cluster, df):
    def greedy(batch):
        n = len(batch["image"])
        room = torch.cuda.mem_get_info()[1]
        held = [torch.empty(int(room * 0.3), dtype=torch.uint8, device="cuda") for _ in range(n)]
        return {"n": [len(held)] * n}

    found = df.img.map_batches(
        greedy, meta={"n": "int64"}, batch_size=8, batch_format="torch", num_gpus=1
    )
    assert set(found["n"].compute()) == {2}  # eight do not fit, nor four

    def never(batch):
        torch.empty(torch.cuda.mem_get_info()[1] * 2, dtype=torch.uint8, device="cuda")

    lost = df.img.map_batches(never, meta={"n": "int64"}, batch_format="torch", num_gpus=1)
    with pytest.raises(di.BatchError, match="out of memory"):
        lost.compute()


def test_a_full_gpu_halves_the_batch_of_cupy(cluster, df):
    cupy = pytest.importorskip("cupy")

    def greedy(batch):
        n = len(batch["image"])
        room = cupy.cuda.runtime.memGetInfo()[1]
        held = [cupy.empty(int(room * 0.3), dtype="uint8") for _ in range(n)]
        return {"n": [len(held)] * n}

    found = df.img.map_batches(
        greedy, meta={"n": "int64"}, batch_size=8, batch_format="cupy", num_gpus=1
    )
    assert set(found["n"].compute()) == {2}


def test_what_the_gpu_worker_is(cluster):
    def seen():
        import os

        import torch

        pool = None
        if importlib.util.find_spec("rmm") is not None:
            import rmm

            pool = type(rmm.mr.get_current_device_resource()).__name__
        return os.environ["CUDA_VISIBLE_DEVICES"], torch.cuda.device_count(), pool

    names = {w["name"]: a for a, w in cluster.scheduler_info()["workers"].items()}
    assert set(names) == {"cpu-0", "cpu-1", *(f"gpu-{n}" for n in range(torch.cuda.device_count()))}
    devices, count, pool = cluster.run(seen, workers=[names["gpu-0"]])[names["gpu-0"]]
    assert devices.split(",")[0] == "0"
    assert count == torch.cuda.device_count()
    if importlib.util.find_spec("dask_cuda") and importlib.util.find_spec("rmm"):
        assert pool == "CudaAsyncMemoryResource"


def test_a_model_without_a_cluster(df, pixels):
    """In this process, with a thread pool: several threads share the GPU."""

    def mean(batch):
        return {"mean": batch["image"].float().mean((1, 2, 3))}

    found = df.img.map_batches(
        mean, meta={"mean": "float32"}, batch_format="torch", batch_size=3, num_gpus=1
    )
    found = found.compute(scheduler="threads")
    np.testing.assert_allclose(found["mean"], pixels.mean((1, 2, 3)), rtol=1e-5)
