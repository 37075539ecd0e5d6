"""The tasks, what each needs, and how many times a peer's speed is wanted of daskimg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

TORCH = "torch==2.13.0"  # newer ones bring gigabytes of CUDA on Linux


class Declared(NamedTuple):
    """A library: its file here is called as its key."""

    title: str
    package: str  # whose version is told
    needs: Sequence[str] = ()  # what pip installs for it; nothing: it runs where daskimg does


LIBRARIES = {
    "ours": Declared("daskimg", "daskimg"),
    "bare_loop": Declared("bare loop", "simplejpeg"),
    "ray_data": Declared("Ray Data", "ray", ["ray[data]", TORCH, "pillow", "polars"]),
    "daft_frame": Declared("Daft", "daft", ["daft", TORCH, "pandas", "pyarrow", "pillow"]),
    "torch_loader": Declared(
        "torch DataLoader", "torch", [TORCH, "numpy", "pandas", "pyarrow", "pillow", "s3fs"]
    ),
    "tf_data": Declared(
        "tf.data", "tensorflow-cpu", ["tensorflow-cpu", TORCH, "pandas", "pyarrow", "pillow"]
    ),
    "hf_datasets": Declared("HF datasets", "datasets", ["datasets[vision]", TORCH, "s3fs"]),
    "dask_bag": Declared("dask.bag", "dask"),
}
OTHERS = ["daft_frame", "torch_loader", "tf_data", "hf_datasets", "dask_bag"]


class Task(NamedTuple):
    what: str
    large: bool = False  # reads the large pictures
    function: str = ""  # of the library's file, where it is not the task's name


TASKS = {
    "iterate": Task("decode, resize to 224, iterate in batches of 64"),
    "statistics": Task("mean and deviation of the whole pictures, as a pandas frame"),
    "headers": Task("height and width, as a pandas frame"),
    "large": Task("the large pictures to 224, iterate", large=True),
    "parquet": Task("resize to 224, mean and deviation of that, Parquet with the pixels"),
    "join": Task("statistics joined with a million sales, means by shop"),
    "store": Task("iterate, from an object store with 30 ms a request"),
    "cold": Task("a fresh process: import, statistics of 64 pictures", function="statistics"),
    "classify": Task("resize to 224, a small network's label of each"),
}


class Wanted(NamedTuple):
    task: str
    of: list[str]  # the best of them
    ratio: float  # their time divided by daskimg's


WANTED = [
    Wanted("iterate", ["ray_data"], 5),
    Wanted("iterate", ["daft_frame"], 2),
    Wanted("iterate", ["torch_loader", "tf_data"], 1.3),
    Wanted("iterate", ["dask_bag"], 1.1),
    Wanted("iterate", ["bare_loop"], 1.0),
    Wanted("statistics", ["ray_data"], 5),
    Wanted("statistics", OTHERS, 1.1),
    Wanted("headers", ["ray_data"], 50),
    Wanted("headers", ["daft_frame"], 5),
    Wanted("large", ["ray_data"], 8),
    Wanted("large", OTHERS, 2.5),
    Wanted("parquet", ["ray_data"], 2.5),
    Wanted("store", ["ray_data"], 5),
    Wanted("store", ["daft_frame"], 2.5),
    Wanted("cold", ["ray_data"], 5),
]
