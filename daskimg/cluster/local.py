"""Worker processes on the loopback interface."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from dask.system import CPU_COUNT
from dask.utils import parse_bytes
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from daskimg import config
from daskimg.clients import A_WORKER
from daskimg.errors import whole
from daskimg.stage.call import visible_gpus

__all__ = ["LocalClient", "start"]

HOST = "127.0.0.1"
DASHBOARD = 8787
GPU_THREADS = 4  # stages that ask for a fraction of a GPU run side by side


class LocalClient(Client):
    """A client that came with its cluster and closes it."""

    def close(self, *args: Any, **kwargs: Any) -> Any:
        cluster = self.cluster
        closed = super().close(*args, **kwargs)
        if cluster is not None:
            cluster.close()
        return closed


def start(
    n_workers: int | None,
    threads_per_worker: int | None,
    gpus: int | str,
    memory_limit: str | float | None,
    options: dict[str, Any],
) -> Client:
    """As `daskimg.start_cluster`."""
    for name, number in [("n_workers", n_workers), ("threads_per_worker", threads_per_worker)]:
        if number is not None:
            whole(name, number, also=", or None")
    devices = _devices(gpus)
    count = n_workers or max(1, CPU_COUNT // (threads_per_worker or A_WORKER))
    threads = threads_per_worker or max(1, CPU_COUNT // count)
    options = dict(options)
    security = options.pop("security", None)
    security = Security.temporary() if security is True else security or Security()
    protocol = "tls://" if security.require_encryption else "tcp://"
    common = {
        "host": HOST,
        "security": security,
        "protocol": protocol,
        "dashboard": False,
        "dashboard_address": f"{HOST}:0",
        "silence_logs": logging.WARNING,
        "memory_limit": _memory(memory_limit, count + len(devices)),
        **options,
    }
    workers = {
        f"cpu-{n}": {"cls": Nanny, "options": {"nthreads": threads, "name": f"cpu-{n}", **common}}
        for n in range(count)
    }
    for n, device in enumerate(devices):
        mine = {
            "name": f"gpu-{n}",
            "nthreads": GPU_THREADS,
            "resources": {config.get("gpu-resource"): 1},
            **_gpu_options(device),
            **common,
        }
        seen = {"CUDA_VISIBLE_DEVICES": ",".join(devices[n:] + devices[:n])}
        mine["env"] = {**options.get("env", {}), **seen}
        workers[f"gpu-{n}"] = {"cls": Nanny, "options": mine}
    scheduler = {
        "host": HOST,
        "port": 0,
        "security": security,
        "protocol": protocol,
        "dashboard_address": f"{HOST}:{_dashboard_port()}",
    }
    cluster = SpecCluster(
        workers=workers,
        scheduler={"cls": Scheduler, "options": scheduler},
        security=security,
        name="daskimg",
        silence_logs=common["silence_logs"],
    )
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        client = LocalClient(cluster)
        stack.pop_all()
    return client


def _devices(gpus: int | str) -> list[str]:
    visible = visible_gpus()
    if gpus == "auto":
        return visible
    if not isinstance(gpus, int) or gpus < 0:
        raise ValueError(f'gpus is a number, 0 for none, or "auto"; got {gpus!r}')
    if gpus > len(visible):
        raise ValueError(
            f"gpus={gpus}, but {len(visible)} are visible here; CUDA_VISIBLE_DEVICES is "
            f"{os.environ.get('CUDA_VISIBLE_DEVICES')!r}. Ask for fewer, or gpus=0"
        )
    return visible[:gpus]


def _memory(limit: str | float | None, workers: int) -> float:
    if limit == "auto":
        return MEMORY_LIMIT // workers
    if isinstance(limit, float) and limit <= 1:
        return limit * MEMORY_LIMIT
    return parse_bytes(limit) if limit else 0


def _dashboard_port() -> int:
    """The usual port, or 0 (any that is free) where it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind((HOST, DASHBOARD))
        except OSError:
            return 0
    return DASHBOARD


def _gpu_options(device: str) -> dict[str, Any]:
    """What dask-cuda does for its workers, where it is installed."""
    if importlib.util.find_spec("dask_cuda") is None:
        return {}
    from dask_cuda.plugins import CPUAffinity, RMMSetup
    from dask_cuda.utils import get_cpu_affinity

    plugins: list[Any] = [CPUAffinity(get_cpu_affinity(_number(device)))]
    if importlib.util.find_spec("rmm") is not None:
        pool: dict[str, Any] = dict.fromkeys(_RMM)
        # the driver's own pool: it gives memory back, so that other libraries are not starved
        pool.update(managed_memory=False, async_alloc=True, track_allocations=False)
        plugins.append(RMMSetup(**pool))
    argv: Sequence[str] = ["--create-cuda-context"]
    return {"preload": ["dask_cuda.initialize"], "preload_argv": argv, "plugins": plugins}


_RMM = (
    "initial_pool_size",
    "maximum_pool_size",
    "managed_memory",
    "async_alloc",
    "release_threshold",
    "log_directory",
    "track_allocations",
    "external_lib_list",
)


def _number(device: str) -> int | str:
    return int(device) if device.isdigit() else device
