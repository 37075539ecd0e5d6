"""What the examples share: their options, and where they run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dask
import dask.dataframe as dd
from dask.diagnostics import ProgressBar

import daskimg as di

#: What an example does with its options; it returns the files or folders that it wrote.
Run = Callable[[argparse.Namespace], Sequence[Path]]


def parser(doc: str | None, output: str) -> argparse.ArgumentParser:
    """A parser with the options that all examples have."""
    made = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    made.add_argument(
        "--output", type=Path, default=Path(output), help=f"folder of the results ({output})"
    )
    made.add_argument(
        "--cluster", action="store_true", help="run on a cluster of processes on this machine"
    )
    return made


def start(run: Run, options: argparse.Namespace) -> int:
    """Run an example, tell what it wrote; 0 if all went well, else 2."""
    began = time.perf_counter()
    try:
        with workers(options.cluster):
            written = run(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{time.perf_counter() - began:.1f} s; wrote")
    for path in written:
        print(f"  {path}")
    return 0


@contextmanager
def workers(cluster: bool) -> Iterator[None]:
    """Threads of this process, with a bar for each computation; or a cluster of processes."""
    if not cluster:
        with ProgressBar(minimum=1):
            yield
        return
    with di.start_cluster() as client:
        print(f"on {len(client.scheduler_info()['workers'])} workers, {client.dashboard_link}")
        yield


def gpus() -> int:
    """`num_gpus` of a model's stage: 1 where a worker of the active cluster offers a GPU, else 0.

    Without a cluster there is nothing to place: a model takes this process's GPU if it has one.
    """
    from distributed import get_client

    try:
        found = get_client().scheduler_info(n_workers=-1)["workers"].values()
    except ValueError:
        return 0
    resource = dask.config.get("daskimg.gpu-resource", "GPU")
    return int(any((worker["resources"] or {}).get(resource) for worker in found))


def named(frame: dd.DataFrame, root: str) -> dd.DataFrame:
    """`frame` with the `name` of each picture: its path below `root`, without the extension."""
    root = root if "://" in root else os.path.abspath(root)
    below = frame["path"].str.removeprefix(root.rstrip("/") + "/")
    return frame.assign(name=below.str.replace(r"\.[^./]+$", "", regex=True))
