"""``python -m benchmarks.peers``: the same work by daskimg and by others, as one table.

Each library runs in a process of its own. Those that are not installed here get an environment
below ``--envs``, made where it is missing. Rounds go from library to library; a first round is not
counted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import pictures, store
from benchmarks.peers.common import Job
from benchmarks.peers.environments import UnavailableError
from benchmarks.peers.processes import Library
from benchmarks.peers.tables import Runs, render
from benchmarks.peers.tasks import LIBRARIES, TASKS

COUNT = 1000  # pictures
COLD = 64  # ... of a cold start


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--images", metavar="FOLDER", help="default: as `python -m benchmarks`")
    parser.add_argument("--large", metavar="FOLDER", help="pictures of 12 megapixels")
    parser.add_argument("--count", type=int, default=COUNT, help="pictures at most")
    parser.add_argument("--times", type=int, default=1, help="links to each: a longer run")
    parser.add_argument("--sales", type=int, default=1_000_000, help="rows of the sales")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", default=",".join(TASKS), help="default: %(default)s")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="default: %(default)s")
    parser.add_argument("--envs", metavar="FOLDER", type=Path, help="environments, kept")
    parser.add_argument("--log", metavar="FILE", type=Path, help="what the libraries print")
    parser.add_argument("--output", metavar="FILE", help="append the table to this file")
    asked = parser.parse_args(arguments)
    for name, known in (("tasks", TASKS), ("libraries", LIBRARIES)):
        chosen = getattr(asked, name).split(",")
        setattr(asked, name, chosen)
        if unknown := set(chosen) - set(known):
            parser.error(f"--{name}: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parse(arguments)
    load = os.getloadavg()[0]
    images = pictures.find_pictures(asked.images, asked.count)
    with tempfile.TemporaryDirectory(prefix="daskimg-peers-") as folder, ExitStack() as stack:
        work = Path(folder)
        log = asked.log or work / "log"
        libraries, missing = {}, {}
        for name in asked.libraries:
            try:
                libraries[name] = Library(name, asked.envs, log)
                stack.callback(libraries[name].close)
            except UnavailableError as reason:
                missing[LIBRARIES[name].title] = str(reason)
        files = pictures.list_pictures(images)[: asked.count] * asked.times
        flat = flattened(files, work / "pictures")
        runs = Runs(asked.tasks, libraries)
        for task in asked.tasks:
            source = flat
            if TASKS[task].large:
                large = Path(asked.large) if asked.large else pictures.make_large(24)
                source = flattened(pictures.list_pictures(large), work / "large")
            elif task == "cold":
                source = flattened(sorted(map(str, flat.iterdir()))[:COLD], work / "cold")
            measure(runs, task, source, work, asked)
        described = pictures.describe(sorted(map(str, flat.iterdir())))
        text = render(runs, missing, described, command(asked), load)
    print(f"\n{text}")
    if asked.output:
        with open(asked.output, "a") as file:
            file.write(f"\n{text}")


def command(asked: argparse.Namespace) -> str:
    """As it was called, but for folders."""
    told = f"python -m benchmarks.peers --tasks {','.join(asked.tasks)} --rounds {asked.rounds}"
    if asked.count != COUNT:
        told += f" --count {asked.count}"
    if asked.times > 1:
        told += f" --times {asked.times}"
    if asked.libraries != [*LIBRARIES]:
        told += f" --libraries {','.join(asked.libraries)}"
    return told


def measure(runs: Runs, task: str, source: Path, work: Path, asked: argparse.Namespace) -> None:
    """A task by all libraries, in turn; one that failed is not asked again."""
    function = TASKS[task].function or task
    libraries = list(runs.libraries.values())
    with ExitStack() as stack:
        endpoint = stack.enter_context(store.serving(source)) if task == "store" else None
        sales = make_sales(source, work / f"sales-{asked.sales}", asked.sales)
        for number in range(asked.rounds + 1):
            shift = number % len(libraries)
            for library in libraries[shift:] + libraries[:shift]:
                if runs.failed(task, library.name) is not None:
                    continue
                target = Path(tempfile.mkdtemp(dir=work))
                job = Job(str(source), str(sales), str(target))
                if endpoint:
                    job = job._replace(folder=endpoint.url, endpoint=endpoint.endpoint)
                ask = library.ask_fresh if task == "cold" else library.ask
                runs.add(task, library.name, ask(function, job), counted=number > 0)
            print(f"{task}: round {number} of {asked.rounds}", flush=True)


def flattened(files: list[str], folder: Path) -> Path:
    """The files in one folder, under names that say their order; hard links where they can be."""
    if folder.exists():
        return folder
    folder.mkdir()
    for number, path in enumerate(files):
        name = folder / f"{number:06d}{Path(path).suffix.lower()}"
        real = os.path.realpath(path)
        try:
            os.link(real, name)
        except OSError:  # another disk
            name.write_bytes(Path(real).read_bytes())
    return folder


def make_sales(source: Path, folder: Path, rows: int) -> Path:
    """Parquet files of sales, each of a product that has a picture."""
    if folder.exists():
        return folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = np.array(sorted(path.name for path in source.iterdir()))
    for number, part in enumerate(np.array_split(rng.integers(len(names), size=rows), 8)):
        columns = {
            "name": names[part],
            "shop": rng.integers(50, size=len(part)),
            "amount": rng.random(len(part)),
        }
        pd.DataFrame(columns).to_parquet(folder / f"{number}.parquet", index=False)
    return folder


if __name__ == "__main__":
    main()
