"""`map` and `map_batches`: user code on the rows of a frame, pandas or Dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import dask.dataframe as dd
import pandas as pd
from dask.tokenize import tokenize

from daskimg import wanted
from daskimg.batch import models
from daskimg.batch import results as kinds
from daskimg.batch.batches import check_format
from daskimg.batch.prepare import (
    declare,
    decoded,
    holds_pixels,
    may_be_missing,
    picture_policy,
    regroup,
)
from daskimg.batch.task import Task
from daskimg.column.dtype import check_policy
from daskimg.engine.lasting import Facts, content_of, named
from daskimg.errors import quoted, whole
from daskimg.stage import most_of, resources_of, run_stage
from daskimg.words import BATCHES, known_as

__all__ = ["map", "map_batches"]


@known_as(BATCHES)
def map(
    frame: Any,
    fn: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    meta: Mapping[str, Any] | pd.DataFrame | None = None,
    version: str | int | None = None,
) -> Any:
    """`fn` of each row: a dict of values in, a dict of values out.

    A picture is an HWC array, read-only (``.copy()`` what you change). Rows with a failed or
    missing picture are left out, and come back null with their reason.

    Parameters
    ----------
    fn : callable
        Takes a dict of a row's values by column, returns one of the columns that come back.
    meta : dict of name to dtype, optional
        The columns that come back. None: a few real rows are tried.
    version : str or int, optional
        As in `map_batches`.

    Returns
    -------
    DataFrame
        Exactly the keys that `fn` returned, on the same index.

    See Also
    --------
    map_batches : many rows at once, models, GPUs.

    Examples
    --------
    >>> df = pd.DataFrame({"image": pictures, "name": ["a", "b", "c"]})
    >>> df.img.map(lambda row: {"name": row["name"].upper(), "size": row["image"].size})
       name  size
    0     A    72
    1     B     6
    2  <NA>  <NA>
    """
    if not callable(fn) or isinstance(fn, type):
        raise TypeError(
            f"map takes a function of a row; got {quoted(fn)}; classes go to map_batches"
        )
    return map_batches(frame, _EachRow(fn), batch_size=64, meta=meta, version=version)


@known_as(BATCHES)
def map_batches(
    frame: Any,
    fn: Callable[..., Any],
    *,
    columns: str | Sequence[str] | None = None,
    batch_size: int | Literal["auto"] | None = "auto",
    batch_format: Literal["numpy", "pandas", "arrow", "torch", "cupy"] = "numpy",
    fn_args: Sequence[Any] = (),
    fn_kwargs: Mapping[str, Any] | None = None,
    fn_constructor_args: Sequence[Any] = (),
    fn_constructor_kwargs: Mapping[str, Any] | None = None,
    concurrency: int | tuple[int, int] | None = None,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    prefetch_batches: int = 2,
    resources: Mapping[str, float] | None = None,
    fill_batches: bool = False,
    meta: Mapping[str, Any] | pd.DataFrame | None = None,
    on_error: Literal["raise", "null"] = "raise",
    version: str | int | None = None,
) -> Any:
    """`fn` of batches of rows: a function, or a class whose instances stay loaded.

    A batch is a dict of read-only arrays by column (``.copy()`` what you change). Pictures are
    decoded first, in one pass with all else that the frame asks of them: ``(N, H, W, C)`` where
    those of a batch are of one shape, else a list of HWC arrays. Rows with a failed or missing
    picture are left out, and come back null with their reason. The number of rows, their order
    and index stay. `fn` sees each row once, also where the result is sorted by what `fn` made
    (``set_index`` without `divisions`, ``sort_values``): these rows are then held until they are
    sorted.

    Parameters
    ----------
    fn : callable or class
        Takes a batch, returns a dict of columns (or a DataFrame, or an Arrow table) with a value
        for each row. Numbers keep their NumPy dtype; ``(N, H, W)`` and ``(N, H, W, 1|3|4)``
        arrays, and lists of such, are pictures; ``(N, D)`` arrays vectors, any other array a
        tensor (``tensor[float32, 512]``); text becomes ``string``. A list of pictures for each row
        (arrays, PIL images, encoded bytes) is ``list[image[pixels]]`` or ``list[image[encoded]]``,
        which ``explode`` to image columns; other lists and dicts are ``json``. A
        column of the batch that comes back untouched keeps its source cells.

        A class is constructed once per worker process, by the first batch that needs it, and its
        instance called with each batch. Calls do not overlap, unless the class says
        ``thread_safe = True``; with ``per_thread = True`` each thread has an instance. An
        instance that nobody used for ``daskimg.model-idle`` is freed.
    columns : str or list of str, optional
        What is passed, and decoded; the other columns stay beside the result. None: all are
        passed, and the result is what `fn` returns.
    batch_size : int, "auto" or None
        Rows of a batch; "auto": those of 32 MiB of pixels, 1 to 1024; None: a partition.
    batch_format : {"numpy", "pandas", "arrow", "torch", "cupy"}
        torch and cupy on the stage's GPU, where it has one.
    fn_args, fn_kwargs : sequence, dict
        Handed to `fn` after the batch.
    fn_constructor_args, fn_constructor_kwargs : sequence, dict
        Handed to the class.
    concurrency : int or (min, max), optional
        At most so many batches at work at once in the whole cluster, each with an instance of its
        own.
    num_cpus : float, optional
        Threads of a process that a batch takes up, where `fn` is parallel itself.
    num_gpus : float
        Run on workers with the resource ``GPU``; a fraction lets several instances share one.
    prefetch_batches : int
        Batches of Arrow, torch or cupy that are made ahead.
    resources : dict, optional
        Other worker resources to ask for.
    fill_batches : bool
        Let batches cross partition borders, so that only the last is smaller.
    meta : dict of name to dtype, optional
        The columns that come back (``list``, ``dict``, ``"image"``, ``"list[image]"``,
        ``"tensor[float32, 512]"``).
        None: one tiny batch of real rows is tried, where the stage would run. Given, `fn` does
        not run before the frame is computed.
    on_error : {"raise", "null"}
        "null": rows that make `fn` raise, or return what is no column of them, become null with
        their reason; the others are not lost.
    version : str or int, optional
        What the work of `fn` is called where a writer is asked to resume: a killed write goes on
        while name and version are the same, whatever became of the code. None: while the code of
        the function or class is the same, with its arguments and what it refers to.

    Returns
    -------
    DataFrame
        The columns not passed, then those returned.

    Raises
    ------
    BatchError
        When `fn` fails (it is of `fn`'s own exception class too), or returns what is no batch of
        the rows it got; it names function, batch and rows.
    PlacementError
        When no worker has the resources.
    TypeError
        When a class or its arguments do not pickle.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> df["small"] = df.image.img.decode("RGB").img.resize(8, 8)
    >>> def embed(batch):
    ...     return {"vector": batch["small"].mean(axis=(1, 2), dtype="float32")}
    >>> df.img.map_batches(embed, columns=["small"]).dtypes["vector"]
    tensor[float32, 3]

    >>> class Above:
    ...     def __init__(self, level):
    ...         self.level = level
    ...     def __call__(self, batch):
    ...         return {"bright": batch["small"].mean(axis=(1, 2, 3)) > self.level}
    >>> model = df.img.map_batches(
    ...     Above, columns="small", fn_constructor_args=[255], meta={"bright": bool}
    ... )
    >>> model.bright.compute().tolist()
    [False, False, False, False]
    """
    names = _names(frame, columns)
    batch_size = _check(fn, batch_size, batch_format, on_error, prefetch_batches)
    _arguments(
        fn_args=fn_args,
        fn_kwargs=fn_kwargs,
        fn_constructor_args=fn_constructor_args,
        fn_constructor_kwargs=fn_constructor_kwargs,
    )
    label = _name(fn)
    wanted, most = resources_of(num_gpus, dict(resources or {})), most_of(concurrency, label)
    function: Any = fn
    if isinstance(fn, type):
        limit = _instances(most, num_gpus)
        made_of = tuple(fn_constructor_args), dict(fn_constructor_kwargs or {})
        function = models.spec_of(fn, *made_of, limit)
    elif fn_constructor_args or fn_constructor_kwargs:
        raise TypeError(f"fn_constructor_args are for classes; {label} is a function")
    prepared, passed = decoded(frame, names)
    does = label, function, tuple(fn_args), dict(fn_kwargs or {}), passed
    device = "gpu" if num_gpus else "cpu"
    policy = picture_policy(frame, names)
    nulls = "null" in (on_error, policy) or may_be_missing(frame, names)
    task = Task(
        *does,
        kept=tuple(name for name in frame.columns if name not in names),
        batch_size=batch_size,
        batch_format=batch_format,
        device=device,
        prefetch=prefetch_batches,
        num_cpus=num_cpus,
        on_error=on_error,
        nulls=nulls,
        policy=policy,
        declared=None
        if meta is None
        else {k: kinds.with_room(d, nulls, policy) for k, d in kinds.dtypes_of(meta).items()},
        token=tokenize(does, batch_size, batch_format, device, num_cpus, on_error, version),
        version=version,
    )
    if isinstance(frame, pd.DataFrame):
        return task(prepared)
    heavy = holds_pixels(prepared, list(passed.values()))

    def stage(
        part: dd.DataFrame, work: Callable[..., Any], like: pd.DataFrame, kept: Any = ()
    ) -> dd.DataFrame:
        return run_stage(
            part,
            work,
            like,
            kept=kept,
            resources=wanted,
            concurrency=most,
            label=label,
            heavy=heavy,
        )

    tried, _ = decoded(frame, names, policy="null")
    task, like = declare(task, prepared, tried, stage)
    if fill_batches:
        prepared = regroup(prepared, passed, batch_size)
    made = task.declared or {}
    return stage(prepared, task, like, [name for name in task.kept if name not in made])


class _EachRow:
    """A function of a row as a function of a batch."""

    def __init__(self, function: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        self.function = function
        self.__name__ = _name(function)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        names = list(batch)
        found: dict[str, list[Any]] = {}
        for n, values in enumerate(zip(*batch.values(), strict=True)):
            wanted.check()
            row = self.function(dict(zip(names, values, strict=True)))
            if not isinstance(row, Mapping):
                raise TypeError(
                    f"expected a dict of the row's new values; got {type(row).__name__}"
                )
            if n and set(row) != set(found):
                raise ValueError(
                    f"expected the same keys of every row, {', '.join(found)}; got {', '.join(row)}"
                )
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        return found

    def __dask_tokenize__(self) -> tuple[str, Any]:
        return "daskimg.batch.map", tokenize(self.function)


@content_of.register
def _content(value: _EachRow, facts: Facts) -> Any:
    return ["each row", named(value.function, facts)]


def _name(fn: Any) -> str:
    named = getattr(fn, "func", fn)  # of a functools.partial
    return str(getattr(named, "__name__", type(named).__name__))


def _names(frame: Any, columns: str | Sequence[str] | None) -> list[str]:
    """The columns to pass."""
    there = list(frame.columns)
    if len(set(there)) < len(there):
        raise ValueError("the frame has several columns of one name; rename them first")
    names = there if columns is None else [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in there:
            raise KeyError(
                f"no column {quoted(name)}; the columns are {', '.join(str(n) for n in there)}"
            )
        if not isinstance(name, str):
            raise TypeError(
                f"a batch names its columns with text; rename {name!r}, or leave it out"
            )
    if not names:
        raise ValueError("no columns to pass; name what the function needs")
    return names


def _check(fn: Any, batch_size: Any, batch_format: str, on_error: str, prefetch: int) -> Any:
    """The size of a batch, when all is as it should be."""
    if not callable(fn):
        raise TypeError(f"map_batches takes a function or a class; got {quoted(fn)}")
    if batch_size is not None and not (isinstance(batch_size, str) and batch_size == "auto"):
        batch_size = whole("batch_size", batch_size, also=', "auto" or None')
    check_format(batch_format)
    if check_policy(on_error) is None:
        raise ValueError('on_error is "raise" or "null"; got None')
    whole("prefetch_batches", prefetch, 0)
    return batch_size


def _arguments(**given: Any) -> None:
    """Whether what is passed on is a list of arguments, or a dict of them by name."""
    for name, value in given.items():
        if name.endswith("kwargs") and not isinstance(value, Mapping | None):
            raise TypeError(f'{name} is a dict of arguments, {{"level": 3}}; got {quoted(value)}')
        if name.endswith("_args") and not isinstance(value, list | tuple):
            raise TypeError(f"{name} is a tuple of arguments, (value,); got {quoted(value)}")


def _instances(most: int | None, num_gpus: float) -> int:
    """Most instances of a class in one process: by default as many as share a GPU."""
    return most or (int(1 / num_gpus) if 0 < num_gpus < 1 else 1)
