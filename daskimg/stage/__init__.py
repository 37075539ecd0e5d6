"""Stages: user code on whole partitions, placed on the workers that have what it needs.

``call``    what a stage does to one partition, and its own check at run time
``client``  before a computation starts: is the plugin there, does any worker have the resource?
``plugin``  on the scheduler: where stage tasks run, how many at once, and the window that keeps
            decoded pixels from piling up in front of them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dask.dataframe as dd
import pandas as pd

from daskimg.lazy.nodes import stage
from daskimg.stage.call import StageCall, most_of, resources_of
from daskimg.stage.client import prepare, register

__all__ = ["most_of", "register", "resources_of", "run_stage"]


def run_stage(
    frame: dd.DataFrame,
    task: Callable[[pd.DataFrame], pd.DataFrame],
    meta: pd.DataFrame,
    *,
    resources: dict[str, float] | None = None,
    concurrency: int | tuple[int, int] | None = None,
    label: str = "stage",
    heavy: bool = True,
    kept: Iterable[Any] = (),
) -> dd.DataFrame:
    """`task` applied to every partition of `frame`.

    With neither `resources` nor `concurrency` it is an ordinary row-wise step, which Dask fuses
    with its neighbours. Otherwise it is a step of its own that the scheduler places.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        What the stage reads.
    task : callable
        Takes a partition, returns one of as many rows with the columns of `meta`. It travels
        pickled, and is opened only where it runs: the scheduler needs none of its imports.
    meta : pandas.DataFrame
        No rows of the result.
    resources : dict, optional
        What one task takes up of its worker, e.g. ``{"GPU": 1}``; fractions let several share.
    concurrency : int or tuple of int, optional
        At most so many tasks run at once in the whole cluster; of ``(min, max)`` the larger.
    label : str
        Names the stage in keys, dashboards and errors.
    heavy : bool
        Whether partitions that wait for the stage are large (decoded pixels): only so many are
        made ahead of it as ``daskimg.in-flight`` allows.
    kept : iterable of str
        Columns that `task` hands on as they came: where no others are used, it is not called.

    Returns
    -------
    dask.dataframe.DataFrame

    Raises
    ------
    PlacementError
        When it is computed and no live worker offers `resources`.
    """
    call = StageCall(task, label, resources or {}, concurrency, heavy, kept)
    return stage(frame, call, meta, prepare)
