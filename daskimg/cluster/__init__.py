"""Clusters: one on this machine, and whether a given one is fit to run pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from daskimg.cluster.check import ClusterCheck, check_cluster

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ClusterCheck", "check_cluster", "start_cluster"]


def start_cluster(
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    gpus: int | Literal["auto"] = "auto",
    memory_limit: str | float | None = "auto",
    **kw: Any,
) -> Client:
    """A cluster of processes on this machine, reachable from this machine alone.

    CPU workers, and beside them a worker for each GPU that offers one ``GPU`` to ``num_gpus=``
    stages. With dask-cuda installed GPU workers keep to the cores next to their GPU and create
    their CUDA context at the start; with RMM too they share memory from its asynchronous pool.

    Parameters
    ----------
    n_workers : int, optional
        CPU worker processes; one for every four cores by default.
    threads_per_worker : int, optional
        Threads of each; by default all cores are taken.
    gpus : int or "auto"
        GPU workers; "auto": one for each that is visible (``CUDA_VISIBLE_DEVICES``).
    memory_limit : str, float or None
        Of each worker; "auto": an even share of the machine's; None or 0: no limit.
    **kw
        Options of every worker (`distributed.Nanny`), e.g. ``local_directory="/scratch"``.
        ``security=`` (a `distributed.Security`, or True for certificates that last as long as the
        cluster) encrypts what all processes tell one another.

    Returns
    -------
    distributed.Client
        From here on frames are computed on the cluster. Closing it, or leaving it as a context
        manager, ends the workers.

    Raises
    ------
    ValueError
        When a number is below what makes sense, or more GPUs are asked for than are visible.

    Examples
    --------
    >>> with di.start_cluster(n_workers=2, gpus=0) as client:  # doctest: +SKIP
    ...     frame.img.write_parquet("out")
    """
    from daskimg.cluster.local import start

    return start(n_workers, threads_per_worker, gpus, memory_limit, kw)
