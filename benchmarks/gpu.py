"""``python -m benchmarks.gpu``: is a GPU kept busy by pictures that CPU workers decode?

ResNet-50 in bfloat16 (random weights: how fast it runs does not depend on them) labels JPEGs,
decoded and resized to 224 on CPU workers, on a worker that offers a GPU. The table tells the rate,
the share of the wall time that the model was at work, and the GPU's own utilisation; beside it the
rate of the model alone, on one batch over and over: the limit. In the last row the model stands in
a loop over batches, whose pictures are made in processes.

Without a GPU ``--cpu`` runs the same on workers that only say they have one, with a small ResNet.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import torch

import daskimg as di
from benchmarks import pictures

HEADINGS = (
    "where",
    "pictures",
    "rate",
    "the model alone",
    "ratio",
    "model busy",
    "GPU utilisation",
)
SIDE = 224


class Classifier:
    """Pictures in, the number of the likeliest label and when the model worked out."""

    def __init__(self, small: bool) -> None:
        from transformers import ResNetConfig, ResNetForImageClassification

        torch.manual_seed(0)
        some: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]}
        config = ResNetConfig(**some) if small else ResNetConfig(num_labels=1000)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        model = ResNetForImageClassification(config).eval()
        self.model = model.to(self.device, torch.bfloat16, memory_format=torch.channels_last)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        begun = time.time()
        with torch.inference_mode():
            pixels = batch["image"].to(self.device).permute(0, 3, 1, 2)  # HWC is channels last
            logits = self.model((pixels.to(torch.bfloat16) - 127.5) / 63.75).logits
            label = logits.float().argmax(1).cpu()
        n = len(label)
        return {"label": label, "begun": [begun] * n, "ended": [time.time()] * n}


class Watch(threading.Thread):
    """Asks the GPU how busy it is, until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[int] = []
        self.done = threading.Event()

    def run(self) -> None:
        while torch.cuda.is_available() and not self.done.wait(0.1):
            self.seen.append(torch.cuda.utilization())


def alone(small: bool, batch_size: int, seconds: float = 5.0) -> float:
    """Pictures a second of the model with its input at hand."""
    model = Classifier(small)
    batch = {"image": torch.zeros(batch_size, SIDE, SIDE, 3, dtype=torch.uint8).to(model.device)}
    model(batch)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        model(batch)
        done += batch_size
    return done / (time.perf_counter() - start)


def busy(table: Any) -> float:
    """The share of the time between the first batch and the last that some batch was at work."""
    spans = sorted(set(zip(table["begun"], table["ended"], strict=True)))
    at_work, until = 0.0, spans[0][0]
    for begun, ended in spans:
        at_work += max(ended - max(begun, until), 0.0)
        until = max(until, ended)
    return at_work / (until - spans[0][0]) if spans else 0.0


def measure(asked: argparse.Namespace, folder: Path) -> Iterator[tuple[str, ...]]:
    """The rows of the table: on a cluster, and in this process, where no pixels travel."""
    limit = alone(asked.cpu, asked.batch_size)
    on_workers: dict[str, Any] = {"resources": {"GPU": 1}, "gpus": 0} if asked.cpu else {}
    with di.start_cluster(n_workers=asked.workers, threads_per_worker=1, **on_workers):
        yield "cluster", *figures(asked, folder, limit)
    if not asked.cpu:
        with dask.config.set(scheduler="threads", num_workers=asked.workers):
            yield "one process", *figures(asked, folder, limit)
    with dask.config.set(scheduler="processes", num_workers=asked.workers):
        yield "a loop over processes", *figures(asked, folder, limit, looped)


Work = Callable[[argparse.Namespace, Any], Callable[[bool], Any]]


def placed(asked: argparse.Namespace, df: Any) -> Callable[[bool], Any]:
    """The model as a stage of the frame, where Dask places it."""
    labelled = df.img.map_batches(
        Classifier,
        columns="image",
        batch_size=asked.batch_size,
        batch_format="torch",
        fn_constructor_args=(asked.cpu,),
        num_gpus=1,
        meta={"label": "int64", "begun": "float64", "ended": "float64"},
    )[["label", "begun", "ended"]]
    return lambda few: (labelled.partitions[:2] if few else labelled).compute()


def looped(asked: argparse.Namespace, df: Any) -> Callable[[bool], Any]:
    """The model in a loop over batches, as one trains it."""
    model = Classifier(asked.cpu)

    def run(few: bool) -> Any:
        rows = df.partitions[:2] if few else df
        batches = rows[["image"]].img.iter_torch_batches(asked.batch_size, device=model.device)
        return pd.concat([pd.DataFrame(model(batch)) for batch in batches])

    return run


def figures(
    asked: argparse.Namespace, folder: Path, limit: float, how: Work = placed
) -> tuple[str, ...]:
    df = di.read_images(folder, files_per_partition=asked.partition)
    work = how(asked, df.assign(image=df.image.img.decode("RGB").img.resize(SIDE, SIDE)))
    work(True)  # workers import what they need, the model is made
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    table = work(False)
    wall = time.perf_counter() - start
    watch.done.set()
    watch.join()
    rate = len(table) / wall
    used = f"{statistics.mean(watch.seen):.0f} %" if watch.seen else "no GPU"
    shown = (f"{rate:,.0f}/s", f"{limit:,.0f}/s", f"{rate / limit:.2f}", f"{busy(table):.0%}")
    return f"{len(table):,}", *shown, used


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--images", metavar="FOLDER", help="as of python -m benchmarks")
    parser.add_argument("--pictures", type=int, default=20_000, help="read so many, in turn")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--partition", type=int, help="pictures of one; default: as read_images")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="that decode")
    parser.add_argument("--cpu", action="store_true", help="on a machine without a GPU")
    asked = parser.parse_args(arguments)
    if not asked.cpu and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --cpu runs on a stand-in")
    name = "the processor" if asked.cpu else torch.cuda.get_device_name()
    print(f"ResNet on {name}, batches of {asked.batch_size}")
    files = pictures.list_pictures(pictures.find_pictures(asked.images, 1000))
    with tempfile.TemporaryDirectory(prefix="daskimg-") as folder:
        many = pictures.repeat(files, asked.pictures, Path(folder, "many"))
        for cells in itertools.chain([HEADINGS, ("---",) * len(HEADINGS)], measure(asked, many)):
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
