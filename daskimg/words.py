"""Words that people bring along from other libraries: an error names ours."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

__all__ = ["BATCHES", "FEEDS", "READERS", "SAME", "WRITERS", "known_as"]

F = TypeVar("F", bound=Callable[..., Any])
Words = Mapping[str, tuple[str, str]]


def _table(*rows: tuple[str, str, str]) -> Words:
    """Foreign words to: our parameters, of which those that a function has are named; else what."""
    return {word: (ours, says) for words, ours, says in rows for word in words.split()}


_STORE = (
    "filesystem fs io_config fs_options fs_kwargs storage storage_option open_stream_args "
    "arrow_open_stream_args arrow_open_file_args",
    "storage_options={...}",
    "storage_options are given where the paths are listed",
)
_THREADS = (
    "num_workers n_workers num_threads threads max_workers concurrency num_cpus ray_remote_args",
    "",
    "dask.config.set(num_workers=...), or a client (di.start_cluster(n_workers=...)), says how "
    "much runs at once",
)
_ENGINE = ("engine backend", "", "there is one engine")

READERS = _table(
    ("path paths uri uris url urls file files directory root", "urlpath sql x series", ""),
    (
        "file_format format suffix suffixes extensions",
        'file_extensions=["jpg"]',
        "each format has a reader of its own, which looks at what is in the files",
    ),
    (
        "include_path include_path_column path_column file_path_column",
        "include_paths",
        "df.image.img.path is the path of each picture",
    ),
    (
        "parallelism override_num_blocks npartitions num_partitions partition_size chunksize "
        "chunks files_per_partition rows_per_partition records_per_partition blocksize",
        "files_per_partition rows_per_partition records_per_partition npartitions blocksize",
        "a partition is a chunk of the array: rechunk() it before",
    ),
    _STORE,
    _THREADS,
    ("compute", "", "readers are lazy: call .compute() on what comes back"),
    _ENGINE,
    ("target_size image_size shape resize", "size=(height,width)", "df.image.img.resize does it"),
    ("color_mode color", "mode", "df.image.img.decode(mode) does it"),
    (
        "errors on_errors ignore_errors ignore_corrupt_files on_bad_files raise_on_error",
        'on_error="null"',
        'df.image.img.on_error("null") keeps pictures that fail as nulls with a reason',
    ),
    ("usecols columns select", "columns", "select columns of what comes back: df[[...]]"),
    (
        "label labels label_mode class_names hive_partitioning",
        "partitioning",
        "read_images(partitioning=...) makes columns of the names of folders",
    ),
    ("batch_size", "", "df.img.iter_batches(batch_size=...) and df.img.map_batches make batches"),
)
WRITERS = _table(
    ("paths uri url urlpath file directory root", "path", ""),
    ("format extension suffix file_format", "file_format", "each format has a writer of its own"),
    _ENGINE,
    ("overwrite exist_ok if_exists save_mode write_mode", 'mode="overwrite"', ""),
    ("append", 'mode="append"', ""),
    ("resume", 'mode="resume"', ""),
    (
        "partition_on partition_by partitionby partitioning partition_columns partition_cols",
        "partition_cols",
        "write_parquet and write_images make folders of a column's values",
    ),
    (
        "npartitions parallelism num_rows_per_file min_rows_per_file max_rows_per_file maxcount "
        "maxsize shards num_shards row_group_size",
        "",
        "how much goes into a file follows from the partitions: repartition() the frame before",
    ),
    (
        "filename name_function filename_provider basename_template",
        "filename",
        "write_images(filename=...) names the files of pictures",
    ),
    ("column columns image_column", "column", "select columns of the frame before: df[[...]]"),
    ("on_error on_errors", 'errors="failed.parquet"', ""),
    _STORE,
    _THREADS,
)
BATCHES = _table(
    (
        "num_workers n_workers max_workers num_threads threads num_proc parallelism compute "
        "concurrency pool_size",
        "concurrency",
        "df.img.map_batches(concurrency=...) says how many batches are at work at once",
    ),
    (
        "zero_copy_batch zero_copy",
        "",
        "batches are read-only views anyway; .copy() what is to be changed",
    ),
    ("format input_format output_format", "batch_format", ""),
    ("args", "fn_args", ""),
    ("kwargs", "fn_kwargs", ""),
    ("init_args constructor_args", "fn_constructor_args", ""),
    ("gpus num_gpu gpu device", "num_gpus", ""),
    ("cpus num_cpu", "num_cpus", ""),
    ("memory ray_remote_args accelerator_type scheduling_strategy", "resources", ""),
    ("dtype dtypes return_dtype schema output_schema features output_type", "meta={...}", ""),
    ("input_columns image_column column", "columns", ""),
    ("batched", "", "df.img.map takes a row, df.img.map_batches a batch"),
    ("remove_columns drop_columns", "columns", "what fn returns is what comes back"),
    ("errors ignore_errors", 'on_error="null"', ""),
)
FEEDS = _table(
    ("prefetch_batches", "", "prefetch_partitions= counts what is made ahead"),
    (
        "num_workers",
        "",
        "dask.config.set(num_workers=...) says how many threads decode; workers of a DataLoader: "
        "DataLoader(dataset, batch_size=None, num_workers=...)",
    ),
    ("pin_memory", "", "iter_torch_batches(device=...) goes through pinned memory by itself"),
    ("transform", "", "derive a column first: df.assign(image=df.image.img.resize(224, 224))"),
    ("shuffle_buffer_size", "", "shuffle_buffer= is the number of rows held back"),
    (
        "shuffle",
        "",
        "shuffle_buffer= mixes rows, with seed=; read_images(shuffle=True) shuffles files",
    ),
    ("format", "", "batch_format= is the form of a batch"),
    ("collate_fn", "", "iter_torch_batches takes collate_fn="),
    ("device", "", "iter_torch_batches takes device="),
)
# what loops over batches and training take: others' words for our parameters
SAME = {
    "feature": "feature_columns",
    "features": "feature_columns",
    "feature_column": "feature_columns",
    "label": "label_column",
    "labels": "label_column",
    "label_columns": "label_column",
    "local_shuffle_buffer_size": "shuffle_buffer",
    "local_shuffle_seed": "seed",
    "drop_remainder": "drop_last",
    "dtype": "dtypes",
}


def known_as(words: Words, **taken: str | Callable[[Any], Mapping[str, Any]]) -> Callable[[F], F]:
    """A function whose unknown keywords raise an error that says what to write.

    Parameters
    ----------
    words : Words
        What others call things: `READERS`, `WRITERS`, `BATCHES`, `FEEDS`.
    **taken : str or callable
        Words that this function takes: each with its own for that (where it has it), or with
        what makes its own keywords of their value.

    Examples
    --------
    >>> @known_as(READERS, image_size=lambda size: {"size": size})
    ... def read(urlpath, *, size=None, storage_options=None):
    ...     return size
    >>> read("a", image_size=(4, 6))
    (4, 6)
    >>> read("a", engine="c")
    Traceback (most recent call last):
    ...
    TypeError: read() has no engine=: there is one engine
    >>> read("a", sizes=(4, 6))
    Traceback (most recent call last):
    ...
    TypeError: read() has no sizes=: did you mean size=?
    >>> read("a", filesystem=None)
    Traceback (most recent call last):
    ...
    TypeError: read() has no filesystem=: it is storage_options={...}
    """

    def known(function: F) -> F:
        names = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for word in [word for word in kwargs if word not in names]:
                ours = taken.get(word, "")
                if isinstance(ours, str) and ours not in names:
                    raise TypeError(f"{function.__name__}() has no {word}=: {_told(word)}")
                value = kwargs.pop(word)
                for name, item in ({ours: value} if isinstance(ours, str) else ours(value)).items():
                    if kwargs.get(name) is not None or name in names[: len(args)]:
                        raise TypeError(
                            f"{function.__name__}() got {name}= and {word}=, which is {name} twice"
                        )
                    kwargs[name] = item
            return function(*args, **kwargs)

        def _told(word: str) -> str:
            ours, says = words.get(word, ("", ""))
            own = [one for one in ours.split() if one.partition("=")[0] in names]
            if own:
                return "it is " + " or ".join(one if "=" in one else f"{one}=" for one in own)
            near = get_close_matches(word, names, 1)
            if not says and near:
                return f"did you mean {near[0]}=?"
            takes = ", ".join(n for n in names if n not in ("self", "df", "frame"))
            return says or f"it takes {takes}"

        return call  # type: ignore[return-value]

    return known
