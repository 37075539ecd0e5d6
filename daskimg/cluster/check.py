"""Do the processes of a cluster agree, and what do they offer?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["ClusterCheck", "check_cluster"]

PACKAGES = ("daskimg", "dask", "distributed", "pandas", "pyarrow", "numpy", "pillow")
CLIENTS = ("obstore", "s3fs")  # of S3; the first that is there serves, where it can


@dataclass(frozen=True, repr=False)
class ClusterCheck:
    """What `check_cluster` found.

    Attributes
    ----------
    versions : pandas.DataFrame
        A row for each process (client, scheduler, workers), a column for each package; None where
        it is not installed.
    workers : pandas.DataFrame
        A row for each worker: name, threads, memory limit in bytes, resources.
    plugin : bool
        Whether the scheduler knows how to place stages. It is told so by the first computation
        that needs it.
    problems : list of str
        What will not work, each with what to do; empty when all is well.
    transport : pandas.Series
        For each process, what asks buckets of S3 for files: ``"obstore"`` (which leaves options
        that it does not know to s3fs), ``"s3fs"``, or None where neither is installed.
    """

    versions: pd.DataFrame
    workers: pd.DataFrame
    plugin: bool
    problems: list[str]
    transport: pd.Series

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def __repr__(self) -> str:
        lines = [f"{len(self.workers)} workers"]
        for address, worker in self.workers.iterrows():
            offered = ", ".join(f"{k}={v:g}" for k, v in worker["resources"].items())
            lines.append(
                f"  {worker['name']} ({address}): {worker['threads']} threads, "
                f"{worker['memory'] / 2**30:.1f} GiB, resources {offered or 'none'}"
            )
        told = "registered" if self.plugin else "not registered (the first stage will do it)"
        lines.append(f"placement plugin {told}")
        readers = self.transport.fillna("nothing")
        by = ", ".join(f"{process} {reader}" for process, reader in readers.items())
        lines.append(f"S3 is read by {readers.iloc[0] if readers.nunique() == 1 else by}")
        lines.append("versions")
        for package in self.versions.columns:
            found = self.versions[package].fillna("none")
            if found.nunique() == 1:
                lines.append(f"  {package} {found.iloc[0]}")
            else:
                each = ", ".join(f"{process} {version}" for process, version in found.items())
                lines.append(f"  {package} DIFFERS: {each}")
        lines += [f"problem: {problem}" for problem in self.problems] or ["no problems"]
        return "\n".join(lines)


def check_cluster(client: Any = None) -> ClusterCheck:
    """Compare the versions of a cluster's processes, and list what its workers offer.

    Parameters
    ----------
    client : distributed.Client, optional
        The active one by default.

    Returns
    -------
    ClusterCheck
        Print it; ``.ok`` and ``.problems`` are for programs.

    Raises
    ------
    RuntimeError
        When there is no client.
    """
    if client is None:
        from distributed import Client

        try:
            client = Client.current()
        except ValueError:
            raise RuntimeError(
                "no cluster to check: start one with di.start_cluster(), or connect a "
                "distributed.Client to one"
            ) from None
    look = _looker()
    info = client.scheduler_info(n_workers=-1)["workers"]
    found = {"client": look(), "scheduler": client.run_on_scheduler(look)}
    found |= client.run(look)
    known = client.run_on_scheduler(_plugin_looker())
    names = [*PACKAGES, *CLIENTS]
    table = pd.DataFrame.from_dict(found, orient="index", columns=names, dtype=object)
    versions, clients = table[list(PACKAGES)], table[list(CLIENTS)].notna()
    transport = clients.idxmax(axis=1).astype(object).where(clients.any(axis=1), None)
    columns = ["name", "threads", "memory", "resources"]
    rows = {
        address: [w["name"], w["nthreads"], w["memory_limit"] or 0, dict(w["resources"] or {})]
        for address, w in info.items()
    }
    workers = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    problems = [*_problems(versions, workers), *_readers(transport)]
    return ClusterCheck(versions, workers, known, problems, transport)


def _problems(versions: pd.DataFrame, workers: pd.DataFrame) -> list[str]:
    problems = [] if len(workers) else ["there are no workers: start some, or wait for them"]
    for package in PACKAGES:
        theirs = versions[package]
        missing = [str(process) for process in theirs.index[theirs.isna()]]
        if missing:
            problems.append(f"{package} is missing on {', '.join(missing)}: install it there")
        here = theirs["client"]
        other = theirs[theirs.notna() & (theirs != here)]
        if here is not None and len(other):
            each = ", ".join(f"{process} has {version}" for process, version in other.items())
            problems.append(f"{package} is {here} here, {each}: install the same everywhere")
    return problems


def _readers(transport: pd.Series) -> list[str]:
    readers = transport.drop("scheduler")  # which reads no files
    if readers.nunique(dropna=False) == 1:
        return []
    each = ", ".join(f"{process} {by or 'nothing'}" for process, by in readers.items())
    return [f"S3 is read by {each}: install the same (extra cloud) everywhere"]


def _looker() -> Callable[[], list[str | None]]:
    """Versions where it runs; pickled by value, so that daskimg need not be there."""
    packages = (*PACKAGES, *CLIENTS)

    def look() -> list[str | None]:
        import importlib.metadata

        def version(package: str) -> str | None:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return None

        return [version(package) for package in packages]

    return look


def _plugin_looker() -> Callable[..., bool]:
    from daskimg.stage.plugin import StagePlugin

    name = StagePlugin.name

    def look(dask_scheduler: Any) -> bool:
        return name in dask_scheduler.plugins

    return look
